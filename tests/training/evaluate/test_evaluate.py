"""The evaluation command, from its arguments to the files of the report."""

import json
import shutil
import sys
from functools import partial
from unittest.mock import Mock

import museval
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from distributed import LocalCluster
from trees import make_folder

from keras_mmdense.data import open_dataset
from training.evaluate import scoring
from training.evaluate.__main__ import main
from training.evaluate.metrics import bsseval
from training.evaluate.rows import choose_tracks

SOURCES = ("bass", "drums", "other", "vocals")


@pytest.fixture
def tree(tmp_path):
    return make_folder(tmp_path / "tree", num_tracks=3, seconds=0.4)


def command(tmp_path, *models, out="report", **options):
    flags = []
    for name, value in options.items():
        values = [] if value is True else map(str, np.atleast_1d(value))
        flags += [f"--{name.replace('_', '-')}", *values]
    return [*models, "--data", str(tmp_path / "tree"), "--out", str(tmp_path / out), *flags]


def copy_estimates(tree, folder, estimate=lambda source, x: x, sources=SOURCES):
    """Write estimates: the true sources, changed."""
    for song in sorted(tree.iterdir()):
        (folder / song.name).mkdir(parents=True)
        for source in sources:
            audio, rate = sf.read(song / f"{source}.wav", dtype="float32")
            path = folder / song.name / f"{source}.wav"
            sf.write(path, estimate(source, audio), rate, subtype="FLOAT")
    return str(folder)


