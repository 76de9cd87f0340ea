"""Signals of more than two channels: which of their channels are separated together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Protocol

import numpy as np

from mmdense_edge.signal.stft import Audio

MAX_CHANNELS = 64

Stems = dict[str, Audio]

# The order of channels in WAV and FLAC files: front left, front right, centre, low frequencies,
# back pair, side pair. The centre and the low frequencies belong to no pair.
_LAYOUTS = {
    3: ((0, 1), (2,)),
    5: ((0, 1), (2,), (3, 4)),
    6: ((0, 1), (2,), (3,), (4, 5)),
    7: ((0, 1), (2,), (3,), (4,), (5, 6)),
    8: ((0, 1), (2,), (3,), (4, 5), (6, 7)),
}


def groups(channels: int) -> tuple[tuple[int, ...], ...]:
    """Returns the channels that are separated together, counted from 0, in their order.

    One or two channels are one group. Files of 3 and of 5 to 8 channels are taken for surround
    sound in the order of WAV and FLAC files: left and right together, front, back and side, and
    the others (centre, low frequencies, back centre) each by itself. Any other number is taken
    for pairs; an odd last channel is by itself.

    Args:
        channels: of the signal, 1 to 64.

    Example:
        >>> groups(2), groups(6), groups(4)
        (((0, 1),), ((0, 1), (2,), (3,), (4, 5)), ((0, 1), (2, 3)))
    """
    if channels in _LAYOUTS:
        return _LAYOUTS[channels]
    return tuple(tuple(range(first, min(first + 2, channels))) for first in range(0, channels, 2))


class Chain(Protocol):
    """What separates a signal of one or two channels, block by block."""

    def push(self, block: Audio) -> Iterator[Stems]:
        """Takes the next samples and yields the stems that are ready."""

    def finish(self) -> Iterator[Stems]:
        """Ends the signal and yields the rest."""


class Groups:
    """Separates the groups of channels of a signal, each by a chain of its own.

    Args:
        channels: of the signal, 1 to 64.
        make: returns a chain for a number of channels, 1 or 2.
    """

    def __init__(self, channels: int, make: Callable[[int], Chain]) -> None:
        """Makes the chains."""
        self._groups = groups(channels)
        self._chains = [make(len(group)) for group in self._groups]

    def push(self, block: Audio) -> Iterator[Stems]:
        """Takes the next samples, shape (any length, channels), and yields stems that are ready."""
        parts = (
            chain.push(np.ascontiguousarray(block[:, list(group)]))
            for chain, group in zip(self._chains, self._groups, strict=True)
        )
        return self._joined(*parts)

    def finish(self) -> Iterator[Stems]:
        """Ends the signal and yields the rest."""
        return self._joined(*(chain.finish() for chain in self._chains))

    def _joined(self, *parts: Iterator[Stems]) -> Iterator[Stems]:
        # The chains are equal but for their channels: they yield at the same samples. Each must
        # run to its end, which zip would not do.
        for stems in zip_longest(*parts, fillvalue={}):
            yield {
                name: np.concatenate([stem[name] for stem in stems], axis=1) for name in stems[0]
            }
