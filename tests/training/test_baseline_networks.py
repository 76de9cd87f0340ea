"""FNN, BLSTM and BLEND: published sizes, the form of our models, and training with our tools."""

import keras
import numpy as np
import pytest
from runs import train
from small import read_history
from trees import make_dsd100

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.inspection import parameters
from training.paper.baseline_networks import NETWORKS, build_model, build_network, float32_copy

TINY = {"bins": 16, "cells": 6, "hidden": 8, "reduced": 8, "context": 2}
RECIPE = """
frames = 16
batch_size = 4
examples = 16
epochs = 2
jit = false
optimizer = "adam"
learning_rate = 0.01
sum_weight = 0.1
[model]
network = "blend"
sources = ["bass", "vocals"]
bins = 64
cells = 8
hidden = 16
reduced = 16
"""


@pytest.fixture(scope="module")
def magnitudes():
    rng = np.random.default_rng(1)
    return rng.rayleigh(size=(4, 24, 16, 2)).astype("float32")


def test_published_sizes():
    def size(cells):  # three layers in two directions, and 2048 values out
        first, later = (4 * cells * (width + cells + 1) for width in (2048, 2 * cells))
        return 2 * (first + 2 * later) + (2 * cells + 1) * 2048

    fnn, blstm, blend = (parameters(build_network(name)) for name in NETWORKS)
    assert blstm == size(250)
    assert blend == fnn + blstm == pytest.approx(9.2e6, rel=0.002)
    assert min(range(400, 700), key=lambda cells: abs(size(cells) - 30.03e6)) == 572


def test_they_take_and_give_what_our_models_do(magnitudes):
    """BLEND contains the other two; its estimate is the weighted sum of theirs."""
    model = build_network("blend", ["bass", "vocals"], **TINY, fnn_share=0.3)
    keras_mmdense.adapt(model, [magnitudes])
    scales = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    means = [np.ravel(layer.adapt_mean) for layer in scales]
    # of the input, and of both estimates of both sources
    np.testing.assert_allclose(means, [magnitudes.mean((0, 1, 3))] * 5, rtol=1e-5)
    estimates = model(magnitudes)
    assert list(estimates) == ["bass", "vocals"]
    assert not np.allclose(estimates["bass"], estimates["vocals"])
    again = float32_copy(model)
    assert again.get_config() == model.get_config()
    for source, estimate in again(magnitudes).items():
        np.testing.assert_array_equal(estimate, estimates[source])
        assert np.min(estimate) >= 0
        parts = [model.get_layer(f"{source}_{name}_estimate").output for name in ("fnn", "blstm")]
        fnn, blstm = map(np.asarray, keras.Model(model.input, parts)(magnitudes))
        assert min(fnn.max(), blstm.max()) > 0
        np.testing.assert_allclose(estimate, 0.3 * fnn + 0.7 * blstm, rtol=1e-5, atol=1e-6)
    settings = keras_mmdense.settings_of(model)
    assert (settings.sources, settings.preset) == (("bass", "vocals"), "blend")


@pytest.mark.slow
def test_the_trainer_trains_them_from_a_recipe(tmp_path):
    make_dsd100(tmp_path / "tree", 3, 1, seconds=1.0)
    assert train(tmp_path, recipe=RECIPE) == 0
    losses = [row["loss"] for row in read_history(tmp_path / "run" / "history.csv")]
    assert losses[-1] < 0.95 * losses[0]
    best = keras.saving.load_model(tmp_path / "run" / "best.keras")
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2)).astype("float32")
    stems = keras_mmdense.separate(best, audio, 44100)
    assert {name: len(stem) for name, stem in stems.items()} == {"bass": 4000, "vocals": 4000}


@pytest.mark.parametrize(
    ("network", "frames"), [("fnn", [10, 11, 12, 13, 14]), ("blstm", [*range(24)])]
)
def test_they_read_as_many_frames_as_they_say(network, frames, magnitudes):
    keras.utils.set_random_seed(3)
    model = build_network(network, **TINY)
    other = magnitudes.copy()
    other[:, 12] *= 3
    one, two = (np.asarray(model(x)["vocals"]) for x in (magnitudes, other))
    assert np.flatnonzero((one != two).any((0, 2, 3))).tolist() == frames


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"network": "cnn"}, "network must be one of fnn, blstm, blend; received 'cnn'"),
        ({"network": "fnn", "units": 3}, "received \\['network', 'units'\\]"),
        ({"network": "fnn", "hidden": 0}, "hidden must be 1 to 4096; received 0"),
        ({"network": "fnn", "context": -1}, "context must be 0 to 4096"),
        ({"network": "blend", "fnn_share": 1.5}, "fnn_share must be 0 to 1"),
        ({"network": "fnn", "bins": 12}, "multiple of 2\\*\\*3"),
        ({"network": "fnn", "bins": 0}, "bins must be 1 or more"),
        ({"network": "fnn", "n_fft": 64.0}, "n_fft must be an int"),
        ({"network": "fnn", "sources": []}, "sources must be 1 to 64"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, told):
    with pytest.raises(SettingsError, match=told) as error:
        build_model(arguments)
    assert "\n" not in str(error.value)
