"""Whichever way a model gets its weights, its stems are those of the weights, or it is refused."""

import copy
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from mmdense_edge.model import bundled
from small import disturb

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.normalization import ready
from keras_mmdense.tflite.rewrite import rewrite
from keras_mmdense.weights import find_weights

SMALL = {"bins": 64, "growth_rate": 2, "num_layers": 1, "scales": 1, "final_growth_rate": 2,
         "final_num_layers": 1}  # fmt: skip
DEVICE = {"sources": ("bass", "vocals"), "shared": True, "head": "mask", "compression": "log",
          "frames": 8}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    """As the presets for devices are: masks, logarithm of the input, folded bins."""
    made = keras_mmdense.build(fold=2, norm="after", **DEVICE, **SMALL)
    disturb(made)
    return made


@pytest.fixture
def song(rng):
    return rng.uniform(-0.5, 0.5, (3000, 2)).astype(np.float32)


def through(made, folder, name):
    made.save(folder / name)
    return folder / name


def with_weights(target, source):
    target.set_weights(source.get_weights())
    return target


def from_weights_file(made, folder):
    made.save_weights(folder / "m.weights.h5")
    other = keras_mmdense.build_from_settings(keras_mmdense.settings_of(made))
    other.load_weights(folder / "m.weights.h5")
    return other


HABITS = {
    "clone_model": lambda m, _: with_weights(keras.models.clone_model(m), m),
    "build": lambda m, _: with_weights(
        keras_mmdense.build_from_settings(keras_mmdense.settings_of(m)), m
    ),
    "from_config": lambda m, _: with_weights(m.__class__.from_config(m.get_config()), m),
    "json": lambda m, _: with_weights(keras.models.model_from_json(m.to_json()), m),
    "deepcopy": lambda m, _: copy.deepcopy(m),
    "clone of a clone": lambda m, f: HABITS["clone_model"](HABITS["clone_model"](m, f), f),
    "clone of a file": lambda m, f: HABITS["clone_model"](
        keras.saving.load_model(through(m, f, "m.keras")), f
    ),
    "file": lambda m, f: keras.saving.load_model(through(m, f, "m.keras")),
    "weights=.keras": lambda m, f: keras_mmdense.build(weights=through(m, f, "m.keras")),
    "weights=.h5": lambda m, f: keras_mmdense.build(weights=through(m, f, "m.h5")),
    "weights file": from_weights_file,
}


RARE = ("from_config", "json", "deepcopy", "clone of a clone", "clone of a file", "weights file")


@pytest.mark.parametrize(
    "habit", [pytest.param(name, marks=[pytest.mark.slow] * (name in RARE)) for name in HABITS]
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_stems_are_those_of_the_weights(habit, model, song, tmp_path):
    copied = HABITS[habit](model, tmp_path)
    found = keras_mmdense.separate(copied, song, 44100)
    for source, stem in keras_mmdense.separate(model, song, 44100).items():
        np.testing.assert_allclose(found[source], stem, atol=1e-6)
    assert keras_mmdense.settings_of(copied) == keras_mmdense.settings_of(model)


def test_training_and_export_read_a_clone_s_weights_too(model, tracks, rng):
    x = rng.random((1, 8, 64, 2)).astype(np.float32)
    for use in (lambda m: keras_mmdense.data.training_set(tracks, m, frames=8), ready):
        clone = with_weights(keras.models.clone_model(model), model)
        clone.predict_on_batch(x)  # what is compiled holds the constants
        use(clone)
        for source, y in clone.predict_on_batch(x).items():
            np.testing.assert_allclose(y, model(x)[source], atol=1e-6)


def test_a_magnitude_head_undoes_the_scale_of_its_weights(song):
    made = keras_mmdense.build(**SMALL)
    keras_mmdense.adapt(made, [np.full((1, 8, 64, 2), v, np.float32) for v in (1, 5)])
    clone = with_weights(keras.models.clone_model(made), made)
    expected = keras_mmdense.separate(made, song, 44100)["vocals"]
    np.testing.assert_allclose(
        keras_mmdense.separate(clone, song, 44100)["vocals"], expected, atol=1e-6
    )


@pytest.mark.parametrize(
    "part",
    [
        lambda m: keras.Model(m.input, m.output["vocals"]),
        lambda m: keras.Model(m.input, {"vocals": m.output["vocals"]}),
        lambda m: keras.Model(m.input, list(m.output.values())),
        lambda m: keras.Sequential([m]),
        lambda m: "model.keras",
    ],
)
def test_a_part_of_a_model_is_refused(part, model, song):
    with pytest.raises(SettingsError, match="received"):
        keras_mmdense.separate(part(model), song, 44100)


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.mark.usefixtures("channels_first")
@pytest.mark.parametrize("norm", ["before", "after"])
def test_the_order_of_axes_in_keras_json_does_not_matter(norm, rng):
    options = DEVICE | {"norm": norm, "pooling": "average", "head": "mask"}
    made = keras_mmdense.build(**options, **SMALL)
    disturb(made)
    x = rng.random((1, 8, 64, 2)).astype(np.float32)
    small = rewrite(made)
    keras.config.set_image_data_format("channels_last")
    other = with_weights(keras_mmdense.build(**options, **SMALL), made)
    ready(other)
    for source, y in other(x).items():
        np.testing.assert_allclose(made(x)[source], y, atol=1e-6)
        np.testing.assert_allclose(small(x)[source], y, atol=1e-4)


@pytest.fixture(params=["mixed_float16", "float64"])
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def test_trained_weights_open_in_float32_whatever_the_policy(policy, song, tmp_path):
    """And a model of half precision separates like the float32 one of its file."""
    made = keras_mmdense.build(fold=2, **DEVICE, **SMALL)
    disturb(made)
    assert {output.dtype for output in made.output.values()} == {"float32"}
    opened = keras_mmdense.build(weights=through(made, tmp_path, "m.keras"))
    assert keras.config.dtype_policy().name == policy
    assert {layer.compute_dtype for layer in opened.layers} == {"float32"}
    whole = keras_mmdense.separate(opened, song, 44100)
    for source, stem in keras_mmdense.separate(made, song, 44100).items():
        assert stem.dtype == np.float32
        np.testing.assert_allclose(stem, whole[source], atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled.MODELS)
def test_bundled_weights_open_with_the_oldest_keras(name, rng):
    path = find_weights(name)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("metadata.json"))["keras_version"] == "3.12.0"
    plain = keras.saving.load_model(path, compile=False)
    own = keras_mmdense.build(name, weights="bundled")
    assert keras_mmdense.settings_of(plain) == keras_mmdense.settings_of(path)
    x = rng.random((1, 32, plain.input.shape[2], 2)).astype(np.float32)
    for source, y in own.predict_on_batch(x).items():
        np.testing.assert_array_equal(plain.predict_on_batch(x)[source], y)


