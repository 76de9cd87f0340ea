"""Fixtures of the tests of the evaluation."""

import pytest


@pytest.fixture
def no_pictures(monkeypatch):
    """Reports without their plots, which take longer than all else."""
    monkeypatch.setattr("training.evaluate.tables.boxes", lambda *_, **__: None)
