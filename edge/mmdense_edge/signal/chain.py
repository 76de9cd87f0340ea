"""The chain from blocks of the mixture to blocks of its sources."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.resampling import Resampler, resampled_length
from mmdense_edge.signal.stft import GROUP_FRAMES, Analysis, Audio, Spectrum, Synthesis
from mmdense_edge.signal.wiener import WienerFilter
from mmdense_edge.signal.windows import Window, Windows

RESIDUAL = "residual"

Stems = dict[str, Audio]

MAX_CHANNELS = 64

# The order of channels in WAV and FLAC files: front left, front right, center, low frequencies,
# back pair, side pair. The center and the low frequencies belong to no pair.
_LAYOUTS = {
    3: ((0, 1), (2,)),
    5: ((0, 1), (2,), (3, 4)),
    6: ((0, 1), (2,), (3,), (4, 5)),
    7: ((0, 1), (2,), (3,), (4,), (5, 6)),
    8: ((0, 1), (2,), (3,), (4, 5), (6, 7)),
}


def groups(channels: int) -> tuple[tuple[int, ...], ...]:
    """Return the groups of channels that are separated together, counted from 0, in order.

    One or two channels form one group. Files with 3 or 5 to 8 channels are treated as surround
    sound in the channel order of WAV and FLAC: left and right pairs (front, back, side) together,
    the others (center, low frequencies, back center) individually. Any other number of channels is
    treated as pairs; an odd last channel is processed individually.

    Args:
        channels: Channels of the signal, 1 to 64.

    Example:
        >>> groups(2), groups(6), groups(4)
        (((0, 1),), ((0, 1), (2,), (3,), (4, 5)), ((0, 1), (2, 3)))
    """
    starts = range(0, channels, 2)
    pairs = tuple(tuple(range(first, min(first + 2, channels))) for first in starts)
    return _LAYOUTS.get(channels, pairs)


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
        self._received, self._channels = 0, channels
        self._into = Resampler(*self._rates, channels)
        self._analysis = Analysis(contract.transform, channels)
        sources = tuple(sources)
        known = contract.sources if wiener else sources
        self._windows = Windows(network, channels, known)
        self._wiener = WienerFilter(wiener) if wiener else None
        places = [known.index(name) for name in sources]
        self._wanted = places if sources != known else slice(None)
        self._synthesis = Synthesis(contract.transform, len(sources) * channels)
        self._back = {name: Resampler(*self._rates[::-1], channels) for name in sources}
        self._nothing = np.zeros((0, channels), np.float32)
        self._mixture = self._nothing if residual else None

    def push(self, block: Audio) -> Iterator[Stems]:
        """Take the next samples, shape (any length, channels), and yield stems that are ready."""
        self._received += len(block)
        if self._mixture is not None:
            self._mixture = np.concatenate([self._mixture, block])
        spectra = self._analysis.push(self._into.push(block))
        yield from self._stems(self._windows.push(spectra))

    def finish(self) -> Iterator[Stems]:
        """End the signal and yield the rest; the stems are then as long as the signal."""
        inside = resampled_length(self._received, *self._rates)
        rest = self._into.push(self._nothing, inside)
        spectra = self._analysis.push(rest), self._analysis.finish()
        windows = chain(*map(self._windows.push, spectra), self._windows.finish())
        yield from self._stems(windows)
        if self._wiener is not None:
            yield from self._synthesized(self._wiener.finish())
        yield self._stems_of(self._synthesis.finish(inside), self._received)

    def _stems(self, windows: Iterable[Window]) -> Iterator[Stems]:
        for mixture, estimates in windows:
            parts = self._wiener.push(mixture, estimates) if self._wiener else [estimates]
            yield from self._synthesized(parts)

    def _synthesized(self, parts: Iterable[Spectrum]) -> Iterator[Stems]:
        for spectra in parts:
            lines = spectra[self._wanted].transpose(1, 0, 3, 2)
            for first in range(0, len(lines), GROUP_FRAMES):
                group = lines[first : first + GROUP_FRAMES]
                rows = group.reshape(len(group), -1, group.shape[3])
                yield self._stems_of(self._synthesis.push(rows.swapaxes(1, 2)))

    def _stems_of(self, samples: Audio, end: int | None = None) -> Stems:
        """Resample the sources back and add the residual, if it is wanted."""
        # Channel by channel: NumPy takes four times as long to transpose pairs.
        parts = np.stack([samples.T[c :: self._channels] for c in range(self._channels)], axis=-1)
        stems = {
            name: resampler.push(part, end)
            for (name, resampler), part in zip(self._back.items(), parts, strict=True)
        }
        if self._mixture is not None:
            length = len(next(iter(stems.values())))
            total = sum(stem.astype(np.float64) for stem in stems.values())
            stems[RESIDUAL] = (self._mixture[:length] - total).astype(np.float32)
            self._mixture = self._mixture[length:]
        return stems
