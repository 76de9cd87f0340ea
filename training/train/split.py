"""The tracks of a run: trees opened, faults reported, validation tracks split off."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdense_edge.errors import printable

from keras_mmdense.data import Track, open_dataset
from keras_mmdense.data.readers import composed
from training.train.recipe import RecipeError

VALID_EVERY = 10  # without a validation subset, every tenth track in order of names


def open_tracks(
    data: Sequence[str],
    valid: Sequence[str] = (),
    sample_rate: int = 44100,
    valid_names: str | None = None,
    sources: Sequence[str] = (),
) -> tuple[list[Track], list[Track]]:
    """Open trees to train on and to validate on.

    Args:
        data: Trees to train on. Their "test" tracks are not used; their "valid" tracks are for
            validation.
        valid: Further trees, all of whose tracks are for validation. Without any, every tenth
            training track is.
        sample_rate: Rate in Hz that the tracks must have.
        valid_names: A text file that names, one a line, the tracks of `data` that are for
            validation instead of those of the subset "valid".
        sources: The model's; see `needed` of `open_dataset`.

    Returns:
        Training and validation tracks.

    Raises:
        RecipeError: Too few tracks.
        DatasetError: A tree without a usable track.
    """
    tracks: list[Track] = []
    fixed: list[Track] = []
    for found, roots in ((tracks, data), (fixed, valid)):
        for root in roots:
            dataset = open_dataset(root, sample_rate=sample_rate, needed=sources)
            if dataset.faults or dataset.notes:
                print(dataset.report(), file=sys.stderr)
            found.extend(dataset)
    if valid_names is None:
        fixed += [track for track in tracks if track.subset == "valid"]
        tracks = [track for track in tracks if track.subset in ("", "train")]
    else:
        try:
            lines = Path(valid_names).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                f"--valid-tracks must be a text file; received {valid_names} ({error})."
            ) from error
        names = {composed(line.strip()) for line in lines} - {""}
        missing = sorted(names - {composed(track.name) for track in tracks})
        if missing or not names:
            raise RecipeError(
                "--valid-tracks must name tracks of the data, one a line; received "
                f"{missing or valid_names}. python -m keras_mmdense.data lists them."
            )
        fixed += [track for track in tracks if composed(track.name) in names]
        tracks = [t for t in tracks if t.subset != "test" and composed(t.name) not in names]
    if not fixed:
        fixed = tracks[VALID_EVERY - 1 :: VALID_EVERY] or tracks[-1:]
        tracks = [track for track in tracks if track not in fixed]
    if not tracks:
        raise RecipeError(f"training needs at least two tracks; received {len(fixed)} in {data}.")
    trained = {(composed(track.name), track.num_samples) for track in tracks}
    both = [t.name for t in fixed if (composed(t.name), t.num_samples) in trained]
    if both:
        print(
            f"{len(both)} songs to validate on are also, by name and length, songs to train on, "
            f"such as {printable(both[0])}: their losses say nothing about other songs",
            file=sys.stderr,
        )
    return tracks, fixed


def fingerprint(tracks: Sequence[Track]) -> str:
    """Return a checksum of names, sources and lengths: the same data, the same value."""
    text = "\n".join(f"{t.name}|{t.subset}|{t.sources}|{t.num_samples}" for t in tracks)
    return hashlib.sha256(composed(text).encode("utf-8", "surrogateescape")).hexdigest()
