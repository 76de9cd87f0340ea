"""The estimate for the Raspberry Pi: multiply-adds are counted right, and the page shows them."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mmdense_edge.bundled import find, names
from mmdense_edge.contract import load_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def estimate():
    path = ROOT / "benchmarks" / "pi_estimate.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    yield loaded
    del sys.modules[path.stem]


def test_convolutions_of_a_model_are_counted(estimate, model_path):
    # One 3 x 5 convolution of 2 channels to 6, on 16 frames of 1024 bins.
    expected = 16 * 1024 * (3 * 5 * 2 * 6) / 1e9
    assert estimate.window_gmac(load_model(model_path("shares"))) == pytest.approx(expected)
    # Three 3 x 5 convolutions: 2 to 8 channels, and twice 8 to 2.
    expected = 16 * 1024 * (3 * 5) * (2 * 8 + 8 * 2 + 8 * 2) / 1e9
    assert estimate.window_gmac(load_model(model_path("int8"))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "inputs", "output", "count"),
    [
        ("CONV_2D", [(1, 8, 8, 3), (16, 3, 5, 3), (16,)], (1, 8, 8, 16), 64 * 16 * 3 * 5 * 3),
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 6), (1, 2, 2, 6)], (1, 4, 4, 6), 16 * 6 * 4),
        ("TRANSPOSE_CONV", [(4,), (7, 2, 2, 5), (1, 4, 4, 5)], (1, 8, 8, 7), 16 * 5 * 7 * 4),
        ("FULLY_CONNECTED", [(1, 10), (20, 10)], (1, 20), 200),
        ("CONCATENATION", [(1, 8), (1, 8)], (1, 16), 0),
    ],
)
def test_each_operator_has_its_count(estimate, name, inputs, output, count):
    assert estimate._multiply_adds(name, inputs, output) == count


def test_the_range_is_a_range_and_the_newer_board_is_faster(estimate):
    for precision in ("float32", "int8"):
        (slow, fast), (newer_slow, newer_fast) = (
            board.rates(precision) for board in estimate.BOARDS
        )
        assert slow < fast < newer_fast
        assert slow < newer_slow < newer_fast
    assert estimate.BOARDS[0].rates("float32")[1] == pytest.approx(4.58, abs=0.01)


def test_what_has_no_fast_kernels_is_not_estimated(estimate, model_path):
    model = load_model(model_path("int8"))
    (row,) = estimate.estimates(
        replace(model, contract=replace(model.contract, precision="int16x8"))
    )
    assert "not known" in row


def test_the_page_shows_the_bundled_models(estimate):
    page = (ROOT / "docs" / "edge.md").read_text("utf-8")
    for name in names():
        for row in estimate.estimates(load_model(find(name))):
            assert row in page, "copy the output of `python benchmarks/pi_estimate.py` there"
