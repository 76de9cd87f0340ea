"""A causal network as one step: a frame and values of past frames in, a frame and its values out.

A convolution over frames reads its kernel's taps: the frame itself, and the frames that lie one or
more dilations before it. In one step, these are the maps of a convolution over bins alone.
"""

import itertools
import math
from typing import Any

import keras
from keras import layers

from keras_mmdense.inspection import trace
from keras_mmdense.tflite.convert import PAST, PRESENT

Taps = list[tuple[int, int, int]]


def streaming(network: keras.Model) -> tuple[keras.Model, Taps]:
    """Return a causal network for one frame at a time, with the same weights.

    Its inputs are the frame, `mixture`, and `past`, (1, values); its outputs those of the network,
    and `present`, (1, values): what the frame adds to the past.

    Args:
        network: A causal model of `keras_mmdense.build` for one frame, or what `rewrite` made of
            it, with outputs by name.

    Returns:
        The model, and the taps in the order of `past`: (start, stop, delay) for the values from
        `start` to `stop` of the `present` that was returned `delay` frames before. Before the first
        frame they are zeros.

    Example:
        >>> import keras_mmdense
        >>> model = keras_mmdense.build("mdensenet", bins=64, frames=1, causal=True)
        >>> step, taps = streaming(model)
        >>> sorted(step.output), taps[0]
        (['present', 'vocals'], (0, 128, 2))
    """
    mixture = keras.Input(batch_shape=(1, *network.input.shape[1:]), name="mixture")
    calls = trace(network)
    frame = {"": mixture}  # what each layer returns; "" is the input
    parts: dict[str, list[str]] = {}  # the layers whose maps a layer concatenates
    past: dict[tuple[str, int], Any] = {}  # maps of a layer some frames before

    def tap(name: str, delay: int) -> Any:
        if delay and (name, delay) not in past:
            shape = frame[name].shape
            past[name, delay] = keras.Input(batch_shape=shape, name=f"{PAST}{len(past)}")
        return past[name, delay] if delay else frame[name]

    for name, call in calls.items():
        layer, inputs = call.layer, [frame[one] for one in call.inputs]
        if isinstance(layer, layers.ZeroPadding2D):  # of frames before the first one
            frame[name], parts[name] = inputs[0], parts.get(call.inputs[0], [*call.inputs])
        elif isinstance(layer, layers.Conv2D) and layer.kernel_size[0] > 1:
            (frames, bins), (dilation, _) = layer.kernel_size, layer.dilation_rate
            delays = [dilation * before for before in reversed(range(frames))]
            taps = [tap(one, delay) for delay in delays for one in parts[call.inputs[0]]]
            config = {"kernel_size": (1, bins), "dilation_rate": (1, 1), "padding": "same"}
            one_frame = layers.Conv2D.from_config(layer.get_config() | config)
            frame[name] = one_frame(layers.Concatenate(name=f"{name}_taps")(taps))
            kernel, *bias = layer.get_weights()  # its maps: of each tap, all that it reads
            kernel = kernel.swapaxes(0, 1).reshape(one_frame.kernel.shape)
            one_frame.set_weights([kernel, *bias])
        else:
            frame[name] = layer(inputs[0] if len(inputs) == 1 else inputs)
            if isinstance(layer, layers.Concatenate) and layer.axis in (-1, 3):
                parts[name] = [part for one in call.inputs for part in parts.get(one, [one])]
    kept = list(dict.fromkeys(name for name, _ in past))
    inner = keras.Model(
        [mixture, *past.values()],
        [frame[x._keras_history.operation.name] for x in network.output.values()]
        + [frame[name] for name in kept],
    )
    sizes = {name: math.prod(frame[name].shape) for name in kept}
    starts = dict(zip(kept, itertools.accumulate(sizes.values(), initial=0), strict=False))
    lengths = [sizes[name] for name, _ in past]
    values = keras.Input(batch_shape=(1, sum(lengths)), name=PAST)
    pieces = keras.ops.split(values, list(itertools.accumulate(lengths))[:-1], axis=1)
    shaped = [
        layers.Reshape(x.shape[1:])(piece) for piece, x in zip(pieces, past.values(), strict=True)
    ]
    made = inner([mixture, *shaped])
    outputs = dict(zip(network.output, made, strict=False))
    flat = [layers.Flatten()(x) for x in made[len(outputs) :]]
    outputs[PRESENT] = layers.Concatenate(name=PRESENT)(flat)
    return keras.Model([mixture, values], outputs), [
        (starts[name], starts[name] + sizes[name], delay) for name, delay in past
    ]
