"""Find the audio in a file by the file's own structure.

libsndfile reads one stream, trusts the length in its header and ignores whatever follows. This
module walks the structure to the end of the file to find all streams, their true lengths and what
is missing.
"""

import io
import struct
import zlib
from itertools import pairwise
from typing import Any

from mmdense_edge.audio import mpeg
from mmdense_edge.audio.parts import Part, Stream, behind_tags, find, read


def streams(file: Any, whole: bool = True) -> list[Stream]:
    """Return the streams of an audio file in order; at least one.

    Args:
        file: Opened for reading in binary.
        whole: If False, read an Ogg or FLAC file completely only if its start and its end do not
            match. Damage in between is then missed, as are two joined files of equal length.
    """
    size = file.seek(0, io.SEEK_END)
    start = behind_tags(file, 0)
    mark = read(file, start, 4)
    page_start = find(file, b"OggS", start, min(size, _JUNK))
    found: list[Stream] = []
    if not whole and _fits(file, start, size):
        found = [Stream([(start, size)])]
    elif mark == b"fLaC":
        found = _flac(file, start, size)
    elif mark in _CHUNKS:
        at = start
        while at < size:
            stream, at = _chunked(file, at, size)
            found.append(stream)
    elif mark == b"OggS" or _ogg_page(read(file, page_start, _OGG_LONGEST)):
        found = _ogg(file, start, size)
    elif start or mpeg.frame(mark):
        # If the frames cannot be followed, the decoder's own estimate of the length is useless.
        return [*mpeg.streams(file, start, size)] or [Stream(num_samples=1)]
    # A file that is a single stream, with nothing before or in between, is read as it is.
    if len(found) == 1 and start == 0 and len(found[0].parts) == 1 and found[0].parts[0][0] == 0:
        found[0].parts = []
    return found or [Stream([(start, size)] if start else [])]


def _fits(file: Any, start: int, size: int) -> bool:
    """Return whether an Ogg or FLAC file ends with the stream that it starts with."""
    head = read(file, start, _OGG_LONGEST)
    if head.startswith(b"fLaC"):
        total = int.from_bytes(head[18:26], "big") & _FLAC_TOTAL
        return total == _flac_samples(file, start, size, head[:_FLAC_HEADER])
    first, tail = _ogg_page(head), read(file, max(start, size - 2 * _OGG_LONGEST), 1 << 20)
    last = _ogg_page(tail[tail.rfind(b"OggS") :])
    return bool(first and last and first[14:18] == last[14:18] and last[5] & _OGG_LAST)


# Ogg: pages, each with its length, its stream's number, its own number and a checksum.

_OGG_HEADER = 27
_OGG_FIRST, _OGG_LAST = 2, 4
_NO_END = "cut short: the Ogg stream has no end"
_OGG_LONGEST = _OGG_HEADER + 255 + 255 * 255
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg(file: Any, start: int, size: int) -> list[Stream]:
    found: list[Stream] = []
    following: dict[bytes, int] = {}  # the number of each logical stream's next page
    flags, heading, at = 0, True, start
    while at < size:
        page = _ogg_page(read(file, at, _OGG_LONGEST))
        if page is None:
            at = find(file, b"OggS", at + 1, size)
            continue
        before, flags, serial = flags, page[5], page[14:18]
        if not found or flags & _OGG_FIRST > before & _OGG_FIRST:
            if found and not before & _OGG_LAST:
                found[-1].faults.append(_NO_END)
            found.append(Stream())
            following, heading = {}, True
        (number,) = struct.unpack("<I", page[18:22])
        lost = number - following.get(serial, number)
        # A recorded broadcast continues mid-stream right after the headers.
        if lost and not heading:
            found[-1].faults.append(f"damaged: {lost} Ogg pages are missing before byte {at}")
        following[serial] = number + 1
        heading = heading and page[6:14] == bytes(8)  # no samples yet
        found[-1].add(at, at + len(page))
        at += len(page)
    if found and not flags & _OGG_LAST:
        found[-1].faults.append(_NO_END)
    return found


def _ogg_page(data: bytes) -> bytes | None:
    """Return the page that the bytes start with, if it is complete."""
    if len(data) < _OGG_HEADER or not data.startswith(b"OggS"):
        return None
    length = _OGG_HEADER + data[26]
    length += sum(data[_OGG_HEADER:length])
    page = data[:length]
    # zlib's checksum has the same polynomial, with the bits of each byte in the other order.
    plain = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    checksum = f"{zlib.crc32(plain, 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1]
    whole = len(page) == length and page[22:26] == struct.pack("<I", int(checksum, 2))
    return page if whole else None


