"""A network as a step: frames and values of past ones in, estimates and values to keep out.

A causal network takes one frame. A convolution over frames reads its kernel's taps: the frame
itself, and the frames that lie one or more dilations before it. In one step, these are the maps of
a convolution over bins alone. Other networks take windows, and their estimates are late.
"""

import itertools
import math
import re
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
    sizes = {name: math.prod(frame[name].shape) for name in kept}
    starts = dict(zip(kept, itertools.accumulate(sizes.values(), initial=0), strict=False))
    outputs = {
        source: frame[x._keras_history.operation.name] for source, x in network.output.items()
    }
    step = _flat(mixture, [*past.values()], outputs, [frame[name] for name in kept])
    return step, [(starts[name], starts[name] + sizes[name], delay) for name, delay in past]


def windowed(network: keras.Model, frames: int, context: int) -> tuple[keras.Model, Taps]:
    """Return a network for windows that overlap no others, with the same weights.

    Each window has the frames after those of the window before. The outputs are the estimates of
    the frames that lie `context` frames before the window's: by then, all that they depend on has
    been seen. What a window reads of earlier ones comes from `past`.

    Args:
        network: A model of `keras_mmdense.build` for any number of frames that is not causal, or
            what `rewrite` made of it, with outputs by name.
        frames: Of a window, a multiple of 2**scales.
        context: By how many frames the outputs are late; 2**scales more than the receptive field
            are always enough.

    Returns:
        The model, and the one tap: all values of the window before.
    """
    calls = trace(network)
    # At these layers, windows get frames of the past, one by one: behind them, the first and the
    # last `reach` frames of each window may be wrong, because a convolution reads zeros there.
    joints = {
        name for name in calls if re.search(r"(first_conv|pool\d|skip\d+|bands|joined)$", name)
    }
    reach = dict.fromkeys(["", *calls], 0)  # frames that the layers up to the next joint take
    for name, call in reversed(calls.items()):
        ratio = call.input_shapes[0][1] // call.output_shape[1]
        reach[name] = reach[name] * ratio + getattr(call.layer, "kernel_size", (1,))[0] // 2
        for one in () if name in joints else call.inputs:
            reach[one] = max(reach[one], reach[name])
    mixture = keras.Input(batch_shape=(1, frames, *network.input.shape[2:]), name="mixture")
    maps = {"": mixture}  # what each layer returns; "" is the input
    new = {"": (frames, 0)}  # how many frames of it are new, and how late the last of them is
    past, present = list[Any](), list[Any]()

    def remembered(name: str, late: int, more: int) -> Any:
        """Return the new frames, `late` frames late, with `more` on both sides."""
        x, (size, known) = maps[name], new[name]
        wrong = (x.shape[1] - size) // 2
        x = x[:, wrong : wrong + size] if wrong else x
        if before := late + more - known:
            past.append(keras.Input(batch_shape=(1, before, *x.shape[2:]), name=f"past{len(past)}"))
            x = keras.ops.concatenate([past[-1], x], 1)
            present.append(x[:, -before:])
        return x[:, : size + 2 * more]

    for name, call in calls.items():
        inputs = [maps[one] for one in call.inputs]
        size, late = new[call.inputs[0]]
        if name in joints:
            late = max(new[one][1] for one in call.inputs) + reach[name]
            late += late % 2  # pooling takes pairs of frames
            inputs = [remembered(one, late, reach[name]) for one in call.inputs]
        maps[name] = call.layer(inputs[0] if len(inputs) == 1 else inputs)
        after, before = maps[name].shape[1], inputs[0].shape[1]
        new[name] = size * after // before, late * after // before
    made = {name: x._keras_history.operation.name for name, x in network.output.items()}
    outputs = {source: remembered(name, context, 0) for source, name in made.items()}
    model = _flat(mixture, past, outputs, present)
    return model, [(0, model.inputs[1].shape[1], 1)]


def _flat(
    mixture: Any, past: list[Any], outputs: dict[str, Any], present: list[Any]
) -> keras.Model:
    """Return a model whose past and present are one tensor each, (1, values)."""
    inner = keras.Model([mixture, *past], [*outputs.values(), *present])
    lengths = [math.prod(x.shape) for x in past]
    values = keras.Input(batch_shape=(1, sum(lengths)), name=PAST)
    pieces = keras.ops.split(values, list(itertools.accumulate(lengths))[:-1], axis=1)
    shaped = [layers.Reshape(x.shape[1:])(piece) for piece, x in zip(pieces, past, strict=True)]
    made = inner([mixture, *shaped])
    answers = dict(zip(outputs, made, strict=False))
    flat = [layers.Flatten()(x) for x in made[len(answers) :]]
    answers[PRESENT] = layers.Concatenate(name=PRESENT)(flat)
    return keras.Model([mixture, values], answers)
