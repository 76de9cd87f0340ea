"""Interrupted runs end with the weights of uninterrupted ones; damaged ones are refused whole."""

import json
import os
import shutil
import signal
import zipfile
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest
from runs import MODEL, train
from small import read_history
from trees import make_dsd100

import keras_mmdense
from training.train.recipe import Recipe
from training.train.run_folder import STATE, save_model, write_text
from training.train.trainer import StepWatch, Trainer

BASE = {
    "model": MODEL, "frames": 8, "batch_size": 2, "examples": 8, "epochs": 3, "patience": 1,
    "optimizer": "adam", "learning_rate": 0.01,
}  # fmt: skip
VARIANTS = {
    "average": {"ema": 0.9, "clipnorm": 1.0, "precision": "float16"},
    "accumulate": {
        "accumulate": 2, "jit": False, "optimizer": "rmsprop", "loss": "l1",
        "loss_weights": {"bass": 2.0},
    },
}  # fmt: skip


def stop_at(monkeypatch, step, number=signal.SIGTERM):
    """Have the process receive a signal at the end of a step, counted from now."""
    steps, plain = [], StepWatch.on_train_batch_end

    def stop(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == step:
            signal.raise_signal(number)
        plain(self, batch, logs)

    monkeypatch.setattr(StepWatch, "on_train_batch_end", stop)
    return steps


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("variant", [pytest.param("average", marks=pytest.mark.slow), "accumulate"])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(variant, tracks, tmp_path, monkeypatch):
    recipe = Recipe("test", **BASE | VARIANTS[variant])
    runs = whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run in runs:
        run.mkdir()
    expected = Trainer(recipe, tracks, tracks, whole)
    expected.fit(3)
    with monkeypatch.context() as patch:
        stop_at(patch, 6)  # in the second of 4 + 4 + 4 steps
        with pytest.raises(KeyboardInterrupt):
            Trainer(recipe, tracks, tracks, parts).fit(3)
    found = Trainer(recipe, tracks, tracks, parts)
    found.resume()
    found.fit(3)
    for a, b in zip(expected.model.weights, found.model.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    for key in ("val_loss", "learning_rate"):
        assert [r[key] for r in expected.history] == [r[key] for r in found.history]
    for name in ("best.keras", "last.keras"):
        pair = [keras.saving.load_model(run / name, compile=False) for run in runs]
        for a, b in zip(*(model.weights for model in pair), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_best_model_is_the_average_s_and_float32(tracks, tmp_path):
    recipe = Recipe("test", **BASE | {"ema": 0.5, "precision": "bfloat16", "jit": False})
    made = Trainer(recipe, tracks, tracks, tmp_path)
    made.fit(1)
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert best.get_layer("final_dense_layer1_conv").compute_dtype == "float32"
    pairs = list(zip(best.weights, made.model.weights, strict=True))
    assert [a.path for a, _ in pairs] == [b.path for _, b in pairs]
    assert not any(np.array_equal(a, b) for a, b in pairs if a.trainable)
    averages = made.model.optimizer._model_variables_moving_average
    for a, b in zip(best.trainable_weights, averages, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=a.path)
    (row,) = made.history
    audio = 4 * 2 * 8 * 64 / 44100  # steps, examples, frames, samples of a hop
    assert row["audio_seconds_per_second"] * row["seconds"] == pytest.approx(audio, rel=0.1)
    assert 0 <= row["waiting_share"] <= 1


def test_a_loss_that_is_no_number_stops_the_run(tracks, tmp_path):
    made = Trainer(Recipe("test", **BASE, jit=False), tracks, tracks, tmp_path)
    made.fit(1)
    good = (tmp_path / "last.keras").read_bytes()
    made.model.get_layer("bass_final_conv").bias.assign([np.nan, np.nan])
    with pytest.raises(FloatingPointError, match="in epoch 2; received nan"):
        made.fit(2)
    assert (tmp_path / "last.keras").read_bytes() == good


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with data, recipe and a run of two epochs; copied, not changed."""
    folder = tmp_path_factory.mktemp("finished")
    make_dsd100(folder / "tree", 2, 1, seconds=1.0)
    assert train(folder, epochs=2) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def epochs_of(folder):
    return [row["epoch"] for row in read_history(folder / "run" / "history.csv")]


@pytest.mark.usefixtures("terminal")
def test_a_run_stopped_in_its_first_epoch_goes_on(folder, monkeypatch):
    shutil.rmtree(folder / "run")
    with monkeypatch.context() as patch:
        steps = stop_at(patch, 2)
        assert train(folder) == 130
    assert len(steps) == 2
    assert {path.name for path in (folder / "run").iterdir()} == {"last.keras", "run.json"}
    assert train(folder, "--resume") == 0
    assert epochs_of(folder) == [1]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_waits_for_the_end_of_the_step_unless_it_was_ignored(number, ignored):
    if ignored:
        signal.signal(number, signal.SIG_IGN)
    reached, ending = [], nullcontext() if ignored else pytest.raises(KeyboardInterrupt)
    with ending, StepWatch(0, 1).interrupted_between_steps():
        signal.raise_signal(number)
        reached.append(number)
    assert reached == [number]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Change a byte of the weights, which the archive's directory does not tell."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def with_state(text):
    def change(path):
        path.write_bytes(path.with_name("best.keras").read_bytes())
        if text is not None:
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(STATE, text)

    return change


FAULTS = {
    "missing": ("last.keras", Path.unlink),
    "empty": ("last.keras", lambda path: os.truncate(path, 0)),
    "cut": ("last.keras", cut),
    "both cut": ("last.keras", lambda path: (cut(path), cut(path.with_name("best.keras")))),
    "flipped": ("last.keras", flip),
    "folder": ("last.keras", lambda path: (path.unlink(), path.mkdir(), (path / "x").touch())),
    "no state": ("last.keras", with_state(None)),
    "no json": ("last.keras", with_state("{")),
    "other epochs": ("last.keras", with_state('{"epoch": 2, "step": 0, "history": []}')),
    "record missing": ("run.json", Path.unlink),
    "record empty": ("run.json", lambda path: os.truncate(path, 0)),
    "record cut": ("run.json", cut),
    "record no object": ("run.json", lambda path: path.write_text("[]")),
    "record binary": ("run.json", lambda path: path.write_bytes(b"\xff\xfe")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_cannot_go_on_is_refused_and_left_as_it_is(fault, folder, capsys):
    run = folder / "run"
    name, damage = FAULTS[fault]
    damage(run / name)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert train(folder, "--resume", epochs=3) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: --resume ")
    assert name in line
    advised = "best.keras is damaged" if fault == "both cut" else f"--init {run / 'best.keras'}"
    assert advised in line
    assert ("--init" in line) == (fault != "both cut")
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_lost_history_comes_back_and_a_lost_best_model_is_reported(damage, folder, capsys):
    """history.csv is for reading: the checkpoint has its own."""
    run = folder / "run"
    before = (run / "history.csv").read_text()
    damage(run / "history.csv")
    damage(run / "best.keras")
    assert train(folder, "--resume", epochs=3) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train:")]
    assert "best.keras is " in line
    assert (run / "history.csv").read_text().startswith(before)
    assert epochs_of(folder) == [1, 2, 3]


def test_a_full_disk_leaves_the_last_checkpoint(folder, small_disk, capsys):
    run = folder / "run"
    good = {name: (run / name).read_bytes() for name in ("last.keras", "best.keras")}
    with small_disk(30_000):
        assert train(folder, "--resume", epochs=3) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train:")]
    assert "File too large" in line
    assert {name: (run / name).read_bytes() for name in good} == good
    assert not list(run.glob(".*tmp*"))


@pytest.mark.parametrize("kind", ["text", "model"])
def test_content_is_on_the_disk_before_it_gets_its_name(kind, small_model, tmp_path, monkeypatch):
    path = tmp_path / "file.keras"
    path.write_text("old")
    steps, replace = [], os.replace

    def synced(descriptor):
        steps.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    def replaced(source, target):
        steps.append((str(source), path.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    if kind == "text":
        write_text(path, "new")
    else:
        save_model(small_model, path, {"epoch": 0})
        with zipfile.ZipFile(path) as archive:
            assert json.loads(archive.read(STATE)) == {"epoch": 0}
    temporary = steps[0]
    assert temporary != str(path)
    assert steps == [temporary, (temporary, b"old"), str(tmp_path)]


def test_fine_tuning_keeps_what_is_frozen(folder):
    best = folder / "run" / "best.keras"
    freeze = ["--freeze", "full_dense1_*", "full_first*"]
    assert train(folder, "--init", str(best), *freeze, out="second") == 0
    files = best, folder / "second" / "last.keras"
    models = [keras.saving.load_model(path, compile=False) for path in files]
    for name, frozen in (("full_dense1_layer1_conv", True), ("full_dense3_layer1_conv", False)):
        assert np.array_equal(*(model.get_layer(name).kernel for model in models)) == frozen
    assert keras_mmdense.settings_of(best).sources == ("bass", "vocals")


REFUSED = {
    "a folder without a run": (["--resume"], "", "--resume needs the folder of a run"),
    "another recipe": (["--resume", "--out", "{run}"], "channels = 1\n", "another recipe (model)"),
    "other frozen layers": (["--resume", "--out", "{run}", "--freeze", "full_*"], "",
                            "needs the --freeze of the run, []; received ['full_*']"),
    "a folder in use": (["--out", "{run}"], "", "--out must be a new or empty folder"),
    "no such layers": (["--freeze", "full_*", "middle_*"], "", "received 'middle_*'"),
    "another architecture": (["--init", "{run}/best.keras"], "compression = 'log'\nfold = 2\n",
                             "recipe's architecture"),
    "weights flipped": (["--init", "{copy}/flipped.keras"], "", "--init must be"),
    "too many parts": (["--accumulate", "3"], "", "must divide"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_nothing(case, folder, capsys):
    more, text, words = REFUSED[case]
    run = folder / "run"
    flip(shutil.copy(run / "best.keras", folder / "flipped.keras"))
    before = {p: p.read_bytes() for p in run.iterdir()}
    recipe = (folder / "mini.toml").read_text() + text
    more = [part.format(run=run, copy=folder) for part in more]
    assert train(folder, *more, out="new", recipe=recipe) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (folder / "new").exists()
    assert {p: p.read_bytes() for p in run.iterdir()} == before
