"""The evaluation command, from its arguments to the files of the report."""

import csv
import json
import shutil

import numpy as np
import pytest
import soundfile as sf
from trees import make_folder

from training.evaluate import scoring
from training.evaluate.__main__ import main

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
    files = [path for path in report.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(report)): path.read_bytes() for path in files}


def scores(report):
    with (report / "scores.csv").open(newline="") as file:
        return {
            tuple(row[k] for k in ("row", "track", "source", "metric", "measure")): row["value"]
            for row in csv.DictReader(file)
        }


def summary(report, metric="usdr"):
    """The rows of a metric in summary.json, which is strict JSON, as all files are."""

    def refuse(text):
        raise ValueError(f"{text} is no JSON")

    for path in report.rglob("*.json"):
        content = json.loads(path.read_text("utf-8"), parse_constant=refuse)
        for target in content.get("targets", ()):
            # museval's form has numbers alone
            assert not any(None in frame["metrics"].values() for frame in target["frames"])
    return json.loads((report / "summary.json").read_text("utf-8"))["metrics"][metric]["rows"]


@pytest.mark.usefixtures("pictures")
def test_a_report_has_every_value_and_says_what_it_is(tree, tmp_path, capsys):
    assert main(command(tmp_path, "mixture", "irm", metric="usdr,sisdr")) == 0
    report = tmp_path / "report"
    assert str(report / "report.md") in capsys.readouterr().out
    values = scores(report)
    assert len(values) == 2 * 3 * 4 * 2  # rows, tracks, sources, metrics
    bass, _ = sf.read(tree / "Song 1" / "bass.wav")
    mixture, _ = sf.read(tree / "Song 1" / "mixture.wav")
    expected = 10 * np.log10(np.sum(bass**2) / np.sum((bass - mixture) ** 2))
    own = [float(values["mixture", f"Song {k}", "bass", "usdr", "SDR"]) for k in range(3)]
    assert own[1] == pytest.approx(expected, abs=1e-6)
    cell = summary(report)["mixture"]["sources"]["bass"]["SDR"]
    assert cell["value"] == pytest.approx(np.mean(own))
    assert cell["interval"][0] < cell["value"] < cell["interval"][1]
    assert cell["tracks"] == 3
    page = (report / "report.md").read_text("utf-8")
    assert f"{cell['value']:.2f}" in page
    assert "Music Demixing Challenge" in page  # the metric's full name
    for name in ("usdr_SDR", "sisdr_SI-SDR"):
        assert (report / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (report / "plots" / f"{name}.svg").read_bytes()
        assert f"](plots/{name}.png)" in page


def test_the_mean_is_of_all_sources_or_not_given(tree, tmp_path):
    perfect = copy_estimates(tree, tmp_path / "perfect", sources=("vocals",))
    assert main(command(tmp_path, f"one={perfect}", "mixture")) == 0
    rows = summary(tmp_path / "report")
    assert rows["one"]["sources"]["vocals"]["SDR"]["value"] == 200
    assert rows["one"]["mean"]["SDR"] is None
    assert rows["mixture"]["mean"]["SDR"] == pytest.approx(
        np.mean([rows["mixture"]["sources"][source]["SDR"]["value"] for source in SOURCES])
    )
    assert "different sources" in (tmp_path / "report" / "report.md").read_text("utf-8")


def test_tracks_are_chosen_by_name_pattern_subset_and_number(tmp_path):
    make_folder(tmp_path / "tree", num_tracks=3, seconds=0.2, subsets=("train", "test"))
    for options, expected in (
        ({"subset": "test", "limit": 2}, {"test/Song 0", "test/Song 1"}),
        ({"subset": "train", "tracks": ["Song 0", "*2"]}, {"train/Song 0", "train/Song 2"}),
    ):
        out = options["subset"]
        assert main(command(tmp_path, "mixture", out=out, **options)) == 0
        assert {track for _, track, *_ in scores(tmp_path / out)} == expected


def test_processes_give_the_same_bytes(tree, tmp_path):
    options = {"metric": "usdr,sisdr", "accompaniment": True}
    assert main(command(tmp_path, "mixture", "ibm", **options)) == 0
    assert main(command(tmp_path, "mixture", "ibm", out="parallel", jobs=2, **options)) == 0
    one, two = contents(tmp_path / "report"), contents(tmp_path / "parallel")
    assert len(one) > 12
    assert one == two


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


def test_a_track_that_fails_is_named_and_the_others_are_kept(tree, tmp_path, capsys):
    folder = copy_estimates(tree, tmp_path / "mine")
    path = tmp_path / "mine" / "Song 1" / "bass.wav"
    whole = path.read_bytes()
    audio, rate = sf.read(path, dtype="float32")
    audio[5000] = np.nan
    sf.write(path, audio, rate, subtype="FLOAT")
    assert main(command(tmp_path, folder, "mixture")) == 1
    reported = capsys.readouterr().err
    assert "mine, Song 1: " in reported
    assert "1 tracks failed" in reported
    report = tmp_path / "report"
    assert not (report / "report.md").exists()
    assert len(list(report.rglob("Song *.json"))) == 5
    path.write_bytes(whole)
    assert main(command(tmp_path, folder, "mixture")) == 0
    assert "5 results of an earlier run are kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("estimate", "fault"),
    [
        (lambda song: {"bass": song.mixture[:100]}, "must share one shape"),
        (lambda song: {"bass": song.mixture * np.float32("inf")}, "must be finite"),
    ],
)
def test_wrong_estimates_are_refused(tree, tmp_path, capsys, monkeypatch, estimate, fault):
    monkeypatch.setattr(scoring, "open_estimator", lambda *_: lambda song: [estimate(song)])
    with np.errstate(invalid="ignore"):
        assert main(command(tmp_path, copy_estimates(tree, tmp_path / "x", sources=["bass"]))) == 1
    assert capsys.readouterr().err.count(fault) == 3


