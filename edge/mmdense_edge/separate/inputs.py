"""Find the songs that a command line names: files, folders, patterns and the standard input."""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmdense_edge.errors import AudioError, refuse_if

STDIN = "-"

# The suffixes of audio files in a folder. A file named on the command line is tried in any case.
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
        path: The audio file.
        folder: Its folder relative to the folder that was searched, separated by "/"; otherwise "".
        piped: True for the standard input, which `spool` copies to a file.
    """

    path: Path
    folder: str = ""
    piped: bool = False

    @property
    def label(self) -> str:
        """Its name in messages."""
        return STDIN if self.piped else str(self.path)


def find_songs(arguments: Sequence[str], out: Path | None) -> tuple[list[Song], int]:
    """Return the songs that the arguments name, and how many files in folders are not audio.

    Args:
        arguments: Files, folders (searched recursively, by suffix; hidden ones and the output
            folder are skipped), patterns with * ? [] (for shells that do not expand them;
            ** matches folders), or "-" once.
        out: The output folder.

    Returns:
        The songs in the order of the arguments, folders sorted by name, and the number of files
        that were skipped.

    Raises:
        UsageError: A folder or a pattern without songs, "-" twice.
        OSError: A folder cannot be read.
    """
    refuse_if(
        list(arguments).count(STDIN) > 1,
        "the standard input (-) can be read only once; received - twice",
    )
    songs: list[Song] = []
    others = 0
    for argument in arguments:
        names = [argument]
        if argument != STDIN and not os.path.lexists(argument) and glob.has_magic(argument):
            names = sorted(glob.glob(argument, recursive=True))
            refuse_if(not names, f"no file matches {argument!r}")
        for name in names:
            if not os.path.isdir(name):
                songs.append(Song(Path(name), piped=name == STDIN))
                continue
            files = list(_files(Path(name), out))
            audio = [
                path
                for path in files
                if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
            ]
            refuse_if(not audio, f"{name} holds no audio files")
            songs += [Song(path, "/".join(path.relative_to(name).parts[:-1])) for path in audio]
            others += len(files) - len(audio)
    return songs, others


def _files(folder: Path, out: Path | None) -> Iterator[Path]:
    """Yield the files below a folder, sorted; links to folders are not followed."""
    left_out = None if out is None else out.resolve()
    refuse_if(
        folder.resolve() == left_out,
        f"{folder} is both searched for songs and the output folder, so the next search would "
        "find stems. Choose another folder (-o).",
    )

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
    """Copy the standard input to a file, because a song's length must be known in advance.

    Args:
        stream: The standard input.
        folder: The folder of the file.

    Raises:
        AudioError: The file cannot be written.
    """
    path = folder / "stdin"  # its name in the results
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    except OSError as error:
        raise AudioError(f"-: cannot store the standard input in {folder} ({error})") from error
    return Song(path, piped=True)
