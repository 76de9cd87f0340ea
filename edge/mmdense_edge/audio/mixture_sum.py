"""The stems to write: sums of sources, the residual, stems that add up to the mixture."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdense_edge.audio import OnDamage
from mmdense_edge.audio.reading import read_blocks
from mmdense_edge.errors import AudioError, refuse_if
from mmdense_edge.signal.chain import RESIDUAL, Stems

FRAME = 1024

# Samples at a time, whole frames: what is written is worked on in 64-bit floats, and the windows
# are long.
PIECE = 16 * FRAME

Exact = npt.NDArray[np.float64]

# The sources whose sum each stem is; none means the mixture minus all other stems.
Parts = Mapping[str, tuple[str, ...]]

# The stems by name, and the mixture, block by block.
Blocks = Iterator[tuple[dict[str, Exact], Exact]]


def choose(
    known: Sequence[str],
    wanted: Sequence[str],
    *,
    two_stems: str | None = None,
    other: str = "residual",
    residual: bool = False,
    sum_to_mixture: bool = False,
) -> dict[str, tuple[str, ...]]:
    """Return the stems to write, each with the sources whose sum it is.

    Args:
        known: The model's sources.
        wanted: The requested sources, in the model's order.
        two_stems: Write this source and "no_<source>".
        other: What "no_<source>" is: "residual", the mixture minus the source, or "sum", the sum
            of the other sources.
        residual: Also write "residual", the mixture minus all other stems.
        sum_to_mixture: The stems will be corrected to add up to the mixture.

    Raises:
        UsageError: The source is unknown, or options contradict each other.

    Example:
        >>> choose(["drums", "bass", "vocals"], ["vocals"], two_stems="vocals", other="sum")
        {'vocals': ('vocals',), 'no_vocals': ('drums', 'bass')}
    """
    parts: dict[str, tuple[str, ...]] = {name: (name,) for name in wanted}
    others = tuple(name for name in known if name != two_stems) if other == "sum" else ()
    if two_stems is not None:
        parts = {two_stems: (two_stems,), f"no_{two_stems}": others}
    has_rest = () in parts.values()
    is_whole = set(itertools.chain(*parts.values())) == set(known) and len(parts) > 1
    refuse_if(
        two_stems not in (None, *known),
        f"--two-stems must be one of {', '.join(known)}; received {two_stems!r}",
    )
    refuse_if(
        other == "sum" and not others,
        f"the model has no source besides {two_stems!r}. Use --other residual",
    )
    refuse_if(
        residual and has_rest,
        "--two-stems with --other residual leaves no residual. Drop one of them",
    )
    refuse_if(
        sum_to_mixture and (residual or has_rest),
        "with a residual, the stems already add up. Drop --sum-to-mixture",
    )
    refuse_if(
        sum_to_mixture and not is_whole,
        f"--sum-to-mixture needs at least two stems and all sources ({', '.join(known)}); "
        f"received {', '.join(parts)}. Drop --sources, or use --residual",
    )
    return {**parts, RESIDUAL: ()} if residual else parts


def mixed(stems: Iterable[Stems], mixture: Iterable[Exact], parts: Parts) -> Blocks:
    """Yield the stems to write, and the mixture, in blocks of at most `PIECE` samples.

    Args:
        stems: Stems of the sources, block by block; each block is read before its part of the
            mixture.
        mixture: The mixture, as long as the stems, in blocks of any length.
        parts: From `choose`.

    Yields:
        (written, mixture): An array of the mixture's shape, (samples, channels), for each stem.
    """
    source, *_ = itertools.chain(*parts.values())
    pieces = (
        {name: stem[first : first + PIECE] for name, stem in block.items()}
        for block in stems
        for first in range(0, len(block[source]), PIECE)
    )
    rest = iter(mixture)
    waiting: npt.NDArray[Any] = np.zeros(0)
    for piece in pieces:
        length = len(piece[source])
        while len(waiting) < length:
            waiting = np.concatenate([waiting, next(rest)]) if len(waiting) else next(rest)
        whole, waiting = waiting[:length], waiting[length:]
        written: dict[str, Any] = {}
        for name, part in parts.items():
            if len(part) == 1:
                written[name] = piece[part[0]]
            elif part:
                written[name] = np.sum([piece[s] for s in part], axis=0, dtype=np.float64)
        if () in parts.values():
            others = sum(stem.astype(np.float64) for stem in written.values())
            written = {name: written.get(name, whole - others) for name in parts}
        yield written, whole


def corrected(blocks: Iterable[tuple[dict[str, Exact], Exact]]) -> Blocks:
    """Correct stems so that they add up to the mixture, each by a share of the difference.

    The difference is distributed in proportion to the stems' power, so that a silent stem stays
    silent. Power is computed over frames of 1024 samples and all channels, and the shares are
    interpolated linearly between frames. If all stems are silent, the shares are equal.

    Args:
        blocks: As from `mixed`.

    Yields:
        The same in blocks of `PIECE` samples, the last shorter.

    Example:
        >>> stems = {"a": np.full((2000, 1), 0.6), "b": np.zeros((2000, 1))}
        >>> ((block, _),) = corrected([(stems, np.ones((2000, 1)))])
        >>> float(block["a"].max()), float(block["b"].max())
        (1.0, 0.0)
    """
    last: Exact | None = None
    given = iter(blocks)
    first_block = next(given)
    joined = (
        np.stack([*stems.values(), mixture], axis=1, dtype=np.float64)
        for stems, mixture in itertools.chain([first_block], given)
    )
    for block in even(joined):
        result, mixture = block[:, :-1].swapaxes(0, 1).copy(), block[:, -1]
        missing = mixture - result.sum(axis=0)
        for first in range(0, len(mixture), FRAME):
            frame = result[:, first : first + FRAME]
            power = np.mean(frame**2, axis=(1, 2))
            total = power.sum()
            here = power / total if total > 0 else np.full_like(power, 1 / len(power))
            last = here if last is None else last
            along = np.arange(1, frame.shape[1] + 1) / FRAME
            shares = last[:, None] + (here - last)[:, None] * along
            frame += shares[:, :, None] * missing[first : first + FRAME]
            last = here
        yield dict(zip(first_block[0], result, strict=True)), mixture


def null_test(
    stems: Sequence[Path], song: Path, *, gain: float, bits: int, damaged: OnDamage
) -> float:
    """Return the largest difference between the sum of files and a song, in steps of a bit depth.

    Args:
        stems: The files, of the song's form.
        song: The song.
        gain: Gain of the files relative to the song.
        bits: The bit depth that defines a step.
        damaged: As for `read_blocks`, for the song.

    Raises:
        AudioError: A file cannot be read, or is not as long as the song.
    """
    files = (read_blocks(path, dtype="float64") for path in stems)
    whole = read_blocks(song, dtype="float64", damaged=damaged)
    blocks = together(f"{song}: a stem is not as long as the song", whole, *files)
    most = max(float(np.abs(gain * mixture - sum(parts)).max()) for mixture, *parts in blocks)
    return most * (1 << (bits - 1))


def together(
    otherwise: str, *signals: Iterable[npt.NDArray[Any]]
) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Yield the next block of each of several signals, all equally long, as `even` does.

    Args:
        otherwise: The error if the signals are not equally long.
        signals: The blocks of each, of any length.

    Raises:
        AudioError: The signals are not equally long.
    """
    for blocks in itertools.zip_longest(*map(even, signals), fillvalue=()):
        refuse_if(len(set(map(len, blocks))) > 1, otherwise, AudioError)
        yield blocks


def even(blocks: Iterable[npt.NDArray[Any]], size: int = PIECE) -> Iterator[npt.NDArray[Any]]:
    """Yield blocks of equal size; the last may be shorter.

    Args:
        blocks: Blocks of any length, shape (samples, channels).
        size: Samples in a block.
    """
    waiting: npt.NDArray[Any] = np.zeros(0)
    for block in blocks:
        waiting = np.concatenate([waiting, block]) if len(waiting) else block
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if len(waiting):
        yield waiting
