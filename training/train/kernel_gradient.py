"""The gradient of a convolution's kernel as one matrix product.

TensorFlow's own is slow where a layer gives few maps, as those of a dense block do.
How much faster this is: `python -m benchmarks.training`, docs/results/benchmarks.md.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras


def speed_up(model: keras.Model) -> int:
    """Have a model's convolutions compute their gradients so; what they give stays the same.

    Nothing of it is stored in a file, and a second call changes nothing.

    Args:
        model: A functional model that is to be trained with TensorFlow on CPUs.

    Returns:
        The number of layers that it fits: float32, stride 1, same padding, a known number of bins,
        a kernel larger than 1, and no more maps given than taken.

    Example:
        >>> import keras_mmdense
        >>> speed_up(keras_mmdense.build("mdensenet", sources="vocals"))
        31
    """
    fit = [
        layer
        for layer in model.layers
        if type(layer) is keras.layers.Conv2D
        and layer.padding == "same"
        and layer.data_format == "channels_last"
        and set(layer.strides) == set(layer.dilation_rate) == {1}
        and layer.groups == 1
        and layer.compute_dtype == "float32"
        and max(layer.kernel_size) > 1
        and layer.built
        and layer.input.shape[2] is not None
        and layer.filters <= layer.kernel.shape[2]
    ]
    for layer in fit:
        if not is_fast(layer):
            layer.convolution_op = partial(_convolution, layer.convolution_op)
    return len(fit)


def is_fast(layer: keras.layers.Layer) -> bool:
    """Whether `speed_up` has changed a layer."""
    return "convolution_op" in vars(layer)


def _convolution(plain: Any, inputs: Any, kernel: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient
    def apply(inputs: Any, kernel: Any) -> Any:
        def gradients(upstream: Any) -> tuple[Any, Any]:
            to_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=[1] * 4,
                padding="SAME",
            )
            return to_inputs, kernel_gradient(inputs, upstream, kernel.shape[:2])

        return plain(inputs, kernel), gradients

    return apply(inputs, tf.convert_to_tensor(kernel))


def kernel_gradient(inputs: Any, upstream: Any, size: tuple[int, int]) -> Any:
    """Return the gradient of a kernel of stride 1 and same padding.

    Args:
        inputs: What the layer was given, (batch, frames, bins, channels).
        upstream: The gradient of what it gave, (batch, frames, bins, maps).
        size: Frames and bins of the kernel.

    Returns:
        (frames, bins, channels, maps) of the kernel.

    Example:
        >>> import tensorflow as tf
        >>> kernel_gradient(tf.ones((1, 8, 4, 2)), tf.ones((1, 8, 4, 3)), (3, 3)).shape
        TensorShape([3, 3, 2, 3])
    """
    import tensorflow as tf

    high, wide = size
    bins, channels, maps = inputs.shape[2], inputs.shape[3], upstream.shape[3]
    frames = tf.shape(inputs)[1]
    # the kernel's tap (i, j) reads the input (i - before) frames later: move the gradient instead,
    # whose maps are few
    pads = [[0, 0], [high // 2, (high - 1) // 2], [wide // 2, (wide - 1) // 2], [0, 0]]
    padded = tf.pad(upstream, pads)
    moved = tf.concat(
        [
            padded[:, high - 1 - i : high - 1 - i + frames, wide - 1 - j : wide - 1 - j + bins]
            for i in range(high)
            for j in range(wide)
        ],
        axis=3,
    )
    of_each = tf.linalg.matmul(
        tf.reshape(inputs, [-1, frames * bins, channels]),
        tf.reshape(moved, [-1, frames * bins, high * wide * maps]),
        transpose_a=True,
    )
    product = tf.reshape(tf.reduce_sum(of_each, 0), [channels, high, wide, maps])
    return tf.transpose(product, [1, 2, 0, 3])
