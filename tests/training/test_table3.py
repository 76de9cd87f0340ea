"""Table 3: what is counted and timed, and what is refused."""

import argparse

import pytest
from trees import make_folder

import keras_mmdense
from keras_mmdense.inspection import parameters
from training.paper import table3
from training.paper.baseline_networks import build_network

TINY = {"bins": 16, "cells": 4, "hidden": 4, "reduced": 4, "context": 1}
LOW = {"bins": 16, "scales": 1}
NETWORKS = {
    "MDenseNet": lambda: keras_mmdense.build(
        "mdensenet", bins=16, scales=1, growth_rate=1, num_layers=1
    ),
    "BLEND": lambda: build_network("blend", **TINY),
}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(table3, "NETWORKS", NETWORKS)


@pytest.fixture
def tree(tmp_path):
    return make_folder(tmp_path / "tracks", 3, 0.5)


def test_every_network_is_measured(capsys, monkeypatch):
    monkeypatch.setattr(table3, "step_seconds", lambda model, data, steps: 2.0)
    options = [
        "--steps",
        "2",
        "--frames",
        "16",
        "--batch-size",
        "2",
        "--epoch-seconds",
        "3600",
    ]  # 2 seconds for 512 samples
    assert table3.main(options) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["measuring MDenseNet", "measuring BLEND"]
    for name, make in NETWORKS.items():
        line = next(t for t in captured.out.splitlines() if t.startswith(f"| {name} "))
        assert line.split("|")[2].strip() == f"{parameters(make()):,}"
        assert line.split("|")[7].strip() == f"{2 / (2 * 16 * 16 / 44100):.1f}"
    assert "extrapolated from that to 3,600 s of audio, not measured" in captured.out
    assert "median of 2 steps" in captured.out
    assert "9.2 M [D] | 100.0%" in captured.out


@pytest.mark.slow
def test_given_tracks_are_trained_on(tree, capsys, monkeypatch):
    seen, plain = [], table3.training_set
    monkeypatch.setattr(
        table3, "training_set", lambda t, *a, **o: seen.append(len(t)) or plain(t, *a, **o)
    )
    options = ["--steps", "1", "--frames", "8", "--batch-size", "2", "--data", str(tree)]
    assert table3.main(options) == 0
    printed = capsys.readouterr().out
    assert seen == [2, 2]  # of three tracks one is for validation
    assert "on the given tracks" in printed
    assert "to 1 s of audio" in printed


def test_the_first_step_does_not_count(monkeypatch):
    now = iter([10, 17, 20, 22, 30, 33, 40, 44]).__next__  # steps of 7, 2, 3 and 4 s
    monkeypatch.setattr(table3.time, "perf_counter", now)
    model = build_network("fnn", **TINY)
    before = model.get_weights()
    args = argparse.Namespace(steps=3, frames=8, batch_size=2)
    assert table3.step_seconds(model, table3.batches(model, [], args), 3) == 3
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "0"], "The defaults fit"),
        (["--batch-size", "0"], "The defaults fit"),
        (["--frames", "12"], "The defaults fit"),
        (["--epoch-seconds", "0"], "The defaults fit"),
        (["--epoch-seconds", "inf"], "The defaults fit"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, words, capsys):
    assert table3.main(options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("table3: ")
    assert words in line


def test_tracks_that_break_while_they_are_read_are_named_in_one_line(tree, capsys, monkeypatch):
    def broken(*arguments, **options):
        for path in tree.rglob("*.wav"):
            path.write_bytes(path.read_bytes()[:1000])
        return plain(*arguments, **options)

    plain = table3.training_set
    monkeypatch.setattr(table3, "training_set", broken)
    assert table3.main(["--frames", "8", "--data", str(tree)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("table3: ")
    assert ".wav" in error
