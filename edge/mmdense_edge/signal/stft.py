"""The short-time Fourier transform and its inverse as streams: blocks in, blocks out.

Analysis and synthesis hold less than three frames, whatever the signal's length. `stft` and `istft`
feed them a whole signal at once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mmdense_edge.model.contract import Transform

Audio = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]


@lru_cache(maxsize=8)
def hann(n_fft: int) -> Audio:
    """Returns the periodic Hann window, shape (n_fft,).

    Args:
        n_fft: samples in the window.
    """
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    window.flags.writeable = False
    return window


def analyze(samples: Audio, transform: Transform) -> Spectrum:
    """Returns the spectrum of the frames that lie wholly inside a signal: nothing is reflected.

    Args:
        samples: shape (num_samples, channels), float32, n_fft samples at least.
        transform: sizes of the transform.

    Returns:
        Shape (1 + (num_samples - n_fft) // hop_length, n_fft // 2 + 1, channels), complex64.
    """
    n_fft = transform.n_fft
    views = np.lib.stride_tricks.sliding_window_view(samples, n_fft, axis=0)
    spectra = np.fft.rfft(views[:: transform.hop_length] * hann(n_fft))  # (frames, channels, bins)
    return spectra.swapaxes(1, 2).astype(np.complex64, copy=False)


class Analysis:
    """Turns blocks of samples into frames of the spectrum, as soon as each frame is complete.

    Both ends are reflected by n_fft // 2 samples (as NumPy's "reflect"), then zeros complete the
    last frame, so that a signal of n samples has 1 + ceil(n / hop_length) frames.

    Args:
        transform: sizes of the transform.
        channels: channels of the signal.

    Example:
        >>> analysis = Analysis(Transform(n_fft=16, hop_length=8), channels=1)
        >>> analysis.push(np.ones((20, 1), np.float32)).shape
        (2, 9, 1)
        >>> analysis.finish().shape
        (2, 9, 1)
    """

    def __init__(self, transform: Transform, channels: int) -> None:
        """Starts at the first sample of a signal."""
        self._transform = transform
        self._buffer = np.zeros((0, channels), np.float32)
        self._started = False  # True once the reflected start stands before the buffer
        self._next = 0  # where in the buffer the next frame starts
        self._samples = 0
        self._frames = 0

    def push(self, block: Audio) -> Spectrum:
        """Takes the next samples and returns the frames that they complete.

        Args:
            block: shape (any length, channels), float32.

        Returns:
            Shape (frames, n_fft // 2 + 1, channels); no frame may be complete yet.
        """
        self._samples += len(block)
        self._buffer = np.concatenate([self._buffer, block])
        pad = self._transform.pad
        if not self._started and self._samples > pad:
            self._buffer = np.concatenate([self._buffer[pad:0:-1], self._buffer])
            self._started = True
        return self._frames_ready() if self._started else self._no_frames()

    def finish(self) -> Spectrum:
        """Ends the signal and returns its remaining frames.

        Raises:
            ValueError: the signal had no samples.
        """
        if self._samples == 0:
            raise ValueError("a signal needs at least 1 sample, got 0")
        pad = self._transform.pad
        if self._started:
            self._buffer = np.concatenate([self._buffer, self._buffer[-2 : -pad - 2 : -1]])
        else:
            self._buffer = np.pad(self._buffer, ((pad, pad), (0, 0)), mode="reflect")
        left = self._transform.num_frames(self._samples) - self._frames
        end = self._next + (left - 1) * self._transform.hop_length + self._transform.n_fft
        self._buffer = np.pad(self._buffer, ((0, end - len(self._buffer)), (0, 0)))
        return self._frames_ready()

    def _no_frames(self) -> Spectrum:
        return np.zeros((0, self._transform.num_bins, self._buffer.shape[1]), np.complex64)

    def _frames_ready(self) -> Spectrum:
        n_fft, hop_length = self._transform.n_fft, self._transform.hop_length
        count = (len(self._buffer) - self._next - n_fft) // hop_length + 1
        if count < 1:
            return self._no_frames()
        spectra = analyze(self._buffer[self._next :], self._transform)
        self._frames += count
        self._next += count * hop_length
        # One sample more than the pad stays, because the end is reflected around the last sample.
        drop = max(0, min(self._next, len(self._buffer) - self._transform.pad - 1))
        self._buffer = self._buffer[drop:].copy()
        self._next -= drop
        return spectra


class Synthesis:
    """Turns frames of the spectrum into samples: the inverse of `Analysis`.

    Overlap-add of windowed frames, divided by the overlap-added squared window.

    Args:
        transform: sizes of the transform.
        channels: channels of the signal.

    Example:
        >>> transform = Transform(n_fft=16, hop_length=8)
        >>> synthesis = Synthesis(transform, channels=1)
        >>> synthesis.push(stft(np.ones((20, 1), np.float32), transform)).shape
        (16, 1)
        >>> synthesis.finish(num_samples=20).shape
        (4, 1)
    """

    def __init__(self, transform: Transform, channels: int) -> None:
        """Starts at the first frame of a signal."""
        self._transform = transform
        self._sum = np.zeros((channels, 0), np.float32)
        self._weight = np.zeros(0, np.float32)
        self._position = 0  # of the buffers' start, in the padded signal
        self._frames = 0

    def push(self, spectra: Spectrum) -> Audio:
        """Takes the next frames and returns the samples that are final.

        Args:
            spectra: shape (any number of frames, n_fft // 2 + 1, channels), complex64.

        Returns:
            Shape (samples, channels), float32.
        """
        self._add(spectra)
        # The signal may end one sample after the last frame's predecessor: that far, and no
        # further, is known to exist.
        hop_length, pad = self._transform.hop_length, self._transform.pad
        return self._take(min(self._frames * hop_length, pad + (self._frames - 2) * hop_length))

    def finish(self, num_samples: int) -> Audio:
        """Ends the signal and returns its remaining samples.

        Args:
            num_samples: length of the whole signal, in samples.

        Raises:
            ValueError: the frames pushed are not those of a signal of that length.
        """
        if num_samples < 1 or self._frames != self._transform.num_frames(num_samples):
            raise ValueError(
                f"{num_samples} samples have {self._transform.num_frames(num_samples)} frames, "
                f"got {self._frames}"
            )
        return self._take(self._transform.pad + num_samples)

    def _add(self, spectra: Spectrum) -> None:
        n_fft, hop_length = self._transform.n_fft, self._transform.hop_length
        if not len(spectra):
            return
        window = hann(n_fft)
        # Bins last: the inverse transform takes twice as long over any other axis.
        frames = np.fft.irfft(np.ascontiguousarray(spectra.swapaxes(1, 2)), n_fft)
        frames = frames.astype(np.float32, copy=False)
        frames *= window
        count, channels, _ = frames.shape
        start = self._frames * hop_length - self._position
        parts = -(-n_fft // hop_length)
        grow = max(0, start + (count - 1 + parts) * hop_length - len(self._weight))
        self._sum = np.concatenate([self._sum, np.zeros((channels, grow), np.float32)], axis=1)
        self._weight = np.concatenate([self._weight, np.zeros(grow, np.float32)])
        # One part of all frames at a time, the last part first: each sample gets its frames in
        # the order of the signal, whatever blocks they come in.
        for part in reversed(range(parts)):
            inside = slice(part * hop_length, min((part + 1) * hop_length, n_fft))
            places = slice(start + inside.start, start + inside.start + count * hop_length)
            length = inside.stop - inside.start
            total = self._sum[:, places].reshape(channels, count, hop_length)
            total[..., :length] += frames[:, :, inside].swapaxes(0, 1)
            weight = self._weight[places].reshape(count, hop_length)
            weight[:, :length] += window[inside] ** 2
        self._frames += count

    def _take(self, end: int) -> Audio:
        """Returns the samples up to `end` in the padded signal, less the pad before the signal."""
        first = max(self._position, self._transform.pad)
        if end <= first:
            return np.zeros((0, len(self._sum)), np.float32)
        part = slice(first - self._position, end - self._position)
        samples = (self._sum[:, part] / self._weight[part]).T.copy()
        self._sum = self._sum[:, part.stop :].copy()
        self._weight = self._weight[part.stop :].copy()
        self._position = end
        return samples


def stft(audio: Audio, transform: Transform) -> Spectrum:
    """Returns the spectrum of a whole signal.

    Args:
        audio: shape (num_samples, channels), float32, one sample at least.
        transform: sizes of the transform.

    Returns:
        Shape (1 + ceil(num_samples / hop_length), n_fft // 2 + 1, channels), complex64.
    """
    analysis = Analysis(transform, audio.shape[1])
    return np.concatenate([analysis.push(audio), analysis.finish()])


def istft(spectra: Spectrum, transform: Transform, num_samples: int) -> Audio:
    """Returns the signal of a whole spectrum.

    Args:
        spectra: shape (frames, n_fft // 2 + 1, channels), complex64.
        transform: sizes of the transform.
        num_samples: length of the signal, 1 or more.

    Returns:
        Shape (num_samples, channels), float32.
    """
    synthesis = Synthesis(transform, spectra.shape[2])
    return np.concatenate([synthesis.push(spectra), synthesis.finish(num_samples)])
