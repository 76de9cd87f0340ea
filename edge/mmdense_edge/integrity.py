"""Tells whether an audio file holds what it promises, where libsndfile does not.

libsndfile reads files that were cut short without a word: it takes the length from what is there.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import soundfile as sf

# libsndfile's log of a header: what a chunk promises, and what the file holds.
_PROMISE = re.compile(
    r"^\s*(?:data|SSND|riff|Riff size|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)

_CAF = re.compile(r"Bytes / packet\s*: ([1-9]\d*).*^data : (\d+)", re.MULTILINE | re.DOTALL)
_CAF_EDIT_BYTES = 4

# Programs that write into a pipe do not know the length: they write the largest one.
_ENDLESS = (1 << 31, 1 << 32)
_ENDLESS_MARGIN = 1 << 16

_OGG_PAGE = 1 << 17
_OGG_HEADER = 27
_OGG_LAST = 4

_MP3_HEAD = 1 << 12
_MP3_FRAME = 1152
_ID3_HEADER = 10


def cut_short(path: Path, sound: sf.SoundFile) -> str | None:
    """Tells from a file's header or end whether it was cut short.

    Args:
        path: the file.
        sound: the same, opened.

    Returns:
        What is missing, in words; None if nothing is known to be.
    """
    if sound.format == "OGG":
        return None if _ogg_ends(path) else "cut short: the Ogg stream has no end"
    for promised, held in _promises(sound):
        if promised > held and not _endless(promised):
            return f"cut short: its header promises {promised} bytes, the file holds {held}"
    return None


def _promises(sound: sf.SoundFile) -> list[tuple[int, int]]:
    """Returns the bytes that a header promises, and those that there are."""
    found = [(int(promised), int(held)) for promised, held in _PROMISE.findall(sound.extra_info)]
    caf = _CAF.search(sound.extra_info) if sound.format == "CAF" else None
    if caf is not None:
        packet, size = int(caf[1]), int(caf[2]) - _CAF_EDIT_BYTES
        found.append((size // packet * packet, sound.frames * packet))
    return found


def _endless(size: int) -> bool:
    return any(abs(size - limit) <= _ENDLESS_MARGIN for limit in _ENDLESS)


def _ogg_ends(path: Path) -> bool:
    """Tells whether a whole page that is marked as the last one stands at the file's end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _OGG_PAGE))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < _OGG_HEADER or not page[5] & _OGG_LAST:
        return False
    segments = page[_OGG_HEADER : _OGG_HEADER + page[26]]
    return len(page) >= _OGG_HEADER + len(segments) + sum(segments)


def missing(path: Path, file: io.FileIO, sound: sf.SoundFile, count: int) -> str | None:
    """Tells after the last block whether the file should have given more.

    Args:
        path: the file.
        file: the same, as libsndfile left it: its position is where the decoder stopped.
        sound: the same, opened.
        count: samples that were read.

    Returns:
        What is missing, in words; None if nothing is known to be.
    """
    if sound.format != "MP3":
        short = count < sound.frames
        return f"ends after {count} of {sound.frames} samples" if short else None
    if _mp3_has_length(path):
        short = count < sound.frames - _MP3_FRAME
        return f"ends after {count} of {sound.frames} samples" if short else None
    # Without a length header the decoder estimates the length, and stops there.
    following = file.read(2)
    if len(following) == 2 and following[0] == 0xFF and following[1] >= 0xE0:
        return (
            f"the MP3 file gives no length and the decoder stopped after {count} samples, before "
            "its end; a copy as wav or flac would be read whole"
        )
    return None


def _mp3_has_length(path: Path) -> bool:
    """Tells whether the first frame of an MP3 file holds the length (Xing, Info or VBRI)."""
    with path.open("rb") as file:
        head = file.read(_ID3_HEADER)
        if head.startswith(b"ID3"):
            # Four bytes of seven bits each.
            shifts = (21, 14, 7, 0)
            size = sum(byte << shift for byte, shift in zip(head[6:10], shifts, strict=False))
            file.seek(_ID3_HEADER + size)
            head = b""
        head += file.read(_MP3_HEAD)
    start = head.find(b"\xff")
    return any(mark in head[start : start + 200] for mark in (b"Xing", b"Info", b"VBRI"))
