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
        # One for each source: all in one would need twice the memory.
        self._synthesis = {name: Synthesis(contract.transform, channels) for name in sources}
        self._back = {name: Resampler(*self._rates[::-1], channels) for name in sources}
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
        stems = {}
        for name, synthesis in self._synthesis.items():
            ready = self._back[name].push(synthesis.finish(inside))
            stems[name] = np.concatenate([ready, self._back[name].finish(self._received)])
        yield self._complete(stems)

    def _filtered(self, windows: Iterable[Window]) -> Iterator[dict[str, Spectrum]]:
        for mixture, estimates in windows:
            if self._wiener is None:
                yield estimates
            else:
                yield from self._wiener.push(mixture, estimates)

    def _stems(self, spectra: dict[str, Spectrum]) -> Stems:
        parts = {name: part.push(spectra[name]) for name, part in self._synthesis.items()}
        return self._complete({name: self._back[name].push(part) for name, part in parts.items()})

    def _complete(self, stems: Stems) -> Stems:
        """Add the residual, if it is wanted."""
        if self._mixture is not None:
            length = len(next(iter(stems.values())))
            total = sum(stem.astype(np.float64) for stem in stems.values())
            stems[RESIDUAL] = (self._mixture[:length] - total).astype(np.float32)
            self._mixture = self._mixture[length:]
        return stems
