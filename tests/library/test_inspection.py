"""Weights, multiply-adds, memory: hand-counted figures, and the products a layer really makes."""

import keras
import numpy as np
import pytest
from keras import layers
from small import SMALL

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.inspection import (
    block_of,
    live_bytes,
    maker,
    multiply_adds,
    multiply_adds_per_second,
    parameters,
    readers,
    summarize,
    trace,
)
from training.paper.baseline_networks import build_network


def count(*stack, shape=(8, 16, 2)):
    """Count a stack of layers on an input of that shape."""
    x = start = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return multiply_adds(keras.Model(start, x))


FRAMES = layers.Reshape((6, 10))  # of the 60 values of an input


@pytest.mark.parametrize(
    ("stack", "by_hand"),
    [
        ([layers.Conv2D(32, (3, 4), padding="same")], 6 * 5 * 32 * 12 * 2),
        ([layers.Conv2D(6, 3, padding="same", strides=2)], 3 * 3 * 6 * 9 * 2),
        ([layers.BatchNormalization(), layers.AveragePooling2D(2)], 0),
        # four gates, each reads 10 values of the frame and 3 cells; 6 frames
        ([FRAMES, layers.LSTM(3, return_sequences=True)], 6 * 4 * 3 * (10 + 3)),
        ([FRAMES, layers.GRU(3, return_sequences=True)], 6 * 3 * 3 * (10 + 3)),
        ([FRAMES, layers.Bidirectional(layers.LSTM(3, return_sequences=True))],
         2 * 6 * 4 * 3 * (10 + 3)),
        ([FRAMES, layers.Conv1D(4, 3, padding="same")], 6 * 4 * 3 * 10),
    ],
    ids=lambda value: value[-1].name if isinstance(value, list) else "",
)  # fmt: skip
def test_hand_counted_layers(stack, by_hand):
    assert count(*stack, shape=(6, 5, 2)) == by_hand


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


def test_the_paper_s_network_needs_2_8_billion_a_second():
    assert round(multiply_adds_per_second(keras_mmdense.build()) / 1e9, 1) == 2.8


def test_a_blstm_s_weights_work_once_a_frame():
    """All weights but the biases meet one value each in every frame."""
    model = build_network("blstm", bins=8, cells=3)
    biases = 3 * 2 * 4 * 3 + 16
    assert multiply_adds(model, 5) == 5 * (parameters(model) - biases + 16)  # 16: settings layer


def test_the_graph_tells_who_reads_whom_and_reading_it_changes_nothing(small_model, rng):
    x = rng.rayleigh(size=(1, 8, 64, 2)).astype("float32")
    expected = small_model.predict(x, verbose=0)
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
    for source, y in small_model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(y, expected[source])


@pytest.mark.parametrize(
    "options",
    [
        {"sources": ("bass", "vocals"), "head": "mask", "compression": "log", "fold": 2},
        {"sources": ("bass", "vocals"), "shared": True, "norm": "after",
         "growth_rate": {"high": 5}},
    ],
)  # fmt: skip
def test_rows_add_up_to_the_model_and_every_layer_belongs_to_a_block(options):
    model = keras_mmdense.build(scales=1, **SMALL | options)
    settings = keras_mmdense.settings_of(model)
    whole, each = (summarize(model, by_layer=by_layer) for by_layer in (False, True))
    for found in (whole, each):
        assert sum(row.parameters for row in found.rows) == found.parameters == parameters(model)
        assert sum(row.multiply_adds for row in found.rows) == pytest.approx(found.multiply_adds)
        assert found.multiply_adds == pytest.approx(multiply_adds_per_second(model))
    names = [row.name for row in each.rows]
    assert set(names) == {layer.name for layer in model.operations[1:]}
    own = {name for name in names if block_of(name, settings) == name}
    assert {name.split("_")[-1] for name in own} == {"joined"}  # the block's only layer
    blocks = [row.name for row in whole.rows]
    assert blocks[0] == "input"
    assert blocks[-1].endswith("head")
    first = "bass_low" if len(settings.sources) > 1 and not settings.shared else "low"
    assert blocks[1:5] == [f"{first}_first", *(f"{first}_dense{n}" for n in range(1, 4))]


def test_memory_of_a_chain_counted_by_hand():
    x = start = keras.Input((4, 6, 2))  # 48 values
    x = a = layers.Conv2D(5, 1)(x)  # 120
    x = layers.ReLU()(x)  # 120
    x = layers.Conv2D(1, 1)(x)  # 24
    x = layers.Concatenate()([x, a])  # 144, and with it 24 and 120
    model = keras.Model(start, layers.Conv2D(1, 1)(x))
    assert live_bytes(trace(model)) == 4 * (144 + 24 + 120)


def test_windows_change_the_memory_but_not_the_work_of_a_second():
    model = keras_mmdense.build(**SMALL)
    assert multiply_adds_per_second(model, 16) == multiply_adds(model, 16) / 16 * 44100 / 64
    short, long = (summarize(model, window_frames=n) for n in (64, 512))
    frames = [f.window_frames + 2 * f.context for f in (short, long)]
    assert 1 < long.memory_bytes / short.memory_bytes <= frames[1] / frames[0]
    assert short.multiply_adds == pytest.approx(long.multiply_adds)
    fixed = summarize(keras_mmdense.build(frames=256, **SMALL))
    assert fixed.window_frames + 2 * fixed.context == fixed.rows[0].output[0] == 256


def test_what_cannot_be_counted_is_refused_and_not_counted_as_nothing(small_model):
    with pytest.raises(SettingsError, match=r"received 'SeparableConv2D separable'"):
        count(layers.SeparableConv2D(3, 2, name="separable"))
    with pytest.raises(SettingsError, match="functional, with one input"):
        trace(keras.Sequential([layers.Dense(3)]))
    shared, start = layers.Dense(2, name="twice"), keras.Input((4, 4, 2))
    with pytest.raises(SettingsError, match="'twice'"):
        trace(keras.Model(start, shared(shared(start))))
    for frames in (0, 12, -8):
        with pytest.raises(SettingsError, match=r"multiple of 2\*\*scales = 8; received"):
            summarize(small_model, window_frames=frames)
    with pytest.raises(SettingsError, match="settings"):
        summarize(keras.Sequential([layers.Dense(2)]))
