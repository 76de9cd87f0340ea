"""Estimate the sources' spectra from the mixture's, window by window."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmdense_edge.model.interpreter import Magnitude, Network
from mmdense_edge.signal.stft import Array, Spectrum

# Spectra of the mixture, and of each source in the same frames.
Window = tuple[Spectrum, dict[str, Spectrum]]

# New frames that are returned at a time: bounds memory whatever the model's window.
PART_FRAMES = 32


class Windows:
    """Slide the network over a stream of spectra and keep the middle of each window.

    A window has `frames` frames, of which `context_frames` on each side are discarded. Before the
    first frame and after the last, the network sees silence. Streaming and whole-track processing
    are therefore the same computation.

    Args:
        network: Called with each window's magnitude.
        channels: Channels of the signal, 1 or 2. A mono signal is duplicated for a stereo network
            and the estimates are averaged; a mono network processes a stereo signal channel by
            channel. Frames whose two channels are equal get equal estimates, the average.
        sources: The requested sources of the network.
    """

    def __init__(self, network: Network, channels: int, sources: Sequence[str]) -> None:
        self._network = network
        self._contract = network.contract
        self._channels = channels
        # A mono signal goes into both channels of a stereo network.
        self._width = max(channels, self._contract.channels)
        self._sources = tuple(sources)
        # Of one window, filled as frames come: growing it would copy it with every block.
        self._buffer = self._silence()
        self._filled = self._contract.context_frames

    def push(self, spectra: Spectrum) -> Iterator[Window]:
        """Take the next frames and yield the estimates of the windows that they complete.

        Args:
            spectra: Spectrum of the mixture, shape (any number of frames, n_fft // 2 + 1,
                channels).

        Yields:
            The spectra of the mixture and of each source, shape (new frames, n_fft // 2 + 1,
            channels).
        """
        while len(spectra):
            part = spectra[: self._contract.frames - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            spectra = spectra[len(part) :]
            if self._filled == self._contract.frames:
                yield from self._window(self._contract.step_frames)

    def finish(self) -> Iterator[Window]:
        """End the signal and yield the estimates of its remaining frames."""
        step = self._contract.step_frames
        for left in range(self._filled - self._contract.context_frames, 0, -step):
            self._buffer[self._filled :] = 0
            yield from self._window(min(left, step))

    def _silence(self) -> Spectrum:
        shape = (self._contract.frames, self._channels, self._contract.transform.num_bins)
        return np.zeros(shape, np.complex64).swapaxes(1, 2)

    def _widened(self, values: Array) -> Array:
        return np.broadcast_to(values, (*values.shape[:2], self._width))

    def _window(self, keep: int) -> Iterator[Window]:
        """Estimate the window in the buffer, of which `keep` frames are new, and move on."""
        contract, window = self._contract, self._buffer
        magnitude = self._widened(np.abs(window[:, : contract.bins]))
        groups = [
            self._network(np.ascontiguousarray(magnitude[:, :, first : first + contract.channels]))
            for first in range(0, self._width, contract.channels)
        ]
        end = contract.context_frames + keep
        estimates = {
            source: np.concatenate([group[source][:end] for group in groups], axis=2)
            for source in self._sources
        }
        if self._channels == contract.channels == 2:
            # The network is not symmetric in the channels and would treat equal ones differently.
            equal = (window[:end, :, 0] == window[:end, :, 1]).all(axis=1)
            for estimate in estimates.values():
                estimate[equal] = estimate[equal].mean(axis=2, keepdims=True)
        for first in range(contract.context_frames, end, PART_FRAMES):
            part = slice(first, min(first + PART_FRAMES, end))
            parts = {source: estimate[part] for source, estimate in estimates.items()}
            yield window[part], self._spectra(window[part], parts)
        self._filled = contract.frames - contract.step_frames
        # Allocate a new buffer: the frames yielded before are views of the old one.
        self._buffer = self._silence()
        self._buffer[: self._filled] = window[contract.step_frames :]

    def _spectra(self, mixture: Spectrum, estimates: dict[str, Magnitude]) -> dict[str, Spectrum]:
        """Combine estimated magnitudes with the mixture's phase and channels.

        Bins that the network does not see, including Nyquist, get the mask of the last bin that it
        sees, clipped to [0, 1]. In memory the bins are last, as the inverse transform needs them.
        """
        mixture = self._widened(mixture)
        magnitude = np.abs(mixture)
        phase = np.zeros_like(mixture)  # 0 where the mixture is 0
        # Part by part: NumPy's complex division overflows where the magnitude is tiny.
        np.divide(mixture.real, magnitude, out=phase.real, where=magnitude > 0)
        np.divide(mixture.imag, magnitude, out=phase.imag, where=magnitude > 0)
        spectra = {}
        frames, bins, channels = mixture.shape
        for source, estimate in estimates.items():
            seen = estimate.shape[1]
            spectrum = np.empty((frames, channels, bins), np.complex64).swapaxes(1, 2)
            spectrum[:, :seen] = estimate
            spectrum[:, :seen] *= phase[:, :seen]
            last = magnitude[:, seen - 1 : seen]
            mask = np.zeros_like(last)
            # Clipping before the division keeps a tiny magnitude from overflowing it.
            np.divide(np.clip(estimate[:, -1:], 0, last), last, out=mask, where=last > 0)
            np.multiply(mask, mixture[:, seen:], out=spectrum[:, seen:])
            if self._channels < self._width:
                spectrum = spectrum.mean(axis=2, keepdims=True)
            spectra[source] = spectrum
        return spectra
