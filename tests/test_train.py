"""The whole path on a generated DSD100 tree: train, save, separate, export, run on the device."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from small import SMALL
from trees import make_dsd100

import keras_mmdense
from keras_mmdense.data import open_dataset, training_set
from keras_mmdense.data.mixing import Mixing
from training.train.__main__ import main
from training.train.recipe import RECIPES, Recipe, RecipeError, load_recipe
from training.train.split import open_tracks
from training.train.trainer import Trainer

RECIPE = """
frames = 16
batch_size = 4
examples = 32
epochs = 4
optimizer = "adam"
learning_rate = 0.01
loss = "l1"
training_data = "generated tones"
licence = "CC0-1.0"
[mixing]
gain = [0.5, 1.0]
[model]
sources = ["bass", "drums", "other", "vocals"]
shared = true
head = "mask"
bins = 256
growth = 4
layers = 1
scales = 1
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_dsd100(tmp_path_factory.mktemp("tree") / "DSD100", 4, 1, seconds=2.0)


@pytest.fixture(scope="module")
def run(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "mini.toml").write_text(RECIPE)
    assert main([str(folder / "mini.toml"), "--data", str(tree), "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_tensorflow_traces_a_step_once(tmp_path, monkeypatch):
    traced, step = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda *args: traced.append(1) or step(*args))
    model = keras_mmdense.build("mdensenet", ("a", "b"), head="mask", scales=1, **SMALL)
    sound = np.ones((1, 8, 64, 2), np.float32)
    data = tf.data.Dataset.from_tensors((sound, {"a": sound / 2, "b": sound / 2}))
    for recipe in (Recipe("test", ema=0.9), Recipe("test", sum_weight=1.0, loss="excerpt_sdr")):
        Trainer(model, recipe, tmp_path, lambda *_: data, data).fit(1)
        assert traced == [1]
        traced.clear()


def test_the_loss_falls(run):
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert len(rows) == 4
    for column in ("loss", "val_loss"):
        losses = [float(row[column]) for row in rows]
        assert losses[-1] < 0.9 * losses[0]


def test_the_record_tells_how_to_run_it_again(run):
    record = json.loads((run / "run.json").read_text())
    assert record["recipe"]["learning_rate"] == 0.01
    assert record["recipe"]["mixing"]["gain"] == [0.5, 1.0]
    assert record["versions"]["keras"] == keras.__version__
    assert len(record["tracks"]) + len(record["validation_tracks"]) == 4
    assert not set(record["tracks"]) & set(record["validation_tracks"])
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_from_the_run_to_the_device(run, tree, tmp_path):
    from mmdense_edge import Separator

    model = keras.saving.load_model(run / "best.keras")
    assert keras_mmdense.settings_of(model).licence == "CC0-1.0"
    track = open_dataset(tree, subset="test")[0]
    mixture = track.read("mixture")
    stems = keras_mmdense.separate(model, mixture, track.sample_rate)
    keras_mmdense.export(model, tmp_path / "mini.tflite", window_frames=64)
    found = Separator(tmp_path / "mini.tflite").separate(mixture, track.sample_rate)
    for source, stem in stems.items():
        np.testing.assert_allclose(found[source], stem, atol=1e-4)
        reference = track.read(source)
        assert sdr(reference, stem) > sdr(reference, mixture)


def sdr(reference, estimate):
    return 10 * np.log10((reference**2).sum() / ((reference - estimate) ** 2).sum())


def test_the_target_is_the_source_and_not_the_mixture(tree):
    """Trained with the mixture as target, a mask would open for everything: here it must close."""
    keras.utils.set_random_seed(0)
    sources = ("bass", "drums", "other", "vocals")
    model = keras_mmdense.build(
        sources=sources, shared=True, head="mask", bins=256, growth=8, layers=1, scales=1
    )
    tracks = open_dataset(tree, subset="train")
    data = training_set(tracks, model, frames=16, batch_size=4, examples=96, mixing=Mixing(1.0))
    keras_mmdense.adapt(model, data)
    model.compile(keras.optimizers.Adam(0.01), "mae")
    model.fit(data, epochs=4, verbose=0, shuffle=False)
    mixture, targets = next(iter(data))
    estimates = model.predict(mixture, verbose=0)
    for source in sources:
        to_source = np.abs(estimates[source] - targets[source]).mean()
        to_mixture = np.abs(estimates[source] - mixture).mean()
        assert to_source < 0.7 * to_mixture


def test_every_recipe_in_the_repository_is_whole(monkeypatch):
    import keras_mmdense.model as module

    monkeypatch.setattr(module, "build_from_settings", lambda settings: settings)
    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    assert {"smoke", "edge"} <= set(names)
    for name in names:
        recipe = load_recipe(name)
        assert keras_mmdense.build(**recipe.model).sources
        head = (RECIPES / f"{name}.toml").read_text().split("\n\n")[0]
        assert f"Command: python -m training.train {name} " in head
        assert "Time:" in head
        assert "Score:" in head


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "colour = 'red'",
        "loss = 'l7'",
        "epochs = 0",
        "[mixing]\nvolume = 1",
        "learning_rate = 5",
        "optimizer = 'sgdd'",
        "frames = 7.5",
        "examples = 0",
        "clipnorm = 'a'",
        "[mixing]\ngain = [1.0]",
    ],
)
def test_wrong_recipes_are_refused(text, tmp_path):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "r.toml"))
    assert "\n" not in str(caught.value)


def test_wrong_commands_end_in_one_line(run, tree, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for arguments in (
        ["nothing", "--data", str(tree), "--out", str(tmp_path / "a")],
        ["smoke", "--data", str(tmp_path / "empty"), "--out", str(tmp_path / "b")],
        ["smoke", "--data", str(tree), "--out", str(run)],
    ):
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert message.startswith("train: ")
        assert message.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_any_list_of_tracks_can_validate(tree, tmp_path):
    names = [track.name for track in open_dataset(tree)]
    listed = tmp_path / "valid.txt"
    listed.write_text(f"{names[1]}\n\n{names[2]}\n")
    tracks, valid = open_tracks([str(tree)], valid_names=str(listed))
    assert [track.name for track in valid] == names[1:3]
    assert not set(tracks) & set(valid)
    assert {track.subset for track in tracks} <= {"train", "valid"}
    for text in ("nobody\n", "", None):
        listed.unlink() if text is None else listed.write_text(text)
        with pytest.raises(RecipeError, match="--valid-tracks"):
            open_tracks([str(tree)], valid_names=str(listed))


def test_a_recipe_s_bands_are_bands(tmp_path):
    path = tmp_path / "mine.toml"
    band = '[[model.bands]]\nname = "{}"\nstart = 0\nstop = 1\ngrowth = [4]\nlayers = [1]\n'
    path.write_text((RECIPES / "smoke.toml").read_text() + band.format("low") + band.format("full"))
    recipe = load_recipe(str(path))
    assert isinstance(recipe, Recipe)
    assert [band.name for band in recipe.model["bands"]] == ["low", "full"]
