"""Signals of more than two channels: which of their channels are separated together."""

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
    """Return the channels that are separated together, counted from 0, in their order.

    One or two channels are one group. Files of 3 and of 5 to 8 channels are taken for surround
    sound in the order of WAV and FLAC files: left and right together, front, back and side, and
    the others (center, low frequencies, back center) each by itself. Any other number is taken
    for pairs; an odd last channel is by itself.

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
    """A `Pipeline` for any number of channels: each group of them goes through one of its own.

    Args:
        network: The model's network.
        sample_rate: Sample rate of the signal, in Hz.
        channels: Channels of the signal, 1 to 64.
        sources: As of `Pipeline`.
        residual: As of `Pipeline`.
        wiener: As of `Pipeline`.
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
        # The pipelines are equal but for their channels: they yield at the same samples. Each must
        # run to its end, which zip would not do.
        for stems in zip_longest(*parts, fillvalue={}):
            yield {
                name: np.concatenate([stem[name] for stem in stems], axis=1) for name in stems[0]
            }
