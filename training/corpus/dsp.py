"""Filters, envelopes and small functions for audio of shape (num_samples, 2)."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 44100
BLOCK = 64  # samples per value of an envelope

Audio = NDArray[Any]
Rng = np.random.Generator
T = TypeVar("T")


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """Return one of the choices at random."""
    return choices[int(rng.integers(len(choices)))]


def chance(rng: Rng, probability: float) -> bool:
    """Return True with the given probability."""
    return bool(rng.random() < probability)


def gain(decibels: float) -> float:
    """Return the amplitude factor of a level in dB."""
    return float(10 ** (decibels / 20))


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """Return a random number, uniform on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def shelf(audio: Audio, hertz: float, decibels: float, high: bool) -> Audio:
    """Raise or lower everything above (`high`) or below a frequency.

    Source: R. Bristow-Johnson, Audio EQ Cookbook.
    """
    amp = 10 ** (decibels / 40)
    cos, alpha = _angle(hertz, 1 / np.sqrt(2))
    side, k = 2 * np.sqrt(amp) * alpha, -1 if high else 1
    b = [amp * ((amp + 1) - k * (amp - 1) * cos + side)]
    b += [k * 2 * amp * ((amp - 1) - k * (amp + 1) * cos), b[0] - 2 * amp * side]
    a = [(amp + 1) + k * (amp - 1) * cos + side, -k * 2 * ((amp - 1) + k * (amp + 1) * cos)]
    a += [a[0] - 2 * side]
    return _biquad(audio, b, a)


def peak(audio: Audio, hertz: float, decibels: float, q: float) -> Audio:
    """Raise or lower a band around a frequency."""
    amp = 10 ** (decibels / 40)
    cos, alpha = _angle(hertz, q)
    b = [1 + alpha * amp, -2 * cos, 1 - alpha * amp]
    return _biquad(audio, b, [1 + alpha / amp, -2 * cos, 1 - alpha / amp])


def pass_filter(audio: Audio, hertz: float, high: bool, order: int = 2) -> Audio:
    """Keep frequencies above (`high`) or below a cutoff (Butterworth)."""
    from scipy import signal

    kind = "highpass" if high else "lowpass"
    hertz = min(hertz, 0.45 * SAMPLE_RATE)
    sections = signal.butter(order, hertz, kind, fs=SAMPLE_RATE, output="sos")
    return _as_audio(signal.sosfilt(sections, audio, axis=0))


def level(audio: Audio) -> float:
    """Return the RMS of the audio within 40 dB of its loudest tenth of a second."""
    width = SAMPLE_RATE // 10
    blocks = audio[: len(audio) // width * width].reshape(-1, width * audio.shape[1])
    powers = (blocks.astype(np.float64) ** 2).mean(1) if len(blocks) else (audio**2).mean(1)
    active = powers[powers > 1e-4 * powers.max()]
    return float(np.sqrt(active.mean())) if len(active) else 0.0


def envelope(audio: Audio, attack: float, release: float) -> Audio:
    """Return the level over time, one value per block of 64 samples.

    Args:
        audio: (num_samples, 2).
        attack: Time constant in seconds while the level rises.
        release: Time constant in seconds while it falls.
    """
    powers = block_peaks(audio) ** 2
    rise, fall = (np.exp(-BLOCK / SAMPLE_RATE / t) for t in (attack, release))
    smooth, state = np.empty_like(powers), 0.0
    for i, power in enumerate(powers.tolist()):
        keep = rise if power > state else fall
        state = keep * state + (1 - keep) * power
        smooth[i] = state
    return np.asarray(np.sqrt(smooth))


def block_peaks(audio: Audio) -> Audio:
    """Return the largest amplitude of each block of 64 samples, float64."""
    size = -(-len(audio) // BLOCK) * BLOCK
    padded = np.pad(np.abs(audio).max(1), (0, size - len(audio)))
    return np.asarray(padded.reshape(-1, BLOCK).max(1), np.float64)


def stretch(values: Audio, num_samples: int) -> Audio:
    """Interpolate block values linearly between the blocks' centers, one value per sample."""
    centers = np.arange(len(values)) * BLOCK + BLOCK / 2
    return np.interp(np.arange(num_samples), centers, values).astype(np.float32)


def varispeed(audio: Audio, ratio: float) -> Audio:
    """Play faster (ratio > 1) or slower: pitch, formants and tempo change together."""
    if abs(ratio - 1) < 1e-4 or not len(audio):
        return audio
    return np.asarray(soxr.resample(audio, ratio * SAMPLE_RATE, SAMPLE_RATE), np.float32)


def fit(audio: Audio, num_samples: int) -> Audio:
    """Cut audio, or append silence, to the given length."""
    return np.pad(audio[:num_samples], ((0, max(0, num_samples - len(audio))), (0, 0)))


def fade(audio: Audio, seconds: float) -> Audio:
    """Return a copy that is faded in and out."""
    count = min(len(audio) // 2, round(seconds * SAMPLE_RATE))
    ramp = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    audio = audio.copy()
    audio[:count] *= ramp
    audio[len(audio) - count :] *= ramp[::-1]
    return audio


def add(total: Audio, audio: Audio, start: int) -> None:
    """Add audio to a longer signal in place, from sample `start`; cut what reaches beyond it."""
    first, last = max(0, start), min(len(total), start + len(audio))
    if last > first:
        total[first:last] += audio[first - start : last - start]


def pan(audio: Audio, position: float) -> Audio:
    """Pan to the left (-1) or right (1) with constant power; 0 changes nothing."""
    angle = (position + 1) * np.pi / 4
    factors = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    return _as_audio(audio * factors)


def _angle(hertz: float, q: float) -> tuple[float, float]:
    omega = 2 * np.pi * min(hertz, 0.45 * SAMPLE_RATE) / SAMPLE_RATE
    return float(np.cos(omega)), float(np.sin(omega) / 2 / q)


def _biquad(audio: Audio, b: Sequence[float], a: Sequence[float]) -> Audio:
    from scipy import signal

    return _as_audio(signal.lfilter(np.array(b) / a[0], np.array(a) / a[0], audio, axis=0))


def _as_audio(audio: Audio) -> Audio:
    return np.asarray(audio, np.float32)
