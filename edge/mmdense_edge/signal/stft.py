"""The short-time Fourier transform and its inverse as streams: blocks in, blocks out.

Analysis and synthesis hold less than three frames, whatever the signal's length. `stft` and `istft`
feed them a whole signal at once.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdense_edge.model.contract import Transform

# Samples, and frames of a spectrum: shapes (samples, channels) and (frames, bins, channels).
Audio = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

# In double precision, and of any type.
Real = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Array = npt.NDArray[Any]

# Frames that are worked on at a time, so that all their sources stay within a processor's cache.
GROUP_FRAMES = 8


@lru_cache(maxsize=8)
def hann(n_fft: int) -> Audio:
    """Return the periodic Hann window, shape (n_fft,).

    Args:
        n_fft: Samples in the window.
    """
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    window.flags.writeable = False
    return window


def analyze(samples: Audio, transform: Transform) -> Spectrum:
    """Return the spectrum of the frames that lie wholly inside a signal: nothing is reflected.

    Args:
        samples: Shape (num_samples, channels), float32.
        transform: Sizes of the transform.

    Returns:
        Shape (1 + (num_samples - n_fft) // hop_length, n_fft // 2 + 1, channels), complex64; no
        frames if there are fewer samples than n_fft.
    """
    n_fft = transform.n_fft
    if len(samples) < n_fft:
        return np.zeros((0, transform.num_bins, samples.shape[1]), np.complex64)
    views = np.lib.stride_tricks.sliding_window_view(samples, n_fft, axis=0)
    views = views[:: transform.hop_length]
    spectra = np.empty((*views.shape[:2], transform.num_bins), np.complex64)
    # NumPy 2 transforms in single precision only with norm="ortho", whose factor the window undoes.
    window = hann(n_fft) * np.float32(np.sqrt(n_fft))
    # A few frames at a time stay within a processor's cache, and NumPy transforms twice as fast
    # with the samples last in memory.
    for first in range(0, len(views), GROUP_FRAMES):
        part = slice(first, first + GROUP_FRAMES)
        frames = np.multiply(views[part], window, order="C")
        spectra[part] = np.fft.rfft(frames, norm="ortho")
    return spectra.swapaxes(1, 2)


class Analysis:
    """Turn blocks of samples into frames of the spectrum, as soon as each frame is complete.

    Both ends are reflected by n_fft // 2 samples (as NumPy's "reflect"), then zeros complete the
    last frame, so that a signal of n samples has 1 + ceil(n / hop_length) frames.

    Args:
        transform: Sizes of the transform.
        channels: Channels of the signal.

    Example:
        >>> analysis = Analysis(Transform(n_fft=16, hop_length=8), channels=1)
        >>> analysis.push(np.ones((20, 1), np.float32)).shape
        (2, 9, 1)
        >>> analysis.finish().shape
        (2, 9, 1)
    """

    def __init__(self, transform: Transform, channels: int) -> None:
        self._transform = transform
        # From pad + 1 samples on, the buffer starts with the reflected ones.
        self._buffer = np.zeros((0, channels), np.float32)
        self._next = 0  # where in the buffer the next frame starts
        self._samples = 0
        self._frames = 0

    def push(self, block: Audio) -> Spectrum:
        """Take the next samples and return the frames that they complete.

        Args:
            block: Shape (any length, channels), float32.

        Returns:
            Shape (frames, n_fft // 2 + 1, channels); no frame may be complete yet.
        """
        pad = self._transform.pad
        self._buffer = np.concatenate([self._buffer, block])
        if self._samples <= pad < self._samples + len(block):
            self._buffer = np.concatenate([self._buffer[pad:0:-1], self._buffer])
        self._samples += len(block)
        return self._ready()

    def finish(self) -> Spectrum:
        """End the signal and return its remaining frames.

        Raises:
            ValueError: The signal had no samples.
        """
        pad = self._transform.pad
        if self._samples > pad:
            self._buffer = np.concatenate([self._buffer, self._buffer[-2 : -pad - 2 : -1]])
        else:
            self._buffer = np.pad(self._buffer, ((pad, pad), (0, 0)), mode="reflect")
        left = self._transform.num_frames(self._samples) - self._frames
        end = self._next + (left - 1) * self._transform.hop_length + self._transform.n_fft
        self._buffer = np.pad(self._buffer, ((0, end - len(self._buffer)), (0, 0)))
        return self._ready()

    def _ready(self) -> Spectrum:
        spectra = analyze(self._buffer[self._next :], self._transform)
        self._frames += len(spectra)
        self._next += len(spectra) * self._transform.hop_length
        # One sample more than the pad stays, because the end is reflected around the last sample.
        drop = max(0, min(self._next, len(self._buffer) - self._transform.pad - 1))
        self._buffer = self._buffer[drop:].copy()
        self._next -= drop
        return spectra


class Synthesis:
    """Turn frames of the spectrum into samples: the inverse of `Analysis`.

    Overlap-add of windowed frames, divided by the overlap-added squared window.

    Args:
        transform: Sizes of the transform.
        channels: Channels of the signal.

    Example:
        >>> transform = Transform(n_fft=16, hop_length=8)
        >>> synthesis = Synthesis(transform, channels=1)
        >>> synthesis.push(stft(np.ones((20, 1), np.float32), transform)).shape
        (16, 1)
        >>> synthesis.finish(num_samples=20).shape
        (4, 1)
    """

    def __init__(self, transform: Transform, channels: int) -> None:
        self._transform = transform
        # The channels, and the squared window: from `_position` in the padded signal on.
        self._sums = np.zeros((channels + 1, 0), np.float32)
        self._position = 0
        self._frames = 0

    def push(self, spectra: Spectrum) -> Audio:
        """Take the next frames and return the samples that are final.

        Args:
            spectra: Shape (any number of frames, n_fft // 2 + 1, channels), complex64.

        Returns:
            Shape (samples, channels), float32; in memory the samples are last.
        """
        n_fft, hop_length = self._transform.n_fft, self._transform.hop_length
        if len(spectra):
            window, square = hann(n_fft), hann(n_fft) ** 2
            # Bins last: the inverse transform takes twice as long over any other axis.
            frames = np.fft.irfft(np.ascontiguousarray(spectra.swapaxes(1, 2)), n_fft)
            frames = frames.astype(np.float32, copy=False)
            frames *= window
            start = self._frames * hop_length - self._position
            end = start + (len(frames) - 1) * hop_length + n_fft
            if end > self._sums.shape[1]:
                self._sums = np.pad(self._sums, ((0, 0), (0, end - self._sums.shape[1])))
            for first, frame in zip(range(start, end, hop_length), frames, strict=False):
                self._sums[:-1, first : first + n_fft] += frame
                self._sums[-1, first : first + n_fft] += square
        self._frames += len(spectra)
        # The signal may end one sample after the last frame's predecessor: only samples up to there
        # are known to exist.
        pad = self._transform.pad
        return self._take(min(self._frames * hop_length, pad + (self._frames - 2) * hop_length))

    def finish(self, num_samples: int) -> Audio:
        """End the signal and return its remaining samples.

        Args:
            num_samples: Length of the whole signal, in samples.

        Raises:
            ValueError: The frames pushed are not those of a signal of that length.
        """
        if num_samples < 1 or self._frames != self._transform.num_frames(num_samples):
            raise ValueError(
                f"{num_samples} samples have {self._transform.num_frames(num_samples)} frames; "
                f"received {self._frames}"
            )
        return self._take(self._transform.pad + num_samples)

    def _take(self, end: int) -> Audio:
        """Return the samples up to `end` in the padded signal, less the pad before the signal."""
        first = max(self._position, self._transform.pad)
        if end <= first:
            return np.zeros((0, len(self._sums) - 1), np.float32)
        sums = self._sums[:, first - self._position : end - self._position]
        samples: Audio = (sums[:-1] / sums[-1]).T
        kept = self._sums[:, end - self._position :]
        self._sums[:, : kept.shape[1]] = kept
        self._sums[:, kept.shape[1] :] = 0
        self._position = end
        return samples


def stft(audio: Audio, transform: Transform) -> Spectrum:
    """Return the spectrum of a whole signal.

    Args:
        audio: Shape (num_samples, channels), float32, one sample at least.
        transform: Sizes of the transform.

    Returns:
        Shape (1 + ceil(num_samples / hop_length), n_fft // 2 + 1, channels), complex64.
    """
    analysis = Analysis(transform, audio.shape[1])
    return np.concatenate([analysis.push(audio), analysis.finish()])


def istft(spectra: Spectrum, transform: Transform, num_samples: int) -> Audio:
    """Return the signal of a whole spectrum.

    Args:
        spectra: Shape (frames, n_fft // 2 + 1, channels), complex64.
        transform: Sizes of the transform.
        num_samples: Length of the signal, 1 or more.

    Returns:
        Shape (num_samples, channels), float32.
    """
    synthesis = Synthesis(transform, spectra.shape[2])
    return np.concatenate([synthesis.push(spectra), synthesis.finish(num_samples)])
