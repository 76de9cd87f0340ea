"""The tracks of a run: trees opened, faults reported, validation tracks split off."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdense_edge.errors import printable

from keras_mmdense.data import Track, open_dataset
from keras_mmdense.data.readers import composed
from keras_mmdense.errors import SettingsError, require

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
        valid_names: A text file that names, one per line, the tracks of `data` that are for
            validation instead of those of the subset "valid".
        sources: The model's; see `needed` of `open_dataset`.

    Returns:
        Training and validation tracks.

    Raises:
        SettingsError: Too few tracks.
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
    return split_tracks(tracks, fixed, valid_names)


def open_accompaniments(roots: Sequence[str], songs: Sequence[Track]) -> list[Track]:
    """Open trees of songs without voices.

    Args:
        roots: Trees. Their "valid" and "test" tracks are not used.
        songs: The songs, whose sources they must have, but the vocals.

    Returns:
        Their tracks.

    Raises:
        DatasetError: A tree without a usable track, or without one of the sources.
    """
    tracks: list[Track] = []
    for root in roots:
        sources = [source for source in songs[0].sources if source != "vocals"]
        dataset = open_dataset(root, sources=sources, sample_rate=songs[0].sample_rate)
        if dataset.faults or dataset.notes:
            print(dataset.report(), file=sys.stderr)
        tracks.extend(track for track in dataset if track.subset in ("", "train"))
    return tracks


def split_tracks(
    tracks: Sequence[Track], fixed: Sequence[Track] = (), valid_names: str | None = None
) -> tuple[list[Track], list[Track]]:
    """Split opened tracks; arguments, results and errors as of `open_tracks`.

    Args:
        tracks: Tracks to train on, and to validate on by their subset or by `valid_names`.
        fixed: Tracks of the further trees.
        valid_names: The text file.
    """
    if valid_names is None:
        valid = [*fixed, *(track for track in tracks if track.subset == "valid")]
        tracks = [track for track in tracks if track.subset in ("", "train")]
    else:
        named = named_tracks(tracks, valid_names, "--valid-tracks")
        valid = [*fixed, *named]
        tracks = [track for track in tracks if track.subset != "test" and track not in named]
    held_back = sorted(track.name for track in valid if track.subset == "test")
    require(
        not held_back,
        "songs to validate on must not be of a test split, on which nothing is chosen",
        ", ".join(held_back[:3]),
        "Take songs of the training split.",
    )
    if not valid:
        valid = list(tracks[VALID_EVERY - 1 :: VALID_EVERY] or tracks[-1:])
        tracks = [track for track in tracks if track not in valid]
    require(bool(tracks), "training needs at least two tracks", len(valid), "")
    trained = {(composed(track.name), track.num_samples) for track in tracks}
    both = [t.name for t in valid if (composed(t.name), t.num_samples) in trained]
    if both:
        print(
            f"{len(both)} songs to validate on are also, by name and length, songs to train on, "
            f"such as {printable(both[0])}: their losses say nothing about other songs",
            file=sys.stderr,
        )
    return list(tracks), valid


def named_tracks(tracks: Sequence[Track], file: str, option: str) -> list[Track]:
    """Return the tracks that a text file names, one per line.

    Args:
        tracks: The tracks to choose from.
        file: The text file.
        option: The option of the command that takes it, for messages.

    Raises:
        SettingsError: It cannot be read, is empty, or names something else.
    """
    try:
        lines = Path(file).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{option} must be a text file; received {file} ({error}).") from error
    names = {composed(line.strip()) for line in lines} - {""}
    missing = sorted(names - {composed(track.name) for track in tracks})
    require(
        bool(names) and not missing,
        f"{option} must name tracks of the data, one per line",
        missing or file,
        "python -m keras_mmdense.data lists them.",
    )
    return [track for track in tracks if composed(track.name) in names]


def fingerprint(tracks: Sequence[Track]) -> str:
    """Return a checksum of names, sources and lengths: the same data, the same value."""
    text = "\n".join(f"{t.name}|{t.subset}|{t.sources}|{t.num_samples}" for t in tracks)
    return hashlib.sha256(composed(text).encode("utf-8", "surrogateescape")).hexdigest()