# FLAC: a header with the number of samples, and frames that have no length.

_FLAC_MARK = b"\0\0\x22"  # of the header's first block, which has 34 bytes
_FLAC_HEADER = 42  # bytes with that block
_FLAC_TAIL = 1 << 18  # bytes in which the last frame is looked for
_FLAC_TOTAL = (1 << 36) - 1
_FLAC_FIXED = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}}
_FLAC_FIXED.update({code: 256 << code - 8 for code in range(8, 16)})


def _flac(file: Any, start: int, size: int) -> list[Stream]:
    starts, at = [start], start
    while (at := find(file, b"fLaC", at + 4, size)) < size:
        block = read(file, at + 4, 4)
        if block[1:] == _FLAC_MARK and block[0] & 0x7F == 0:
            starts.append(at)
    found = []
    for first, stop in pairwise([*starts, size]):
        head = read(file, first, _FLAC_HEADER)
        stream = Stream([(first, stop)])
        numbers = int.from_bytes(head[18:26], "big")
        total = numbers & _FLAC_TOTAL
        held = _flac_samples(file, first, stop, head) if len(head) == _FLAC_HEADER else 0
        if held and held != total:
            right = (numbers - total + held).to_bytes(8, "big")
            stream.parts = [head[:18] + right + head[26:], (first + _FLAC_HEADER, stop)]
            if held < total:
                stream.faults.append(f"cut short: ends after {held} of {total} samples")
        found.append(stream)
    return found


def _flac_samples(file: Any, first: int, stop: int, head: bytes) -> int:
    """Return the number of samples up to the end of a stream's last frame, 0 if unknown."""
    shortest, longest = (int.from_bytes(head[at : at + 2], "big") for at in (8, 10))
    tail = max(_FLAC_TAIL, 4 * int.from_bytes(head[15:18], "big"))
    start = max(first + _FLAC_HEADER, stop - tail)
    data = read(file, start, stop - start)
    place, last = len(data), None
    while (place := data.rfind(b"\xff", 0, place)) >= 0:
        frame = _flac_frame(data[place : place + 16], shortest if shortest == longest else 0)
        if frame is None:
            continue
        # Audio data may look like the start of a frame, but not twice in a row.
        if last is not None and frame[1] == last[0]:
            return last[1]
        if last is None and frame[0] == 0:
            return frame[1]
        last = frame if last is None or frame[0] < last[0] else last
    return 0


