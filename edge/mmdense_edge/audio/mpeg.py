"""MPEG audio: frames with their length in the header; the first may state how many follow."""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from mmdense_edge.audio.parts import Stream, behind_tags, find, read

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KILOBITS = {  # by whether it is version 1, and by the layer's two bits (3 is layer I)
    (True, 3): range(32, 449, 32),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_VERSION_1, _LAYER_3 = 3, 1  # as headers have them
_COUNTS = (b"Xing", b"Info")  # marks of a first frame of layer III that says how many follow
_COUNT_BYTES = 12  # the mark, flags, and the count
_HEAD = 64  # bytes that hold a frame's header and where a first one says how many follow
_START = 1 << 16  # where the first frame must be


@dataclass(frozen=True)
class Frame:
    """What an MPEG frame's header says."""

    length: int  # in bytes
    nominal: float  # the same, without padding
    samples: int
    place: int  # where a first frame says how many follow
    form: tuple[int, int, int, bool]  # version, layer, rate as coded; mono


@lru_cache(maxsize=1024)
def frame(head: bytes) -> Frame | None:
    """Return the frame header in four bytes, or None if they are not a header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer, mono = head[1] >> 3 & 3, head[1] >> 1 & 3, head[3] >> 6 == 3
    kilobits, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or kilobits in (0, 15) or rate == 3:
        return None
    bits = 1000 * _KILOBITS[version == _VERSION_1, layer][kilobits - 1]
    hertz = _RATES[version][rate]
    samples = 384 if layer == 3 else 576 if layer == _LAYER_3 and version != _VERSION_1 else 1152
    unit = 4 if layer == 3 else 1
    length = (samples // 8 // unit * bits // hertz + padding) * unit
    place = 4 + ((17 if mono else 32) if version == _VERSION_1 else 9 if mono else 17)
    return Frame(length, samples * bits / 8 / hertz, samples, place, (version, layer, rate, mono))


@dataclass
class _Found(Stream):
    """A stream that is being read."""

    head: bytes = b""  # of its first frame
    info: bytes = b""  # the frame that says how many follow
    place: int = 0  # where it says so
    frames: int = 0


def streams(file: Any, start: int, size: int) -> list[_Found]:
    """Return the streams of an MPEG audio file; none if it has no sequence of frames.

    Args:
        file: Opened for reading in binary.
        start: Where the tags before the first frame end.
        size: Size of the file.
    """
    found: list[_Found] = []
    at = _next_frame(file, start, min(size, start + _START), size)
    gap, form = True, None
    while at < size:
        head = read(file, at, _HEAD)
        here = frame(head[:4])
        same = here is not None and here.form == form
        if here is None or not ((same and not gap) or _confirmed(file, at, here, size)):
            tag = _tag(file, at, head)
            after = at + tag if tag else _next_frame(file, at + 1, size, size)
            if not tag and after < size:
                found[-1].faults = [f"damaged: {after - at} bytes at byte {at} are not MPEG audio"]
            at, gap = after, True
            continue
        if at + here.length > size:
            break
        gap, form = False, here.form
        # Behind the frame's own checksum, if it has one.
        marked = [
            place
            for place in (here.place, here.place + 2)
            if head[place:][:4] in _COUNTS and place + _COUNT_BYTES <= here.length
        ]
        counts = bool(marked) and here.form[1] == _LAYER_3
        if counts or not same:
            found.append(_Found(head=head))
        if counts:
            found[-1].info, found[-1].place = read(file, at, here.length), marked[0]
        else:
            found[-1].frames += 1
            found[-1].add(at, at + here.length)
        at += here.length
    for stream in found:
        _finish(stream, len(found) == 1)
    return [stream for stream in found if stream.frames]


def _finish(stream: _Found, alone: bool) -> None:
    """Make the first frame of a stream state how many follow, if the decoder needs it."""
    first = cast(Frame, frame(stream.head[:4]))
    info, at, parts = stream.info, stream.place, stream.parts
    if alone and len(parts) == 1:
        stream.parts = []
    if info and info[at + 7] & 1:
        stream.faults = []  # what is missing shows in the count
        if int.from_bytes(info[at + 8 : at + 12], "big") < stream.frames:
            count = struct.pack(">I", stream.frames)
            stream.parts = [info[: at + 8] + count + info[at + 12 :], *parts]
        elif stream.parts:
            stream.parts = [info, *parts]
        return
    # Without a count the decoder divides the file size by the first frame's, and stops there.
    held = sum(part[1] - part[0] for part in parts if not isinstance(part, bytes))
    if first.form[1] == _LAYER_3 and (info or held / first.nominal < stream.frames - 1):
        bit_rate = 0x90 if first.form[0] == _VERSION_1 else 0x80  # 128 or 64 kbit/s, no padding
        head = bytes([0xFF, stream.head[1] | 1, (stream.head[2] & 0x0C) | bit_rate, stream.head[3]])
        made = head + bytes(first.place - 4) + b"Xing" + struct.pack(">II", 1, stream.frames)
        stream.parts = [made.ljust(cast(Frame, frame(head)).length, b"\0"), *parts]
    stream.num_samples = max(1, (stream.frames - 2) * first.samples)


def _confirmed(file: Any, at: int, here: Frame, size: int) -> bool:
    """Return whether a frame is followed by another one, a tag or the end of the file."""
    head = read(file, at + here.length, _HEAD)
    following = frame(head[:4])
    if following is not None:
        return following.form == here.form
    return at + here.length == size or bool(_tag(file, at + here.length, head))


def _next_frame(file: Any, at: int, stop: int, size: int) -> int:
    """Return where the next frame starts before `stop`, or `size` if there is none."""
    while (at := find(file, b"\xff", at, stop)) < stop:
        here = frame(read(file, at, 4))
        if here is not None and _confirmed(file, at, here, size):
            return at
        at += 1
    return size


def _tag(file: Any, at: int, head: bytes) -> int:
    """Return the length of a tag of the kind found at the end of MP3 files; 0 if there is none."""
    if head.startswith(b"APETAGEX"):
        size, flags = struct.unpack("<I4xI", head[12:24].ljust(12, b"\0"))
        return 32 + (size if flags & 1 << 29 else 0)
    if head.startswith(b"LYRICSBEGIN"):
        return max(map(read(file, at, 1 << 14).find, (b"LYRICS200", b"LYRICSEND"))) + 9
    return 128 if head.startswith(b"TAG") else behind_tags(file, at) - at
