"""What is written of a song: sums of sources, what is left, stems that add up to the mixture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdense_edge.audio.reading import OnDamage, read_blocks
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.signal.chain import RESIDUAL, Stems

FRAME = 1024

# Samples at a time: what is written is worked on in 64-bit floats, and the windows are long.
PIECE = 1 << 14

Exact = npt.NDArray[np.float64]

# For each stem written the sources that it is the sum of; none: the mixture less all others.
Parts = Mapping[str, tuple[str, ...]]


def choose(
    known: Sequence[str],
    wanted: Sequence[str],
    *,
    two_stems: str | None = None,
    other: str = "residual",
    residual: bool = False,
    sum_to_mixture: bool = False,
) -> dict[str, tuple[str, ...]]:
    """Returns the stems to write, each with the sources that it is the sum of.

    Args:
        known: the model's sources.
        wanted: those wanted, in the model's order.
        two_stems: write this source and "no_<source>".
        other: what "no_<source>" is: "residual", the mixture less the source, or "sum", the sum
            of the other sources.
        residual: also write "residual", the mixture less all other stems.
        sum_to_mixture: the stems will be corrected to add up to the mixture.

    Raises:
        UsageError: an unknown source, or options that contradict each other.

    Example:
        >>> choose(["drums", "bass", "vocals"], ["vocals"], two_stems="vocals", other="sum")
        {'vocals': ('vocals',), 'no_vocals': ('drums', 'bass')}
    """
    parts: dict[str, tuple[str, ...]] = {name: (name,) for name in wanted}
    if two_stems is not None:
        parts = _two(known, two_stems, other)
    if residual:
        if () in parts.values():
            raise UsageError("--two-stems with --other residual leaves no residual: drop one")
        parts[RESIDUAL] = ()
    if sum_to_mixture:
        _check_complete(known, parts)
    return parts


def _two(known: Sequence[str], source: str, other: str) -> dict[str, tuple[str, ...]]:
    if source not in known:
        raise UsageError(f"--two-stems must be one of {', '.join(known)}, got {source!r}")
    rest = tuple(name for name in known if name != source) if other == "sum" else ()
    if other == "sum" and not rest:
        raise UsageError(f"the model has {source!r} alone: use --other residual")
    return {source: (source,), f"no_{source}": rest}


def _check_complete(known: Sequence[str], parts: Parts) -> None:
    if () in parts.values():
        raise UsageError("with a residual the stems add up already: drop --sum-to-mixture")
    if {name for part in parts.values() for name in part} != set(known) or len(parts) < 2:
        raise UsageError(
            f"--sum-to-mixture needs two stems or more and all sources ({', '.join(known)}), "
            f"got {', '.join(parts)}: drop --sources, or use --residual"
        )


class Kept:
    """The mixture, exactly, from when it is read until its stems are out."""

    def __init__(self) -> None:
        """Keeps nothing yet."""
        self._blocks: deque[Exact] = deque()

    def passing(self, blocks: Iterable[Exact]) -> Iterator[Exact]:
        """Yields blocks and keeps them."""
        for block in blocks:
            self._blocks.append(block)
            yield block

    def take(self, num_samples: int) -> Exact:
        """Returns the next samples, and keeps them no longer."""
        taken = []
        while num_samples:
            block = self._blocks.popleft()
            if len(block) > num_samples:
                self._blocks.appendleft(block[num_samples:])
            taken.append(block[:num_samples])
            num_samples -= len(taken[-1])
        return np.concatenate(taken)


def mixed(
    stems: Iterable[Stems], kept: Kept, parts: Parts
) -> Iterator[tuple[dict[str, Exact], Exact]]:
    """Yields what is to be written, and the mixture, block by block.

    Args:
        stems: of the sources, block by block.
        kept: the mixture.
        parts: from `choose`.

    Yields:
        (written, mixture): for each stem an array of the mixture's shape (samples, channels).
    """
    for block in stems:
        length = len(next(iter(block.values())))
        for first in range(0, length, PIECE):
            part = {name: stem[first : first + PIECE] for name, stem in block.items()}
            yield _mixed(part, kept.take(min(PIECE, length - first)), parts)


def _mixed(block: Stems, mixture: Exact, parts: Parts) -> tuple[dict[str, Exact], Exact]:
    written = {
        name: sum((block[source].astype(np.float64) for source in part), np.zeros(1))
        for name, part in parts.items()
        if part
    }
    rest = mixture - sum(written.values())
    return {name: written.get(name, rest) for name in parts}, mixture


class Shares:
    """Corrects stems so that they add up to the mixture, each by a share of what is missing.

    The rule: what is missing is shared out in proportion to the stems' power, so that a silent
    stem stays silent. Power is taken over frames of 1024 samples and all channels, and the shares
    go from each frame's to the next one's along a straight line. Where all stems are silent, the
    shares are equal.

    Example:
        >>> shares = Shares()
        >>> stems = {"a": np.full((2000, 1), 0.6), "b": np.zeros((2000, 1))}
        >>> blocks = shares.correct([(stems, np.ones((2000, 1)))])
        >>> [(len(block["a"]), float(block["a"].max()), float(block["b"].max()))
        ...  for block, _ in blocks]
        [(1024, 1.0, 0.0), (976, 1.0, 0.0)]
    """

    def __init__(self) -> None:
        """Starts at the first sample of a song."""
        self._last: Exact | None = None

    def correct(
        self, blocks: Iterable[tuple[dict[str, Exact], Exact]]
    ) -> Iterator[tuple[dict[str, Exact], Exact]]:
        """Yields blocks of whole frames, and at the end the rest.

        Args:
            blocks: as from `mixed`.
        """
        names: list[str] = []
        waiting: Exact | None = None  # the stems and the mixture, shape (stems + 1, ..)
        for stems, mixture in blocks:
            names = list(stems)
            block = np.stack([*stems.values(), mixture])
            waiting = block if waiting is None else np.concatenate([waiting, block], axis=1)
            whole = waiting.shape[1] // FRAME * FRAME
            if whole:
                yield self._corrected(waiting[:, :whole], names)
                waiting = waiting[:, whole:].copy()
        if waiting is not None and waiting.shape[1]:
            yield self._corrected(waiting, names)

    def _corrected(self, block: Exact, names: Sequence[str]) -> tuple[dict[str, Exact], Exact]:
        stems, mixture = block[:-1].copy(), block[-1]
        missing = mixture - stems.sum(axis=0)
        for first in range(0, len(mixture), FRAME):
            part = slice(first, first + FRAME)
            stems[:, part] += self._weights(stems[:, part]) * missing[part]
        return dict(zip(names, stems, strict=True)), mixture

    def _weights(self, frame: Exact) -> Exact:
        """Returns the shares along a frame, shape (stems, samples, 1)."""
        power = np.mean(frame**2, axis=(1, 2))
        total = power.sum()
        here = power / total if total > 0 else np.full(len(power), 1 / len(power))
        last = here if self._last is None else self._last
        self._last = here
        along = np.arange(1, frame.shape[1] + 1) / FRAME
        weights: Exact = (last[:, None] + (here - last)[:, None] * along)[:, :, None]
        return weights


def null_test(
    stems: Sequence[Path], song: Path, *, gain: float, bits: int, damaged: OnDamage
) -> float:
    """Returns how far files are from adding up to a song at most, in steps of a bit depth.

    Args:
        stems: the files, of the song's form.
        song: the song.
        gain: of the files against the song.
        bits: the bit depth that counts the steps.
        damaged: as for `read_blocks`, for the song.

    Raises:
        AudioError: a file cannot be read, or is not as long as the song.
    """
    most = 0.0
    files = [read_blocks(path, dtype="float64") for path in stems]
    whole = read_blocks(song, dtype="float64", damaged=damaged)
    for mixture, *parts in zip_longest(*map(even, [whole, *files])):
        if mixture is None or any(part is None or len(part) != len(mixture) for part in parts):
            raise AudioError(f"{song}: a stem is not as long as the song")
        most = max(most, float(np.abs(gain * mixture - sum(parts)).max()))
    return float(most * (1 << (bits - 1)))


def even(blocks: Iterable[npt.NDArray[Any]], size: int = PIECE) -> Iterator[npt.NDArray[Any]]:
    """Yields blocks of one size, the last one less.

    Args:
        blocks: of any length, shape (samples, channels).
        size: samples in a block.
    """
    waiting: npt.NDArray[Any] | None = None
    for block in blocks:
        waiting = block if waiting is None else np.concatenate([waiting, block])
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting is not None and len(waiting):
        yield waiting
