"""The tracks of a run: trees opened, faults told, validation tracks split off."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

from keras_mmdense.data import Track, open_dataset
from training.recipe import RecipeError

VALID_EVERY = 10  # without a validation subset, every tenth track in order of names


def open_tracks(
    data: Sequence[str], valid: Sequence[str] = (), sample_rate: int = 44100
) -> tuple[list[Track], list[Track]]:
    """Open trees to train on and to validate on.

    Args:
        data: Trees to train on. Their "test" tracks are left alone; their "valid" tracks are for
            validation.
        valid: Further trees, all of whose tracks are for validation. Without any, every tenth
            training track is.
        sample_rate: Rate in Hz that the tracks must have.

    Returns:
        Training and validation tracks.

    Raises:
        RecipeError: Too few tracks.
        DatasetError: A tree without a usable track.
    """
    tracks = [track for root in data for track in _usable(root, sample_rate)]
    fixed = [track for root in valid for track in _usable(root, sample_rate)]
    fixed += [track for track in tracks if track.subset == "valid"]
    tracks = [track for track in tracks if track.subset in ("", "train")]
    if not fixed:
        fixed = tracks[VALID_EVERY - 1 :: VALID_EVERY] or tracks[-1:]
        tracks = [track for track in tracks if track not in fixed]
    if not tracks:
        raise RecipeError(f"training needs at least two tracks; received {len(fixed)} in {data}.")
    return tracks, fixed


def fingerprint(tracks: Sequence[Track]) -> str:
    """Return a checksum of names, sources and lengths: the same data, the same value."""
    text = "\n".join(f"{t.name}|{t.subset}|{t.sources}|{t.num_samples}" for t in tracks)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _usable(root: str, sample_rate: int) -> list[Track]:
    dataset = open_dataset(root, sample_rate=sample_rate)
    if dataset.faults:
        print(dataset.report(), file=sys.stderr)
    return list(dataset)
