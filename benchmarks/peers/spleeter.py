"""Four U-Nets of Spleeter's shape, as a yardstick of speed: in int8 on LiteRT, and in Keras.

The weights are random, so they separate nothing: speed does not depend on them. One U-Net per
source: six 5x5 convolutions with stride 2 make 16 to 512 maps, six transposed ones go back, and a
dilated convolution makes the mask. The input are magnitudes of 512 frames and the 1024 lowest bins
of a transform with n_fft = 4096 and hop_length = 1024, stereo. The estimates' squares share out the
mixture; the bins above are silent, as in Spleeter's own files.

Source of the shape: Hennequin et al., "Spleeter", JOSS 2020, and its published configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from mmdense_edge.model.contract import Transform
from mmdense_edge.signal.stft import istft, stft

from benchmarks.peers.system import SOURCES, System

if TYPE_CHECKING:
    import keras

FRAMES, BINS, CHANNELS = 512, 1024, 2
MAPS = (16, 32, 64, 128, 256, 512)
TRANSFORM = Transform(n_fft=4096, hop_length=1024)
FILE = "spleeter-int8.tflite"

FloatArray = npt.NDArray[np.float32]
# One source's estimate: magnitudes (windows, 512, 1024, 2) to the same shape.
Network = Callable[[FloatArray], FloatArray]


def build(seed: int = 0) -> keras.Model:
    """Return the U-Net of one source with random weights, (batch, 512, 1024, 2) to the same.

    Biases, scales and means are random, too. A fresh network's are 0 or 1, and a converter leaves
    out what adds 0 or multiplies by 1: a trained network would take longer.

    Args:
        seed: Of the weights.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    magnitude = keras.Input((FRAMES, BINS, CHANNELS))
    x, skips = magnitude, []
    for maps in MAPS:
        # The last convolution goes on without normalization and activation.
        made = layers.Conv2D(maps, 5, strides=2, padding="same")(x)
        skips.append(made)
        x = layers.LeakyReLU(negative_slope=0.2)(layers.BatchNormalization()(made))
    x = skips.pop()
    for maps in (*MAPS[-2::-1], 1):
        x = layers.Conv2DTranspose(maps, 5, strides=2, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        if skips:
            x = layers.Concatenate()([skips.pop(), x])
    mask = layers.Conv2D(CHANNELS, 4, dilation_rate=2, padding="same", activation="sigmoid")(x)
    network = keras.Model(magnitude, layers.Multiply()([mask, magnitude]))
    generator = np.random.default_rng(seed)
    for weight in network.weights:
        values = np.asarray(weight)
        if values.dtype == np.float32 and np.ptp(values) == 0:
            weight.assign(generator.uniform(0.5, 1.5, values.shape).astype(np.float32))
    return network


def convert(network: keras.Model) -> bytes:
    """Return a network as an int8 `.tflite` with float32 ends, without the exporter's rewrites.

    Args:
        network: One input with a static shape, but for the batch, which becomes 1.
    """
    import keras
    import tensorflow as tf

    given = keras.Input(batch_shape=(1, *network.input.shape[1:]))
    network = keras.Model(given, network(given, training=False))

    def noise() -> Iterator[list[Any]]:
        generator = np.random.default_rng(0)
        for _ in range(2):
            yield [generator.rayleigh(size=network.input.shape).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = noise
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with warnings.catch_warnings():
        # It misses statistics that only training for quantization has, and goes on rightly.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
        return bytes(converter.convert())


def in_tflite(model: Path, threads: int) -> Network:
    """Return a `.tflite` with one input and one output, for one window, as `Spleeter` takes it."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(model), num_threads=threads).get_signature_runner()
    (given,), (made,) = runner.get_input_details(), runner.get_output_details()
    return lambda windows: np.concatenate([runner(**{given: one[None]})[made] for one in windows])


class Spleeter(System):
    """Four networks, one per source."""

    networks: Sequence[Network]

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems, in windows of 512 frames."""
        spectrum = stft(audio, TRANSFORM)
        # The last window is filled with silence.
        filled = np.pad(np.abs(spectrum[:, :BINS]), ((0, -len(spectrum) % FRAMES), (0, 0), (0, 0)))
        windows = filled.reshape(-1, FRAMES, BINS, CHANNELS)
        squares = [np.square(network(windows)) for network in self.networks]
        total = sum(squares, start=np.float32(1e-10))
        stems = []
        for square in squares:
            mask = (square / total).reshape(-1, BINS, CHANNELS)[: len(spectrum)]
            estimate = np.zeros_like(spectrum)
            np.multiply(spectrum[:, :BINS], mask, out=estimate[:, :BINS])
            stems.append(istft(estimate, TRANSFORM, len(audio)))
        return stems


class SpleeterInt8(Spleeter):
    """All four from one file."""

    def __init__(self, threads: int, folder: Path) -> None:
        self.networks = [in_tflite(folder / FILE, threads) for _ in SOURCES]


class SpleeterKeras(Spleeter):
    """The same in Keras on TensorFlow."""

    def __init__(self, threads: int, folder: Path) -> None:
        self.networks = [
            partial(build(seed).predict, batch_size=1, verbose=0) for seed in range(len(SOURCES))
        ]