def _flac_frame(head: bytes, block_size: int) -> tuple[int, int] | None:
    """Return a frame's first sample and its end, if the bytes start a frame."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    ones = f"{head[4]:08b}".find("0")  # as in UTF-8
    length = max(1, ones)
    if size_code == 0 or rate_code == 15 or ones == 1 or ones < 0 or len(head) < 9 + length:
        return None
    number = head[4] & (0x7F if ones == 0 else 0x7F >> ones)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    at = 4 + length
    wide = {6: 1, 7: 2}.get(size_code, 0)
    samples = _FLAC_FIXED.get(size_code) or int.from_bytes(head[at : at + wide], "big") + 1
    at += wide + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    checksum = 0
    for byte in head[:at]:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum << 1 ^ (0x107 if checksum & 0x80 else 0)
    fixed = not head[1] & 1
    if at >= len(head) or checksum != head[at] or (fixed and not block_size):
        return None
    first = number * block_size if fixed else number
    return first, first + samples


# Files of plain samples: chunks, each with its name and its length.

_ENDLESS = (1 << 31, 1 << 32, 1 << 63, 1 << 64)  # what stands for a length that was not known
_ENDLESS_MARGIN = 1 << 16
MAX_32 = (1 << 32) - 1
_JUNK = 1 << 12  # bytes that may follow the samples without being a chunk

# Where the first chunk starts, the name of that with the samples, the form of a name and a length,
# bytes of them that the length counts, bytes between them and the samples.
_CHUNKS = {
    b"RIFF": (12, b"data", "<4sI", 0, 0),
    b"RIFX": (12, b"data", ">4sI", 0, 0),
    b"RF64": (12, b"data", "<4sI", 0, 0),
    b"FORM": (12, b"SSND", ">4sI", 0, 8),
    b"caff": (8, b"data", ">4sQ", 0, 4),
    b"riff": (40, b"data", "<4s12xQ", 24, 0),  # Sony's W64
    b".snd": (4, b"", ">4sI", 0, 0),  # the place of the samples, their length, no chunks
}


def unknown(length: int) -> bool:
    """Return whether a length in bytes is a placeholder that programs write for unknown.

    Example:
        >>> unknown(0), unknown(0x7FFFF000), unknown(0xFFFFFFFF), unknown(100000)
        (True, True, True, False)
    """
    return not length or any(abs(length - limit) <= _ENDLESS_MARGIN for limit in _ENDLESS)


def sound_chunk(file: Any, start: int) -> tuple[int, str, int, int, int] | None:
    """Find the chunk that holds the samples.

    Returns:
        The position and format of its length field, the bytes that the length counts besides the
        samples, where the samples begin, and the length.
    """
    head = read(file, start, 12)
    first, name, form, counted, before = _CHUNKS[head[:4]]
    if head[:4] == b"FORM" and head[8:] not in (b"AIFF", b"AIFC"):
        return None
    at, size, code, wide = start + first, struct.calcsize(form), form[0] + form[-1], 0
    while len(chunk := read(file, at, size)) == size:
        label, length = struct.unpack(form, chunk)
        begin = at + size + before
        if wide and label == name:
            return wide, "<Q", 0, begin, int.from_bytes(read(file, wide, 8), "little")
        if not name:
            begin = start + struct.unpack(">I", label)[0]
        if label == name or not name:
            return at + size - struct.calcsize(code), code, counted + before, begin, length
        if label == b"ds64":  # RF64 has the length there
            wide = at + 16
        at += max(size, length) if counted else size + length
        at += length % 2 if code[-1] == "I" else 0
    return None


def _chunked(file: Any, start: int, size: int) -> tuple[Stream, int]:
    """Compare the bytes of audio that a header promises with those that the file holds.

    Returns:
        The stream that starts at a position, and where the next one starts, or the file's size.
    """
    whole, sound = Stream([(start, size)]), sound_chunk(file, start)
    if sound is None or sound[3] > size:
        return whole, size
    place, code, extra, begin, length = sound
    narrow, head, form = code[-1] == "I", read(file, start, 12), struct.Struct(code)
    held, promised = size - begin, max(0, length - extra)
    end, rest = begin + promised, held - promised
    endless = bool(promised) and unknown(promised)
    if rest < 0 and not endless:
        whole.faults.append(
            f"cut short: its header promises {promised} bytes, the file holds {held}"
        )
        return whole, size
    if promised and not endless:
        ends = [end, end + promised % 2, -(-end // 8) * 8]
        if narrow:  # all of the file is one chunk
            ends.append(start + 8 + form.unpack(read(file, start + 4, 4))[0])
        for after in ends:
            if begin <= after < size and _is_head(file, after, head):
                return Stream([(start, after)]), after
        if rest <= _JUNK or head[:4] == b"riff":
            return whole, size
    if not endless and _is_chunk(file, end, size, _CHUNKS[head[:4]][2]):
        return whole, size
    stop = begin
    while (stop := find(file, head[:4], stop + 1, size)) < size and not _is_head(file, stop, head):
        pass
    held = stop - begin
    if promised and not endless and (held - promised) % (1 << 32 if narrow else size):
        whole.faults.append(
            f"its header promises {promised} bytes of audio; the {held - promised} that follow "
            "are not a chunk and are read as audio"
        )
    prefix: list[Part] = [(start, place)]
    right = form.pack(min(held + extra, MAX_32 if narrow else 1 << 63))
    if head[:4] == b"RIFF" and held >> 32:  # more than its length can say: the wide form of WAV
        wide = struct.pack("<4sI4s4sI3QI", b"RF64", MAX_32, b"WAVE", b"ds64", 28, 0, held, 0, 0)
        prefix, right = [wide, (start + 12, place)], form.pack(MAX_32)
    whole.parts = [*prefix, right, (place + form.size, stop)]
    return whole, stop


def _is_head(file: Any, at: int, head: bytes) -> bool:
    """Return whether a file of the same kind starts at a position."""
    kind = slice(8, 12) if _CHUNKS[head[:4]][0] == 12 else slice(4, 8)
    other = read(file, at, 12)
    return other[:4] == head[:4] and other[kind] == head[kind]


def _is_chunk(file: Any, at: int, size: int, form: str) -> bool:
    """Return whether a chunk starts at a position, or after a padding byte."""
    length = struct.calcsize(form)
    heads = {place: read(file, place, length) for place in (at, at + 1)}
    return any(
        len(head) == length
        and all(32 <= byte < 127 for byte in head[:4])
        and place + length + struct.unpack(form, head)[-1] <= size + 1
        for place, head in heads.items()
    )
