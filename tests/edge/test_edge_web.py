"""The page's reference file: what its unit tests compare with is what the runner makes now."""

from __future__ import annotations

import base64
import json
import runpy
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[2] / "edge" / "web" / "test"


def test_the_reference_of_the_pages_tests_is_the_runners():
    made = runpy.run_path(str(FOLDER / "make_reference.py"))
    kept = json.loads((FOLDER / "reference.json").read_text("utf-8"))
    assert [tuple(entry["case"]) for entry in kept] == list(made["CASES"])
    for entry in kept:
        for source, stem in made["stems"](entry["case"]).items():
            values = np.frombuffer(base64.b64decode(entry["stems"][source]), "<f4")
            np.testing.assert_allclose(values.reshape(stem.shape), stem, atol=1e-6)
