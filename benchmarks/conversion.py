"""Keras networks as `.tflite` for benchmarks: as they are, without the exporter's rewrites."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

CALIBRATION_WINDOWS = 2


def convert(network: keras.Model, *, int8: bool, int8_ends: bool = False) -> bytes:
    """Returns a network as a flatbuffer; all shapes are static.

    Args:
        network: one input with a static shape, but for the batch, which becomes 1.
        int8: whole numbers of 8 bits, calibrated on noise; else float32.
        int8_ends: with `int8`, also the input and the outputs, which else are float32.

    Example:
        >>> import keras
        >>> given = keras.Input((8, 8, 2))
        >>> network = keras.Model(given, keras.layers.Conv2D(4, 3)(given))
        >>> convert(network, int8=False)[4:8]
        b'TFL3'
    """
    import tensorflow as tf

    network = _one_at_a_time(network)
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = _noise(network.input.shape)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if int8_ends:
            converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        # It misses statistics that only training for quantization has, and goes on rightly.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
        content: bytes = converter.convert()
    return content


def vary_constants(network: keras.Model, seed: int = 0) -> None:
    """Replaces weights that are all the same by random ones from 0.5 to 1.5.

    A fresh network's biases, scales and means are 0 or 1, and a converter leaves out what adds 0 or
    multiplies by 1: a trained network would take longer.

    Args:
        network: changed in place; kernels, which are random already, stay.
        seed: of the weights.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    for weight in network.weights:
        values = np.asarray(weight)
        if values.dtype == np.float32 and np.ptp(values) == 0:
            weight.assign(generator.uniform(0.5, 1.5, values.shape).astype(np.float32))


def _one_at_a_time(network: keras.Model) -> keras.Model:
    import keras

    given = keras.Input(batch_shape=(1, *network.input.shape[1:]))
    return keras.Model(given, network(given, training=False))


def _noise(shape: tuple[int, ...]) -> Callable[[], Iterator[list[Any]]]:
    import numpy as np

    def windows() -> Iterator[list[Any]]:
        generator = np.random.default_rng(0)
        for _ in range(CALIBRATION_WINDOWS):
            yield [generator.rayleigh(size=shape).astype(np.float32)]

    return windows
