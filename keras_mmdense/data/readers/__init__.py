"""Readers of the forms that data sets come in: what they share, and what they find in a tree."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
        name: str, the track's name.
        subset: "train", "valid", "test" or "".
        path: the track's folder or file.
        files: the file of each source, and of "mixture"; they need not exist.
        faults: what the reader already found wrong.
        notes: what the reader found worth knowing.
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


class Reader(Protocol):
    """What a module that reads one form of tree provides."""

    @property
    def FORM(self) -> str:
        """The form of the tree in one line, for messages."""

    def recognizes(self, root: Path) -> bool:
        """Tell whether `root` looks like this form."""

    def find(self, root: Path, sources: Sequence[str] | None) -> list[Candidate]:
        """Return everything in `root` that should be a track, opening no audio file."""

    def open_streams(self, candidate: Candidate) -> tuple[dict[str, Stream], list[Fault]]:
        """Open a candidate's files: the good ones by name, and a fault for each bad one."""


def open_files(candidate: Candidate) -> tuple[dict[str, Stream], list[Fault]]:
    """Open a candidate whose signals are audio files of their own.

    Args:
        candidate: what the reader found.

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
    """Return what lies in a folder, by name, without hidden entries; [] where there is none.

    Args:
        folder: path; need not exist.

    Raises:
        OSError: the folder is there and cannot be listed.
    """
    if not folder.is_dir():
        return []
    return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name, without hidden ones; [] where there is none."""
    return [path for path in entries(folder) if path.is_dir()]


def composed(name: str) -> str:
    """Return a name in the Unicode form NFC: file systems and archives give the other one, too."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name so that spellings which look alike are equal: letter case and Unicode form.

    Example:
        >>> folded("Ü") == folded("u\u0308")
        True
    """
    return composed(composed(name).casefold())


def split_folders(root: Path) -> list[tuple[str, Path]]:
    """Return the folders of subsets in a tree, each after its subset: train, valid, test.

    Raises:
        DatasetError: Two folders are the same subset.
    """
    found: dict[str, Path] = {}
    for path in subfolders(root):
        subset = SPLITS.get(folded(path.name))
        if subset and subset in found:
            raise DatasetError(
                f"{printable(root)} must have one folder a subset; both "
                f"{printable(found[subset].name)} and {printable(path.name)} are {subset!r}: put "
                "the songs into one of them"
            )
        if subset:
            found[subset] = path
    return [(subset, found[subset]) for subset in SUBSETS if subset in found]


def strays(root: Path, holds_songs: Callable[[Path], bool]) -> list[Candidate]:
    """Return the folders beside those of subsets that hold songs: nobody can tell their subset.

    Args:
        root: the tree.
        holds_songs: tells whether a folder is a song or holds songs.
    """
    splits = [path for _, path in split_folders(root)]
    reason = (
        "lies beside the folders train, valid (or val, validation, dev) and test: move its songs "
        "into one of them"
    )
    return [
        Candidate(path.name, "", path, {}, (Fault(path, reason, path.name),))
        for path in subfolders(root)
        if splits and path not in splits and holds_songs(path)
    ]
