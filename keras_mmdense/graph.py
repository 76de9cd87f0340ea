"""The graph of a model as calls of layers, with shapes: what the tables are read from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_mmdense.errors import SettingsError

FRAMES = 128  # where a model takes any number of frames: the paper's example


@dataclass(frozen=True)
class Call:
    """One layer of a model at work.

    Args:
        layer: The model's own layer, with its weights.
        inputs: Names of the layers whose outputs it reads, in the order that it reads them.
        input_shapes: Shapes of what it reads; the batch is 1.
        output_shape: Shape of what it returns.
    """

    layer: keras.layers.Layer
    inputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Trainable weights; an operation that is no layer has none."""
        return parameters(self.layer) if hasattr(self.layer, "trainable_weights") else 0


def parameters(model: keras.Model | keras.layers.Layer) -> int:
    """Count the trainable weights of a model or layer.

    Example:
        >>> layer = keras.layers.Dense(3)
        >>> layer.build((None, 4))
        >>> parameters(layer)
        15
    """
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def trace(model: keras.Model, frames: int = FRAMES) -> dict[str, Call]:
    """Return the calls of a model of one input, by the layer's name, in the order of the graph.

    Args:
        model: A functional model whose input is (batch, frames, bins, channels).
        frames: Frames to feed where the model takes any number.

    Raises:
        SettingsError: The model is no functional model of one such input, or calls a layer twice.

    Example:
        >>> import keras_mmdense
        >>> calls = trace(keras_mmdense.build("mdensenet"), frames=64)
        >>> calls["full_skip5"].inputs, calls["full_skip5"].output_shape
        (('full_up5_conv', 'full_dense3_layer4_conv'), (1, 16, 256, 24))
    """
    source: Any = getattr(model, "input", None)
    if len(getattr(source, "shape", ())) != 4:
        raise SettingsError(
            "the graph of a functional model with one input (batch, frames, bins, channels) can "
            f"be read; received {model!r}. Build one with keras_mmdense."
        )
    start = keras.Input(batch_shape=(1, source.shape[1] or frames, *source.shape[2:]))
    makers = {id(start): ""}
    kept = [start]  # an id is a tensor's as long as the tensor lives
    calls: dict[str, Call] = {}
    own = {operation.name: operation for operation in model.operations}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        inputs = keras.tree.flatten(args)
        if layer.name in calls or not isinstance(output, keras.KerasTensor):
            raise SettingsError(
                "the layers of a model must be called once and return one tensor; received "
                f"{layer.name!r} that does not. Build the model with keras_mmdense."
            )
        calls[layer.name] = Call(
            own[layer.name],
            tuple(makers[id(tensor)] for tensor in inputs),
            tuple(tuple(tensor.shape) for tensor in inputs),
            tuple(output.shape),
        )
        makers[id(output)] = layer.name
        kept.append(output)
        return output

    # not the model itself: Keras would compile its clone, and may not know the loss
    plain = keras.Model(model.input, model.output)
    keras.models.clone_model(plain, input_tensors=start, call_function=call)
    return calls


def maker(calls: dict[str, Call], name: str, through: tuple[type, ...]) -> str:
    """Follow a path backwards through layers of some types; return the first of another type.

    Example:
        >>> import keras_mmdense
        >>> calls = trace(keras_mmdense.build("mdensenet", norm="after"))
        >>> maker(calls, "full_up5_relu", (keras.layers.ReLU, keras.layers.BatchNormalization))
        'full_up5_conv'
    """
    while name and isinstance(calls[name].layer, through):
        name = calls[name].inputs[0]
    return name


def readers(calls: dict[str, Call], name: str, through: tuple[type, ...]) -> Iterator[str]:
    """Yield the layers that read a layer's output, also by way of layers of some types."""
    for other, call in calls.items():
        if name in call.inputs:
            if isinstance(call.layer, through):
                yield from readers(calls, other, through)
            else:
                yield other