def contents(report):
    """All files of a report that may be compared, by name."""
    return {
        str(path.relative_to(report)): path.read_bytes()
        for path in report.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def scores(report):
    """The values of scores.csv by row, track, source, metric and measure."""
    table = pd.read_csv(report / "scores.csv")
    return table.set_index(["row", "track", "source", "metric", "measure"])["value"]


@pytest.mark.usefixtures("pictures")
def test_a_report_has_every_value_and_says_what_it_is(tree, tmp_path):
    perfect = copy_estimates(tree, tmp_path / "perfect", sources=("vocals",))
    assert main(command(tmp_path, "mixture", f"one={perfect}", metric="usdr,sisdr")) == 0
    report = tmp_path / "report"
    values = scores(report)
    assert len(values) == (4 + 1) * 3 * 2  # sources of both rows, tracks, metrics
    bass, mixture = (sf.read(tree / "Song 1" / f"{name}.wav")[0] for name in ("bass", "mixture"))
    expected = 10 * np.log10(np.sum(bass**2) / np.sum((bass - mixture) ** 2))
    own = values["mixture", :, "bass", "usdr", "SDR"]
    assert own["Song 1"] == pytest.approx(expected, abs=1e-6)
    rows = json.loads((report / "summary.json").read_text("utf-8"))["metrics"]["usdr"]["rows"]
    cell = rows["mixture"]["sources"]["bass"]["SDR"]
    assert cell["value"] == pytest.approx(np.mean(own))
    assert cell["interval"][0] < cell["value"] < cell["interval"][1]
    assert rows["one"]["sources"]["vocals"]["SDR"]["value"] == 200
    assert rows["one"]["mean"]["SDR"] is None  # not of all sources
    every = [rows["mixture"]["sources"][source]["SDR"]["value"] for source in SOURCES]
    assert rows["mixture"]["mean"]["SDR"] == pytest.approx(np.mean(every))
    page = (report / "report.md").read_text("utf-8")
    assert f"{cell['value']:.2f}" in page
    for name in ("usdr_SDR", "sisdr_SI-SDR"):
        assert (report / "plots" / f"{name}.svg").is_file()
        assert f"](plots/{name}.png)" in page


def test_tracks_are_chosen_by_name_pattern_subset_and_number(tmp_path):
    make_folder(tmp_path / "tree", num_tracks=3, seconds=0.2, subsets=("train", "test"))
    tracks = open_dataset(tmp_path / "tree")
    for patterns, limit, expected in (
        ((), 4, ["train/Song 0", "train/Song 1", "train/Song 2", "test/Song 0"]),
        (("*2", "Song 0"), None, ["train/Song 0", "train/Song 2", "test/Song 0", "test/Song 2"]),
    ):
        assert [track.label for track in choose_tracks(tracks, patterns, limit)] == expected


def test_processes_give_the_same_bytes(tree, tmp_path):
    options = {"metric": "usdr,sisdr", "accompaniment": True}
    assert main(command(tmp_path, "mixture", "ibm", **options)) == 0
    assert main(command(tmp_path, "mixture", "ibm", out="parallel", jobs=2, **options)) == 0
    with LocalCluster(
        processes=False, n_workers=1, threads_per_worker=1, protocol="tcp", host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as local:  # fmt: skip
        options["cluster"] = local.scheduler_address
        other = {"metric": "usdr", "cluster": local.scheduler_address}
        assert main(command(tmp_path, "mixture", out="without", limit=1, **other)) == 0
        assert main(command(tmp_path, "mixture", "ibm", out="cluster", **options)) == 0
    one, two, three = (contents(tmp_path / name) for name in ("report", "parallel", "cluster"))
    assert len(one) > 12
    assert one == two == three


class Deadly(dict):
    """Ends the process that unpickles it, as a lack of memory would."""

    def __reduce__(self):
        return __import__("os")._exit, (9,)


def test_a_broken_process_is_reported(tree, tmp_path, capsys, monkeypatch):
    plan = scoring.pending
    monkeypatch.setattr(
        scoring, "pending", lambda *args: [(row, track, Deadly(m)) for row, track, m in plan(*args)]
    )
    assert main(command(tmp_path, "mixture", jobs=2)) == 2
    assert "a process that scored tracks died" in capsys.readouterr().err


def test_a_track_that_fails_is_named_and_the_others_are_kept(tree, tmp_path, capsys, monkeypatch):
    folder = copy_estimates(tree, tmp_path / "mine")
    path = tmp_path / "mine" / "Song 1" / "bass.wav"
    whole = path.read_bytes()
    audio, rate = sf.read(path, dtype="float32")
    audio[5000] = np.nan
    sf.write(path, audio, rate, subtype="FLOAT")
    assert main(command(tmp_path, folder, "mixture")) == 1
    assert "mine, Song 1: " in capsys.readouterr().err
    report = tmp_path / "report"
    assert not (report / "report.md").exists()
    assert len(list(report.rglob("Song *.json"))) == 5
    path.write_bytes(whole)
    monkeypatch.setattr(scoring, "write_result", Mock(side_effect=OSError(28, "No space left")))
    assert main(command(tmp_path, folder, "mixture")) == 1
    reported = capsys.readouterr().err
    assert "No space left; finished tracks are kept" in reported


def test_silence_is_counted_and_never_nan(tree, tmp_path):
    audio, rate = sf.read(tree / "Song 0" / "bass.wav", dtype="int16")
    sf.write(tree / "Song 0" / "bass.wav", np.zeros_like(audio), rate)
    mute = copy_estimates(tree, tmp_path / "mute", lambda s, x: x * (s != "drums"))
    assert main(command(tmp_path, mute, metric="usdr,sisdr")) == 0
    report = tmp_path / "report"
    for path in report.rglob("*.json"):
        assert "NaN" not in path.read_text("utf-8")
    assert "mute,Song 0,bass,usdr,SDR,\n" in (report / "scores.csv").read_text("utf-8")
    assert "| mute | 1 / 1 | 0 / 3 |" in (report / "report.md").read_text("utf-8")


def test_the_accompaniment_is_there_for_every_row(tree, tmp_path):
    copy_estimates(tree, tmp_path / "vocals", sources=("vocals",))
    copy_estimates(tree, tmp_path / "three", sources=SOURCES[:3])
    for song in tree.iterdir():
        shutil.copytree(song, tmp_path / "own" / song.name)
        shutil.copy(song / "mixture.wav", tmp_path / "own" / song.name / "accompaniment.wav")
    rows = [*(str(tmp_path / name) for name in ("vocals", "three", "own")), "mixture", "irm"]
    assert main(command(tmp_path, *rows, accompaniment=True)) == 0
    of = scores(tmp_path / "report").xs("accompaniment", level="source").groupby("row").mean()
    assert min(of["vocals"], of["three"]) > 100  # the mixture is the exact sum
    assert of["own"] == of["mixture"] < of["irm"] < 100
    page = (tmp_path / "report" / "report.md").read_text("utf-8")
    for rule in ("vocals: the mixture less the vocals", "three: the sum of the others",
                 "own: its own estimate", "irm: the sum of the others"):  # fmt: skip
        assert rule in page


@pytest.mark.usefixtures("short_filters")
def test_museval_computes_the_same_scores_and_reads_the_files(tmp_path, capsys, monkeypatch):
    short = partial(museval.metrics.bss_eval, filters_len=24)
    monkeypatch.setattr(museval.metrics, "bss_eval", short)
    sources = {"sources": ("bass", "vocals"), "subsets": ("valid",)}
    make_folder(tmp_path / "tree", num_tracks=1, seconds=1.1, **sources)
    found = {}
    for engine in ("own", "museval"):
        options = {"metric": "museval,bsseval3", "engine": engine, "out": engine}
        assert main(command(tmp_path, "irm", "mixture", **options)) == 0
        assert "SDR in dB by museval, median over tracks\n" in capsys.readouterr().out
        found[engine] = scores(tmp_path / engine)
        methods, store = museval.MethodStore(), museval.EvalStore()
        for row in ("irm", "mixture"):
            methods.add_eval_dir(tmp_path / engine / "museval" / row)
            store.add_eval_dir(tmp_path / engine / "museval" / row)
        read = methods.agg_frames_scores()
        assert len(read) == len(store.df) == 2 * 2 * 4  # rows, sources, measures
        for row, _, source, metric, measure in found[engine].index:
            if metric == "museval":
                value = found[engine][row, "valid/Song 0", source, metric, measure]
                assert read[row, "Song 0", source, measure] == pytest.approx(value)
        track = museval.TrackStore("Song 0")
        path = tmp_path / engine / "museval" / "irm" / "test" / "valid" / "Song 0.json"
        track.scores = json.loads(path.read_text("utf-8"))
        track.validate()
    ours, theirs = (one.clip(upper=100) for one in found.values())  # above is rounding
    pd.testing.assert_series_equal(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("short_filters")
def test_museval_solves_singular_equations_by_least_squares(rng, monkeypatch):
    short = partial(museval.metrics.bss_eval, filters_len=24)
    monkeypatch.setattr(museval.metrics, "bss_eval", short)
    references = {name: rng.normal(0, 0.1, (9000, 2)) for name in ("bass", "vocals")}
    estimates = {name: x + rng.normal(0, 0.01, x.shape) for name, x in references.items()}
    signals = references, estimates, 4410
    ours = bsseval.museval(*signals)

    def refuse(*_):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(np.linalg, "solve", refuse)
    theirs = bsseval.by_package("museval", *signals)
    for name, score in ours.items():
        assert theirs[name].values == pytest.approx(score.values, abs=1e-4)


def test_what_museval_cannot_score(tree, tmp_path, capsys, monkeypatch):
    assert main(command(tmp_path, "mixture", metric="usdr", engine="museval")) == 2
    assert "--metric must be of museval, bsseval3" in capsys.readouterr().err
    audio, rate = sf.read(tree / "Song 0" / "bass.wav", dtype="int16")
    sf.write(tree / "Song 0" / "bass.wav", np.zeros_like(audio), rate)
    assert main(command(tmp_path, "mixture", engine="museval", tracks="Song 0")) == 1
    assert "Song 0: museval refuses the signals" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "museval", None)
    assert main(command(tmp_path, "mixture", engine="museval")) == 2
    assert "needs museval and ffmpeg" in capsys.readouterr().err
