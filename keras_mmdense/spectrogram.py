"""The transform between waveform and network: NumPy for separation, TensorFlow for the pipeline.

One definition: periodic Hann window, frames centred on multiples of hop_length, the signal
reflected by n_fft // 2 samples at both ends, then zeros until the last frame is full. No scaling.
It equals `scipy.signal.stft(boundary="even", padded=True)` times the sum of the window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import AudioError
from keras_mmdense.transform import Transform

if TYPE_CHECKING:
    import tensorflow as tf

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
ComplexArray = np.ndarray[Any, np.dtype[np.complex64]]


def num_frames(num_samples: int, transform: Transform) -> int:
    """Return the number of frames of a signal: 1 + ceil(num_samples / hop_length).

    Example:
        >>> num_frames(44100, Transform())
        45
    """
    return 1 + -(-num_samples // transform.hop_length)


def hann(n_fft: int) -> FloatArray:
    """Return the periodic Hann window of n_fft samples."""
    phase = 2 * np.pi * np.arange(n_fft) / n_fft
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def pad(audio: FloatArray, transform: Transform) -> FloatArray:
    """Reflect both ends of (num_samples, channels) and fill the last frame with zeros.

    Returns:
        Array of ((num_frames - 1) * hop_length + n_fft, channels).

    Raises:
        AudioError: There is no sample.
    """
    if len(audio) == 0:
        raise AudioError("audio must have at least one sample; received none. Check the file.")
    half = transform.n_fft // 2
    reflected = np.pad(audio, ((half, half), (0, 0)), mode="reflect")
    total = (num_frames(len(audio), transform) - 1) * transform.hop_length + transform.n_fft
    return np.pad(reflected, ((0, total - len(reflected)), (0, 0)))


def analyse(padded: FloatArray, transform: Transform) -> ComplexArray:
    """Transform samples that are padded already: the frames that lie wholly inside.

    Args:
        padded: Samples, (n, channels), n >= n_fft.
        transform: The transform.

    Returns:
        Spectrum (frames, n_fft // 2 + 1, channels).
    """
    view = np.lib.stride_tricks.sliding_window_view(padded, transform.n_fft, axis=0)
    frames = view[:: transform.hop_length] * hann(transform.n_fft)  # (frames, channels, n_fft)
    return np.fft.rfft(frames, axis=-1).astype(np.complex64).transpose(0, 2, 1)


def overlap_add(spectrum: ComplexArray, transform: Transform) -> FloatArray:
    """Windowed inverse transform of frames, overlapped and added, not yet normalised.

    Args:
        spectrum: (frames, n_fft // 2 + 1, channels).
        transform: The transform.

    Returns:
        Samples ((frames - 1) * hop_length + n_fft, channels); divide by `window_power`.
    """
    frames = np.fft.irfft(spectrum.transpose(0, 2, 1), transform.n_fft, axis=-1)
    frames = (frames * hann(transform.n_fft)).astype(np.float32)  # (frames, channels, n_fft)
    hop = transform.hop_length
    out = np.zeros(((len(frames) - 1) * hop + transform.n_fft, spectrum.shape[2]), np.float32)
    for index, frame in enumerate(frames):
        out[index * hop : index * hop + transform.n_fft] += frame.T
    return out


def window_power(frames: int, transform: Transform) -> FloatArray:
    """Return the sum of the squared windows of that many frames, (n, 1): the normaliser."""
    hop, power = transform.hop_length, hann(transform.n_fft) ** 2
    total = np.zeros((frames - 1) * hop + transform.n_fft, np.float32)
    for index in range(frames):
        total[index * hop : index * hop + transform.n_fft] += power
    return total[:, None]


def stft(audio: FloatArray, transform: Transform | None = None) -> ComplexArray:
    """Transform a signal.

    Args:
        audio: Samples (num_samples, channels), float32.
        transform: The transform; default 44.1 kHz, window 2048, hop 1024.

    Returns:
        Spectrum (num_frames, n_fft // 2 + 1, channels), complex64.

    Raises:
        AudioError: There is no sample.

    Example:
        >>> stft(np.zeros((4096, 2), np.float32)).shape
        (5, 1025, 2)
    """
    transform = transform or Transform()
    return analyse(pad(audio, transform), transform)


def istft(
    spectrum: ComplexArray, num_samples: int, transform: Transform | None = None
) -> FloatArray:
    """Return the signal of a spectrum made by `stft`; the inverse of it at any length.

    Args:
        spectrum: (num_frames, n_fft // 2 + 1, channels).
        num_samples: Length of the signal in samples.
        transform: The transform that made the spectrum.

    Returns:
        Samples (num_samples, channels), float32.

    Example:
        >>> audio = np.ones((3000, 1), np.float32)
        >>> bool(np.allclose(istft(stft(audio), 3000), audio, atol=1e-6))
        True
    """
    transform = transform or Transform()
    half = transform.n_fft // 2
    inner = slice(half, half + num_samples)
    signal = overlap_add(spectrum, transform)[inner]
    return signal / window_power(len(spectrum), transform)[inner]


def magnitude_tf(padded: tf.Tensor, transform: Transform, bins: int) -> tf.Tensor:
    """Return the magnitude of `spectrum_tf`, float32."""
    import tensorflow as tf

    return tf.abs(spectrum_tf(padded, transform, bins))


def spectrum_tf(padded: tf.Tensor, transform: Transform, bins: int) -> tf.Tensor:
    """Return the spectrum of `analyse` in TensorFlow, for use inside a tf.data graph.

    Args:
        padded: Samples (..., n, channels), float32, n >= n_fft: the frames that lie wholly
            inside are transformed.
        transform: The transform.
        bins: Number of bins to keep, from bin 0.

    Returns:
        Spectrum (..., frames, bins, channels), complex64.
    """
    import tensorflow as tf

    by_channel = tf.linalg.matrix_transpose(padded)  # (..., channels, n)
    frames = tf.signal.frame(by_channel, transform.n_fft, transform.hop_length)
    spectrum = tf.signal.rfft(frames * hann(transform.n_fft))[..., :bins]
    rank = len(padded.shape)  # (..., channels, frames, bins) -> (..., frames, bins, channels)
    return tf.transpose(spectrum, [*range(rank - 2), rank - 1, rank, rank - 2])
