"""Parts of a file, read as if they were a file of their own."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

# A range of bytes of a file, or bytes that replace some of them.
Part = tuple[int, int] | bytes

_BLOCK = 1 << 16
_ID3_HEADER = 10


@dataclass
class Stream:
    """One stream of an audio file.

    Args:
        parts: The parts that it consists of, in order; empty if it is the whole unchanged file.
        faults: Descriptions of what is missing.
        num_samples: Its minimum length, if the structure states it; otherwise 0.
    """

    parts: list[Part] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    num_samples: int = 0

    def add(self, start: int, stop: int) -> None:
        """Add bytes of the file."""
        last = self.parts[-1] if self.parts else b""
        if not isinstance(last, bytes) and last[1] == start:
            self.parts[-1] = (last[0], stop)
        else:
            self.parts.append((start, stop))


class Joined:
    """Parts of a file, read as one file by libsndfile.

    Args:
        file: The file, opened for reading in binary.
        parts: In order.

    Example:
        >>> Joined(io.BytesIO(b"0123456789"), [b"ab", (3, 5), (8, 10)]).read(99)
        b'ab3489'
    """

    def __init__(self, file: Any, parts: Sequence[Part]) -> None:
        self._file, self._parts = file, parts
        sizes = (len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)
        self._ends = list(accumulate(sizes)) or [0]
        self._at = 0

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        self._at = max(0, offset + (0, self._at, self._ends[-1])[whence])
        return self._at

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer than `count` only at the end."""
        first, data = bisect_right(self._ends, self._at), b""
        for part, end in zip(self._parts[first:], self._ends[first:], strict=False):
            left = end - self._at
            wanted = min(left, count - len(data))
            if isinstance(part, bytes):
                data += part[len(part) - left :][:wanted]
            else:
                data += read(self._file, part[1] - left, wanted)
            self._at += wanted
        return data


def read(file: Any, at: int, count: int) -> bytes:
    """Return at most `count` bytes of a file, starting at a position."""
    try:
        file.seek(at)
    except (OSError, OverflowError, ValueError):  # a damaged length may lead beyond all files
        return b""
    return bytes(file.read(count))


def find(file: Any, mark: bytes, at: int, stop: int) -> int:
    """Return the position of a mark in a file between a position and `stop`, or `stop`."""
    while at < stop:
        block = read(file, at, _BLOCK)
        place = block.find(mark)
        if place >= 0:
            return min(at + place, stop)
        at += max(1, len(block) - len(mark) + 1)
    return stop


def behind_tags(file: Any, at: int) -> int:
    """Return where the ID3v2 tags at a position end; the position itself if there are none."""
    while True:
        head = read(file, at, _ID3_HEADER)
        if not head.startswith(b"ID3") or len(head) < _ID3_HEADER:
            return at
        # Four bytes of seven bits each; a footer repeats the header.
        size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        at += _ID3_HEADER + size + (_ID3_HEADER if head[5] & 0x10 else 0)
