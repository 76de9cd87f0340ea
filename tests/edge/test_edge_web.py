"""The page's reference file: what its unit tests compare with is what the runner makes now."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[2] / "edge" / "web" / "test"


def test_the_reference_of_the_pages_tests_is_the_runners():
    spec = importlib.util.spec_from_file_location("make_reference", FOLDER / "make_reference.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    kept = json.loads((FOLDER / "reference.json").read_text("utf-8"))
    assert [tuple(entry["case"]) for entry in kept] == list(made.CASES)
    for entry, case in zip(kept, made.CASES, strict=True):
        for source, stem in made.stems(case).items():
            values = np.frombuffer(base64.b64decode(entry["stems"][source]), "<f4")
            np.testing.assert_allclose(values.reshape(stem.shape), stem, atol=1e-6)
