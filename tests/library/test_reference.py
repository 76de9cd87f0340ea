"""The library's network against the one in plain NumPy."""

import keras
import numpy as np
import numpy_reference
import pytest
from small import disturb

import keras_mmdense

LAYERS = {"low": (2,) * 7, "high": (1,) * 7, "full": (1, 1, 1, 2, 1, 1, 1)}


CAUSAL = {"causal": True, "dilation_rate": (1, 2, 3, 4, 5, 6, 7)}


@pytest.fixture(scope="module", params=[{}, CAUSAL], ids=["paper", "causal"])
def model(request):
    made = keras_mmdense.build(bins=64, growth_rate=3, num_layers=LAYERS, **request.param)
    disturb(made)
    return made


@pytest.fixture
def reference(model):
    return numpy_reference.Network(model, keras_mmdense.settings_of(model).causal)


def test_a_dense_block_is_the_paper_s(model, reference, rng):
    block = keras.Model(
        model.get_layer("low_first_conv").output, model.get_layer("low_dense1_layer2_conv").output
    )
    x = rng.standard_normal((1, 6, 32, 32)).astype(np.float32)
    expected = reference.dense_block(x[0].astype(float), "low_dense1", 2)
    np.testing.assert_allclose(block(x)[0], expected, atol=1e-5)


def test_the_network_is_the_reference_s(model, reference, rng):
    x = rng.random((1, 24, 64, 2)).astype(np.float32)
    expected = reference(x[0].astype(float), LAYERS, 2)
    assert expected.std() > 0.01
    np.testing.assert_allclose(model(x)["vocals"][0], expected, atol=1e-4)
