"""Exact rewrites of a trained network into layers that small interpreters run fast.

The function stays the same; only the layers that compute it differ. For networks of
`keras_mmdense.build`, whose layers are known by name and kind:

- average pooling becomes a depthwise convolution with the constant 1/4;
- a 2x2 transposed convolution becomes a 1x1 convolution followed by depth-to-space; the
  normalisation and ReLU behind it move into that convolution;
- batch normalisation before ReLU becomes a 1x1 depthwise convolution with a bias, which the
  converter fuses with the ReLU;
- the normalisation of the input has its constants once per channel: interpreters are ten times
  slower where they have to spread them;
- the layer that carries the settings is left out: it multiplies by one.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_mmdense.model import LAST
from keras_mmdense.model_settings import LAYER_NAME


class DepthToSpace(layers.Layer):
    """(batch, frames, bins, 4 * maps) to (batch, 2 * frames, 2 * bins, maps)."""

    def call(self, x: Any) -> Any:
        """Move channels to places, as TensorFlow's operation of this name does."""
        import tensorflow as tf

        return tf.nn.depth_to_space(x, 2)

    def compute_output_shape(self, shape: Any) -> Any:
        """A quarter of the maps on four times the places."""
        batch, frames, bins, maps = shape
        return batch, frames and 2 * frames, bins and 2 * bins, maps // 4


class _Given(layers.Layer):
    """Layers one after the other, whose weights are given; none at all passes its input on."""

    def __init__(self, name: str, *inner: tuple[layers.Layer, list[Any]]) -> None:
        super().__init__(name=name)
        self.inner = [layer for layer, _ in inner]
        self._values = [values for _, values in inner]

    def build(self, shape: Any) -> None:
        """Build each layer and give it its weights."""
        for layer, values in zip(self.inner, self._values, strict=True):
            layer.build(shape)
            layer.set_weights(values)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, x: Any, mask: Any = None, training: Any = None) -> Any:
        """Apply them; `mask` and `training` are what the replaced layers are called with."""
        for layer in self.inner:
            x = layer(x)
        return x


def rewrite(
    model: keras.Model, *, depthwise_norms: bool = True, depth_to_space: bool = True
) -> keras.Model:
    """Return the same function in other layers, with the same weights.

    Args:
        model: A model of `keras_mmdense.build`, or a part of one.
        depthwise_norms: Batch normalisation as depthwise convolution.
        depth_to_space: Transposed convolution as 1x1 convolution and depth-to-space.

    Example:
        >>> import keras_mmdense
        >>> model = keras_mmdense.build("mdensenet", bins=64, frames=8)
        >>> faster = rewrite(model)
        >>> x = np.ones((1, 8, 64, 2), "float32")
        >>> bool(np.allclose(faster(x)["vocals"], model(x)["vocals"], atol=1e-5))
        True
    """
    moved = _moved_into_convolutions(model)

    def replaced(layer: Any) -> Any:
        if isinstance(layer, layers.AveragePooling2D):
            return _pool(layer)
        if isinstance(layer, layers.Normalization):
            return _normalization(layer)
        if isinstance(layer, layers.Conv2DTranspose):
            return _up_convolution(layer, moved.get(layer.name), depth_to_space)
        if any(layer in pair for pair in moved.values()) or layer.name == LAYER_NAME:
            return _Given(layer.name)
        behind_conv = isinstance(layer, layers.BatchNormalization) and isinstance(
            _producer(layer), layers.Conv2D
        )
        if isinstance(layer, layers.BatchNormalization) and depthwise_norms and not behind_conv:
            return _depthwise(layer)
        return layer.__class__.from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=replaced)
    for layer in model.layers:
        twin = clone.get_layer(layer.name)
        if type(twin) is type(layer) and layer.weights:
            twin.set_weights(layer.get_weights())
            if hasattr(twin, "finalize_state"):
                twin.finalize_state()
    return clone


def _normalization(layer: Any) -> _Given:
    """The same constants for each channel, of shape (bins, channels)."""
    channels = layer.input.shape[-1]
    mean, variance = (
        np.repeat(np.reshape(keras.ops.convert_to_numpy(value), (-1, 1)), channels, axis=1)
        for value in (layer.mean, layer.variance)
    )
    spread = layers.Normalization(
        axis=(2, 3), mean=mean, variance=variance, invert=layer.invert, dtype="float32"
    )
    return _Given(layer.name, (spread, []))


def _producer(layer: Any) -> Any:
    return layer._inbound_nodes[0].input_tensors[0]._keras_history.operation


def _consumers(layer: Any) -> list[Any]:
    return [node.operation for node in layer._outbound_nodes]


def _moved_into_convolutions(model: keras.Model) -> dict[str, tuple[Any, Any]]:
    """Find what follows each transposed convolution alone: normalisation, then ReLU."""
    found = {}
    inside = set(model.layers)
    for layer in model.layers:
        if not isinstance(layer, layers.Conv2DTranspose):
            continue
        after = [one for one in _consumers(layer) if one in inside]
        if len(after) == 1 and isinstance(after[0], layers.BatchNormalization):
            (relu,) = [one for one in _consumers(after[0]) if one in inside]
            found[layer.name] = (after[0], relu)
    return found


def _scale_and_offset(norm: Any) -> tuple[Any, Any]:
    gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale


def _pool(layer: Any) -> _Given:
    quarter = np.full((2, 2, layer.input.shape[-1], 1), 0.25, np.float32)
    pool = layers.DepthwiseConv2D(2, strides=2, use_bias=False, name="mean", **LAST)
    return _Given(layer.name, (pool, [quarter]))


def _up_convolution(layer: Any, after: tuple[Any, Any] | None, depth_to_space: bool) -> _Given:
    kernel, bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    if after is not None:
        scale, offset = _scale_and_offset(after[0])
        kernel, bias = kernel * scale[:, None], bias * scale + offset
    kernel, bias = kernel.astype(np.float32), bias.astype(np.float32)
    activation = None if after is None else "relu"
    if not depth_to_space:
        same = layers.Conv2DTranspose(
            len(bias), 2, strides=2, activation=activation, name="conv", **LAST
        )
        return _Given(layer.name, (same, [kernel, bias]))
    height, width, made, read = kernel.shape
    # depth-to-space counts (row, column, map)
    matrix = kernel.transpose(3, 0, 1, 2).reshape(1, 1, read, height * width * made)
    conv = layers.Conv2D(height * width * made, 1, activation=activation, name="conv", **LAST)
    values = [matrix, np.tile(bias, height * width)]
    return _Given(layer.name, (conv, values), (DepthToSpace(name="space"), []))


def _depthwise(norm: Any) -> _Given:
    scale, offset = _scale_and_offset(norm)
    values = [scale.reshape(1, 1, -1, 1).astype(np.float32), offset.astype(np.float32)]
    return _Given(norm.name, (layers.DepthwiseConv2D(1, name="scale", **LAST), values))
