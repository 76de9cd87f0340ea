"""The library against the plain NumPy network and separation."""

import numpy as np
import numpy_reference
import pytest
from small import disturb

import keras_mmdense
from keras_mmdense.receptive_field import context_frames

LAYERS = {"low": (2,) * 7, "high": (1,) * 7, "full": (1, 1, 1, 2, 1, 1, 1)}


@pytest.fixture(scope="module")
def model():
    made = keras_mmdense.build(bins=64, growth_rate=3, num_layers=LAYERS)
    disturb(made)
    return made


def test_a_dense_block_is_the_paper_s(model, rng):
    import keras

    block = keras.Model(
        model.get_layer("low_first_conv").output, model.get_layer("low_dense1_layer2_conv").output
    )
    x = rng.standard_normal((1, 6, 32, 32)).astype(np.float32)
    expected = numpy_reference.Network(model).dense_block(x[0].astype(float), "low_dense1", 2)
    np.testing.assert_allclose(block(x)[0], expected, atol=1e-5)


def test_the_network_is_the_reference_s(model, rng):
    x = rng.random((1, 24, 64, 2)).astype(np.float32)
    expected = numpy_reference.Network(model)(x[0].astype(float), LAYERS, 2)
    assert expected.std() > 0.01
    np.testing.assert_allclose(model(x)["vocals"][0], expected, atol=1e-4)


def test_the_separation_is_the_reference_s(model, rng):
    settings = keras_mmdense.settings_of(model)
    audio = 0.2 * rng.standard_normal((5001, 2))
    expected = numpy_reference.separate(
        lambda x: numpy_reference.Network(model)(x, LAYERS, 2),
        audio,
        128,
        64,
        64,
        context_frames(settings),
        8,
    )
    found = keras_mmdense.separate(model, audio.astype(np.float32), 44100, window_frames=40)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found["vocals"], expected, atol=1e-4)
