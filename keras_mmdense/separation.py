"""separate(): from the waveform of a song to the waveforms of its sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import AudioError, SettingsError
from keras_mmdense.model_settings import settings_of
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.settings import Settings
from keras_mmdense.spectrogram import (
    ComplexArray,
    FloatArray,
    analyse,
    num_frames,
    overlap_add,
    pad,
    window_power,
)
from keras_mmdense.transform import Transform
from keras_mmdense.wiener import MAX_ITERATIONS, WienerFilter

if TYPE_CHECKING:
    import keras

Progress = Callable[[float], None]
Window = tuple[ComplexArray, dict[str, ComplexArray]]  # the mixture, and its sources


def separate(
    model: keras.Model | Sequence[keras.Model],
    audio: np.ndarray[Any, Any],
    sample_rate: int,
    *,
    residual: bool = False,
    wiener: int = 0,
    window_frames: int | None = 256,
    progress: Progress | None = None,
) -> dict[str, FloatArray]:
    """Separate a song into the sources of a model.

    Each window of the network carries as many further frames on both sides as can reach into it;
    they are discarded. So the result does not depend on `window_frames`, and there are no seams.
    Before and after the song the network reads silence. The estimates have the mixture's phase.
    A stereo song goes through a network of one channel side by side; mono goes into a stereo
    network twice, and its estimates are averaged.

    Args:
        model: A model of `keras_mmdense.build`, or several with different sources.
        audio: Mixture, (num_samples,) or (num_samples, channels) with 1 or 2 channels, floating
            point, full scale 1. It is not changed.
        sample_rate: Its rate in Hz. It is resampled where the model has another rate, and the
            sources are resampled back.
        residual: Add "residual", the mixture less the sum of all sources: with it the stems add
            up to the mixture.
        wiener: Iterations of the multichannel Wiener filter over the estimates of all models,
            0 (none) to 10; see `keras_mmdense.wiener`.
        window_frames: Frames per window that are kept; None for the whole song at once.
        progress: Called with the share done, 0 to 1. What it raises ends the separation.

    Returns:
        Source name to float32 array of the shape of `audio`.

    Raises:
        AudioError: Wrong shape, type, rate, or values that are not finite.
        SettingsError: Models that do not fit together.

    Example:
        >>> import keras_mmdense, numpy as np
        >>> model = keras_mmdense.build("mdensenet")
        >>> stems = keras_mmdense.separate(model, np.zeros((22050, 2), "float32"), 44100)
        >>> stems["vocals"].shape
        (22050, 2)

    Source: arXiv 1706.09588, section 3; magnitude estimates with the mixture's phase.
    """
    models = list(model) if isinstance(model, Sequence) else [model]
    settings = _common_settings(models)
    _check_audio(audio, sample_rate)
    _check_options(window_frames, wiener)
    with np.errstate(over="ignore"):  # told below
        mixture = np.atleast_2d(audio.T).T.astype(np.float32)  # (num_samples, channels), a copy
    _check_finite(mixture)
    network_input = _resample(mixture, sample_rate, settings)
    estimates = _separate_padded(models, network_input, window_frames, wiener, progress)
    stems = {
        source: _resample_back(x, sample_rate, settings, len(mixture))
        for source, x in estimates.items()
    }
    if residual:
        stems["residual"] = mixture - np.sum(list(stems.values()), axis=0)
    return {source: stem.reshape(audio.shape) for source, stem in stems.items()}


def _separate_padded(
    models: Sequence[keras.Model],
    audio: FloatArray,
    window: int | None,
    wiener: int,
    progress: Progress | None,
) -> dict[str, FloatArray]:
    """Separate audio that has the models' rate already, window by window."""
    transform = settings_of(models[0]).transform
    hop, half = transform.hop_length, transform.n_fft // 2
    padded, total = pad(audio, transform), num_frames(len(audio), transform)
    sources = [source for model in models for source in settings_of(model).sources]
    outputs = {source: np.zeros_like(padded) for source in sources}
    done = 0
    for spectra in _filtered(_windows(models, padded, total, window), wiener):
        count = len(spectra[sources[0]])
        samples = slice(done * hop, (done + count - 1) * hop + transform.n_fft)
        for source, spectrum in spectra.items():
            outputs[source][samples] += overlap_add(spectrum, transform)
        done += count
        if progress:
            progress(done / total)
    power = window_power(total, transform)
    inner = slice(half, half + len(audio))
    return {source: out[inner] / power[inner] for source, out in outputs.items()}


