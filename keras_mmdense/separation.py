"""separate(): from the waveform of a song to the waveforms of its sources."""

from __future__ import annotations

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

if TYPE_CHECKING:
    import keras

Progress = Callable[[float], None]


def separate(
    model: keras.Model | Sequence[keras.Model],
    audio: np.ndarray[Any, Any],
    sample_rate: int,
    *,
    residual: bool = False,
    window_frames: int | None = 256,
    progress: Progress | None = None,
) -> dict[str, FloatArray]:
    """Separate a song into the sources of a model.

    Each window of the network carries as many further frames on both sides as can reach into it;
    they are discarded. So the result does not depend on `window_frames`, and there are no seams.
    Before and after the song the network reads silence. The estimates have the mixture's phase.

    Args:
        model: A model of `keras_mmdense.build`, or several with different sources.
        audio: Mixture, (num_samples,) or (num_samples, channels) with 1 or 2 channels, floating
            point, full scale 1. It is not changed.
        sample_rate: Its rate in Hz. It is resampled where the model has another rate, and the
            sources are resampled back.
        residual: Add "residual", the mixture less the sum of all sources: with it the stems add
            up to the mixture.
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
    if window_frames is not None and window_frames < 1:
        raise SettingsError(
            f"window_frames must be 1 or more, or None; received {window_frames}. Try 256."
        )
    with np.errstate(over="ignore"):  # told below
        mixture = np.atleast_2d(audio.T).T.astype(np.float32)  # (num_samples, channels), a copy
    _check_finite(mixture)
    if settings.channels < mixture.shape[1]:
        return _each_channel(model, mixture, sample_rate, residual, window_frames, progress)
    network_input = _resample(_to_channels(mixture, settings.channels), sample_rate, settings)
    estimates: dict[str, FloatArray] = {}
    for index, (one, own) in enumerate(zip(models, map(settings_of, models), strict=True)):
        part = (lambda share, i=index: progress((i + share) / len(models))) if progress else None
        estimates |= _separate_padded(
            _any_length(one, own), own, network_input, window_frames, part
        )
    stems = {
        source: _from_channels(_resample_back(x, sample_rate, settings, len(mixture)), mixture)
        for source, x in estimates.items()
    }
    if residual:
        stems["residual"] = mixture - np.sum(list(stems.values()), axis=0)
    return {source: stem.reshape(audio.shape) for source, stem in stems.items()}


def _separate_padded(
    model: keras.Model,
    s: Settings,
    audio: FloatArray,
    window: int | None,
    progress: Progress | None,
) -> dict[str, FloatArray]:
    """Separate audio that has the model's rate and channels already, window by window."""
    transform, half = s.transform, s.transform.n_fft // 2
    padded, total = pad(audio, transform), num_frames(len(audio), transform)
    outputs = {source: np.zeros_like(padded) for source in s.sources}
    for start, count, spectrum in _windows(padded, total, s, window):
        context = context_frames(s)
        kept = spectrum[context : context + count]
        magnitude = np.abs(spectrum[None, :, : s.bins]).astype(np.float32)
        estimates = model.predict_on_batch(magnitude)
        samples = slice(
            start * transform.hop_length,
            (start + count - 1) * transform.hop_length + transform.n_fft,
        )
        for source in s.sources:
            estimate = np.asarray(estimates[source])[0, context : context + count]
            outputs[source][samples] += overlap_add(_with_phase(estimate, kept), transform)
        if progress:
            progress((start + count) / total)
    power = window_power(total, transform)
    inner = slice(half, half + len(audio))
    return {source: out[inner] / power[inner] for source, out in outputs.items()}


def _windows(
    padded: FloatArray, total: int, s: Settings, window: int | None
) -> Iterator[tuple[int, int, ComplexArray]]:
    """Yield first frame, number of frames, and the spectrum with context and silence around."""
    context, step = context_frames(s), s.frame_multiple
    window = -(-min(window or total, total) // step) * step
    hop, n_fft = s.transform.hop_length, s.transform.n_fft
    for start in range(0, total, window):
        count = min(window, total - start)
        first, after = max(0, start - context), min(total, start + window + context)
        spectrum = analyse(padded[first * hop : (after - 1) * hop + n_fft], s.transform)
        before = first - (start - context)
        behind = window + 2 * context - before - len(spectrum)
        yield start, count, np.pad(spectrum, ((before, behind), (0, 0), (0, 0)))


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


def _any_length(model: keras.Model, settings: Settings) -> keras.Model:
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


def _check_finite(mixture: FloatArray) -> None:
    wrong = np.count_nonzero(~np.isfinite(mixture))
    if wrong:
        raise AudioError(
            f"audio must be finite in float32; received {wrong} NaN or infinite values. "
            "Repair the file."
        )


def _each_channel(
    model: keras.Model | Sequence[keras.Model],
    mixture: FloatArray,
    sample_rate: int,
    residual: bool,
    window_frames: int | None,
    progress: Progress | None,
) -> dict[str, FloatArray]:
    """Separate stereo with a network of one channel: left, then right."""
    sides = []
    for index in range(2):
        part = (lambda share, i=index: progress((i + share) / 2)) if progress else None
        sides.append(
            separate(
                model,
                mixture[:, index],
                sample_rate,
                residual=residual,
                window_frames=window_frames,
                progress=part,
            )
        )
    return {source: np.stack([side[source] for side in sides], axis=1) for source in sides[0]}


def _to_channels(audio: FloatArray, channels: int) -> FloatArray:
    """Duplicate mono for a stereo network."""
    return np.repeat(audio, 2, axis=1) if channels > audio.shape[1] else audio


def _from_channels(estimate: FloatArray, mixture: FloatArray) -> FloatArray:
    if estimate.shape[1] == mixture.shape[1]:
        return estimate
    mono: FloatArray = estimate.mean(axis=1, keepdims=True, dtype=np.float32)
    return mono


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
