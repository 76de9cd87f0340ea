"""A network of the shape of Spleeter's U-Net, as a yardstick of speed; it separates nothing.

The weights are random: speed does not depend on them. One U-Net per source: six 5x5 convolutions
with stride 2 make 16 to 512 maps, six transposed ones go back, and a dilated convolution makes the
mask. The input are magnitudes of 512 frames and the 1024 lowest bins of a transform with
n_fft = 4096 and hop_length = 1024, stereo. The estimates' squares share out the mixture; the bins
above are silent, as in Spleeter's own files.

Source of the shape: Hennequin et al., "Spleeter", JOSS 2020, and its published configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from mmdense_edge.model.contract import Transform
from mmdense_edge.signal.stft import istft, stft

if TYPE_CHECKING:
    import keras

FRAMES, BINS, CHANNELS = 512, 1024, 2
MAPS = (16, 32, 64, 128, 256, 512)
SOURCES = ("vocals", "drums", "bass", "other")
TRANSFORM = Transform(n_fft=4096, hop_length=1024)
EPSILON = 1e-10
DROPPED = 3
CALIBRATION_WINDOWS = 2

FloatArray = npt.NDArray[np.float32]
# One source's estimate: magnitudes (windows, 512, 1024, 2) to the same shape.
Network = Callable[[FloatArray], FloatArray]


def build(seed: int = 0) -> keras.Model:
    """Return the U-Net of one source with random weights, (batch, 512, 1024, 2) to the same.

    Args:
        seed: of the weights.

    Example:
        >>> round(build().count_params() / 1e6, 1)
        9.8
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    magnitude = keras.Input((FRAMES, BINS, CHANNELS))
    x, skips = magnitude, []
    for maps in MAPS:
        # The last convolution goes on without normalisation and activation.
        made = layers.Conv2D(maps, 5, strides=2, padding="same")(x)
        skips.append(made)
        x = layers.LeakyReLU(negative_slope=0.2)(layers.BatchNormalization()(made))
    x = skips.pop()
    for number, maps in enumerate((*MAPS[-2::-1], 1)):
        x = layers.Conv2DTranspose(maps, 5, strides=2, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        if number < DROPPED:
            x = layers.Dropout(0.5)(x)
        if skips:
            x = layers.Concatenate()([skips.pop(), x])
    mask = layers.Conv2D(CHANNELS, 4, dilation_rate=2, padding="same", activation="sigmoid")(x)
    network = keras.Model(magnitude, layers.Multiply()([mask, magnitude]))
    vary_constants(network, seed)
    return network


def separate(audio: FloatArray, networks: Sequence[Network]) -> list[FloatArray]:
    """Return one stem per network.

    Args:
        audio: stereo, 44.1 kHz, shape (num_samples, 2).
        networks: one per source.

    Example:
        >>> audio = np.ones((5000, 2), np.float32)
        >>> [stem.shape for stem in separate(audio, [lambda windows: windows])]
        [(5000, 2)]
    """
    spectrum = stft(audio, TRANSFORM)
    missing = -len(spectrum) % FRAMES  # the last window is filled with silence
    filled = np.pad(np.abs(spectrum[:, :BINS]), ((0, missing), (0, 0), (0, 0)))
    windows = filled.reshape(-1, FRAMES, BINS, CHANNELS)
    squares = [np.square(network(windows)) for network in networks]
    total = sum(squares, start=np.float32(EPSILON))
    stems = []
    for square in squares:
        mask = (square / total).reshape(-1, BINS, CHANNELS)[: len(spectrum)]
        estimate = np.zeros_like(spectrum)
        np.multiply(spectrum[:, :BINS], mask, out=estimate[:, :BINS])
        stems.append(istft(estimate, TRANSFORM, len(audio)))
    return stems


def file_to_files(song: Path, folder: Path, networks: Sequence[Network]) -> None:
    """Separate a file into 16-bit WAV files named after the sources.

    Args:
        song: stereo, 44.1 kHz.
        folder: where the stems go; it exists.
        networks: one per source.
    """
    import soundfile as sf

    audio, rate = sf.read(song, dtype="float32", always_2d=True)
    for source, stem in zip(SOURCES, separate(audio, networks), strict=True):
        sf.write(folder / f"{source}.wav", stem, rate, "PCM_16")


def convert(network: keras.Model, *, int8: bool, int8_ends: bool = False) -> bytes:
    """Return a network as a `.tflite` with static shapes, without the exporter's rewrites.

    Args:
        network: One input with a static shape, but for the batch, which becomes 1.
        int8: Whole numbers of 8 bits, calibrated on noise; else float32.
        int8_ends: With `int8`, also the input and the outputs, which else are float32.

    Example:
        >>> import keras
        >>> given = keras.Input((8, 8, 2))
        >>> network = keras.Model(given, keras.layers.Conv2D(4, 3)(given))
        >>> convert(network, int8=False)[4:8]
        b'TFL3'
    """
    import keras
    import tensorflow as tf

    given = keras.Input(batch_shape=(1, *network.input.shape[1:]))
    network = keras.Model(given, network(given, training=False))

    def noise() -> Iterator[list[Any]]:
        generator = np.random.default_rng(0)
        for _ in range(CALIBRATION_WINDOWS):
            yield [generator.rayleigh(size=network.input.shape).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = noise
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if int8_ends:
            converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        # It misses statistics that only training for quantization has, and goes on rightly.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
        content: bytes = converter.convert()
    return content


def multiply_adds(content: bytes) -> dict[str, int]:
    """Return the multiply-adds of one run of a `.tflite` by kind of operator.

    Convolutions of all kinds are counted, and fully connected layers, which converters make of 1x1
    convolutions; biases and everything else are left out.

    Args:
        content: A model with static shapes; an archive behind it does not matter.

    Returns:
        Multiply-adds by TFLite's operator name, only of those that the model has.

    Example:
        >>> from mmdense_edge.model import bundled
        >>> sorted(multiply_adds(bundled.find("mmdensenet-edge-int8").read_bytes()))[0]
        'CONV_2D'
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=plain)
    shapes = {
        int(t["index"]): tuple(map(int, t["shape"])) for t in interpreter.get_tensor_details()
    }
    found: dict[str, int] = {}
    for operator in interpreter._get_ops_details():
        name, inputs = operator["op_name"], [int(index) for index in operator["inputs"]]
        out = shapes[int(operator["outputs"][0])]
        if name == "CONV_2D":  # weights: (made, height, width, read)
            number = prod(out) * prod(shapes[inputs[1]][1:])
        elif name == "DEPTHWISE_CONV_2D":  # weights: (1, height, width, maps)
            number = prod(out) * prod(shapes[inputs[1]][1:3])
        elif name == "TRANSPOSE_CONV":  # every value meets every weight of its map, but at borders
            number = prod(shapes[inputs[2]][:3]) * prod(shapes[inputs[1]])
        elif name == "FULLY_CONNECTED":  # weights: (made, read)
            number = prod(out) * shapes[inputs[1]][1]
        else:
            continue
        found[name] = found.get(name, 0) + number
    return found


def vary_constants(network: keras.Model, seed: int = 0) -> None:
    """Replace weights that are all the same by random ones from 0.5 to 1.5.

    A fresh network's biases, scales and means are 0 or 1, and a converter leaves out what adds 0 or
    multiplies by 1: a trained network would take longer.

    Args:
        network: Changed in place; kernels, which are random already, stay.
        seed: Of the weights.
    """
    generator = np.random.default_rng(seed)
    for weight in network.weights:
        values = np.asarray(weight)
        if values.dtype == np.float32 and np.ptp(values) == 0:
            weight.assign(generator.uniform(0.5, 1.5, values.shape).astype(np.float32))


def in_keras(model: keras.Model) -> Network:
    """Return a Keras model as `separate` takes it."""
    return lambda windows: model.predict(windows, batch_size=1, verbose=0)


def in_tflite(model: Path, threads: int = 1) -> Network:
    """Return a `.tflite` with one input and one output, for one window, as `separate` takes it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model.read_bytes(), num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    made = interpreter.get_output_details()[0]["index"]

    def window(one: FloatArray) -> FloatArray:
        interpreter.set_tensor(given, one[None])
        interpreter.invoke()
        estimate: FloatArray = interpreter.get_tensor(made)[0]
        return estimate

    return lambda windows: np.stack([window(one) for one in windows])
