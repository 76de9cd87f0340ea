"""Fixtures of the tests of the evaluation."""

import pytest


@pytest.fixture
def pictures():
    """Asked for by a test that needs the plots of reports."""


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Leave out the plots, which take longer than all else, in the other tests."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("training.evaluate.tables.boxes", lambda *_, **__: None)
