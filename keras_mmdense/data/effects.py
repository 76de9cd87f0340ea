"""Effects on single sources of a training example: equaliser, speed and stereo width."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_mmdense.data.audio_files import Audio

LOWEST_HZ, HIGHEST_HZ, POINTS = 40.0, 16000.0, 7

# Transforms have a multiple of this length: with a large prime in it they take twice as long.
FFT_MULTIPLE = 4096


def equalize(stem: Audio, decibels: npt.ArrayLike, sample_rate: int) -> Audio:
    """Filter a stem with a smooth curve, without delay.

    Args:
        stem: (num_samples, channels), float32.
        decibels: Gain at frequencies evenly spaced on a logarithmic axis from 40 Hz to 16 kHz;
            between them it goes in straight lines, beyond them it stays.
        sample_rate: In Hz.

    Returns:
        Array of the same shape.

    Example:
        >>> bool(np.allclose(equalize(np.ones((8, 1), "float32"), [6.0206] * 7, 44100), 2))
        True
    """
    decibels = np.asarray(decibels, np.float64)
    # Few samples are not padded: zeros would be most of what is filtered.
    n_fft = len(stem)
    if n_fft > FFT_MULTIPLE:
        n_fft = -(-n_fft // FFT_MULTIPLE) * FFT_MULTIPLE
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    points = np.geomspace(LOWEST_HZ, HIGHEST_HZ, len(decibels))
    curve = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(points), decibels)
    gain = (10 ** (curve / 20)).astype(np.float32)
    # "ortho" keeps NumPy 2 in float32 both ways; without a norm its rfft computes in float64.
    filtered = np.fft.rfft(np.ascontiguousarray(stem.T), n_fft, norm="ortho") * gain
    samples = np.fft.irfft(filtered, n_fft, norm="ortho").astype(np.float32, copy=False)
    return np.ascontiguousarray(samples[:, : len(stem)].T)


def respeed(stem: Audio, factor: float, num_samples: int) -> Audio:
    """Play the beginning of a stem faster or slower: tempo and pitch move together.

    Args:
        stem: (at least num_samples * factor samples, channels), float32.
        factor: Speed, more than 1 is faster.
        num_samples: Samples to return.

    Returns:
        (num_samples, channels), float32.
    """
    import soxr

    played: Audio = soxr.resample(stem[: int(np.ceil(num_samples * factor)) + 1], factor, 1.0, "MQ")
    missing = num_samples - len(played)
    padded: Audio = np.pad(played, ((0, max(0, missing)), (0, 0)))
    return padded[:num_samples]


def widen(stem: Audio, factor: float) -> Audio:
    """Scale the difference of left and right: 0 is mono, 1 changes nothing; mono stays mono."""
    # not mean(axis=1), which takes ten times as long over an axis of two
    middle: Audio = np.asarray(sum(stem.T) / stem.shape[1], np.float32)
    widened: Audio = middle[:, None] + np.float32(factor) * (stem - middle[:, None])
    return widened
