"""From a data set to a table: what is told, kept and refused; nothing is trained on the tests."""

import json
import shutil
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import soundfile as sf
from command_runs import contents
from runs import RECIPE
from test_resume import stop_at
from trees import SOURCES, make_dsd100, make_folder, make_musdb18

import keras_mmdense
from keras_mmdense.data import open_dataset
from training import prepare, run
from training.evaluate import scoring

METRICS = run.METRICS


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_musdb18(tmp_path_factory.mktemp("data") / "set", 4, 2, seconds=1.1)


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A recipe for a run of seconds in the current folder; one metric, no plots."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=2))
    monkeypatch.setattr("training.evaluate.tables.boxes", lambda *_, **__: None)
    monkeypatch.setattr(run, "METRICS", ("usdr",))


def command(tree, *more, name="musdb18"):
    return run.main([name, "--data", str(tree), "--out", "run", "--recipe", "mini.toml", *more])


@pytest.fixture
def trained(tmp_path, small_file, monkeypatch):
    """Do not train: write the files of a run; return the tracks that were to be trained on."""
    calls = []

    def train(args, recipe, tracks, valid):
        calls.append((tracks, valid))
        folder = tmp_path / args.out
        folder.mkdir(exist_ok=True)
        names = {"tracks": [t.name for t in tracks], "validation_tracks": [t.name for t in valid]}
        (folder / "run.json").write_text(json.dumps(names))
        if not args.resume:
            raise KeyboardInterrupt
        shutil.copy(small_file, folder / "best.keras")
        (folder / "history.csv").write_text("epoch,val_loss,seconds\n1,3,7200\n2,2,7200\n")

    monkeypatch.setattr(run, "train", train)
    return calls


def stop(monkeypatch, place, name, at):
    """Raise what Ctrl-C does at a call of a function; return its calls."""
    before, calls = getattr(place, name), []

    def called(*args):
        calls.append(args)
        if len(calls) == at:
            raise KeyboardInterrupt
        return before(*args)

    monkeypatch.setattr(place, name, called)
    return calls


CARD = (
    "MUSDB18, train; 3 songs, and 1 to validate on",
    "License of the weights: see the license of MUSDB18",
    "on 2 songs that were neither trained nor",
    "2 epochs of 2 h 0 min, 4 h 0 min in all; the best is epoch 2",
)


def test_stopped_in_every_stage_the_same_command_ends_with_the_same_files(
    tree, tmp_path, trained, monkeypatch, capsys
):
    assert command(tree) == 130  # at once in training
    assert command(tree) == 0
    whole = contents(tmp_path / "run")
    page, scores = whole["README.md"].decode(), json.loads(whole["scores/summary.json"])
    assert [words for words in CARD if words not in page] == []
    for row, what in run.ROWS.items():
        (line,) = [x for x in page.splitlines() if x.startswith(f"| usdr | {what} |")]
        for source, cell in zip(SOURCES, line.split("|")[3:7], strict=True):
            measures = scores["metrics"]["usdr"]["rows"][row]["sources"].get(source)
            assert cell.split()[0] == (f"{measures['SDR']['value']:.2f}" if measures else "-")
    shutil.rmtree("run")
    stages = [
        (run, "check_samples", 2, 2),
        (prepare, "write_track", 3, 4),
        (scoring, "write_result", 4, 6),
        (run, "card", 1, 1),
    ]
    calls = []
    for place, name, at, _ in stages:
        calls.append(stop(monkeypatch, place, name, at))
        assert command(tree) == 130
        assert "stopped; what is finished is kept" in capsys.readouterr().err
        if name == "write_track":
            assert command(tree) == 130  # in training
    assert command(tree) == 0
    again = [len(made) - needed for made, (*_, needed) in zip(calls, stages, strict=True)]
    assert again == [1] * 4  # what was under way, and nothing that was finished
    found = contents(tmp_path / "run")
    times = {name: found[name] for name in found if name.endswith("run.json")}
    assert found == whole | times
    assert command(tree) == 0
    assert contents(tmp_path / "run") == found


SPLITS = {
    "the test split": ("", ""),
    "a list": ("Artist 2 - Song", ""),
    "a list that validates by default": ("Leaf - Summerghost", ""),
    "both lists": ("Artist 2 - Song", "Artist 1 - Song"),
    "a song in both folders": ("", ""),
    "a list, and a song in both folders": ("Artist 2 - Song", ""),
}