def _filtered(windows: Iterator[Window], iterations: int) -> Iterator[dict[str, ComplexArray]]:
    """Yield the estimates, with the Wiener filter after them where it is wanted."""
    stage = WienerFilter(iterations) if iterations else None
    for mixture, estimates in windows:
        if stage is None:
            yield estimates
        else:
            yield from stage.push(mixture, estimates)
    if stage is not None:
        yield from stage.finish()


def _windows(
    models: Sequence[keras.Model], padded: FloatArray, total: int, window: int | None
) -> Iterator[Window]:
    """Yield the mixture's spectrum and all models' estimates, window after window."""
    networks = [(any_length(model, settings_of(model)), settings_of(model)) for model in models]
    step = math.lcm(*(s.frame_multiple for _, s in networks))
    window = -(-min(window or total, total) // step) * step
    for start in range(0, total, window):
        count = min(window, total - start)
        mixture = _spectrum(padded, total, start, start + count, networks[0][1].transform)
        estimates: dict[str, ComplexArray] = {}
        for network, s in networks:
            context = context_frames(s)
            seen = _spectrum(padded, total, start - context, start + window + context, s.transform)
            for source, estimate in _estimate(network, s, seen).items():
                estimates[source] = _as_spectrum(estimate[context : context + count], mixture)
        yield mixture, estimates


def _spectrum(
    padded: FloatArray, total: int, start: int, stop: int, transform: Transform
) -> ComplexArray:
    """Return the frames from `start` to `stop`: silence before the song and after it."""
    first, after, hop = max(0, start), min(total, stop), transform.hop_length
    spectrum = analyse(padded[first * hop : (after - 1) * hop + transform.n_fft], transform)
    return np.pad(spectrum, ((first - start, stop - after), (0, 0), (0, 0)))


def _estimate(network: keras.Model, s: Settings, spectrum: ComplexArray) -> dict[str, FloatArray]:
    """Estimate the magnitudes of frames, in groups of as many channels as the network takes."""
    copies = max(1, s.channels // spectrum.shape[2])
    magnitude = np.abs(spectrum[:, : s.bins]).astype(np.float32).repeat(copies, axis=2)
    groups = np.stack(np.split(magnitude, magnitude.shape[2] // s.channels, axis=2))
    estimates = network.predict_on_batch(groups)
    return {x: np.concatenate(list(np.asarray(estimates[x])), axis=2) for x in s.sources}


def _as_spectrum(estimate: FloatArray, mixture: ComplexArray) -> ComplexArray:
    """Give an estimate the mixture's phase and, where it has more of them, its channels."""
    copies = estimate.shape[2] // mixture.shape[2]
    spectrum = _with_phase(estimate, np.repeat(mixture, copies, axis=2))
    return spectrum if copies == 1 else spectrum.mean(axis=2, keepdims=True)


def _with_phase(estimate: FloatArray, mixture: ComplexArray) -> ComplexArray:
    """Give the estimate the mixture's phase; bins above it take the last bin's mask.

    Args:
        estimate: Magnitude (frames, bins, channels).
        mixture: Spectrum (frames, n_fft // 2 + 1, channels).
    """
    bins, magnitude = estimate.shape[1], np.abs(mixture)
    last = magnitude[:, bins - 1 : bins]
    # Divided last, and by parts: a tiny magnitude would overflow a mask or a complex quotient.
    mask = np.divide(np.clip(estimate[:, -1:], 0, last), last, np.zeros_like(last), where=last > 0)
    result = np.zeros_like(mixture)
    np.divide(mixture.real, magnitude, result.real, where=magnitude > 0)
    np.divide(mixture.imag, magnitude, result.imag, where=magnitude > 0)
    result *= np.concatenate([estimate, mask * magnitude[:, bins:]], axis=1)
    return result


def any_length(model: keras.Model, settings: Settings) -> keras.Model:
    """Return the model itself, or one with the same weights that takes any number of frames."""
    if settings.frames is None:
        return model
    from keras_mmdense.model import build_from_settings
    from keras_mmdense.normalization import copy_weights

    free = build_from_settings(replace(settings, frames=None))
    copy_weights(model, free)
    return free


def _common_settings(models: Sequence[keras.Model]) -> Settings:
    all_settings = [settings_of(model) for model in models]
    if not all_settings:
        raise SettingsError("separate() needs a model; received none. Pass one or a list.")
    sources = [source for s in all_settings for source in s.sources]
    inputs: set[tuple[Transform, int]] = {(s.transform, s.channels) for s in all_settings}
    if len(set(sources)) < len(sources) or len(inputs) > 1:
        raise SettingsError(
            f"models must have different sources and the same transform and channels; received "
            f"sources {sources}, {inputs}. Separate with one after the other."
        )
    return all_settings[0]


def _check_audio(audio: np.ndarray[Any, Any], sample_rate: int) -> None:
    if not isinstance(audio, np.ndarray) or not np.issubdtype(audio.dtype, np.floating):
        raise AudioError(
            "audio must be a floating-point NumPy array with full scale 1; received "
            f"{getattr(audio, 'dtype', type(audio).__name__)}. Divide int16 by 32768."
        )
    if audio.ndim not in (1, 2) or audio.size == 0 or (audio.ndim == 2 and audio.shape[1] > 2):
        raise AudioError(
            "audio must be (num_samples,) or (num_samples, channels) with 1 or 2 channels and at "
            f"least one sample; received shape {audio.shape}. Transpose it or pick two channels."
        )
    if not 1000 <= sample_rate <= 384000:
        raise AudioError(
            f"sample_rate must be 1000 to 384000 Hz; received {sample_rate!r}. "
            "Pass the file's rate."
        )


def _check_options(window_frames: int | None, wiener: int) -> None:
    if window_frames is not None and window_frames < 1:
        raise SettingsError(
            f"window_frames must be 1 or more, or None; received {window_frames}. Try 256."
        )
    if not isinstance(wiener, (int, np.integer)) or not 0 <= wiener <= MAX_ITERATIONS:
        raise SettingsError(
            f"wiener must be 0 to {MAX_ITERATIONS} iterations; received {wiener!r}. Try 1."
        )


def _check_finite(mixture: FloatArray) -> None:
    wrong = np.count_nonzero(~np.isfinite(mixture))
    if wrong:
        raise AudioError(
            f"audio must be finite in float32; received {wrong} NaN or infinite values. "
            "Repair the file."
        )


def _resample(audio: FloatArray, sample_rate: int, s: Settings) -> FloatArray:
    if sample_rate == s.transform.sample_rate:
        return audio
    import soxr

    resampled: FloatArray = soxr.resample(audio, sample_rate, s.transform.sample_rate)
    return resampled if len(resampled) else np.zeros((1, audio.shape[1]), np.float32)


def _resample_back(audio: FloatArray, sample_rate: int, s: Settings, length: int) -> FloatArray:
    """Resample to the mixture's rate; rounding leaves a few samples to cut or fill with zeros."""
    if sample_rate == s.transform.sample_rate:
        return audio
    import soxr

    resampled: FloatArray = soxr.resample(audio, s.transform.sample_rate, sample_rate)[:length]
    return np.pad(resampled, ((0, length - len(resampled)), (0, 0)))
