"""Multiply-adds of a model, counted from its graph.

Counted are convolutions, dense and recurrent layers: the products of weights and values. Not
counted is what works on each value alone (normalisation, activation, pooling, bias), as is usual.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_mmdense.errors import SettingsError
from keras_mmdense.graph import FRAMES, Call, trace
from keras_mmdense.model_settings import settings_of

Shape = tuple[int, ...]
GATES = {layers.LSTM: 4, layers.GRU: 3, layers.SimpleRNN: 1}


def multiply_adds(model: keras.Model, frames: int = FRAMES) -> int:
    """Count the multiply-adds of one example of a model.

    Args:
        model: A model as `trace` takes it.
        frames: Frames of the example where the model takes any number.

    Raises:
        SettingsError: The model has a layer that this does not know.

    Example:
        >>> import keras_mmdense
        >>> multiply_adds(keras_mmdense.build(), frames=128) // 10**6
        8245
    """
    return sum(of_layer(call) for call in trace(model, frames).values())


def multiply_adds_per_second(model: keras.Model, frames: int = FRAMES) -> float:
    """Count the multiply-adds for a second of audio, without the context of windows.

    Args:
        model: A model with the settings of keras_mmdense.
        frames: Frames of an example, a multiple of its `frame_multiple`.
    """
    s = settings_of(model)
    length = model.input.shape[1] or frames
    return multiply_adds(model, length) / length * s.sample_rate / s.transform.hop_length


def of_layer(call: Call) -> int:
    """Count the multiply-adds of one call of a layer.

    Raises:
        SettingsError: A type of layer that this does not know.
    """
    return _count(call.layer, call.input_shapes[0], call.output_shape)


def _count(layer: Any, read: Shape, made: Shape) -> int:
    for kind, count in COUNTS.items():
        if isinstance(layer, kind):
            return count(layer, read, made)
    if isinstance(layer, FREE) or type(layer).__name__ in FREE_OPERATIONS:
        return 0
    raise SettingsError(
        f"multiply-adds are known of {', '.join(kind.__name__ for kind in COUNTS)} and of layers "
        f"without any; received {type(layer).__name__} {layer.name!r}. Count it in operations.py."
    )


def _convolution(layer: Any, read: Shape, made: Shape) -> int:
    return math.prod((*made, *layer.kernel_size, read[-1] // layer.groups))


def _transposed(layer: Any, read: Shape, made: Shape) -> int:
    """Every value that is read meets the whole kernel of every map that is made."""
    return math.prod((*read, *layer.kernel_size, made[-1]))


def _depthwise(layer: Any, read: Shape, made: Shape) -> int:
    return math.prod((*made, *layer.kernel_size))


def _dense(layer: Any, read: Shape, made: Shape) -> int:
    return math.prod((*read, layer.units))


def _recurrent(layer: Any, read: Shape, made: Shape) -> int:
    """Each gate reads the frame and the cells' last output."""
    steps, width = read[-2:]
    gates = next(number for kind, number in GATES.items() if isinstance(layer, kind))
    return math.prod((*read[:-2], steps, gates, layer.units, width + layer.units))


def _bidirectional(layer: Any, read: Shape, made: Shape) -> int:
    return sum(_recurrent(one, read, made) for one in (layer.forward_layer, layer.backward_layer))


# in this order: a depthwise convolution must not be taken for another one
COUNTS: dict[type, Callable[[Any, Shape, Shape], int]] = {
    layers.DepthwiseConv1D: _depthwise,
    layers.DepthwiseConv2D: _depthwise,
    layers.Conv1DTranspose: _transposed,
    layers.Conv2DTranspose: _transposed,
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.Dense: _dense,
    layers.LSTM: _recurrent,
    layers.GRU: _recurrent,
    layers.SimpleRNN: _recurrent,
    layers.Bidirectional: _bidirectional,
}
FREE = (
    layers.Activation, layers.Add, layers.AveragePooling2D, layers.BatchNormalization,
    layers.Concatenate, layers.Cropping2D, layers.InputLayer, layers.MaxPooling2D,
    layers.Multiply, layers.Normalization, layers.ReLU, layers.Rescaling, layers.Reshape,
)  # fmt: skip
FREE_OPERATIONS = ("Log1p", "Sqrt")  # compression: Keras has no public names for their types
