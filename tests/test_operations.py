"""Multiply-adds: hand-counted numbers, and the products that a linear layer really makes."""

import keras
import numpy as np
import pytest
from keras import layers
from small import SMALL

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.inspection import (
    maker,
    multiply_adds,
    multiply_adds_per_second,
    parameters,
    readers,
    trace,
)
from training.paper.baseline_networks import build_network


def count(*stack, shape=(8, 16, 2)):
    """Count a stack of layers on an input of that shape."""
    x = start = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return multiply_adds(keras.Model(start, x))


@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        (layers.Conv2D(32, (3, 4), padding="same"), 8 * 16 * 32 * 12 * 2),
        (layers.Conv2D(6, 3, padding="same", strides=2), 4 * 8 * 6 * 9 * 2),
        (layers.Conv2D(6, 3, padding="same", groups=2), 8 * 16 * 6 * 9 * 1),
        (layers.Conv2DTranspose(5, 2, strides=2), 16 * 32 * 5 * 2),
        (layers.DepthwiseConv2D(3, padding="same"), 8 * 16 * 2 * 9),
        (layers.Dense(7), 8 * 16 * 2 * 7),
        (layers.BatchNormalization(), 0),
        (layers.AveragePooling2D(2), 0),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else str(value),
)
def test_hand_counted_layers(layer, by_hand):
    assert count(layer) == by_hand


@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        # four gates, each reads 5 values of the frame and 3 cells; 6 frames
        (layers.LSTM(3, return_sequences=True), 6 * 4 * 3 * (5 + 3)),
        (layers.GRU(3, return_sequences=True), 6 * 3 * 3 * (5 + 3)),
        (layers.Bidirectional(layers.LSTM(3, return_sequences=True)), 2 * 6 * 4 * 3 * (5 + 3)),
        (layers.Conv1D(4, 3, padding="same"), 6 * 4 * 3 * 5),
    ],
    ids=["lstm", "gru", "bidirectional", "conv1d"],
)
def test_hand_counted_layers_on_frames(layer, by_hand):
    assert count(layers.Reshape((6, 5)), layer, shape=(6, 5, 1)) == by_hand


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(3, (2, 3)),
        layers.Conv2D(4, 2, groups=2),
        layers.Conv2DTranspose(3, 2, strides=2),
        layers.DepthwiseConv2D(2),
        layers.Dense(5),
    ],
    ids=["conv", "groups", "transposed", "depthwise", "dense"],
)
def test_as_many_as_pairs_of_input_and_output_that_a_linear_layer_joins(layer):
    shape = (4, 6, 2)
    layer.build((None, *shape))
    for weight in layer.weights:
        weight.assign(np.zeros(weight.shape) if "bias" in weight.path else np.ones(weight.shape))
    single = np.eye(np.prod(shape), dtype="float32").reshape(-1, *shape)
    assert count(layer, shape=shape) == np.count_nonzero(layer(single))


def dense_block(pixels, maps, growth, num_layers):
    """Multiply-adds and maps of a dense block of 3x3 kernels whose last layer's maps go on."""
    read = sum(maps + index * growth for index in range(num_layers))
    return pixels * 9 * growth * read, growth


def mdensenet(growth, num_layers, bins, first_width):
    """Multiply-adds and maps of a network on 128 frames, counted from Table 1."""
    pixels = 128 * bins
    total, maps = pixels * 3 * first_width * 2 * 32, 32
    skips = []
    for index, (k, count_) in enumerate(zip(growth, num_layers, strict=True)):
        if index > 3:
            total += 4 * pixels * maps * maps  # four weights for each pixel that is read
            pixels *= 4
            maps += skips.pop()
        work, maps = dense_block(pixels, maps, k, count_)
        total += work
        if index < 3:
            skips.append(maps)
            pixels //= 4
    return total, maps


def test_the_paper_s_network_as_counted_from_its_table():
    parts = [
        mdensenet((14, *[16] * 6), [4] * 7, 512, 4),
        mdensenet((*[10] * 6, 16), [3] * 7, 512, 3),
        mdensenet([6] * 7, (2, 2, 2, 4, 2, 2, 2), 1024, 4),
    ]
    final, maps = dense_block(128 * 1024, 16 + 6, 4, 2)
    by_hand = sum(total for total, _ in parts) + final + 128 * 1024 * maps * 2 * 2
    settings_layer = 128 * 1024 * 2  # multiplies by 1
    assert multiply_adds(keras_mmdense.build()) == by_hand + settings_layer


@pytest.mark.parametrize(
    ("options", "billions", "weights"),
    [({}, 2.8, 277_622), ({"bottleneck": True}, 4.6, 503_330)],
    ids=["default", "bottleneck"],
)
def test_known_figures_of_the_paper_s_readings(options, billions, weights):
    model = keras_mmdense.build(**options)
    assert round(multiply_adds_per_second(model) / 1e9, 1) == billions
    assert parameters(model) == weights


@pytest.mark.parametrize("fixed", [None, 32])
def test_a_second_of_audio_costs_the_same_in_examples_of_any_length(fixed):
    free = keras_mmdense.build(**SMALL)
    rate = multiply_adds_per_second(free, 16)
    assert rate == multiply_adds_per_second(keras_mmdense.build(**SMALL, frames=fixed), 64)
    assert rate == multiply_adds(free, 16) / 16 * 44100 / 64


def test_a_blstm_s_weights_work_once_a_frame():
    """All weights but the biases meet one value each in every frame."""
    model = build_network("blstm", bins=8, cells=3)
    biases = 3 * 2 * 4 * 3 + 16
    assert multiply_adds(model, 5) == 5 * (parameters(model) - biases + 16)  # 16: settings layer


def test_a_layer_that_is_not_known_is_refused_and_not_counted_as_nothing():
    with pytest.raises(SettingsError, match=r"received SeparableConv2D 'separable'"):
        count(layers.SeparableConv2D(3, 2, name="separable"))


def test_the_graph_tells_who_reads_whom_with_shapes(small_model):
    calls = trace(small_model, 16)
    assert list(calls)[1] == "settings"
    assert calls["low_skip5"].inputs == ("low_up5_conv", "low_dense3_layer2_conv")
    assert calls["low_skip5"].output_shape == (1, 4, 8, 6)
    between = (layers.BatchNormalization, layers.ReLU)
    assert maker(calls, "low_dense1_layer1_relu", between) == "low_first_conv"
    assert set(readers(calls, "low_skip5", between)) == {
        "low_dense5_layer1_conv",
        "low_dense5_layer2_concat",
    }


def test_reading_the_graph_changes_nothing(small_model):
    before = small_model.get_weights()
    names = [layer.name for layer in small_model.layers]
    x = np.random.default_rng(0).rayleigh(size=(1, 8, 64, 2)).astype("float32")
    expected = small_model.predict(x, verbose=0)
    trace(small_model)
    assert [layer.name for layer in small_model.layers] == names
    for old, weight in zip(before, small_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, weight)
    for source, y in small_model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(y, expected[source])


def test_what_is_no_model_of_spectrograms_is_refused():
    with pytest.raises(SettingsError, match="functional model with one input"):
        trace(keras.Sequential([layers.Dense(3)]))
    shared = layers.Dense(2, name="twice")
    start = keras.Input((4, 4, 2))
    with pytest.raises(SettingsError, match="'twice'"):
        trace(keras.Model(start, shared(shared(start))))
