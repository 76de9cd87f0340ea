"""Finds the songs that a command line names: files, folders, patterns and the standard input."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mmdense_edge.errors import AudioError, UsageError

STDIN = "-"

# What is taken for audio in a folder. A file that is named is tried whatever its suffix.
SUFFIXES = frozenset((
    ".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff",
    ".aifc", ".au", ".snd", ".caf", ".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".mkv",
    ".mka", ".webm", ".wma", ".wmv", ".avi", ".3gp", ".ac3", ".ts", ".mpg", ".flv", ".wv",
    ".ape"
))  # fmt: skip


@dataclass(frozen=True)
class Song:
    """A song to separate.

    Args:
        path: the audio file.
        folder: where it lay below the folder that was searched, parted by "/"; else "".
        label: what it is called in messages; default its path.
        track: its name in the results; default the file's name without suffix.
        piped: True for the standard input, which `spool` copies to a file.
    """

    path: Path
    folder: str = ""
    label: str = ""
    track: str = ""
    piped: bool = False

    def __post_init__(self) -> None:
        """Fills in the defaults."""
        object.__setattr__(self, "label", self.label or str(self.path))
        object.__setattr__(self, "track", self.track or self.path.stem)


@dataclass
class Found:
    """What was found.

    Args:
        songs: in the order of the command line, folders sorted by name.
        others: files in the folders that are not audio, and were left alone.
    """

    songs: list[Song] = field(default_factory=list)
    others: int = 0


def find_songs(arguments: Sequence[str], out: Path | None) -> Found:
    """Returns the songs that arguments name.

    Args:
        arguments: files, folders (searched with all folders below, by suffix; hidden ones and the
            output folder are left out), patterns with * ? [] (for shells that do not expand
            them; ** matches folders), or "-" once.
        out: the output folder.

    Raises:
        UsageError: a folder or a pattern without songs, "-" twice.
        OSError: a folder cannot be read.
    """
    if list(arguments).count(STDIN) > 1:
        raise UsageError("the standard input (-) can be read once")
    found = Found()
    for argument in arguments:
        for name in _expanded(argument):
            if os.path.isdir(name):
                _search(Path(name), out, found)
            else:
                found.songs.append(Song(Path(name), piped=name == STDIN))
    return found


def _expanded(argument: str) -> list[str]:
    if os.path.lexists(argument) or argument == STDIN or not glob.has_magic(argument):
        return [argument]
    names = sorted(glob.glob(argument, recursive=True))
    if not names:
        raise UsageError(f"no file matches {argument!r}")
    return names


def _search(folder: Path, out: Path | None, found: Found) -> None:
    if out is not None and folder.resolve() == out.resolve():
        raise UsageError(
            f"{folder} is searched for songs and is the output folder, where the next search would "
            "find stems: choose another folder (-o)"
        )
    before = len(found.songs)
    for path in _files(folder, out):
        hidden = path.name.startswith(".")
        if path.suffix.lower() in SUFFIXES and not hidden:
            below = path.parent.relative_to(folder)
            found.songs.append(Song(path, "" if below == Path() else below.as_posix()))
        else:
            found.others += 1
    if len(found.songs) == before:
        raise UsageError(f"{folder} holds no audio files")


def _files(folder: Path, out: Path | None) -> Iterator[Path]:
    """Yields the files below a folder, sorted; links to folders are not followed."""
    left_out = None if out is None else out.resolve()

    def fail(error: OSError) -> None:
        raise error

    for name, folders, files in os.walk(folder, onerror=fail):
        here = Path(name)
        folders[:] = sorted(
            below
            for below in folders
            if not below.startswith(".") and (here / below).resolve() != left_out
        )
        yield from (here / file for file in sorted(files))


def spool(stream: BinaryIO, folder: Path) -> Song:
    """Copies the standard input to a file, because a song's length must be known.

    Args:
        stream: the standard input.
        folder: where the file goes.

    Raises:
        AudioError: nothing comes, or the file cannot be written.
    """
    path = folder / "stdin"
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    except OSError as error:
        raise AudioError(f"-: cannot keep the standard input in {folder} ({error})") from error
    return Song(path, label=STDIN, track="stdin")
