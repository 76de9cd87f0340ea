"""Table 3: what is counted and timed, and what is refused."""

import keras
import numpy as np
import pytest

import keras_mmdense
from keras_mmdense.inspection import parameters
from training.paper import table3
from training.paper.baseline_networks import build_network

TINY = {"bins": 16, "cells": 4, "hidden": 4, "reduced": 4, "context": 1}
NETWORKS = {
    "MDenseNet": lambda: keras_mmdense.build(
        "mdensenet", bins=16, scales=1, growth_rate=1, num_layers=1
    ),
    "BLEND": lambda: build_network("blend", **TINY),
}
SMALL = ["--frames", "8", "--batch-size", "2"]


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(table3, "NETWORKS", NETWORKS)


def test_every_network_is_measured_and_its_first_step_does_not_count(capsys, monkeypatch):
    # both networks: steps of 7, 2, 3 and 4 s
    now = iter([10, 17, 19, 22, 26] * 2).__next__
    monkeypatch.setattr(table3.time, "perf_counter", now)
    shapes, step = [], keras.Model.train_on_batch

    def watched(model, x, y):
        shapes.append((x.shape, y["vocals"].shape))
        before = model.get_weights()
        step(model, x, y)
        changed = zip(before, model.get_weights(), strict=True)
        assert any(not np.array_equal(*pair) for pair in changed)

    monkeypatch.setattr(keras.Model, "train_on_batch", watched)
    assert table3.main([*SMALL, "--steps", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, make in NETWORKS.items():
        cells = next(line for line in lines if line.startswith(f"| {name} ")).split("|")
        assert cells[2].strip() == f"{parameters(make()):,}"
        assert cells[6].strip() == "3.00"
        assert cells[7].strip() == f"{12500 / 3600 * 3 / (2 * 8 * 16 / 44100):.1f}"
    assert shapes == [((2, 8, 16, 2),) * 2] * 8


@pytest.mark.parametrize("options", ["--steps 0", "--batch-size 0", "--frames 12"])
def test_wrong_options_are_refused_in_one_line(options, capsys):
    assert table3.main(options.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "The defaults fit" in line
