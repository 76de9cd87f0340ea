"""Exact rewrites of a trained network into layers that small interpreters run fast.

The function stays the same; only the layers that compute it differ. For networks of
`keras_mmdense.build`, whose layers are known by name and kind:

- average pooling becomes a depthwise convolution with the constant 1/4;
- a 2x2 transposed convolution becomes a 1x1 convolution followed by depth-to-space, or, in the one
  frame of a causal network, by a reshape; the
  normalization and ReLU behind it move into that convolution;
- batch normalization before ReLU becomes a 1x1 depthwise convolution with a bias, which the
  converter fuses with the ReLU;
- the normalization of the input has its constants once per channel: interpreters are ten times
  slower where they have to spread them;
- the layer that carries the settings is left out: it multiplies by one;
- in a dense block, what the block reads is not copied into the concatenation of each layer: a
  convolution of a concatenation is the sum of convolutions of its parts;
- a convolution to few maps makes those of several neighboring bins at once: processors compute 8
  or 16 maps at a time, whether there are so many or not.
"""

import re
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_mmdense.model import LAST
from keras_mmdense.model_settings import LAYER_NAME

VECTOR = 16  # maps that are computed at a time; with NEON in float32, 8


def rewrite(
    model: keras.Model,
    *,
    depthwise_norms: bool = True,
    depth_to_space: bool = True,
    parts: bool = True,
    folded_maps: int = 4,
) -> keras.Model:
    """Return the same function in other layers, with the same weights.

    Args:
        model: A model of `keras_mmdense.build`, or a part of one.
        depthwise_norms: Batch normalization as depthwise convolution.
        depth_to_space: Transposed convolution as 1x1 convolution and depth-to-space.
        parts: Convolutions over the parts of a concatenation, where normalization as depthwise
            convolution is between them.
        folded_maps: Convolutions to at most so many maps make those of several bins at once.

    Example:
        >>> import keras_mmdense
        >>> model = keras_mmdense.build("mdensenet", bins=64, frames=8)
        >>> faster = rewrite(model)
        >>> x = np.ones((1, 8, 64, 2), "float32")
        >>> bool(np.allclose(faster(x)["vocals"], model(x)["vocals"], atol=1e-5))
        True
    """
    by_name = {layer.name: layer for layer in model.layers}
    # normalization and ReLU behind a transposed convolution move into it
    ups = [name.removesuffix("relu") for name in by_name if re.fullmatch(r".*_up\d+_relu", name)]
    moved = {up + part for up in ups for part in ("norm", "relu")}

    def replaced(layer: Any) -> Any:
        if isinstance(layer, layers.AveragePooling2D):
            size = layer.pool_size  # (1, 2) of a causal model, whose one frame stays
            share = np.full((*size, layer.input.shape[-1], 1), 1 / np.prod(size), np.float32)
            pool = layers.DepthwiseConv2D(size, strides=2, use_bias=False, **LAST)
            return _given(layer, [pool], [share])
        if isinstance(layer, layers.Normalization):
            mean, variance = (
                np.repeat(np.reshape(value, (-1, 1)), layer.input.shape[-1], axis=1)
                for value in map(keras.ops.convert_to_numpy, (layer.mean, layer.variance))
            )
            options = {"mean": mean, "variance": variance, "invert": layer.invert}
            return _given(layer, [layers.Normalization((2, 3), **options, dtype="float32")], [])
        if isinstance(layer, layers.Conv2DTranspose):
            norm = layer.name.removesuffix("conv") + "norm"
            return _up_convolution(layer, by_name[norm] if norm in moved else None, depth_to_space)
        if layer.name in moved or layer.name == LAYER_NAME:
            return _given(layer, [layers.Identity()], [])
        if isinstance(layer, layers.BatchNormalization) and depthwise_norms:
            producer = layer._inbound_nodes[0].input_tensors[0]._keras_history.operation
            if not isinstance(producer, layers.Conv2D):
                scale, offset = _scale_and_offset(layer)
                return _given(layer, [layers.DepthwiseConv2D(1, **LAST)], [scale, offset])
        return layer.__class__.from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=replaced)
    for layer in model.layers:
        twin = clone.get_layer(layer.name)
        if type(twin) is type(layer) and layer.weights:
            twin.set_weights(layer.get_weights())
            if hasattr(twin, "finalize_state"):
                twin.finalize_state()
    return _with_full_vectors(clone, parts, folded_maps)


