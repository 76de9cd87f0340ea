"""The chain from blocks of the mixture to blocks of its sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.resampling import Resampler, resampled_length
from mmdense_edge.signal.stft import Analysis, Audio, Spectrum, Synthesis
from mmdense_edge.signal.wiener import WienerFilter
from mmdense_edge.signal.windows import Window, Windows

RESIDUAL = "residual"

Stems = dict[str, Audio]


class Pipeline:
    """Resampling, analysis, windows, Wiener filter, synthesis, resampling back, for one signal.

    All stems come out of equal chains, so their blocks always have the same length. The mixture
    is kept back only where the residual is wanted, and only until its stems are out.

    Args:
        network: the model's network.
        sample_rate: of the signal, in Hz.
        channels: of the signal, 1 or 2.
        sources: the sources wanted.
        residual: also give the mixture less these sources.
        wiener: iterations of the Wiener filter, 0 to 10; with 0 there is none. All of the model's
            sources enter it.
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
        """Starts at the first sample of a signal."""
        contract = network.contract
        self._rates = (sample_rate, contract.sample_rate)
        self._received = 0
        self._into = Resampler(*self._rates, channels)
        self._analysis = Analysis(contract.transform, channels)
        self._windows = Windows(network, channels, contract.sources if wiener else sources)
        self._wiener = WienerFilter(wiener) if wiener else None
        self._synthesis = {name: Synthesis(contract.transform, channels) for name in sources}
        self._back = {name: Resampler(*self._rates[::-1], channels) for name in sources}
        self._mixture = np.zeros((0, channels), np.float32) if residual else None

    def push(self, block: Audio) -> Iterator[Stems]:
        """Takes the next samples, shape (any length, channels), and yields stems that are ready."""
        self._received += len(block)
        if self._mixture is not None:
            self._mixture = np.concatenate([self._mixture, block])
        spectra = self._analysis.push(self._into.push(block))
        yield from self._stems(self._windows.push(spectra))

    def finish(self) -> Iterator[Stems]:
        """Ends the signal and yields the rest; the stems are then as long as the signal."""
        inside = resampled_length(self._received, *self._rates)
        rest = self._analysis.push(self._into.finish(inside))
        for spectra in (rest, self._analysis.finish()):
            yield from self._stems(self._windows.push(spectra))
        yield from self._stems(self._windows.finish())
        if self._wiener is not None:
            yield from map(self._synthesised, self._wiener.finish())
        yield self._complete({name: self._end(name, inside) for name in self._synthesis})

    def _end(self, name: str, inside: int) -> Audio:
        back = self._back[name]
        ready = back.push(self._synthesis[name].finish(inside))
        return np.concatenate([ready, back.finish(self._received)])

    def _stems(self, windows: Iterable[Window]) -> Iterator[Stems]:
        for mixture, estimates in windows:
            if self._wiener is None:
                yield self._synthesised(estimates)
            else:
                yield from map(self._synthesised, self._wiener.push(mixture, estimates))

    def _synthesised(self, spectra: dict[str, Spectrum]) -> Stems:
        return self._complete(
            {
                name: self._back[name].push(synthesis.push(spectra[name]))
                for name, synthesis in self._synthesis.items()
            }
        )

    def _complete(self, stems: Stems) -> Stems:
        """Adds the residual, where wanted."""
        if self._mixture is None:
            return stems
        length = len(next(iter(stems.values())))
        total = sum(stem.astype(np.float64) for stem in stems.values())
        stems[RESIDUAL] = (self._mixture[:length] - total).astype(np.float32)
        self._mixture = self._mixture[length:]
        return stems
