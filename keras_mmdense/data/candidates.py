"""What a reader finds in a tree before any file is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keras_mmdense.data.faults import Fault, TrackError
from keras_mmdense.data.streams import Stream, open_audio_file

# The order is the same in every reader, so that a model trained on one set fits the others.
SOURCES = ("bass", "drums", "other", "vocals")


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

    def recognises(self, root: Path) -> bool:
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
