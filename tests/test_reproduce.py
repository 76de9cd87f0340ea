"""Tables 1 to 3: what is built against the reading, published rows with their grade, refusals."""

import csv
import json
from pathlib import Path

import pytest
from trees import make_dsd100, make_folder

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.graph import parameters, trace
from training.networks import build_network
from training.reproduce import main
from training.reproduction import published, table1, table2, table3
from training.reproduction.markdown import ReproductionError
from training.reproduction.table3 import DSD100_SECONDS, Row, Timing

BLOCKS = [f"dense {number}" for number in range(1, 8)]
COUNTS = {"mdensenet": 121_102, "mmdensenet": 277_622}
TINY = {"bins": 16, "cells": 4, "hidden": 4, "reduced": 4, "context": 1}


def rows(**options):
    preset = options.pop("preset", "mmdensenet")
    return table1.rows_of(trace(keras_mmdense.build(preset, **options)), preset)


@pytest.fixture(scope="module")
def paper():
    """The rows of the paper's network."""
    return rows()


@pytest.mark.parametrize("preset", COUNTS)
def test_every_row_agrees_and_together_they_are_the_whole_network(preset):
    found = rows(preset=preset)
    every = [row for part in found.values() for row in part]
    assert {row.verdict for row in every} <= {"agrees", "agrees with one of 2"}
    assert sum(row.parameters for row in every) == COUNTS[preset]
    for band in published.TABLE1[preset]:
        scales = [row.scale for row in found[band] if row.layer.startswith("dense")]
        assert [frames for frames, _ in scales] == [1, 2, 4, 8, 4, 2, 1]
        assert [bins for _, bins in scales] == [1, 2, 4, 8, 4, 2, 1]


def test_each_layer_of_a_dense_block_reads_all_maps_before_it(paper):
    low = {row.layer: row for row in paper["low"]}
    assert low["dense 1"].reads == (32, 46, 60, 74)
    assert low["dense 1"].output == (128, 512, 14)
    assert low["dense 7"].reads == (30, 46, 62, 78)  # 16 up-sampled, 14 skipped
    assert low["up 7"].output == (128, 512, 30)


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        ({"growth": {"low": (14, 16, 16, 15, 16, 16, 16)}, "kernel": {"high": (3, 4)},
          "layers": {"full": (2, 2, 2, 3, 2, 2, 2)}, "final_kernel": (3, 3)},
         {"low": ["dense 4"], "high": BLOCKS, "full": ["dense 4"], "joined": ["final conv"]}),
        ({"bottleneck": True, "final_growth": 5, "preset": "mdensenet"},
         {"full": BLOCKS, "joined": ["final dense"]}),
    ],
)  # fmt: skip
def test_what_differs_from_the_reading_is_marked(options, differing):
    found = {
        band: [row.layer for row in of_band if row.verdict == "DIFFERS"]
        for band, of_band in rows(**options).items()
    }
    assert found == differing


def test_other_readings_agree_too_and_another_pooling_is_named(paper):
    other = rows(growth={"high": (10,) * 7}, layers={"full": 2}, pooling="max")
    high = other["high"][-1]
    assert (high.built, high.verdict) == ("3x3, k 10, L 3, 1x1 to 16 maps", "agrees with one of 2")
    assert high.output == (128, 512, 16)
    full = {row.layer: row for row in other["full"]}
    assert full["dense 4"].verdict == "agrees with one of 2"
    assert "max pool 2" in full
    assert "average pool 2" in [row.layer for row in paper["low"]]


