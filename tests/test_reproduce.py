"""Table 3: what is counted and timed, published sizes with their grade, refusals."""

import pytest
from training.paper.__main__ import main
from trees import make_folder

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.inspection import parameters
from training.paper import table3
from training.paper.baseline_networks import build_network
from training.paper.table3 import DSD100_SECONDS, Row, Timing

TINY = {"bins": 16, "cells": 4, "hidden": 4, "reduced": 4, "context": 1}


@pytest.fixture
def small_networks(monkeypatch):
    networks = {
        "MDenseNet": lambda: keras_mmdense.build(
            "mdensenet", bins=16, scales=1, growth_rate=1, num_layers=1
        ),
        "FNN": lambda: build_network("fnn", **TINY),
    }
    monkeypatch.setattr(table3, "NETWORKS", networks)
    return networks


def test_table3_measures_every_network(small_networks, tmp_path, capsys):
    out = tmp_path / "table3.md"
    options = ["--steps", "2", "--frames", "16", "--batch-size", "2", "--epoch-seconds", "3600"]
    assert main(["table3", *options, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert out.read_text() == captured.out
    assert captured.err.splitlines() == ["measuring MDenseNet", "measuring FNN"]
    for name, make in small_networks.items():
        line = next(t for t in captured.out.splitlines() if t.startswith(f"| {name} "))
        assert line.split("|")[2].strip() == f"{parameters(make()):,}"
        assert float(line.split("|")[6]) >= 0
    assert "extrapolated from that to 3,600 s of audio, not measured" in captured.out
    assert "median of 2 steps" in captured.out
    assert "9.2 M [D]" in captured.out


def test_table3_measures_on_given_tracks(small_networks, tmp_path, capsys, monkeypatch):
    tree = make_folder(tmp_path / "tracks", 3, 0.5)
    seen = []
    pipeline_train = table3.pipeline.train
    monkeypatch.setattr(
        table3.pipeline,
        "train",
        lambda t, *a, **o: seen.append(len(t)) or pipeline_train(t, *a, **o),
    )
    options = ["--steps", "1", "--frames", "8", "--batch-size", "2", "--data", str(tree)]
    assert main(["table3", *options]) == 0
    printed = capsys.readouterr().out
    assert seen == [2, 2]  # of three tracks one is for validation
    assert "on the given tracks" in printed
    assert "to 1 s of audio" in printed


def test_time_of_an_epoch_is_extrapolated_from_the_audio_of_a_step(monkeypatch):
    now = iter([10.0, 17.0, 19.0, 22.0, 26.0]).__next__  # steps of 7, 2, 3 and 4 s
    monkeypatch.setattr(table3.time, "perf_counter", now)
    model = build_network("fnn", **TINY)
    before = model.get_weights()
    row = table3.measure("fnn", model, Timing(steps=3, frames=8, batch_size=2))
    assert row.step_seconds == 3  # the median; the first does not count
    assert row.audio_seconds == pytest.approx(2 * 8 * 16 / 44100)
    expected = 3 * DSD100_SECONDS / row.audio_seconds / 3600
    assert row.epoch_hours(DSD100_SECONDS) == pytest.approx(expected)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_share_of_blend_and_published_sizes_stand_beside_the_count():
    found = [Row("MMDenseNet", 36, 1e9, 1.0, 1.0), Row("BLEND", 1000, 1e9, 1.0, 1.0)]
    text = table3.report(found, Timing())
    assert "| MMDenseNet | 36 | 0.33 M [Q] | 3.6% | 1.00 |" in text
    for name in table3.NETWORKS:
        assert name in {"FNN", "BLSTM"} | set(table3.PUBLISHED)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"batch_size": 0}, {"frames": 12}, {"epoch_seconds": 0.0}],
    ids=str,
)
def test_wrong_timing_is_refused(options):
    with pytest.raises(SettingsError, match="The defaults fit"):
        Timing(**options)


def test_tracks_that_break_while_they_are_read_are_told_in_one_line(
    small_networks, tmp_path, capsys, monkeypatch
):
    tree = make_folder(tmp_path / "tracks", 3, 0.5)

    def broken(timing_tracks, *_, **__):
        for path in tree.rglob("*.wav"):
            path.write_bytes(path.read_bytes()[:1000])
        return train(timing_tracks, *_, **__)

    train = table3.pipeline.train
    monkeypatch.setattr(table3.pipeline, "train", broken)
    assert main(["table3", "--frames", "8", "--data", str(tree)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("reproduce: ")
    assert ".wav" in error


@pytest.mark.parametrize("where", ["there", "nowhere/file.md"])
def test_out_is_checked_before_the_work(where, tmp_path, capsys, monkeypatch):
    (tmp_path / "there").write_text("mine")
    monkeypatch.setattr(table3, "measure_all", lambda *_: pytest.fail("worked first"))
    assert main(["table3", "--out", str(tmp_path / where)]) == 2
    assert "--out must" in capsys.readouterr().err
    assert (tmp_path / "there").read_text() == "mine"


def test_ctrl_c_ends_in_one_line(capsys, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(table3, "measure_all", interrupted)
    assert main(["table3", "--out", str(tmp_path / "out.md")]) == 130
    assert capsys.readouterr().err == "stopped\n"
    assert not list(tmp_path.iterdir())


def test_without_a_name_the_usage_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "WHAT" in capsys.readouterr().err
