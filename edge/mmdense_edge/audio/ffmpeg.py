"""Read formats that libsndfile does not support (m4a, aac, videos) through the ffmpeg program.

The program may open one local file, no other protocol, and only the containers below: formats that
refer to other files, such as playlists, are excluded. Its messages about the sound count as damage.
"""

import io
import json
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from mmdense_edge.audio import TAGS, AudioInfo, OnDamage
from mmdense_edge.audio.parts import find, read
from mmdense_edge.errors import AudioError, refuse_if

BLOCK = 1 << 16
PROBE_SECONDS = 60

_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,avi,mpegts,mpeg,flv,flac,ac3,eac3,dts,wv,ape,tta,"
    "mpc,mpc8,mp3"
)
_INPUT = ("-v", "repeat+error", "-format_whitelist", _CONTAINERS, "-protocol_whitelist")
_TAGS = {**{tag: tag for tag in TAGS}, "track": "tracknumber"}

# What only the first bytes of a file are, in the formats that ffmpeg reads no further than the end
# of the first of several joined files.
_MARKS = (
    re.compile(rb"FLV\x01.\0\0\0\x09", re.DOTALL),
    re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"),  # ASF
    re.compile(rb"TTA1[\1-\3]\0"),
    re.compile(rb"\x1a\x45\xdf\xa3.{1,60}\x42\x82.(webm|matroska)", re.DOTALL),
)
_MARK_BYTES = 80


def probe(path: Path) -> AudioInfo:
    """Return the form of a file's first audio track, as ffprobe reports it.

    Args:
        path: The file.

    Raises:
        AudioError: The programs are missing, or find no sound in the file.
    """
    forms = [_probe(path, name)[0] for name in _names(path)]
    return replace(forms[0], num_samples=sum(form.num_samples for form in forms))


def _names(path: Path) -> list[list[str]]:
    """Return what a file is called in a command: once for each of the files joined in it."""
    with path.open("rb") as file:
        head = read(file, 0, _MARK_BYTES)
        size = file.seek(0, io.SEEK_END)
        starts, at = [0], 0
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            while len(box := read(file, at, 16)) >= 8:
                length, kind, wide = struct.unpack(">I4sQ", box.ljust(16, b"\0"))
                if kind == b"ftyp" and at:
                    starts.append(at)
                length = wide if length == 1 else length
                if length < 8:
                    break
                at += length
        for mark in _MARKS:
            at = 1 if mark.match(head) else size
            while (at := find(file, head[:4], at, size)) < size:
                if mark.match(read(file, at, _MARK_BYTES)):
                    starts.append(at)
                at += 1
    if len(starts) == 1:
        return [["file", "-i", f"file:{path}"]]
    return [
        ["file,subfile", "-i", f"subfile,,start,{start},end,{stop},,:file:{path}"]
        for start, stop in pairwise([*starts, size])
    ]


def _probe(path: Path, name: Sequence[str]) -> tuple[AudioInfo, list[str]]:
    """Return the form of the first audio track, and the codecs of the other tracks."""
    command = [
        _program("ffprobe", path), *_INPUT, *name, "-show_streams", "-show_format", "-of", "json"
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AudioError(f"{path}: cannot be read as audio: ffprobe failed ({error})") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise AudioError(
            f"{path}: cannot be read as audio (libsndfile does not support the format; ffmpeg "
            f"says: {lines[-1][-200:]}). Use a wav, flac, ogg, mp3, aiff or m4a file that is whole"
        )
    form, others = None, []
    try:
        values = json.loads(done.stdout)
        for stream in values["streams"]:
            codec = str(stream.get("codec_name", "none"))
            if stream.get("codec_type", "audio") != "audio":
                others.append(codec)
            elif form is None:
                container = values["format"]
                rate = int(stream["sample_rate"])
                seconds = float(stream.get("duration") or container.get("duration") or 0)
                # Libsndfile's name of the depth: that of lossless sound, 16 bits for the others.
                bits = str(stream.get("bits_per_raw_sample", "0"))
                subtype = "PCM_24" if bits.isdigit() and int(bits) > 16 else "PCM_16"
                tags = {
                    name.lower(): str(text)
                    for part in (stream, container)
                    for name, text in part.get("tags", {}).items()
                }
                form = AudioInfo(
                    rate,
                    int(stream["channels"]),
                    max(0, round(seconds * rate)),
                    "FLOAT" if codec.startswith("pcm_f") else subtype,
                    {tag: tags[key] for key, tag in _TAGS.items() if key in tags},
                )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise AudioError(f"{path}: ffprobe does not report the audio format ({error!r})") from error
    if form is None:
        raise AudioError(f"{path}: has no audio track")
    refuse_if(
        form.sample_rate < 1 or form.channels < 1,
        f"{path}: cannot be read as audio (ffprobe finds {form.channels} channels at "
        f"{form.sample_rate} Hz)",
        AudioError,
    )
    return form, others


def _program(name: str, path: Path) -> str:
    found = shutil.which(name)
    if found is None:
        raise AudioError(
            f"{path}: cannot be read as audio: libsndfile does not support the format, and the "
            f"program {name}, which reads m4a, aac and videos, is not installed. Install ffmpeg, "
            "or use a wav, flac, ogg, mp3 or aiff file"
        )
    return found


def decode(path: Path, dtype: str, damaged: OnDamage) -> Iterator[npt.NDArray[Any]]:
    """Yield the sound of a file in blocks, shape (samples, channels), as ffmpeg decodes it.

    Args:
        path: The file.
        dtype: "float32" or "float64".
        damaged: Called with a line of text if ffmpeg reports an error in the audio.

    Raises:
        AudioError: ffmpeg is missing or decodes nothing.
    """
    count = 0
    first = None
    for name in _names(path):
        form, others = _probe(path, name)
        first = first or form
        if (form.sample_rate, form.channels) != (first.sample_rate, first.channels):
            damaged(
                f"{path}: what follows sample {count} has {form.channels} channels at "
                f"{form.sample_rate} Hz, but what precedes it has {first.channels} at "
                f"{first.sample_rate} Hz: it is skipped"
            )
            return
        command = [
            _program("ffmpeg", path), "-nostdin", *_INPUT, *name, "-map", "0:a:0",
            "-af", "asetpts=N/SR/TB",  # of joined files, and where the clock of a broadcast jumps
            "-ar", str(first.sample_rate), "-ac", str(first.channels), "-f", "f32le", "-",
        ]  # fmt: skip
        size = 4 * first.channels
        # A file holds any number of messages; a pipe would fill up and block the program.
        with tempfile.TemporaryFile() as messages:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
            )
            with process:
                pipe = cast(IO[bytes], process.stdout)
                try:
                    while len(data := pipe.read(BLOCK * size)) >= size:
                        samples = np.frombuffer(data[: len(data) - len(data) % size], "<f4")
                        block = samples.reshape(-1, first.channels)
                        count += len(block)
                        yield block.astype(dtype)
                    process.wait()
                finally:
                    process.kill()
            messages.seek(0)
            # The last message that is not about a picture, a film or other things without sound;
            # "[name @ address] " tells which part it comes from.
            said = ""
            while line := messages.readline(1 << 12):
                text = line.decode("utf-8", "replace").strip()
                part = text[1:].partition(" @ ")[0] if text.startswith("[") else ""
                if text and not any(codec in part for codec in others):
                    said = text[-200:]
        refuse_if(not count, f"{path}: ffmpeg decodes no audio ({said or 'nothing'})", AudioError)
        if process.returncode or said:
            damaged(
                f"{path}: damaged at or before sample {count} (ffmpeg says: {said or 'nothing'})"
            )
