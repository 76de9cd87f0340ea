"""Layers that train faster with TensorFlow on CPUs; the results differ only by rounding.

Batch normalization is one operation each way instead of twenty. On processors without AVX-512, the
gradient of a convolution's kernel is one matrix product: TensorFlow's own gradient is slow there if
a layer has few output maps, like those of a dense block. With AVX-512, TensorFlow's own gradient is
two to three times as fast as the product. The figures are in docs/results/benchmarks.md, measured
by `python -m benchmarks.training`.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import keras


def speed_up(model: keras.Model) -> int:
    """Make a model's layers compute faster in training, with the same results.

    The change is not saved with the model, and a second call changes nothing.

    Args:
        model: A functional model to train with TensorFlow on CPUs, in float32 or mixed_bfloat16.

    Returns:
        The number of layers that are fast now: batch normalization of the last of four axes, not
        synchronized, and, without AVX-512, float32 convolutions with stride 1, same padding, a
        known number of bins, a kernel larger than 1, and no more output maps than input maps.

    Example:
        >>> import keras_mmdense
        >>> speed_up(keras_mmdense.build("mdensenet", sources="vocals")) >= 31
        True
    """
    for layer in model.layers:
        if is_fast(layer) or not layer.built:
            continue
        if (
            type(layer) is keras.layers.BatchNormalization
            and layer.axis in (-1, 3)
            and layer.input_spec.ndim == 4
            and layer.compute_dtype in ("float32", "bfloat16")
            and not (layer.synchronized or getattr(layer, "renorm", False))
        ):
            layer.call = partial(_normalize, layer, layer.call)
        elif (
            type(layer) is keras.layers.Conv2D
            and not has_avx512()
            and layer.padding == "same"
            and layer.data_format == "channels_last"
            and set(layer.strides) == set(layer.dilation_rate) == {1}
            and layer.groups == 1
            and layer.compute_dtype == "float32"
            and max(layer.kernel_size) > 1
            and layer.input.shape[2] is not None
            and layer.filters <= layer.kernel.shape[2]
        ):
            layer.convolution_op = partial(_convolution, layer.convolution_op)
    return sum(map(is_fast, model.layers))


def is_fast(layer: keras.layers.Layer) -> bool:
    """Return whether `speed_up` has changed a layer."""
    return not {"call", "convolution_op"}.isdisjoint(vars(layer))


def has_avx512(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the processor has AVX-512; False if Linux's file does not say so."""
    return cpuinfo.is_file() and "avx512f" in cpuinfo.read_text("utf-8", "replace").split()


def _normalize(
    layer: keras.layers.BatchNormalization,
    plain: Any,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    import tensorflow as tf

    if not training or not layer.trainable or mask is not None:
        return plain(inputs, training=training, mask=mask)
    maps = inputs.shape[-1]
    scale = tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(maps)
    offset = tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros(maps)
    outputs, mean, variance = normalize(inputs, scale, offset, layer.epsilon)
    for average, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * layer.momentum + new * (1 - layer.momentum))
    return outputs


def normalize(inputs: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalize a batch by its own statistics.

    oneDNN is fast if the number of maps is a multiple of 16, which fills its vectors, and up to
    five times slower otherwise. In that case, the maps of neighboring bins are treated as maps of
    one bin.

    Args:
        inputs: (batch, frames, bins, maps), float32 or bfloat16.
        scale: (maps,), float32.
        offset: (maps,), float32.
        epsilon: Added to the variance.

    Returns:
        The normalized inputs, and the mean and variance of each map.

    Example:
        >>> import tensorflow as tf
        >>> normalize(tf.ones((1, 8, 4, 2)), tf.ones(2), tf.zeros(2), 1e-3)[1].numpy()
        array([1., 1.], dtype=float32)
    """
    import tensorflow as tf

    bins, maps = inputs.shape[2:]
    shape = tf.shape(inputs)
    fold = 16 // math.gcd(16, maps)
    if bins is None or bins % fold:
        fold = 1
    places = tf.cast(tf.size(inputs) // (maps * fold), tf.float32)
    statistics = partial(
        tf.raw_ops.FusedBatchNormV3, mean=tf.zeros(0), variance=tf.zeros(0), epsilon=epsilon
    )
    # it divides the variance by one place less than there are, Keras by all of them
    biased = tf.maximum(places - 1, 1) / places
    if fold == 1:
        outputs, mean, variance, *_ = statistics(x=inputs, scale=scale, offset=offset)
        return outputs, mean, variance * biased

    def folded(x: Any) -> Any:
        return tf.reshape(x, [shape[0], shape[1], bins // fold, maps * fold])

    @tf.custom_gradient
    def apply(inputs: Any, scale: Any, offset: Any) -> Any:
        x, repeats = folded(inputs), [fold]
        _, means, variances, *_ = statistics(
            x=x, scale=tf.ones(maps * fold), offset=tf.zeros(maps * fold)
        )
        means = tf.reshape(means, [fold, maps])
        mean = tf.reduce_mean(means, 0)
        spread = tf.reshape(variances * biased, [fold, maps]) + tf.square(means - mean)
        variance = tf.reduce_mean(spread, 0)
        given = {"mean": tf.tile(mean, repeats), "variance": tf.tile(variance, repeats)}

        def scaled(scale: Any, offset: Any) -> Any:
            scale, offset = tf.tile(scale, repeats), tf.tile(offset, repeats)
            return tf.raw_ops.FusedBatchNormV3(
                x=x, scale=scale, offset=offset, **given, epsilon=epsilon, is_training=False
            )

        outputs = scaled(scale, offset)

        def gradients(upstream: Any, *_: Any) -> tuple[Any, Any, Any]:
            to_inputs, to_scale, to_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=folded(upstream),
                x=x,
                scale=tf.tile(scale, repeats),
                reserve_space_1=given["mean"],
                reserve_space_2=given["variance"],
                reserve_space_3=outputs.reserve_space_3,
                epsilon=epsilon,
                is_training=False,
            )
            to_scale = tf.reduce_sum(tf.reshape(to_scale, [fold, maps]), 0)
            to_offset = tf.reduce_sum(tf.reshape(to_offset, [fold, maps]), 0)
            # and through the mean and the variance, which depend on the inputs
            back = -scale * tf.math.rsqrt(variance + epsilon) / (places * fold)
            to_inputs += scaled(back * to_scale, back * to_offset).y
            return tf.reshape(to_inputs, shape), to_scale, to_offset

        return (tf.reshape(outputs.y, shape), mean, variance), gradients

    outputs, mean, variance = apply(inputs, scale, offset)
    return tf.ensure_shape(outputs, inputs.shape), mean, variance


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
    """Return the gradient of the kernel of a convolution with stride 1 and same padding.

    Args:
        inputs: Inputs of the layer, (batch, frames, bins, channels).
        upstream: Gradient of the layer's outputs, (batch, frames, bins, maps).
        size: Frames and bins of the kernel.

    Returns:
        Gradient of the kernel, (frames, bins, channels, maps).

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
