"""Multichannel Wiener filter: uses the stereo position of sounds to separate sources.

The network estimates each channel's magnitudes. The filter models every source in every bin as
Gaussian, with a power of its own in each frame and one covariance between the channels, and returns
the most likely contribution of each source to the mixture. Power and covariance are measured on the
estimates and, with every further iteration, on the filter's own output.

The filter uses all sources of a model, and their results add up to the mixture: energy that no
estimate explains is distributed among them. If a model has only one source, a second one represents
the rest: the mixture's magnitude minus the source's, at least 0.

A mono signal has no covariance between channels. In this case an iteration is a mask, each source's
share of the power, and every further iteration squares the ratios, which makes the mask harder.

Sources: Nugraha, Liutkus and Vincent, "Multichannel audio source separation with deep neural
networks", IEEE/ACM TASLP 24(9), 2016; Uhlich et al., "Improving music source separation based on
deep neural networks", ICASSP 2017.
"""

from collections.abc import Iterator

import numpy as np

from mmdense_edge.signal.stft import Array, Complex, Real, Spectrum

MAX_ITERATIONS = 10

# Covariances are measured over windows of STEP_FRAMES frames plus CONTEXT_FRAMES on each side.
# Windows are cross-faded over OVERLAP frames, so that no seams are heard.
STEP_FRAMES, CONTEXT_FRAMES = 128, 32
OVERLAP = 2 * CONTEXT_FRAMES

# Power of a noise, relative to the estimates, that the sources share equally: it decides where the
# covariances cannot, as with equal channels. The same fraction of the mixture's power decides where
# nothing is estimated.
NOISE = 1e-9

# Bins do not depend on each other; this many at a time stay within a processor's cache.
GROUP_BINS = 32


class WienerFilter:
    """The filter as a stream: frames in, as they come; frames out, a window at a time.

    Windows are at fixed frames of the signal. Therefore pushing single frames or the whole signal
    gives bit-identical results, and memory use does not depend on the length. A frame is returned
    at most STEP_FRAMES + OVERLAP frames after it was pushed (192 frames are 4.5 s at 44.1 kHz).

    Args:
        iterations: Iterations of the estimation, 1 to 10; 1 is the most useful.

    Example:
        >>> stage = WienerFilter(iterations=1)
        >>> ones = np.ones((300, 5, 2), np.complex64)
        >>> [block.shape for block in stage.push(ones, np.stack([ones, ones]))]
        [(2, 96, 5, 2), (2, 128, 5, 2)]
        >>> [block.shape for block in stage.finish()]
        [(2, 76, 5, 2)]
    """

    def __init__(self, iterations: int) -> None:
        self._iterations = iterations
        self._sources = self._filled = 0
        self._buffer: Spectrum | None = None  # the mixture, then the sources: `_filled` frames
        self._fading: Spectrum | None = None  # the end of the window before

    def push(self, mixture: Spectrum, estimates: Spectrum) -> Iterator[Spectrum]:
        """Take the next frames and yield those that are ready.

        Args:
            mixture: Spectrum (frames, bins, channels) of any number of frames, 1 or 2 channels.
            estimates: A spectrum of that shape with the mixture's phase for each source of the
                model, (sources, frames, bins, channels). They are not changed.

        Yields:
            The next frames of each source, (sources, frames, bins, channels).
        """
        self._sources = len(estimates)
        spectra = [mixture, *estimates]
        if len(estimates) == 1:
            magnitude = np.abs(mixture)
            share = np.maximum(magnitude - np.abs(spectra[1]), 0)
            np.divide(share, magnitude, out=share, where=magnitude > 0)
            spectra.append(mixture * share)
        if self._buffer is None:
            # In memory, bins are last, after the channels.
            shape = (len(spectra), STEP_FRAMES + OVERLAP, *mixture.shape[:0:-1])
            self._buffer = np.empty(shape, np.complex64).swapaxes(2, 3)
        buffer, done = self._buffer, 0
        while done < len(mixture):
            frames = STEP_FRAMES + (CONTEXT_FRAMES if self._fading is None else OVERLAP)
            count = min(len(mixture) - done, frames - self._filled)
            for each, spectrum in zip(buffer, spectra, strict=True):
                each[self._filled : self._filled + count] = spectrum[done : done + count]
            self._filled, done = self._filled + count, done + count
            if self._filled == frames:
                result = self._faded_in(buffer[:, :frames])
                buffer[:, :OVERLAP] = buffer[:, frames - OVERLAP : frames]
                self._filled = OVERLAP
                self._fading = result[:, -OVERLAP:].copy()
                yield result[: self._sources, :-OVERLAP]

    def finish(self) -> Iterator[Spectrum]:
        """End the signal and yield the rest of its frames."""
        if self._buffer is not None and self._filled:
            yield self._faded_in(self._buffer[:, : self._filled])[: self._sources]
            self._filled, self._fading = 0, None

    def _faded_in(self, window: Spectrum) -> Spectrum:
        """Filter a window; its start fades from the end of the window before."""
        result = filter_spectra(window[0], window[1:], self._iterations)
        if self._fading is not None:
            frames = min(OVERLAP, result.shape[1])
            rise = (np.arange(frames, dtype=np.float32) + 0.5)[:, None, None] / OVERLAP
            before = self._fading[:, :frames]
            result[:, :frames] = before + rise * (result[:, :frames] - before)
        return result


