"""The kernel's gradient as a matrix product: TensorFlow's own, NumPy's; nothing else changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import MODEL
from small import disturb
from trees import make_folder

import keras_mmdense
from keras_mmdense.data import open_dataset
from training.train.kernel_gradient import is_fast, kernel_gradient, speed_up
from training.train.recipe import Recipe
from training.train.trainer import Trainer

small = st.integers(1, 6)


def numpy_gradient(inputs, upstream, size):
    """The definition: the sum over all places of what a tap read and the gradient there."""
    high, wide = size
    before, left = (high - 1) // 2, (wide - 1) // 2
    pads = [(0, 0), (before, high - 1 - before), (left, wide - 1 - left), (0, 0)]
    padded = np.pad(inputs, pads)
    _, frames, bins, _ = inputs.shape
    taps = [
        [
            np.einsum("bfkc,bfkm->cm", padded[:, i : i + frames, j : j + bins], upstream)
            for j in range(wide)
        ]
        for i in range(high)
    ]
    return np.array(taps)


@settings(deadline=None, max_examples=40)
@given(small, small, small, small, small, st.tuples(small, small))
def test_it_is_the_definition_and_tensorflows_own(batch, frames, bins, channels, maps, size):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((batch, frames, bins, channels)).astype(np.float32)
    upstream = rng.standard_normal((batch, frames, bins, maps)).astype(np.float32)
    found = kernel_gradient(tf.constant(inputs), tf.constant(upstream), size)
    np.testing.assert_allclose(found, numpy_gradient(inputs, upstream, size), atol=1e-4)
    own = tf.raw_ops.Conv2DBackpropFilter(
        input=inputs,
        filter_sizes=[*size, channels, maps],
        out_backprop=upstream,
        strides=[1] * 4,
        padding="SAME",
    )
    np.testing.assert_allclose(found, own, atol=1e-4)


@pytest.fixture(scope="module")
def twins():
    """The same model twice, the second sped up."""
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        models.append(keras_mmdense.build(**MODEL | {"sources": ["bass"], "num_layers": 2}))
        disturb(models[-1])
    assert speed_up(models[1]) > 4
    return models


def gradients(model, inputs):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(inputs, training=True)["bass"] - inputs / 2))
    return tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("compiled", [False, True])
def test_all_gradients_of_a_model_are_the_same(twins, compiled):
    inputs = tf.constant(np.random.default_rng(1).rayleigh(size=(2, 16, 64, 2)).astype(np.float32))
    run = tf.function(gradients) if compiled else gradients
    plain, fast = (run(model, inputs) for model in twins)
    for name, a, b in zip(twins[0].trainable_variables, plain, fast, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5, err_msg=name.path)


def test_what_the_model_gives_and_what_its_file_holds_stay_the_same(twins, tmp_path):
    inputs = np.random.default_rng(1).rayleigh(size=(1, 16, 64, 2)).astype(np.float32)
    plain, fast = (model.predict(inputs, verbose=0)["bass"] for model in twins)
    np.testing.assert_array_equal(fast, plain)
    twins[1].save(tmp_path / "fast.keras")
    loaded = keras.saving.load_model(tmp_path / "fast.keras")
    assert any(is_fast(layer) for layer in twins[1].layers)
    assert not any(is_fast(layer) for layer in loaded.layers)
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0)["bass"], plain)


@pytest.mark.parametrize(
    "options",
    [
        {"strides": 2},
        {"dilation_rate": 2},
        {"padding": "valid"},
        {"kernel_size": 1},
        {"filters": 5},
        {"groups": 2},
        {"dtype": "mixed_bfloat16"},
    ],
)
def test_other_convolutions_are_left_alone(options):
    inputs = keras.Input((8, 8, 4))
    options = {"filters": 4, "kernel_size": 3, "padding": "same", **options}
    model = keras.Model(inputs, keras.layers.Conv2D(**options)(inputs))
    assert speed_up(model) == 0
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, padding="same")(inputs))
    assert speed_up(model) == 1
    once = model.layers[1].convolution_op
    assert speed_up(model) == 1
    assert model.layers[1].convolution_op is once


@pytest.mark.parametrize("gpus", [[], ["GPU:0"]])
def test_the_trainer_speeds_up_on_cpus_alone(gpus, tmp_path, monkeypatch):
    tracks = open_dataset(make_folder(tmp_path, 1, 0.5))
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    recipe = Recipe("test", model=MODEL, frames=8, batch_size=1, examples=1)
    model = Trainer(recipe, tracks, tracks, tmp_path).model
    assert any(is_fast(layer) for layer in model.layers) == (not gpus)
