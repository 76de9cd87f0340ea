"""The device models keep within what small processors have."""

import numpy as np
import pytest
from keras import layers

import keras_mmdense
from keras_mmdense.inspection import multiply_adds_per_second
from keras_mmdense.receptive_field import context_frames, receptive_field

SIZES = {"mmdensenet-edge": (537_704, 1.03e9, 54), "mmdensenet-micro": (144_864, 0.414e9, 32)}


@pytest.fixture(scope="module", params=SIZES)
def model(request):
    return keras_mmdense.build(request.param, frames=256)


def test_size_and_work(model):
    weights = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    known, work, _ = SIZES[keras_mmdense.settings_of(model).preset]
    assert weights == known < 1e6
    assert multiply_adds_per_second(model) == pytest.approx(work, rel=0.01)


def test_the_windows_of_a_file_stay_below_2_gmac_per_second_too(model):
    settings = keras_mmdense.settings_of(model)
    reach = SIZES[settings.preset][2]
    assert receptive_field(settings) == (reach, reach)
    assert context_frames(settings) == -(-reach // 8) * 8
    again = 256 / (256 - 2 * context_frames(settings))
    most = {"mmdensenet-edge": 2e9, "mmdensenet-micro": 0.6e9}[settings.preset]
    assert multiply_adds_per_second(model) * again < most


def test_maps_fill_vector_lanes(model):
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert len(convolutions) > 20
    assert {layer.filters % 8 for layer in convolutions} == {0}


def test_normalisation_follows_its_convolution_so_that_it_folds(model):
    normalized = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    makers = {layer.input._keras_history.operation for layer in normalized}
    assert normalized
    assert all(isinstance(one, layers.Conv2D | layers.Conv2DTranspose) for one in makers)
