"""Table 3: what is counted and timed, and what is refused."""

import argparse

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


def test_every_network_is_measured(capsys, monkeypatch):
    shapes = []

    def step_seconds(model, data, steps):
        shapes.append(next(iter(data))[0].shape)
        return 2.0

    monkeypatch.setattr(table3, "step_seconds", step_seconds)
    assert table3.main([*SMALL, "--steps", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, make in NETWORKS.items():
        cells = next(line for line in lines if line.startswith(f"| {name} ")).split("|")
        assert cells[2].strip() == f"{parameters(make()):,}"
        assert cells[7].strip() == f"{12500 / 3600 * 2 / (2 * 8 * 16 / 44100):.1f}"
    assert set(shapes) == {(2, 8, 16, 2)}


def test_the_first_step_does_not_count(monkeypatch):
    now = iter([10, 17, 20, 22, 30, 33, 40, 44]).__next__  # steps of 7, 2, 3 and 4 s
    monkeypatch.setattr(table3.time, "perf_counter", now)
    model = build_network("fnn", **TINY)
    before = model.get_weights()
    args = argparse.Namespace(steps=3, frames=8, batch_size=2)
    assert table3.step_seconds(model, table3.batches(model, args), 3) == 3
    assert any(not np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("options", ["--steps 0", "--batch-size 0", "--frames 12"])
def test_wrong_options_are_refused_in_one_line(options, capsys):
    assert table3.main(options.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "The defaults fit" in line
