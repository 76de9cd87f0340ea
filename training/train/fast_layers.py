"""Layers that train faster with TensorFlow on CPUs; the results differ only by rounding.

Batch normalization is two operations each way instead of twenty, with the ReLU that follows. Maps
that several layers of a dense block read have their mean and variance computed once, and their
gradients come from each convolution as they are, not as slices of a concatenation's.

On processors without AVX-512, the gradient of a convolution's kernel is one matrix product:
TensorFlow's own gradient is slow there if a layer has few output maps, like those of a dense block.
With AVX-512, TensorFlow's own gradient is two to three times as fast as the product. The figures
are in docs/results/benchmarks.md, measured by `python -m benchmarks.training`.
"""

import itertools
import math
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import keras


def speed_up(model: keras.Model) -> int:
    """Make a model's layers compute faster in training, with the same results.

    The change is not saved with the model, and a second call changes nothing. Gradients of inputs
    and variables are whole; those of a concatenation inside the model go to its parts.

    Args:
        model: A functional model to train with TensorFlow on CPUs, in float32 or mixed_bfloat16.

    Returns:
        The number of layers that are fast now: batch normalization of the last of four axes, not
        synchronized, concatenations of this axis, ReLU without options, and convolutions with
        stride 1 and same padding. The kernel gradient is a product for float32, a known number of
        bins, a kernel larger than 1, and no more output maps than input maps, without AVX-512.

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
        elif type(layer) is keras.layers.Concatenate and layer.axis in (-1, 3):
            layer.call = partial(_concatenate, layer.call)
        elif (
            type(layer) is keras.layers.ReLU
            and layer.max_value is None
            and not layer.negative_slope
            and not layer.threshold
        ):
            layer.call = partial(_rectify, layer.call)
        elif (
            type(layer) is keras.layers.Conv2D
            and layer.padding == "same"
            and layer.data_format == "channels_last"
            and set(layer.strides) == set(layer.dilation_rate) == {1}
            and layer.groups == 1
            and layer.compute_dtype in ("float32", "bfloat16")
        ):
            product = (
                not has_avx512()
                and layer.compute_dtype == "float32"
                and max(layer.kernel_size) > 1
                and layer.input.shape[2] is not None
                and layer.filters <= layer.kernel.shape[2]
            )
            layer.convolution_op = partial(_convolution, layer.convolution_op, product)
    if not is_fast(model):
        model.call = partial(_call, model.call)
    return sum(map(is_fast, model.layers))


def is_fast(layer: keras.layers.Layer) -> bool:
    """Return whether `speed_up` has changed a layer."""
    return not {"call", "convolution_op"}.isdisjoint(vars(layer))


def has_avx512(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the processor has AVX-512; False if Linux's file does not say so."""
    return cpuinfo.is_file() and "avx512f" in cpuinfo.read_text("utf-8", "replace").split()


# What the fast layers know of the tensors of this call of their model, by kind and tensor: the
# parts that were concatenated, their moments, and how to normalize and rectify in one operation.
_notes: ContextVar[dict[tuple[str, Any], Any]] = ContextVar("notes")


def _call(plain: Any, *args: Any, **kwargs: Any) -> Any:
    token = _notes.set({})
    try:
        return plain(*args, **kwargs)
    finally:
        _notes.reset(token)


def _concatenate(plain: Any, inputs: Any) -> Any:
    outputs, notes = plain(inputs), _notes.get({})
    if {x.dtype for x in inputs} == {outputs.dtype}:
        parts = [notes.get(("parts", x.ref()), [x]) for x in inputs]
        notes["parts", outputs.ref()] = list(itertools.chain(*parts))
    return outputs


def _rectify(plain: Any, inputs: Any) -> Any:
    rectify = _notes.get({}).get(("rectify", inputs.ref()))
    return rectify() if rectify else plain(inputs)


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
    notes = _notes.get({})
    parts = notes.get(("parts", inputs.ref()), [inputs])
    for x in parts:
        if ("moments", x.ref()) not in notes:
            notes["moments", x.ref()] = moments(x)
    each = [notes["moments", x.ref()] for x in parts]
    mean, variance = (tf.concat(vectors, 0) for vectors in zip(*each, strict=True))
    for average, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * layer.momentum + new * (1 - layer.momentum))
    scale = tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones_like(mean)
    offset = tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros_like(mean)
    outputs = normalize(inputs, mean, variance, scale, offset, layer.epsilon)

    def rectify() -> Any:
        sizes = [x.shape[3] for x in parts]
        vectors = zip(parts, each, tf.split(scale, sizes), tf.split(offset, sizes), strict=True)
        rectified = [
            normalize(x, mean, variance, scale, offset, layer.epsilon, rectify=True)
            for x, (mean, variance), scale, offset in vectors
        ]
        joined = tf.concat(rectified, 3)
        notes["parts", joined.ref()] = rectified
        return joined

    # a ReLU that follows calls it in place of the outputs, which the graph then leaves out
    notes["rectify", outputs.ref()] = rectify
    return outputs


