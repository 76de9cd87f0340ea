"""FNN, BLSTM and BLEND: published sizes, the form of our models, and training with our tools."""

import csv

import keras
import numpy as np
import pytest
from training.train.session import _build
from trees import make_dsd100

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.graph import parameters
from training.paper.baseline_networks import NETWORKS, Sizes, build_model, build_network, rebuild
from training.train.__main__ import main
from training.train.recipe import load_recipe

TINY = {"bins": 16, "cells": 6, "hidden": 8, "reduced": 8, "context": 2}
RECIPE = """
frames = 16
batch_size = 4
examples = 16
epochs = 3
jit = false
optimizer = "adam"
learning_rate = 0.01
[model]
network = "blend"
bins = 256
cells = 8
hidden = 16
reduced = 16
"""


@pytest.fixture(scope="module")
def magnitudes():
    rng = np.random.default_rng(1)
    return rng.rayleigh(size=(4, 24, 16, 2)).astype("float32")


@pytest.mark.parametrize(
    ("network", "sizes", "millions", "published"),
    [
        ("blstm", {"cells": 572}, 30.03, 0.002),
        ("blend", {}, 9.2, 0.002),
    ],
)
def test_published_sizes(network, sizes, millions, published):
    count = parameters(build_network(network, **sizes))
    assert count == pytest.approx(millions * 1e6, rel=published)


def test_no_other_number_of_cells_comes_nearer_to_the_published_size():
    def size(cells):  # three layers in two directions, and 2048 values out
        first, later = (4 * cells * (width + cells + 1) for width in (2048, 2 * cells))
        return 2 * (first + 2 * later) + (2 * cells + 1) * 2048

    assert parameters(build_network("blstm")) == size(250)
    assert min(range(400, 700), key=lambda cells: abs(size(cells) - 30.03e6)) == 572


def test_blend_is_as_large_as_its_parts():
    fnn, blstm, blend = (parameters(build_network(name)) for name in ("fnn", "blstm", "blend"))
    assert blend == fnn + blstm


@pytest.mark.parametrize("network", NETWORKS)
def test_they_take_and_give_what_our_models_do(network, magnitudes):
    model = build_network(network, ["bass", "vocals"], **TINY)
    estimates = model.predict(magnitudes, verbose=0)
    assert list(estimates) == ["bass", "vocals"]
    for estimate in estimates.values():
        assert estimate.shape == magnitudes.shape
        assert (estimate >= 0).all()
    settings = keras_mmdense.settings_of(model)
    assert (settings.sources, settings.preset) == (("bass", "vocals"), network)
    assert not np.allclose(estimates["bass"], estimates["vocals"])


@pytest.mark.parametrize("network", NETWORKS)
def test_the_loss_falls_with_fit(network, magnitudes):
    keras.utils.set_random_seed(0)
    model = build_network(network, **TINY)
    keras_mmdense.adapt(model, [magnitudes])
    model.compile(keras.optimizers.RMSprop(0.01), "mse")
    losses = model.fit(
        magnitudes, {"vocals": 0.5 * magnitudes}, epochs=8, batch_size=2, verbose=0
    ).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


def test_the_trainer_trains_them_from_a_recipe(tmp_path):
    tree = make_dsd100(tmp_path / "DSD100", 3, 1, seconds=1.0)
    recipe = tmp_path / "mini.toml"
    recipe.write_text(RECIPE)
    run = tmp_path / "run"
    assert main([str(recipe), "--data", str(tree), "--out", str(run)]) == 0
    rows = csv.DictReader((run / "history.csv").read_text().splitlines())
    losses = [float(row["loss"]) for row in rows]
    assert losses[-1] < 0.95 * losses[0]
    best = keras.saving.load_model(run / "best.keras")
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2)).astype("float32")
    stems = keras_mmdense.separate(best, audio, 44100)
    assert {name: stem.shape for name, stem in stems.items()} == {"vocals": (4000, 2)}


def test_blend_is_the_weighted_sum_of_both_estimates(magnitudes):
    model = build_network("blend", **TINY, fnn_share=0.3)
    parts = [model.get_layer(f"{name}_estimate").output for name in ("fnn", "blstm")]
    fnn, blstm = keras.Model(model.input, parts).predict(magnitudes, verbose=0)
    assert fnn.any()
    assert blstm.any()
    estimate = model.predict(magnitudes, verbose=0)["vocals"]
    np.testing.assert_allclose(estimate, 0.3 * fnn + 0.7 * blstm, rtol=1e-5, atol=1e-6)


def changed_frames(network, magnitudes):
    """Return the frames of the estimate that change with frame 12 of the input."""
    keras.utils.set_random_seed(3)
    model = build_network(network, **TINY)
    other = magnitudes.copy()
    other[:, 12] *= 3
    estimates = [model.predict(x, verbose=0)["vocals"] for x in (magnitudes, other)]
    return np.flatnonzero((estimates[0] != estimates[1]).any((0, 2, 3)))


def test_the_fnn_reads_as_many_frames_as_it_says(magnitudes):
    assert changed_frames("fnn", magnitudes).tolist() == [10, 11, 12, 13, 14]


def test_the_blstm_reads_all_frames_before_and_after(magnitudes):
    assert len(changed_frames("blstm", magnitudes)) == 24


def test_the_scale_of_the_data_goes_into_every_layer_that_needs_it(magnitudes):
    model = build_network("blend", **TINY)
    keras_mmdense.adapt(model, [magnitudes])
    scales = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    assert len(scales) == 3
    for layer in scales:
        np.testing.assert_allclose(
            np.ravel(layer.adapt_mean), magnitudes.mean((0, 1, 3)), rtol=1e-5
        )


@pytest.mark.parametrize("network", NETWORKS)
def test_rebuilt_it_has_the_same_form_and_other_weights(network, magnitudes):
    model = build_network(network, ["bass", "vocals"], **TINY)
    again = rebuild(model)
    assert again.get_config() == model.get_config()
    again.set_weights(model.get_weights())
    expected = model.predict(magnitudes, verbose=0)
    for source, estimate in again.predict(magnitudes, verbose=0).items():
        np.testing.assert_array_equal(estimate, expected[source])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"network": "cnn"}, "network must be one of fnn, blstm, blend; received 'cnn'"),
        ({"network": "fnn", "units": 3}, "received \\['units'\\]"),
        ({"network": "fnn", "hidden": 0}, "hidden must be 1 to 4096; received 0"),
        ({"network": "fnn", "context": -1}, "context must be 0 to 4096"),
        ({"network": "blend", "fnn_share": 1.5}, "fnn_share must be 0 to 1"),
        ({"network": "fnn", "bins": 12}, "multiple of 2\\*\\*3"),
        ({"network": "fnn", "bins": 0}, "bins must be 1 or more"),
        ({"network": "fnn", "n_fft": 64.0}, "n_fft must be an int"),
        ({"network": "fnn", "sources": []}, "sources must be 1 to 64 names"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, told):
    with pytest.raises(SettingsError, match=told) as error:
        build_model(arguments)
    assert "\n" not in str(error.value)


def test_without_the_key_a_recipe_builds_our_own_model():
    assert build_model({"preset": "mdensenet", "bins": 64, "growth_rate": 2}).name == "mdensenet"
    assert Sizes().cells == 250


def test_other_precisions_are_refused(tmp_path):
    from training.train.recipe import RecipeError

    path = tmp_path / "half.toml"
    path.write_text('precision = "bfloat16"\n[model]\nnetwork = "fnn"\n')
    with pytest.raises(RecipeError, match="trains in float32; received precision 'bfloat16'"):
        _build(load_recipe(str(path)), None)
