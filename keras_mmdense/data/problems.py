"""What can be wrong with a data set: two errors and the record of one fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmdense_edge.errors import printable


class TrackError(ValueError):
    """A track, or an excerpt of it, cannot be used; names the file and the reason.

    Args:
        path: the file or folder.
        reason: str, what is wrong with it.

    Example:
        >>> str(TrackError(Path("bass.wav"), "holds no samples"))
        'bass.wav: holds no samples'
    """

    def __init__(self, path: Path, reason: str) -> None:
        """Keep the path and the reason."""
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        """Return the path and the reason on one line."""
        return f"{printable(self.path)}: {printable(self.reason)}"


@dataclass(frozen=True)
class Fault:
    """One thing found wrong, or worth knowing, in a data set.

    Args:
        path: the file or folder it is about.
        reason: str, what was found and what was expected.
        track: str, the track it belongs to, with its subset ("train/Artist - Title").

    Example:
        >>> Fault(Path("a/bass.wav"), "holds no samples", "train/a").reason
        'holds no samples'
    """

    path: Path
    reason: str
    track: str = ""

    def describe(self, root: Path) -> str:
        """Return "path: reason" on one line, the path relative to `root` where it lies inside."""
        inside = self.path.is_relative_to(root)
        path = self.path.relative_to(root) if inside else self.path
        return f"{printable(path)}: {printable(self.reason)}"


class DatasetError(ValueError):
    """A data set cannot be opened at all.

    Args:
        message: str, one line: what was expected, what was found, the way out.
        faults: the faults found on the way; empty when it did not come to reading tracks.

    Example:
        >>> str(DatasetError("no track can be used"))
        'no track can be used'
    """

    def __init__(self, message: str, faults: Iterable[Fault] = ()) -> None:
        """Keep the message and the faults."""
        self.message = message
        self.faults = tuple(faults)
        super().__init__(message, self.faults)

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message