@pytest.mark.parametrize("case", SPLITS)
def test_what_is_tested_on_is_never_trained_or_validated_on(case, tree, tmp_path, trained):
    listed, valid = SPLITS[case]
    own = shutil.copytree(tree, tmp_path / "set")
    if "both folders" in case:
        song = own / "test" / "Artist 1 - Test Song.stem.mp4"
        shutil.copy(song, own / "train" / "ARTIST 1 - test song.stem.mp4")
    assert command(own) == 130  # RUN/data has all songs to train on now
    shutil.rmtree("run/train")
    (tmp_path / "test.txt").write_text(listed)
    (tmp_path / "valid.txt").write_text(valid)
    more = ["--test-tracks", "test.txt"] if listed else []
    more += ["--valid-tracks", "valid.txt"] if valid else []
    assert command(own, *more) == 130
    tracks, held_out = trained[-1]
    names = {track.name.casefold() for track in (*tracks, *held_out)}
    tested = {"artist 0 - test song", "artist 1 - test song", listed.casefold()}
    assert names == {track.name.casefold() for track in open_dataset(own)} - tested
    own_copy = tmp_path / "run" / "data"
    assert all(track.path.is_relative_to(own_copy) for track in (*tracks, *held_out))
    assert not valid or [track.name for track in held_out] == [valid]


REFUSED = {
    "another form": ("dsd100", [], "must have the form dsd100 or folder; received 'musdb18'"),
    "validates on the test": ("musdb18", ["--valid-tracks", "test.txt"], "--valid-tracks must"),
    "unknown songs": ("musdb18", ["--test-tracks", "mini.toml"], "--test-tracks must name"),
    "no such recipe": ("musdb18", ["--recipe", "none"], "a recipe is one of"),
    "no parts": ("musdb18", ["--accumulate", "0"], "--accumulate must divide"),
    "no weights": ("musdb18", ["--init", "none"], "received 'none'"),
    "folder in use": ("musdb18", ["--out", "."], "--out must be a new or empty folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_commands_end_in_one_line(case, tree, tmp_path, capsys):
    name, more, words = REFUSED[case]
    (tmp_path / "test.txt").write_text("Artist 0 - Test Song\n")
    before = contents(tmp_path)
    assert command(tree, *more, name=name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert contents(tmp_path) == before


def test_what_has_no_test_split_or_no_subsets_is_refused(tmp_path, capsys):
    assert command(make_musdb18(tmp_path / "set", 2, 0, 0.2)) == 2
    assert "must have a test split" in capsys.readouterr().err
    (tmp_path / "test.txt").write_text("Song 1")
    assert command(make_folder(tmp_path / "flat", 3, 0.2), "--test-tracks", "test.txt") == 2
    assert "at least two tracks; received 0" in capsys.readouterr().err  # which may be anything


def test_disk_and_memory_are_told_before_anything_is_written(tree, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "check", Mock(side_effect=KeyboardInterrupt))
    monkeypatch.setattr("training.train.precision.fastest_precision", lambda: ("bfloat16", {}))
    (tmp_path / "mini.toml").write_text('precision = "auto"' + RECIPE.format(epochs=2))
    assert command(tree) == 130
    assert not any((tmp_path / "run").iterdir())
    text = capsys.readouterr().out
    assert "precision bfloat16" in text
    assert "3 to train on, 1 to validate on, 2 to test on" in text
    needs = 1e9 * float(text.split("disk    ")[1].split(" GB")[0])
    usage = shutil.disk_usage(tmp_path)._replace(free=needs / 2)
    monkeypatch.setattr(run.shutil, "disk_usage", lambda _: usage)
    assert command(tree, "--out", "second") == 2
    assert "the disk must have room" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


def test_damage_is_found_before_the_training_and_read_once(tmp_path, trained, capsys, monkeypatch):
    tree = make_dsd100(tmp_path / "set", 3, 2, 0.2)
    broken = tree / "Sources" / "Test" / "001 - Artist 0 - Song" / "drums.wav"
    audio, rate = sf.read(broken)
    audio[500] = np.nan
    sf.write(broken, audio, rate, subtype="FLOAT")
    checks = stop(monkeypatch, run, "check_samples", 0)
    for _ in range(2):
        assert command(tree, name="dsd100") == 130  # in training
        assert "left out: Sources/Test/001 - Artist 0 - Song/drums.wav" in capsys.readouterr().err
        assert len(checks) == 5
        shutil.rmtree("run/train")
    assert not (tmp_path / "run" / "data").exists()  # 16-bit WAV files are read where they are
    shutil.rmtree(tree / "Sources" / "Test" / "002 - Artist 1 - Song")
    assert command(tree, name="dsd100") == 2  # before it trains, with nothing to test on
    assert len(trained) == 2


@pytest.mark.slow
def test_from_the_songs_to_the_table(tree, tmp_path, monkeypatch):
    """Interrupted, it ends with the same weights."""
    monkeypatch.setattr(run, "METRICS", METRICS)
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert command(tree) == 130
    assert command(tree) == 0
    (tmp_path / "run").rename("parts")
    assert command(tree) == 0
    models = [keras.saving.load_model(f"{name}/train/best.keras") for name in ("parts", "run")]
    for a, b in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    parts, whole = contents(tmp_path / "parts"), contents(tmp_path / "run")
    assert parts.keys() == whole.keys()
    assert parts["scores/scores.csv"] == whole["scores/scores.csv"]
    for metric in METRICS:
        assert whole["README.md"].count(f"| {metric} | ".encode()) == 3
    assert "train/loss.png" in whole
    assert keras_mmdense.settings_of(models[0]).license == "see the license of MUSDB18"
