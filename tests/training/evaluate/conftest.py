"""Fixtures of the tests of the evaluation."""

import pytest

from training.evaluate.metrics import projection


@pytest.fixture
def pictures():
    """Asked for by a test that needs the plots of reports."""


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Leave out the plots, which take longer than all else, in the other tests."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("training.evaluate.tables.boxes", lambda *_, **__: None)


@pytest.fixture
def short_filters(monkeypatch):
    """Filters of 24 samples, so that dense equations stay small and signals take many blocks."""
    for name, size in {"TAPS": 24, "N_FFT": 128, "STEP": 128 - 24 + 1, "BLOCKS": 3}.items():
        monkeypatch.setattr(projection, name, size)