def test_table1_prints_readings_and_writes_the_same(tmp_path, capsys, monkeypatch):
    # the weights of all readings are counted in test_model
    monkeypatch.setattr(table1, "READINGS", table1.READINGS[:2])
    out = tmp_path / "table1.md"
    assert main(["table1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert out.read_text() == printed
    assert "DIFFERS" not in printed
    for count in (121_102, 277_622, 207_134, 503_330):
        assert f"| {count:,} |" in printed
    assert "| 277,622 | 2.8 |" in printed
    assert "| 503,330 | 4.6 |" in printed
    assert "0.33 M [Q]" in printed


def test_published_rows_carry_their_grade_and_memory_says_so(capsys):
    assert main(["table2"]) == 0
    printed = capsys.readouterr().out
    for name, (values, grade, _) in published.TABLE2.items():
        line = next(text for text in printed.splitlines() if text.startswith(f"| {name}"))
        assert f"[{grade}] {published.GRADES[grade]}" in line
        assert ("(from memory)" in line) == (grade == "M")
        assert [float(cell) for cell in line.split("|")[2:7]] == list(values)
    assert "training.train paper --data DSD100" in printed
    assert "--metric bsseval3 --wiener 1" in printed
    assert "No row was measured" in printed


def summary(**changes):
    """Return a summary as training.evaluate writes it, of the 50 songs of DSD100's Test."""
    names = [f"test/{number:03d} - Artist - Song" for number in range(1, 51)]
    values = {"bass": 3.5, "drums": 5.25, "other": 3.75, "vocals": None}
    scores = {
        source: {"SDR": {"value": value, "interval": None, "tracks": 50 if value else 0}}
        for source, value in values.items()
    }
    row = {"name": "ours", "wiener": 1, "accompaniment": ""}
    metric = {"rows": {"ours": {"sources": scores}}, "over_tracks": "median"}
    content = {
        "format": "mmdense-evaluation",
        "version": 1,
        "data": {"name": "DSD100", "kind": "dsd100", "tracks": [{"name": n} for n in names]},
        "rows": [row],
        "metrics": {"bsseval3": metric},
    }
    return content | changes


def write(folder, content):
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "summary.json").write_text(text)
    return folder


def test_measured_rows_stand_below_the_published_ones(tmp_path, capsys):
    report = write(tmp_path / "report", summary())
    assert main(["table2", "--report", str(report)]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(text for text in lines if text.startswith("| ours"))
    assert line == (
        "| ours | 3.50 | 5.25 | 3.75 | - | - | measured, bsseval3; Wiener filter, 1 iterations; "
        "vocals of 0 of 50 songs |"
    )
    assert lines.index(line) > next(k for k, t in enumerate(lines) if t.startswith("| MMDense"))


def tracks(*names):
    return {"tracks": [{"name": name} for name in names]}


DSD100 = summary()["data"]
OTHER_TERMS = {
    "fewer songs": {"data": DSD100 | {"tracks": DSD100["tracks"][:49]}},
    "other songs": {"data": DSD100 | tracks(*[f"train/{k:03d} - A - B" for k in range(51, 101)])},
    "one song twice": {"data": DSD100 | {"tracks": [*DSD100["tracks"][:49], DSD100["tracks"][0]]}},
    "another set": {"data": DSD100 | {"name": "MUSDB18", "kind": "musdb18hq"}},
    "another metric": {"metrics": {"museval": summary()["metrics"]["bsseval3"]}},
}


@pytest.mark.parametrize("changes", OTHER_TERMS.values(), ids=OTHER_TERMS)
def test_a_report_on_other_terms_is_refused_unless_told(changes, tmp_path, capsys):
    report = write(tmp_path / "report", summary(**changes))
    assert main(["table2", "--report", str(report)]) == 2
    error = capsys.readouterr().err
    assert "50 test songs of DSD100" in error
    assert error.count("\n") == 1
    assert main(["table2", "--report", str(report), "--anyway"]) == 0
    line = next(t for t in capsys.readouterr().out.splitlines() if t.startswith("| ours"))
    assert "measured on other terms: " in line
    if "metrics" in changes:
        assert "metric museval" in line
    else:
        assert f"tracks of {changes['data']['name']}" in line


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": "mmdense-evaluation", "version": 2}', summary(rows=None)],
    ids=["empty", "list", "no report", "newer", "damaged"],
)
def test_what_is_no_report_is_refused(content, tmp_path, capsys):
    report = write(tmp_path / "report", content)
    assert main(["table2", "--report", str(report)]) == 2
    error = capsys.readouterr().err
    assert "finished report of training.evaluate" in error
    assert error.count("\n") == 1
    with pytest.raises(ReproductionError, match="finished report"):
        table2.measured_rows(tmp_path / "nowhere")


def test_rows_are_chosen_by_name(tmp_path, capsys):
    report = write(tmp_path / "report", summary())
    assert [row.name for row in table2.measured_rows(report, ["ours"])] == ["ours"]
    assert main(["table2", "--report", str(report), "--rows", "theirs"]) == 2
    assert "name rows of the report, ours; received ['theirs']" in capsys.readouterr().err


def test_a_real_report_is_read_as_it_is_written(tmp_path, monkeypatch):
    from training.evaluate import main as evaluate

    monkeypatch.chdir(tmp_path)
    make_dsd100(Path("DSD100"), 1, 1, seconds=0.5)
    arguments = ["mixture", "--data", "DSD100", "--subset", "test", "--accompaniment"]
    assert evaluate([*arguments, "--metric", "usdr,bsseval3", "--out", "report"]) == 0
    found = table2.measured_rows(Path("report"), anyway=True)
    scores = list(csv.DictReader(Path("report/scores.csv").read_text().splitlines()))
    assert [row.name for row in found] == ["mixture"]
    for row in found:
        assert "1 tracks of DSD100 (dsd100)" in row.origin
        for source in published.SOURCES:
            values = [
                float(one["value"])
                for one in scores
                if (one["row"], one["source"], one["metric"], one["measure"])
                == (row.name, source, "bsseval3", "SDR")
            ]
            assert [row.values[source]] == pytest.approx(values)


@pytest.fixture
def small_networks(monkeypatch):
    networks = {
        "MDenseNet": lambda: keras_mmdense.build(
            "mdensenet", bins=16, scales=1, growth=1, layers=1
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
        assert name in {"FNN", "BLSTM"} | set(published.SIZES)


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
    monkeypatch.setattr(table1, "report", lambda: pytest.fail("worked first"))
    assert main(["table1", "--out", str(tmp_path / where)]) == 2
    assert "--out must" in capsys.readouterr().err
    assert (tmp_path / "there").read_text() == "mine"


def test_ctrl_c_ends_in_one_line(capsys, monkeypatch, tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(table1, "report", interrupted)
    assert main(["table1", "--out", str(tmp_path / "out.md")]) == 130
    assert capsys.readouterr().err == "stopped\n"
    assert not list(tmp_path.iterdir())


def test_without_a_name_the_usage_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "WHAT" in capsys.readouterr().err