def test_silence_is_counted_and_never_nan(tree, tmp_path):
    audio, rate = sf.read(tree / "Song 0" / "bass.wav", dtype="int16")
    sf.write(tree / "Song 0" / "bass.wav", np.zeros_like(audio), rate)
    mute = copy_estimates(tree, tmp_path / "mute", lambda s, x: x * (s != "drums"))
    assert main(command(tmp_path, mute, metric="usdr,sisdr")) == 0
    report = tmp_path / "report"
    values = scores(report)
    assert values["mute", "Song 0", "bass", "usdr", "SDR"] == ""
    assert not {"nan", "inf", "-inf"} & set(values.values())
    row = summary(report)["mute"]["sources"]
    assert (row["bass"]["silent_references"], row["bass"]["SDR"]["tracks"]) == (1, 2)
    assert row["drums"]["silent_estimates"] == 3
    assert "| mute | 1 / 1 | 0 / 3 |" in (report / "report.md").read_text("utf-8")


def test_the_accompaniment_is_there_for_every_row(tree, tmp_path):
    vocals = copy_estimates(tree, tmp_path / "vocals", sources=("vocals",))
    three = copy_estimates(tree, tmp_path / "three", sources=SOURCES[:3])
    own = copy_estimates(tree, tmp_path / "own")
    for song in tree.iterdir():
        audio, rate = sf.read(song / "mixture.wav", dtype="float32")
        sf.write(tmp_path / "own" / song.name / "accompaniment.wav", audio, rate, subtype="FLOAT")
    rows = (vocals, three, own, "mixture", "irm")
    assert main(command(tmp_path, *rows, accompaniment=True)) == 0
    values = scores(tmp_path / "report")
    for track in ("Song 0", "Song 1", "Song 2"):
        of = {
            row: float(values[row, track, "accompaniment", "usdr", "SDR"])
            for row in ("vocals", "three", "own", "mixture", "irm")
        }
        assert min(of["vocals"], of["three"]) > 100  # the mixture is the exact sum
        assert of["own"] == of["mixture"] < of["irm"] < 100
    page = (tmp_path / "report" / "report.md").read_text("utf-8")
    for rule in ("vocals: the mixture less the vocals", "three: the sum of the others",
                 "own: its own estimate", "irm: the sum of the others"):  # fmt: skip
        assert rule in page


def test_museval_reads_the_files(tmp_path):
    import museval  # looks for ffmpeg

    make_folder(tmp_path / "tree", num_tracks=1, seconds=1.1, sources=("bass", "vocals"))
    assert main(command(tmp_path, "mixture", metric="museval")) == 0
    folder = tmp_path / "report" / "museval" / "mixture"
    store = museval.EvalStore()
    store.add_eval_dir(folder)
    read = store.agg_frames_scores()
    for (_, track, source, _, measure), value in scores(tmp_path / "report").items():
        assert read[track, source, measure] == pytest.approx(float(value))
    track = museval.TrackStore("Song 0")
    track.scores = json.loads((folder / "test" / "Song 0.json").read_text("utf-8"))
    track.validate()


@pytest.mark.parametrize("place", ["stored", "write_result"])
def test_a_full_disk_ends_in_one_line(tree, tmp_path, capsys, monkeypatch, place):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scoring, place, full)
    assert main(command(tmp_path, "mixture", limit=1)) == 1
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "report")
    assert main(command(tmp_path, "mixture", limit=1)) == 0
