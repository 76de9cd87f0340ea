"""Readers for the forms of data sets: what they share, and what they find in a tree.

A reader is a module with `FORM`, the form of the tree in one line for messages;
`recognizes(root)`, whether a tree looks like it; `find(root, sources)`, everything in the tree that
should be a track, opening no audio file; and `open_streams(candidate)`, the good files of one of
them by source, and a fault for each bad one.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmdense_edge.errors import printable

from keras_mmdense.data.audio_files import Stream, open_audio_file
from keras_mmdense.data.problems import DatasetError, Fault, TrackError

MIXTURE = "mixture"
SUBSETS = ("train", "valid", "test")
# The order is the same in every reader, so that a model trained on one set fits the others.
SOURCES = ("bass", "drums", "other", "vocals")
# What the folders of subsets are called, in any letter case.
SPLITS = {
    "train": "train", "training": "train", "trainset": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "development": "valid",
    "test": "test", "testing": "test", "testset": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A place in a tree that should be a track.

    Args:
        name: The track's name.
        subset: "train", "valid", "test" or "".
        path: The track's folder or file.
        files: The file of each source, and of "mixture"; they need not exist.
        faults: Faults that the reader found.
        notes: Remarks of the reader.
    """

    name: str
    subset: str
    path: Path
    files: Mapping[str, Path]
    faults: tuple[Fault, ...] = ()
    notes: tuple[Fault, ...] = ()

    @property
    def label(self) -> str:
        """The name with its subset; unique in a tree."""
        return f"{self.subset}/{self.name}" if self.subset else self.name


def open_files(candidate: Candidate) -> tuple[dict[str, Stream], list[Fault]]:
    """Open a candidate whose signals are audio files of their own.

    Returns:
        The good files by source name, and a fault for each bad one.
    """
    streams: dict[str, Stream] = {}
    faults = []
    for name, path in candidate.files.items():
        try:
            streams[name] = open_audio_file(path)
        except TrackError as error:
            faults.append(Fault(error.path, error.reason, candidate.label))
    return streams, faults


def entries(folder: Path) -> list[Path]:
    """Return the entries of a folder by name, without hidden ones; [] if there is no folder.

    Raises:
        OSError: The folder exists but cannot be listed.
    """
    if not folder.is_dir():
        return []
    return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name, without hidden ones; [] if there is no folder."""
    return [path for path in entries(folder) if path.is_dir()]


def composed(name: str) -> str:
    """Return a name in the Unicode form NFC; file systems and archives also use the other one."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name with letter case and Unicode form normalized, for comparison.

    Example:
        >>> folded("Ü") == folded("u\u0308")
        True
    """
    return composed(composed(name).casefold())


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of subsets in a tree, in the order train, valid, test.

    Raises:
        DatasetError: Two folders are the same subset.
    """
    found: dict[str, Path] = {}
    for path in subfolders(root):
        subset = SPLITS.get(folded(path.name))
        if subset in found:
            raise DatasetError(
                f"{printable(root)} must have one folder a subset; both "
                f"{printable(found[subset].name)} and {printable(path.name)} are {subset!r}: put "
                "the songs into one of them"
            )
        if subset:
            found[subset] = path
    return {subset: found[subset] for subset in SUBSETS if subset in found}


def strays(root: Path, holds_songs: Callable[[Path], bool]) -> list[Candidate]:
    """Return the folders next to those of subsets that hold songs: they belong to no subset.

    Args:
        root: The tree.
        holds_songs: Returns whether a folder is a song or contains songs.
    """
    splits = split_folders(root).values()
    reason = (
        "is none of the folders train, valid (or val, validation, dev) and test: move its songs "
        "into one of them"
    )
    return [
        Candidate(path.name, "", path, {}, (Fault(path, reason, path.name),))
        for path in subfolders(root)
        if splits and path not in splits and holds_songs(path)
    ]
