"""A network of the shape of Spleeter's U-Net, to measure speed beside; it separates nothing.

The weights are random: speed does not depend on them. One U-Net per source: six 5x5 convolutions
with stride 2 make 16 to 512 maps, six transposed ones go back, and a dilated convolution makes the
mask. The input are magnitudes of 512 frames and the 1024 lowest bins of a transform with
n_fft = 4096 and hop_length = 1024, stereo. The estimates' squares share out the mixture; the bins
above are silent, as in Spleeter's own files.

Source of the shape: Hennequin et al., "Spleeter", JOSS 2020, and its published configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from mmdense_edge.contract import Transform
from mmdense_edge.transform import istft, stft

from benchmarks.conversion import vary_constants

if TYPE_CHECKING:
    import keras

FRAMES, BINS, CHANNELS = 512, 1024, 2
MAPS = (16, 32, 64, 128, 256, 512)
SOURCES = ("vocals", "drums", "bass", "other")
TRANSFORM = Transform(n_fft=4096, hop_length=1024)
EPSILON = 1e-10
DROPPED = 3

FloatArray = npt.NDArray[np.float32]
# One source's estimate: magnitudes (windows, 512, 1024, 2) to the same shape.
Network = Callable[[FloatArray], FloatArray]


def build(seed: int = 0) -> keras.Model:
    """Returns the U-Net of one source with random weights, (batch, 512, 1024, 2) to the same.

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
    """Returns one stem per network.

    Args:
        audio: stereo, 44.1 kHz, shape (num_samples, 2).
        networks: one per source.

    Example:
        >>> audio = np.ones((5000, 2), np.float32)
        >>> [stem.shape for stem in separate(audio, [lambda windows: windows])]
        [(5000, 2)]
    """
    spectrum = stft(audio, TRANSFORM)
    windows = _windows(np.abs(spectrum[:, :BINS]))
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
    """Separates a file into 16-bit WAV files named after the sources.

    Args:
        song: stereo, 44.1 kHz.
        folder: where the stems go; it exists.
        networks: one per source.
    """
    import soundfile as sf

    audio, rate = sf.read(song, dtype="float32", always_2d=True)
    for source, stem in zip(SOURCES, separate(audio, networks), strict=True):
        sf.write(folder / f"{source}.wav", stem, rate, "PCM_16")


def _windows(magnitude: FloatArray) -> FloatArray:
    """Cuts into windows of 512 frames; the last is filled with silence."""
    missing = -len(magnitude) % FRAMES
    filled = np.pad(magnitude, ((0, missing), (0, 0), (0, 0)))
    return filled.reshape(-1, FRAMES, BINS, CHANNELS)
