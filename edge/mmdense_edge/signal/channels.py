"""Signals with more than two channels: which channels are separated together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np

from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.chain import Pipeline, Stems
from mmdense_edge.signal.stft import Audio

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
    if channels in _LAYOUTS:
        return _LAYOUTS[channels]
    return tuple(tuple(range(first, min(first + 2, channels))) for first in range(0, channels, 2))


class Groups:
    """A `Pipeline` for any number of channels: each group of channels has a pipeline of its own.

    Args:
        network: The model's network.
        sample_rate: Sample rate of the signal, in Hz.
        channels: Channels of the signal, 1 to 64.
        sources: As in `Pipeline`.
        residual: As in `Pipeline`.
        wiener: As in `Pipeline`.
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
        self._pipelines = {
            group: Pipeline(network, sample_rate, len(group), sources, residual, wiener)
            for group in groups(channels)
        }

    def push(self, block: Audio) -> Iterator[Stems]:
        """Take the next samples, shape (any length, channels), and yield stems that are ready."""
        return self._joined(
            pipeline.push(np.ascontiguousarray(block[:, list(group)]))
            for group, pipeline in self._pipelines.items()
        )

    def finish(self) -> Iterator[Stems]:
        """End the signal and yield the rest."""
        return self._joined(pipeline.finish() for pipeline in self._pipelines.values())

    def _joined(self, parts: Iterable[Iterator[Stems]]) -> Iterator[Stems]:
        # The pipelines differ only in their channels, so they yield at the same samples. Each must
        # run to its end, which zip would not ensure.
        for stems in zip_longest(*parts, fillvalue={}):
            yield {
                name: np.concatenate([stem[name] for stem in stems], axis=1) for name in stems[0]
            }