def written_again(path, changed):
    with zipfile.ZipFile(path) as archive:
        parts = changed({name: archive.read(name) for name in archive.namelist()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


OTHER = (rb"\"growth\":[2", rb"\"growth\":[5")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: written_again(path, lambda parts: {"config.json": parts["config.json"]}),
        lambda path: written_again(
            path, lambda parts: parts | {"config.json": parts["config.json"].replace(*OTHER)}
        ),
        lambda path: path.write_bytes(path.read_bytes()[:-5000]),
        lambda path: path.write_bytes(b""),
        Path.unlink,
    ],
)
def test_a_file_that_does_not_open_is_told_in_one_line(damage, model, tmp_path):
    path = through(model, tmp_path, "m.keras")
    damage(path)
    with pytest.raises(SettingsError) as told:
        keras_mmdense.build(weights=path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("known", [("vocals",), ("bass", "vocals")])
def test_other_sources_keep_the_trunk_and_start_fresh_heads(shared, known, tmp_path, rng):
    options = {"shared": shared, "head": "magnitude"} | SMALL
    made = keras_mmdense.build(sources=known, **options)
    disturb(made)
    keras_mmdense.annotate(made, training_data="songs", license="CC0-1.0")
    path = through(made, tmp_path, "m.keras")
    x = rng.rayleigh(size=(1, 8, 64, 2)).astype(np.float32)
    expected = made.predict_on_batch(x)["vocals"]
    if not shared and len(known) > 1:
        with pytest.raises(SettingsError, match="have no trunk for other sources; received"):
            keras_mmdense.build(sources="piano", weights=path)
    else:
        with pytest.warns(UserWarning, match="heads of piano start fresh: the weights are for"):
            other = keras_mmdense.build(sources=("piano", "vocals"), weights=path)
        np.testing.assert_allclose(other.predict_on_batch(x)["vocals"], expected, atol=1e-6)
        prefix = "" if shared else "piano_"
        for name in ("low_dense1_layer1_conv", "final_dense_layer1_conv"):
            for mine, theirs in zip(
                other.get_layer(prefix + name).weights, made.get_layer(name).weights, strict=True
            ):
                np.testing.assert_array_equal(mine, theirs)
        assert (np.asarray(other.get_layer("piano_final_conv").bias) == 0).all()
        assert keras_mmdense.settings_of(other).license == "CC0-1.0"
    fewer = keras_mmdense.build(sources="vocals", weights=path, frames=8)
    assert list(fewer.output) == ["vocals"]
    np.testing.assert_allclose(fewer.predict_on_batch(x)["vocals"], expected, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"preset": "mdensenet"}, {"head": "mask"}, {"growth_rate": 5}, {"scales": 2}, {"bins": 32},
     {"license": "MIT"}, {"sample_rate": 8000}, {"hop_length": 32}],
)  # fmt: skip
def test_what_contradicts_the_weights_is_refused(changes, tmp_path):
    path = through(keras_mmdense.build(**SMALL), tmp_path, "m.keras")
    same = {"preset": "mmdensenet", "bins": 64, "growth_rate": 2, "scales": 1, "channels": 2}
    assert keras_mmdense.build(**same, weights=path).name == "mmdensenet"
    with pytest.raises(SettingsError, match="the arguments sources, frames, compression_gain may"):
        keras_mmdense.build(**changes, weights=path)


def test_another_gain_moves_trained_weights_to_another_level(tmp_path):
    made = keras_mmdense.build(**(SMALL | DEVICE), compression_gain=8)
    disturb(made)
    path = through(made, tmp_path, "m.keras")
    x = np.random.default_rng(0).random((1, 8, 64, 2), "float32")
    for gain in (1, 4, 32):
        moved = keras_mmdense.build(weights=path, compression_gain=gain, sources="vocals")
        assert keras_mmdense.settings_of(moved).compression_gain == gain
        again = keras_mmdense.build(weights=through(moved, tmp_path, f"{gain}.keras"))
        for model in (moved, again):
            estimate = model.predict_on_batch(x * (8 / gain))["vocals"] * (gain / 8)
            np.testing.assert_allclose(estimate, made.predict_on_batch(x)["vocals"], atol=1e-5)
