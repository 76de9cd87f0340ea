"""The chain from blocks of the mixture to blocks of its sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.resampling import Resampler, resampled_length
from mmdense_edge.signal.stft import Analysis, Audio, Spectrum, Synthesis
from mmdense_edge.signal.wiener import WienerFilter
from mmdense_edge.signal.windows import Window, Windows

RESIDUAL = "residual"

Stems = dict[str, Audio]


class Pipeline:
    """Resample, analyze, run windows, apply the Wiener filter, synthesize and resample back.

    One pipeline processes one signal. All stems go through the same stages, so that their blocks
    always have the same length. The mixture is kept only if the residual is requested, and only
    until its stems are out.

    Args:
        network: The model's network.
        sample_rate: Sample rate of the signal, in Hz.
        channels: Channels of the signal, 1 or 2.
        sources: The requested sources.
        residual: Also return the mixture minus these sources.
        wiener: Iterations of the Wiener filter, 0 (none) to 10. It uses all of the model's sources.
    """

    def __init__(
        self,
        network: Network,
        sample_rate: int,
        channels: int,
        sources: Sequence[str],
        residual: bool,
        wiener: int = 0,
    ) -> None:
        contract = network.contract
        self._rates = (sample_rate, contract.sample_rate)
        self._received = 0
        self._into = Resampler(*self._rates, channels)
        self._analysis = Analysis(contract.transform, channels)
        self._windows = Windows(network, channels, contract.sources if wiener else sources)
        self._wiener = WienerFilter(wiener) if wiener else None
        self._sources = tuple(sources)
        # All stems in one: source by source their channels.
        self._synthesis = Synthesis(contract.transform, channels * len(self._sources))
        self._back = Resampler(*self._rates[::-1], channels * len(self._sources))
        self._mixture = np.zeros((0, channels), np.float32) if residual else None

    def push(self, block: Audio) -> Iterator[Stems]:
        """Take the next samples, shape (any length, channels), and yield stems that are ready."""
        self._received += len(block)
        if self._mixture is not None:
            self._mixture = np.concatenate([self._mixture, block])
        spectra = self._analysis.push(self._into.push(block))
        yield from map(self._stems, self._filtered(self._windows.push(spectra)))

    def finish(self) -> Iterator[Stems]:
        """End the signal and yield the rest; the stems are then as long as the signal."""
        inside = resampled_length(self._received, *self._rates)
        rest = self._analysis.push(self._into.finish(inside)), self._analysis.finish()
        windows = chain(*map(self._windows.push, rest), self._windows.finish())
        yield from map(self._stems, self._filtered(windows))
        if self._wiener is not None:
            yield from map(self._stems, self._wiener.finish())
        ready = self._back.push(self._synthesis.finish(inside))
        yield self._split(np.concatenate([ready, self._back.finish(self._received)]))

    def _filtered(self, windows: Iterable[Window]) -> Iterator[dict[str, Spectrum]]:
        for mixture, estimates in windows:
            if self._wiener is None:
                yield estimates
            else:
                yield from self._wiener.push(mixture, estimates)

    def _stems(self, spectra: dict[str, Spectrum]) -> Stems:
        joined = np.concatenate([spectra[name] for name in self._sources], axis=2)
        return self._split(self._back.push(self._synthesis.push(joined)))

    def _split(self, joined: Audio) -> Stems:
        """Split the stems and add the residual, if it is requested."""
        parts = np.split(joined, len(self._sources), axis=1)
        stems = dict(zip(self._sources, parts, strict=True))
        if self._mixture is not None:
            total = sum(stem.astype(np.float64) for stem in parts)
            stems[RESIDUAL] = (self._mixture[: len(joined)] - total).astype(np.float32)
            self._mixture = self._mixture[len(joined) :]
        return stems
