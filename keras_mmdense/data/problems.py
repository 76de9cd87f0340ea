"""Problems of data sets: two errors and the record of a fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmdense_edge.errors import printable


class TrackError(ValueError):
    """A track, or an excerpt of it, cannot be used; names the file and the reason.

    Args:
        path: The file or folder.
        reason: What is wrong with it.

    Example:
        >>> str(TrackError(Path("bass.wav"), "holds no samples"))
        'bass.wav: holds no samples'
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{printable(self.path)}: {printable(self.reason)}"


@dataclass(frozen=True)
class Fault:
    """One thing found wrong, or worth knowing, in a data set.

    Args:
        path: The file or folder it is about.
        reason: What was found and what was expected.
        track: The track it belongs to, with its subset ("train/Artist - Title").

    Example:
        >>> Fault(Path("a/bass.wav"), "holds no samples", "train/a").reason
        'holds no samples'
    """

    path: Path
    reason: str
    track: str = ""

    def describe(self, root: Path) -> str:
        """Return "path: reason" on one line, the path relative to `root` if it lies inside."""
        path = self.path.relative_to(root) if self.path.is_relative_to(root) else self.path
        return f"{printable(path)}: {printable(self.reason)}"


class DatasetError(ValueError):
    """A data set cannot be opened at all.

    Args:
        message: One line: what was expected, what was found, the way out.
        faults: The faults found on the way; empty if no track was read.

    Example:
        >>> str(DatasetError("no track can be used"))
        'no track can be used'
    """

    def __init__(self, message: str, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(message, self.faults)

    def __str__(self) -> str:
        return str(self.args[0])
