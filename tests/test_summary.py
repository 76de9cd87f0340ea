"""summarize(): what it counts is what there is."""

import keras
import numpy as np
import pytest
from small import SMALL

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.inspection import (
    block_of,
    live_bytes,
    multiply_adds_per_second,
    summarize,
    trace,
)

OPTIONS = [
    {},
    {"sources": ("bass", "vocals"), "head": "mask", "compression": "log", "fold": 2},
    {"sources": ("bass", "vocals"), "shared": True, "norm": "after", "growth_rate": {"high": 5}},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_rows_add_up_to_the_model(options):
    model = keras_mmdense.build(**SMALL | options)
    for by_layer in (False, True):
        found = summarize(model, by_layer=by_layer)
        weights = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        assert sum(row.parameters for row in found.rows) == found.parameters == weights
        assert sum(row.multiply_adds for row in found.rows) == pytest.approx(found.multiply_adds)
        assert found.multiply_adds == pytest.approx(multiply_adds_per_second(model))
    layers = [row.name for row in found.rows]
    assert layers == list(trace(model, 16))
    assert set(layers) == {layer.name for layer in model.operations[1:]}


@pytest.mark.parametrize("options", OPTIONS)
def test_every_layer_belongs_to_a_block(options):
    model = keras_mmdense.build(**SMALL | options)
    s = keras_mmdense.settings_of(model)
    own = {name for name in trace(model, 16) if block_of(name, s) == name}
    assert {name.split("_")[-1] for name in own} == {"joined"}  # the block's only layer
    blocks = [row.name for row in summarize(model).rows]
    assert blocks[0] == "input"
    assert blocks[-1].endswith("head")
    first = "bass_low" if len(s.sources) > 1 and not s.shared else "low"
    assert blocks[1:9] == [f"{first}_first", *(f"{first}_dense{n}" for n in range(1, 8))]


def test_memory_of_a_chain_counted_by_hand():
    x = start = keras.Input((4, 6, 2))  # 48 values
    x = a = keras.layers.Conv2D(5, 1)(x)  # 120
    x = keras.layers.ReLU()(x)  # 120
    x = keras.layers.Conv2D(1, 1)(x)  # 24
    x = keras.layers.Concatenate()([x, a])  # 144, and with it 24 and 120
    model = keras.Model(start, keras.layers.Conv2D(1, 1)(x))
    assert live_bytes(trace(model)) == 4 * (144 + 24 + 120)


def test_memory_grows_with_the_window_and_by_no_more_than_it():
    model = keras_mmdense.build(**SMALL)
    short, long = (summarize(model, window_frames=n) for n in (64, 512))
    frames = [f.window_frames + 2 * f.context for f in (short, long)]
    assert 1 < long.memory_bytes / short.memory_bytes <= frames[1] / frames[0]
    assert short.multiply_adds == pytest.approx(long.multiply_adds)


def test_the_text_holds_the_figures():
    text = str(summarize(keras_mmdense.build("mmdensenet-edge")))
    assert "trainable weights  537,704: 2.15 MB" in text
    assert "1.03 G per s of audio" in text
    assert "54 frames before and 54 after" in text
    lines = text.splitlines()
    assert len({len(line) for line in lines[: lines.index("")]}) == 1


def test_a_fixed_length_is_taken_as_the_window():
    found = summarize(keras_mmdense.build(frames=256, **SMALL))
    assert found.window_frames == 256 - 2 * found.context
    assert found.rows[0].output[0] == 256


def test_wrong_windows_are_refused(small_model):
    for frames in (0, 12, -8):
        with pytest.raises(SettingsError, match=r"multiple of 2\*\*scales = 8; received"):
            summarize(small_model, window_frames=frames)
    with pytest.raises(SettingsError, match="settings"):
        summarize(keras.Sequential([keras.layers.Dense(2)]))
