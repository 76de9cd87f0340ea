"""The songs that are scored: which ones, and their signals as memory maps."""

from __future__ import annotations

import fnmatch
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmdense_edge.errors import printable

from keras_mmdense.data import Dataset, Track
from keras_mmdense.data.readers import MIXTURE, composed
from training.evaluate import EvaluationError
from training.evaluate.metrics.source_score import ACCOMPANIMENT, VOCALS, blocks

Samples = npt.NDArray[np.float32]  # (any length, channels)


def label(track: Track) -> str:
    """Return a track's name with its subset: "test/Artist - Title"."""
    return f"{track.subset}/{track.name}" if track.subset else track.name


def choose_tracks(
    dataset: Dataset, patterns: Sequence[str] = (), limit: int | None = None
) -> tuple[Track, ...]:
    """Return the tracks to score.

    Args:
        dataset: The data set.
        patterns: Names of tracks, also as "Artist*"; none for all.
        limit: No more than this many, the first ones.

    Raises:
        EvaluationError: A pattern that fits no track, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise EvaluationError(f"--limit must be 1 or more; received {limit}. Leave it out for all.")
    chosen: dict[Track, None] = {}
    for pattern in map(composed, patterns or ["*"]):
        # a name may hold brackets, which mean something in a pattern
        fits = {
            track: None
            for track in dataset
            if pattern == composed(track.name) or fnmatch.fnmatchcase(composed(track.name), pattern)
        }
        if not fits:
            raise EvaluationError(
                f"--tracks must name tracks of the data; received {printable(pattern)}, which fits "
                f"none of {len(dataset)}. python -m keras_mmdense.data lists them."
            )
        chosen |= fits
    return tuple(sorted(chosen, key=list(dataset).index)[:limit])


@dataclass(frozen=True)
class Song:
    """What a track's estimates are made from and compared with.

    Args:
        track: The track.
        mixture: Samples (num_samples, channels).
        references: The true sources by name, each of the mixture's shape; the accompaniment last
            if it is scored.
    """

    track: Track
    mixture: Samples
    references: Mapping[str, Samples]


def open_song(track: Track, accompaniment: bool, folder: Path) -> Song:
    """Lay out the signals of a track as memory maps.

    Args:
        track: The track.
        accompaniment: Add the sum of all sources but the vocals.
        folder: Where the raw files go: 4 bytes per sample, channel and signal.

    Raises:
        TrackError: A file cannot be read to its end, or holds NaN.
    """

    def signals() -> Iterator[dict[str, Samples]]:
        for part in blocks(0, track.num_samples):
            block = {
                name: track.read(name, part.start, part.stop - part.start)
                for name in (MIXTURE, *track.sources)
            }
            if accompaniment:
                block[ACCOMPANIMENT] = total(block[s] for s in track.sources if s != VOCALS)
            yield block

    references = stored(signals(), folder)
    return Song(track, references.pop(MIXTURE), references)


def stored(signals: Iterable[Mapping[str, Samples]], folder: Path) -> dict[str, Samples]:
    """Write signals block by block, and return them as memory maps: read block by block, too.

    The files have no names: nothing is left of them, however the process ends.

    Args:
        signals: The blocks, each with all signals by name.
        folder: A folder on the disk that has room for them.

    Raises:
        OSError: The disk is full.

    Example:
        >>> halves = ({"bass": np.zeros((50, 2), np.float32)} for _ in range(2))
        >>> stored(halves, Path(tempfile.gettempdir()))["bass"].shape
        (100, 2)
    """
    with ExitStack() as stack:
        files: Any = defaultdict(lambda: stack.enter_context(tempfile.TemporaryFile(dir=folder)))
        for block in signals:
            for name, samples in block.items():
                files[name].write(np.ascontiguousarray(samples, np.float32).data)
        return {
            name: np.memmap(file, np.float32, "r").reshape(-1, block[name].shape[1])
            for name, file in files.items()
        }


def total(signals: Iterable[Samples]) -> Samples:
    """Return the sum of equally long signals, added in double precision."""
    whole: npt.NDArray[np.float64] = np.sum(list(signals), axis=0, dtype=np.float64)
    return whole.astype(np.float32)
