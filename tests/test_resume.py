"""Interrupted runs end with the weights of uninterrupted ones; faults leave runs whole."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from small import read_history
from trees import make_dsd100

import keras_mmdense
from keras_mmdense.data import open_dataset, training_set, validation_set
from training.train.__main__ import main
from training.train.recipe import Recipe
from training.train.run_folder import save_model
from training.train.trainer import Trainer, TrainingError

MODEL = {
    "sources": ["bass", "vocals"],
    "shared": True,
    "preset": "mdensenet",
    "head": "mask",
    "bins": 256,
    "growth": 2,
    "layers": 1,
    "scales": 1,
}
BASE = Recipe(
    "test",
    model=MODEL,
    frames=8,
    batch_size=2,
    examples=8,
    optimizer="adam",
    learning_rate=0.01,
    epochs=3,
    patience=1,
)
VARIANTS = {
    "average": {"ema": 0.9, "clipnorm": 1.0, "precision": "bfloat16"},
    "accumulate": {
        "accumulate": 2,
        "optimizer": "rmsprop",
        "sum_weight": 0.5,
        "loss": "l1",
        "loss_weights": {"bass": 2.0},
    },
}


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    tree = make_dsd100(tmp_path_factory.mktemp("tree") / "DSD100", 2, 1, seconds=1.0)
    return list(open_dataset(tree))


class StopAfter(keras.callbacks.Callback):
    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def trainer(recipe, run, tracks, stop_after=None):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(
        f"mixed_{recipe.precision}" if recipe.precision != "float32" else "float32"
    )
    try:
        model = keras_mmdense.build(**recipe.model)
    finally:
        keras.config.set_dtype_policy("float32")
    shape = {"frames": recipe.frames, "batch_size": recipe.batch_size}

    def make_data(epoch, first_step):
        return training_set(
            tracks, model, examples=recipe.examples, epoch=epoch, first_step=first_step, **shape
        )

    made = Trainer(model, recipe, run, make_data, validation_set(tracks, model, **shape))
    if stop_after:
        fit, stop = made._trainee.fit, StopAfter(stop_after)
        made._trainee.fit = lambda data, callbacks, **o: fit(
            data, callbacks=[*callbacks, stop], **o
        )
    return made


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(variant, tracks, tmp_path):
    recipe = replace(BASE, **VARIANTS[variant])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = trainer(recipe, whole, tracks)
    expected.fit(3)
    with pytest.raises(KeyboardInterrupt):
        trainer(recipe, parts, tracks, stop_after=6).fit(3)  # in the second of 4 + 4 + 4 steps
    found = trainer(recipe, parts, tracks)
    found.resume()
    found.fit(3)
    for a, b in zip(expected.model.weights, found.model.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    for key in ("val_loss", "learning_rate"):
        assert [r[key] for r in expected.history] == [r[key] for r in found.history]
    for name in ("best.keras", "last.keras"):
        pair = [keras.saving.load_model(run / name, compile=False) for run in (whole, parts)]
        for a, b in zip(*(model.weights for model in pair), strict=True):
            np.testing.assert_array_equal(a, b)
    assert keras_mmdense.settings_of(whole / "best.keras").sources == ("bass", "vocals")


def test_the_best_model_is_the_average_s_and_float32(tracks, tmp_path):
    made = trainer(replace(BASE, ema=0.5, precision="bfloat16"), tmp_path, tracks)
    made.fit(1)
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert best.get_layer("final_dense_layer1_conv").compute_dtype == "float32"
    differs = [
        not np.array_equal(a, b)
        for a, b in zip(best.trainable_weights, made.model.trainable_weights, strict=True)
    ]
    assert all(differs)
    assert made.history[0]["audio_seconds_per_second"] > 0
    assert 0 <= made.history[0]["waiting_share"] <= 1


def test_a_loss_that_is_no_number_stops_the_run(tracks, tmp_path, capsys):
    made = trainer(replace(BASE, learning_rate=0.5), tmp_path, tracks)
    made.fit(1)
    good = (tmp_path / "last.keras").read_bytes()
    made.model.get_layer("bass_final_conv").bias.assign([np.nan, np.nan])
    with pytest.raises(TrainingError, match="received nan in epoch 2"):
        made.fit(2)
    assert (tmp_path / "last.keras").read_bytes() == good


def test_a_failed_save_leaves_the_old_file(tracks, tmp_path, monkeypatch):
    made = trainer(BASE, tmp_path, tracks)
    made.fit(1)
    good = (tmp_path / "last.keras").read_bytes()

    def full(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(made.model, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(made.model, tmp_path / "last.keras", {"epoch": 9, "step": 0})
    assert (tmp_path / "last.keras").read_bytes() == good
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.keras", "history.csv", "last.keras"]


RECIPE = """
frames = 8
batch_size = 2
examples = 8
epochs = {epochs}
[model]
preset = "mdensenet"
sources = ["bass", "vocals"]
shared = true
head = "mask"
bins = 256
growth = 2
layers = 1
scales = 1
"""


def command(tree, folder, *more):
    return [str(folder / "mini.toml"), "--data", str(tree), "--out", str(folder / "run"), *more]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_killed_in_mid_epoch_then_resumed(how, tmp_path):
    tree = make_dsd100(tmp_path / "DSD100", 2, 1, seconds=1.0)
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=2000))
    process = subprocess.Popen(
        [sys.executable, "-m", "training.train", *command(tree, tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    with process:
        for line in process.stdout:
            if line.startswith("Epoch 3/"):
                process.send_signal(how)
                break
        process.stdout.read()
    assert process.returncode == (130 if how == signal.SIGTERM else -signal.SIGKILL)
    names = {p.name for p in (tmp_path / "run").iterdir() if not p.name.startswith(".")}
    assert names >= {"best.keras", "history.csv", "last.keras", "run.json"}
    epochs = len(read_history(tmp_path / "run" / "history.csv"))
    assert epochs >= 2
    resumed = command(tree, tmp_path, "--resume", "--epochs", str(epochs + 1))
    assert main(resumed) == 0
    assert [row["epoch"] for row in read_history(tmp_path / "run" / "history.csv")] == [
        *range(1, epochs + 2)
    ]


def test_what_cannot_be_resumed_is_refused(tmp_path, capsys):
    tree = make_dsd100(tmp_path / "DSD100", 2, 1, seconds=1.0)
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=1))
    assert main(command(tree, tmp_path, "--resume")) == 2
    assert "needs the folder of a run" in capsys.readouterr().err
    assert main(command(tree, tmp_path)) == 0
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=1) + "channels = 1\n")
    assert main(command(tree, tmp_path, "--resume")) == 2
    assert "another recipe (model)" in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["recipe"]["model"]["growth"] == 2


def test_fine_tuning_keeps_what_is_frozen(tmp_path, capsys):
    tree = make_dsd100(tmp_path / "DSD100", 2, 1, seconds=1.0)
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=1))
    assert main(command(tree, tmp_path)) == 0
    best = tmp_path / "run" / "best.keras"
    second = [str(tmp_path / "mini.toml"), "--data", str(tree), "--init", str(best)]
    out = tmp_path / "second"
    assert main([*second, "--out", str(out), "--freeze", "full_dense1_*", "full_first*"]) == 0
    before, after = (keras.saving.load_model(p, compile=False) for p in (best, out / "last.keras"))
    kernels = [
        [m.get_layer(n).kernel for m in (before, after)]
        for n in ("full_dense1_layer1_conv", "full_dense3_layer1_conv")
    ]
    assert np.array_equal(*kernels[0])
    assert not np.array_equal(*kernels[1])
    third = tmp_path / "third"
    assert main([*second, "--out", str(third), "--freeze", "full_*", "middle_*"]) == 2
    assert "--freeze must match layers; received 'middle_*'" in capsys.readouterr().err
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=1).replace("growth = 2", "growth = 3"))
    assert main([*second, "--out", str(third)]) == 2
    assert "recipe's architecture" in capsys.readouterr().err
    (tmp_path / "mini.toml").write_text("loss_weights = { vocal = 9 }\n" + RECIPE.format(epochs=1))
    assert main([*second, "--out", str(third)]) == 2
    assert "loss_weights must name" in capsys.readouterr().err
    assert not third.exists()  # what is refused leaves nothing