def filter_spectra(mixture: Spectrum, estimates: Spectrum, iterations: int) -> Spectrum:
    """Filter frames that share their covariances.

    Args:
        mixture: Spectrum (frames, bins, channels), 1 or 2 channels; complex64 or complex128.
        estimates: Of all sources, (sources, frames, bins, channels). They are not changed.
        iterations: Iterations of the estimation, 1 or more.

    Returns:
        Spectra of the shape and type of `estimates`. Their sum is the mixture.

    Example:
        >>> mixture = np.full((4, 3, 2), 2 + 2j, np.complex64)
        >>> estimates = np.stack([mixture * 0.75, mixture * 0.25])
        >>> bool(np.allclose(filter_spectra(mixture, estimates, 1)[0], 0.9 * mixture))
        True
    """
    result = np.empty_like(estimates)
    for first in range(0, mixture.shape[1], GROUP_BINS):
        bins = np.s_[..., first : first + GROUP_BINS, :]
        x, y = _by_channel(mixture[bins]), _by_channel(estimates[bins])
        for _ in range(iterations):
            y = _iterate(x, y)
        result[bins] = np.moveaxis(y, 1, 3)[..., : mixture.shape[2]]
    return result


def _by_channel(spectra: Spectrum) -> Complex:
    """Return (..., 2, frames, bins): mono is stereo with a silent second channel.

    The result has double precision: in single precision, equal channels cancel out, and the squares
    of very quiet and very loud signals exceed the range.
    """
    *sources, frames, bins, channels = spectra.shape
    result = np.zeros((*sources, 2, frames, bins), np.complex128)
    result[..., :channels, :, :] = np.moveaxis(spectra, -1, -3)
    return result


def _iterate(x: Complex, y: Complex) -> Complex:
    """Measure the model on the estimates and filter the mixture with it.

    Args:
        x: Mixture (2, frames, bins).
        y: Estimates (sources, 2, frames, bins).
    """
    power = _power(y)
    v = power.mean(axis=1)  # of each source in each frame
    weight = v.sum(axis=1)
    # Covariance of the channels, per unit of v: its diagonal and the element (left, right).
    left, right = (_divide(power[:, side].sum(axis=1), weight) for side in (0, 1))
    cross = _divide((y[:, 0] * y[:, 1].conj()).sum(axis=1), weight)
    noise = NOISE * (v.sum(axis=0) + NOISE * _power(x).mean(axis=0))
    # z = inverse of the mixture's covariance, times the mixture.
    a, d = (np.einsum("sfb,sb->fb", v, side) + noise for side in (left, right))
    c = np.einsum("sfb,sb->fb", v, cross)
    determinant = a * d - _power(c)
    z = np.stack([d * x[0] - c * x[1], a * x[1] - c.conj() * x[0]])
    z = _divide(z, determinant)
    result = np.empty_like(y)
    for source, out in enumerate(result):
        share = noise / len(y)
        out[0] = v[source] * (left[source] * z[0] + cross[source] * z[1]) + share * z[0]
        out[1] = v[source] * (cross[source].conj() * z[0] + right[source] * z[1]) + share * z[1]
    return result


def _power(spectra: Complex) -> Real:
    power: Real = spectra.real**2 + spectra.imag**2
    return power


def _divide(above: Array, below: Real) -> Array:
    """Divide, with 0 where the divisor is 0."""
    result = np.zeros_like(above)
    np.divide(above, below, out=result, where=below > 0)
    return result