def moments(inputs: Any) -> Any:
    """Return the mean and the variance of each map of a batch.

    Args:
        inputs: (batch, frames, bins, maps), float32 or bfloat16.

    Returns:
        Two of (maps,), float32.

    Example:
        >>> import tensorflow as tf
        >>> moments(tf.ones((1, 8, 4, 2)))[0].numpy()
        array([1., 1.], dtype=float32)
    """
    import tensorflow as tf

    maps = inputs.shape[3]

    @tf.custom_gradient
    def apply(inputs: Any) -> Any:
        x = _folded(inputs)
        ones = tf.ones(x.shape[3])
        _, means, variances, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=ones, offset=ones, mean=tf.zeros(0), variance=tf.zeros(0)
        )
        means, variances = tf.reshape(means, [-1, maps]), tf.reshape(variances, [-1, maps])
        mean, count = tf.reduce_mean(means, 0), tf.cast(tf.size(inputs) // maps, tf.float32)
        # it divides the variance by one place less than there are, Keras by all of them
        places = tf.cast(tf.size(x) // x.shape[3], tf.float32)
        biased = tf.maximum(places - 1, 1) / places
        variance = tf.reduce_mean(variances * biased + tf.square(means - mean), 0)

        def gradients(to_mean: Any, to_variance: Any) -> Any:
            slope = 2 * to_variance / count
            to_x = _scaled(x, mean, tf.ones(maps), slope, to_mean / count, 0.0)
            return tf.reshape(to_x, tf.shape(inputs))

        return (mean, variance), gradients

    return apply(inputs)


def normalize(
    inputs: Any,
    mean: Any,
    variance: Any,
    scale: Any,
    offset: Any,
    epsilon: float,
    rectify: bool = False,
) -> Any:
    """Normalize a batch.

    Args:
        inputs: (batch, frames, bins, maps), float32 or bfloat16.
        mean: (maps,), float32, as the next three.
        variance: Of each map.
        scale: Of the normalized inputs.
        offset: Added to them.
        epsilon: Added to the variance.
        rectify: Whether ReLU is applied.

    Returns:
        As the inputs.

    Example:
        >>> import tensorflow as tf
        >>> x = tf.ones((1, 8, 4, 2))
        >>> float(normalize(x, *moments(x), tf.ones(2), tf.ones(2), 1e-3)[0, 0, 0, 0])
        1.0
    """
    import tensorflow as tf

    @tf.custom_gradient
    def apply(inputs: Any, mean: Any, variance: Any, scale: Any, offset: Any) -> Any:
        x = _folded(inputs)
        outputs = _scaled(x, mean, variance, scale, offset, epsilon)
        if rectify:
            outputs = tf.nn.relu(outputs)

        def gradients(upstream: Any) -> tuple[Any, ...]:
            upstream = tf.reshape(upstream, tf.shape(x))
            if rectify:
                upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=outputs)
            maps = inputs.shape[3]
            repeats = [x.shape[3] // maps]
            to_x, to_scale, to_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=x,
                scale=tf.tile(scale, repeats),
                reserve_space_1=tf.tile(mean, repeats),
                reserve_space_2=tf.tile(variance, repeats),
                reserve_space_3=tf.zeros(0),
                epsilon=epsilon,
                is_training=False,
            )
            to_scale = tf.reduce_sum(tf.reshape(to_scale, [-1, maps]), 0)
            to_offset = tf.reduce_sum(tf.reshape(to_offset, [-1, maps]), 0)
            slope = -scale * tf.math.rsqrt(variance + epsilon)
            to_variance = -scale * to_scale / (variance + epsilon) / 2
            to_inputs = tf.reshape(to_x, tf.shape(inputs))
            return to_inputs, slope * to_offset, to_variance, to_scale, to_offset

        return tf.reshape(outputs, tf.shape(inputs)), gradients

    return tf.ensure_shape(apply(inputs, mean, variance, scale, offset), inputs.shape)


def _folded(inputs: Any) -> Any:
    """Return the inputs with the maps of neighboring bins as maps of one bin.

    oneDNN is fast if the number of maps is a multiple of 16, which fills its vectors, and up to
    five times slower otherwise.
    """
    import tensorflow as tf

    bins, maps = inputs.shape[2:]
    fold = 16 // math.gcd(16, maps)
    if bins is None or bins % fold:
        return inputs
    batch, frames = tf.unstack(tf.shape(inputs)[:2])
    return tf.reshape(inputs, [batch, frames, bins // fold, maps * fold])


def _scaled(x: Any, mean: Any, variance: Any, scale: Any, offset: Any, epsilon: float) -> Any:
    import tensorflow as tf

    vectors = {"mean": mean, "variance": variance, "scale": scale, "offset": offset}
    repeats = [x.shape[3] // mean.shape[0]]
    repeated = {name: tf.tile(vector, repeats) for name, vector in vectors.items()}
    return tf.raw_ops.FusedBatchNormV3(x=x, **repeated, epsilon=epsilon, is_training=False).y


def _convolution(plain: Any, product: bool, inputs: Any, kernel: Any) -> Any:
    import tensorflow as tf

    parts = _notes.get({}).get(("parts", inputs.ref()), [inputs])
    if len(parts) == 1 and not product:
        return plain(inputs, kernel)
    options = {"strides": [1] * 4, "padding": "SAME"}

    @tf.custom_gradient
    def apply(kernel: Any, *parts: Any) -> Any:
        def gradients(upstream: Any) -> Any:
            # one by one: that is faster than to slice the gradient of them all
            kernels = tf.split(kernel, [x.shape[3] for x in parts], 2)
            to_parts = [
                tf.raw_ops.Conv2DBackpropInput(
                    input_sizes=tf.shape(x), filter=part, out_backprop=upstream, **options
                )
                for x, part in zip(parts, kernels, strict=True)
            ]
            if product:
                to_kernel = kernel_gradient(inputs, upstream, kernel.shape[:2])
            else:
                to_kernel = tf.raw_ops.Conv2DBackpropFilter(
                    input=inputs, filter_sizes=kernel.shape, out_backprop=upstream, **options
                )
            return to_kernel, *to_parts

        return plain(inputs, kernel), gradients

    return apply(tf.convert_to_tensor(kernel), *parts)


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
