"""From the mixture's spectra to the sources' spectra, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mmdense_edge.model.interpreter import Magnitude, Network
from mmdense_edge.signal.stft import Spectrum

# Spectra of the mixture, and of each source in the same frames.
Window = tuple[Spectrum, dict[str, Spectrum]]

# New frames that become spectra at a time: bounds memory, whatever the model's window.
PART_FRAMES = 32

Number = TypeVar("Number", np.float32, np.complex64)


class Windows:
    """Slides the network over a stream of spectra and keeps the middle of each window.

    A window has `frames` frames; `context_frames` on each side are seen and thrown away. Before the
    first frame and after the last the network sees silence. Streaming and whole-track processing
    are therefore the same computation.

    Args:
        network: called with each window's magnitude.
        channels: channels of the signal, 1 or 2. A mono signal goes into a stereo network twice
            and its estimates are averaged; a stereo signal goes through a mono network channel
            by channel. Frames whose two channels are equal get equal estimates, the average.
        sources: the sources wanted, names of the network's.
    """

    def __init__(self, network: Network, channels: int, sources: Sequence[str]) -> None:
        """Starts at the first frame of a signal."""
        self._network = network
        self._contract = network.contract
        self._channels = channels
        self._sources = tuple(sources)
        # Of one window, filled as frames come: growing it would copy it with every block.
        self._buffer = self._silence(self._contract.frames)
        self._filled = self._contract.context_frames

    def push(self, spectra: Spectrum) -> Iterator[Window]:
        """Takes the next frames and yields the estimates of the windows that they complete.

        Args:
            spectra: of the mixture, shape (any number of frames, n_fft // 2 + 1, channels).

        Yields:
            The mixture's spectra and for each source its own, shape (new frames, n_fft // 2 + 1,
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
        """Ends the signal and yields the estimates of its remaining frames."""
        left = self._filled - self._contract.context_frames
        while left > 0:
            self._buffer[self._filled :] = 0
            yield from self._window(min(left, self._contract.step_frames))
            left -= self._contract.step_frames

    def _silence(self, frames: int) -> Spectrum:
        shape = (frames, self._channels, self._contract.transform.num_bins)
        return np.zeros(shape, np.complex64).swapaxes(1, 2)

    def _window(self, keep: int) -> Iterator[Window]:
        """Estimates the window in the buffer, of which `keep` frames are new, and moves on."""
        contract = self._contract
        window = self._buffer
        magnitude = self._copied(np.abs(window[:, : contract.bins]))
        estimates = self._estimate(magnitude)
        end = contract.context_frames + keep
        if self._channels == 2 and contract.channels == 2:
            # The network knows the channels by their places, and would tell equal ones apart.
            equal = (window[:end, :, 0] == window[:end, :, 1]).all(axis=1)
            if equal.any():
                for source, estimate in estimates.items():
                    mean = estimate[:end].mean(axis=2, keepdims=True)
                    estimates[source] = np.where(equal[:, None, None], mean, estimate[:end])
        for first in range(contract.context_frames, end, PART_FRAMES):
            part = slice(first, min(first + PART_FRAMES, end))
            mixture = window[part]
            yield (
                mixture,
                self._spectra(mixture, {name: estimates[name][part] for name in estimates}),
            )
        self._filled = contract.frames - contract.step_frames
        # A new one: the mixture's frames that were yielded are parts of the old one.
        self._buffer = self._silence(contract.frames)
        self._buffer[: self._filled] = window[contract.step_frames :]

    def _copied(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Gives a mono signal both of a stereo network's channels."""
        copies = self._contract.channels // self._channels
        return np.repeat(values, copies, axis=2) if copies > 1 else values

    def _spectra(self, mixture: Spectrum, estimates: dict[str, Magnitude]) -> dict[str, Spectrum]:
        """Gives estimated magnitudes the mixture's phase, and its channels."""
        mixture = self._copied(mixture)
        magnitude = np.abs(mixture)
        phase = _phase(mixture, magnitude)
        spectra = {
            source: _with_phase(estimate, mixture, magnitude, phase)
            for source, estimate in estimates.items()
        }
        if mixture.shape[2] == self._channels:
            return spectra
        return {source: both.mean(axis=2, keepdims=True) for source, both in spectra.items()}

    def _estimate(self, magnitude: Magnitude) -> dict[str, Magnitude]:
        """Runs the network on groups of as many channels as it takes."""
        size = self._contract.channels
        groups = [
            self._network(np.ascontiguousarray(magnitude[:, :, first : first + size]))
            for first in range(0, magnitude.shape[2], size)
        ]
        if len(groups) == 1:
            return {source: groups[0][source] for source in self._sources}
        return {
            source: np.concatenate([group[source] for group in groups], axis=2)
            for source in self._sources
        }


def _phase(mixture: Spectrum, magnitude: Magnitude) -> Spectrum:
    """Returns mixture / |mixture|, and 0 where the mixture is 0."""
    phase = np.zeros_like(mixture)
    # Part by part: NumPy's complex division overflows where the magnitude is tiny.
    np.divide(mixture.real, magnitude, out=phase.real, where=magnitude > 0)
    np.divide(mixture.imag, magnitude, out=phase.imag, where=magnitude > 0)
    return phase


def _with_phase(
    estimate: Magnitude, mixture: Spectrum, magnitude: Magnitude, phase: Spectrum
) -> Spectrum:
    """Returns a source's spectrum; in memory its bins lie last, as the inverse transform wants.

    Bins that the network does not see, Nyquist among them, take the mask of the last bin that it
    sees, clipped to [0, 1].
    """
    frames, bins, channels = mixture.shape
    seen = estimate.shape[1]
    spectra: Spectrum = np.empty((frames, channels, bins), np.complex64).swapaxes(1, 2)
    spectra[:, :seen] = estimate
    spectra[:, :seen] *= phase[:, :seen]
    last = magnitude[:, seen - 1 : seen]
    mask = np.zeros_like(last)
    # Clipping before the division keeps a tiny magnitude from overflowing it.
    np.divide(np.clip(estimate[:, seen - 1 :], 0, last), last, out=mask, where=last > 0)
    np.multiply(mask, mixture[:, seen:], out=spectra[:, seen:])
    return spectra
