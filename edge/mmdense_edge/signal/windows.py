"""Estimate the sources' spectra from the mixture's, window by window."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmdense_edge.errors import ModelError
from mmdense_edge.model.interpreter import Magnitude, Network, for_signal
from mmdense_edge.signal.stft import GROUP_FRAMES, Spectrum

# Spectra of the mixture, and of the sources in the same frames.
Window = tuple[Spectrum, Spectrum]


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
        contract = self._contract = network.contract
        self._channels = channels
        # A mono signal goes into both channels of a stereo network.
        self._width = max(channels, contract.channels)
        each = range(0, self._width, contract.channels)
        self._networks = [(slice(c, c + contract.channels), for_signal(network)) for c in each]
        self._sources = tuple(sources)
        # Of one window, filled as frames come: its magnitude, and its spectra from the first new
        # frame on. In memory, their bins are last, as NumPy's loops need them.
        self._magnitude = np.zeros((contract.frames, contract.bins, self._width), np.float32)
        shape = (contract.frames - contract.context_frames, channels, contract.transform.num_bins)
        self._mixture = np.zeros(shape, np.complex64).swapaxes(1, 2)
        self._new = 0  # frames from the first new one on
        # Masks as complex numbers: NumPy takes products of two types through buffers.
        shape = (GROUP_FRAMES, self._width, contract.transform.num_bins)
        self._gain = np.zeros(shape, np.complex64)
        # One for all windows: it stays within a processor's cache.
        self._estimates = np.empty((shape[0], len(sources), *shape[1:]), np.complex64)

    def push(self, spectra: Spectrum) -> Iterator[Window]:
        """Take the next frames and yield the estimates of the windows that they complete.

        Args:
            spectra: Spectrum of the mixture, shape (any number of frames, n_fft // 2 + 1,
                channels).

        Yields:
            The spectra of the mixture, shape (new frames, n_fft // 2 + 1, channels), and of the
            sources, shape (sources, new frames, n_fft // 2 + 1, channels). Both are valid until the
            next step.
        """
        contract = self._contract
        while len(spectra):
            part = spectra[: len(self._mixture) - self._new]
            self._mixture[self._new : self._new + len(part)] = part
            first = contract.context_frames + self._new
            magnitude = self._magnitude[first : first + len(part)].swapaxes(1, 2)
            np.abs(part[:, : contract.bins].swapaxes(1, 2), out=magnitude)
            self._new += len(part)
            spectra = spectra[len(part) :]
            if self._new == len(self._mixture):
                yield from self._window(contract.step_frames)

    def finish(self) -> Iterator[Window]:
        """End the signal and yield the estimates of its remaining frames."""
        while self._new > 0:
            self._magnitude[self._contract.context_frames + self._new :] = 0
            yield from self._window(min(self._new, self._contract.step_frames))

    def _window(self, keep: int) -> Iterator[Window]:
        """Estimate the window in the buffers, of which `keep` frames are new, and move on."""
        contract, magnitude = self._contract, self._magnitude
        groups = [
            network(np.ascontiguousarray(magnitude[:, :, part])) for part, network in self._networks
        ]
        answers = groups[0]
        if len(groups) > 1:
            answers = {s: np.concatenate([g[s] for g in groups], axis=2) for s in self._sources}
        for first in range(0, keep, GROUP_FRAMES):
            last = min(first + GROUP_FRAMES, keep)
            mixture = self._mixture[first:last]
            part = slice(contract.context_frames + first, contract.context_frames + last)
            yield mixture, self._spectra(mixture, [answers[s][part] for s in self._sources])
        self._new -= contract.step_frames
        for buffer in (self._mixture, magnitude):
            buffer[: -contract.step_frames] = buffer[contract.step_frames :]

    def _spectra(self, mixture: Spectrum, answers: Sequence[Magnitude]) -> Spectrum:
        """Combine the network's answers with the mixture's phase and channels.

        Bins that the network does not see, including Nyquist, get the mask of the last bin that it
        sees, clipped to [0, 1]. In memory the sources are between frames and channels, and the bins
        are last, as the inverse transform needs them.
        """
        lines = mixture.swapaxes(1, 2)
        # The network is not symmetric in the channels and would treat equal ones differently.
        bits = lines.view(np.int64)  # compared faster than complex numbers
        is_pair = self._channels == self._contract.channels == 2
        equal = (bits[:, 0] == bits[:, -1]).all(axis=1) & is_pair
        factor, is_mask = lines, self._contract.output == "mask"
        if not is_mask:
            magnitude = np.abs(lines)
            factor = np.zeros_like(lines)  # the phase; 0 where the mixture is 0
            # Part by part: NumPy's complex division overflows where the magnitude is tiny.
            np.divide(lines.real, magnitude, out=factor.real, where=magnitude > 0)
            np.divide(lines.imag, magnitude, out=factor.imag, where=magnitude > 0)
        gain = self._gain[: len(lines)]
        spectra = self._estimates[: len(lines)]
        for source, answer, out in zip(self._sources, answers, spectra.swapaxes(0, 1), strict=True):
            if not np.isfinite(answer).all():
                raise ModelError(
                    f"the model {self._contract.name!r} returned NaN or infinity for "
                    f"{source!r}. Use another model or precision"
                )
            if equal.any():
                answer = np.where(equal[:, None, None], answer.mean(axis=2, keepdims=True), answer)
            seen = answer.shape[1]
            gain.real[..., :seen] = answer.swapaxes(1, 2)
            edge = gain.real[..., seen - 1 : seen]
            if is_mask:
                gain.real[..., seen:] = np.minimum(np.maximum(edge, 0), 1)
            else:
                last = magnitude[..., seen - 1 : seen]
                # Clipping before the division keeps a tiny magnitude from overflowing it.
                mask = edge.clip(0, last)
                np.divide(mask, last, out=mask, where=last > 0)
                gain.real[..., seen:] = mask * magnitude[..., seen:]
            np.multiply(factor, gain, out=out)
        if self._channels < self._width:
            spectra = spectra.mean(axis=2, keepdims=True)
        return spectra.transpose(1, 0, 3, 2)