@keras.saving.register_keras_serializable("keras_mmdense")
class DepthToSpace(layers.Layer):
    """The last step of a 2x2 transposed convolution: maps become places."""

    def call(self, x: Any) -> Any:
        """Take (batch, frames, bins, 4 * maps), return (batch, 2 * frames, 2 * bins, maps)."""
        import tensorflow as tf

        return tf.nn.depth_to_space(x, 2)


def _with_full_vectors(model: keras.Model, parts: bool, folded_maps: int) -> keras.Model:
    """Return the same function in other convolutions; all other layers are the model's own."""
    by_name = {layer.name: layer for layer in model.layers}
    joined: dict[str, list[Any]] = {}  # by convolution: the maps that are concatenated for it

    def called(layer: Any, x: Any, **options: Any) -> Any:
        stem = layer.name.removesuffix("concat")
        # Behind a convolution, normalization moves into it; padding would be left out.
        divides = parts and isinstance(by_name.get(f"{stem}norm"), keras.Sequential)
        if isinstance(layer, layers.Concatenate) and divides and f"{stem}past" not in by_name:
            joined[f"{stem}conv"] = x
        if not isinstance(layer, layers.Conv2D):
            return layer(x, **options)
        kernel, bias = layer.get_weights()
        if layer.name not in joined:
            return _folded(layer, x, kernel, bias, folded_maps)
        first, *rest = joined[layer.name]
        cut, sums = first.shape[-1], []
        last = layers.Concatenate()(rest) if len(rest) > 1 else rest[0]
        scale, offset = by_name[layer.name.removesuffix("conv") + "norm"].get_weights()
        for part, maps in ((first, slice(cut)), (last, slice(cut, None))):
            norm = layers.DepthwiseConv2D(1, activation="relu", **LAST)
            y = norm(part)
            norm.set_weights([scale[:, :, maps], offset[maps]])
            sums.append(_folded(layer, y, kernel[:, :, maps], bias, folded_maps))
            bias = np.zeros_like(bias)
        return layers.Add()(sums)

    return keras.models.clone_model(model, clone_function=lambda one: one, call_function=called)


def _folded(layer: Any, x: Any, kernel: Any, bias: Any, folded_maps: int) -> Any:
    """Return the output of a convolution with these weights, which may make several bins at once.

    The kernel for n bins is n - 1 bins wider and moves by n; beside a bin's weights it is zero.
    """
    (frames, bins, read, maps), width = kernel.shape, layer.output.shape[2]
    few = maps <= folded_maps and bins > 2 and layer.dilation_rate[0] == 1
    places = VECTOR // maps if few else 1
    while width % places:
        places -= 1
    wide = np.zeros((frames, bins + places - 1, read, places, maps), np.float32)
    for place in range(places):
        wide[:, place : place + bins, :, place] = kernel
    changes = {"filters": places * maps, "kernel_size": wide.shape[:2], "strides": (1, places)}
    if read != layer.kernel.shape[2]:
        changes["name"] = None  # one of several
    made = layers.Conv2D.from_config(layer.get_config() | changes)
    y = made(x)
    made.set_weights([wide.reshape(made.kernel.shape), np.tile(bias, places)])
    return layers.Reshape((-1, width, maps))(y) if places > 1 else y


def _given(layer: Any, inner: list[Any], values: list[Any]) -> keras.Sequential:
    """Return layers that take the place of another one, with their weights."""
    made = keras.Sequential(inner, name=layer.name)
    made.build((None, None, *layer.input.shape[2:]))  # for any number of frames
    shapes = [weight.shape for weight in made.weights]
    made.set_weights(
        [np.reshape(v, s).astype(np.float32) for v, s in zip(values, shapes, strict=True)]
    )
    return made


def _scale_and_offset(norm: Any) -> tuple[Any, Any]:
    gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale


def _up_convolution(layer: Any, norm: Any | None, depth_to_space: bool) -> keras.Sequential:
    """Return a transposed convolution that holds the normalization and the ReLU after it."""
    kernel, bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    if norm is not None:
        scale, offset = _scale_and_offset(norm)
        kernel, bias = kernel * scale[:, None], bias * scale + offset
    activation = None if norm is None else "relu"
    height, width, made, _ = kernel.shape
    space: Any = layers.Reshape(layer.output.shape[1:])  # of one frame
    if height > 1 and not depth_to_space:
        same = layers.Conv2DTranspose(made, 2, strides=2, activation=activation, **LAST)
        return _given(layer, [same], [kernel, bias])
    if height > 1:
        space = DepthToSpace()
    # depth-to-space counts (row, column, map)
    values = [kernel.transpose(3, 0, 1, 2), np.tile(bias, height * width)]
    conv = layers.Conv2D(height * width * made, 1, activation=activation, **LAST)
    return _given(layer, [conv, space], values)
