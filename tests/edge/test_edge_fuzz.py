"""A short run of the fuzzers; `python tests/edge/fuzz.py --examples N` runs longer ones."""

from __future__ import annotations

import fuzz
import pytest


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("contracts", {"parsed", "ModelError"}),
        ("model files", {"loaded", "ModelError"}),
        ("audio files", {"read", "AudioError"}),
        ("command lines", {"exit code 0", "exit code 1", "exit code 2"}),
    ],
)
def test_nothing_gets_through(name, outcomes):
    seen = fuzz.FUZZERS[name](60)
    assert sum(seen.values()) >= 50
    assert outcomes <= set(seen)
