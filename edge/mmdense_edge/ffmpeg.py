"""Reads what libsndfile does not know, m4a, aac and videos, through the ffmpeg program.

The program is given one local file and no other protocol, and only the containers below: formats
that name other files, such as playlists, are not among them. What it says is damage.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdense_edge.errors import AudioError
from mmdense_edge.form import TAGS, AudioInfo, OnDamage

BLOCK = 1 << 16
PROBE_SECONDS = 60

_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,avi,mpegts,mpeg,flv,flac,ac3,eac3,dts,wv,ape,tta,"
    "mpc,mpc8"
)
_INPUT = ("-v", "error", "-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS)
_NAMES = {"track": "tracknumber"}


def probe(path: Path) -> AudioInfo:
    """Asks ffprobe for the form of a file's first sound track.

    Args:
        path: the file.

    Raises:
        AudioError: the programs are missing, or find no sound in the file.
    """
    command = [
        _program("ffprobe", path), *_INPUT, "-select_streams", "a:0",
        "-show_streams", "-show_format", "-of", "json", f"file:{path}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AudioError(f"{path}: cannot be read as audio: ffprobe failed ({error})") from error
    if done.returncode:
        raise AudioError(
            f"{path}: cannot be read as audio (libsndfile does not know the format, ffmpeg says: "
            f"{_said(done.stderr)}): use a wav, flac, ogg, mp3, aiff or m4a file that is whole"
        )
    return _parsed(path, done.stdout)


def _program(name: str, path: Path) -> str:
    found = shutil.which(name)
    if found is None:
        raise AudioError(
            f"{path}: cannot be read as audio: libsndfile does not know the format, and the "
            f"program {name}, which reads m4a, aac and videos, is not installed: install ffmpeg, "
            "or use a wav, flac, ogg, mp3 or aiff file"
        )
    return found


def _said(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][-200:] if lines else "nothing"


def _parsed(path: Path, text: bytes) -> AudioInfo:
    try:
        values = json.loads(text)
        streams = values["streams"]
        form = _form(streams[0], values["format"]) if streams else None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise AudioError(f"{path}: ffprobe gives no form of the sound ({error!r})") from error
    if form is None:
        raise AudioError(f"{path}: has no sound track")
    if form.sample_rate < 1 or form.channels < 1:
        raise AudioError(
            f"{path}: cannot be read as audio (ffprobe finds {form.channels} channels at "
            f"{form.sample_rate} Hz)"
        )
    return form


def _form(stream: Mapping[str, Any], container: Mapping[str, Any]) -> AudioInfo:
    rate = int(stream["sample_rate"])
    seconds = float(stream.get("duration") or container.get("duration") or 0)
    tags = {**_tags(stream.get("tags", {})), **_tags(container.get("tags", {}))}
    return AudioInfo(
        rate, int(stream["channels"]), max(0, round(seconds * rate)), _subtype(stream), tags
    )


def _subtype(stream: Mapping[str, Any]) -> str:
    """Returns libsndfile's name of the depth: that of lossless sound, 16 bits for the others."""
    if str(stream.get("codec_name", "")).startswith("pcm_f"):
        return "FLOAT"
    bits = str(stream.get("bits_per_raw_sample", "0"))
    return "PCM_24" if bits.isdigit() and int(bits) > 16 else "PCM_16"


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    named = {_NAMES.get(key.lower(), key.lower()): text for key, text in tags.items()}
    return {name: str(text) for name, text in named.items() if name in TAGS}


def decode(
    path: Path, form: AudioInfo, dtype: str, damaged: OnDamage
) -> Iterator[npt.NDArray[Any]]:
    """Yields the sound of a file in blocks, shape (samples, channels), as ffmpeg decodes it.

    Args:
        path: the file.
        form: from `probe`.
        dtype: "float32" or "float64".
        damaged: called with a line where ffmpeg reports an error.

    Raises:
        AudioError: ffmpeg is missing or gives nothing.
    """
    command = [
        _program("ffmpeg", path), "-nostdin", *_INPUT, "-i", f"file:{path}", "-map", "0:a:0",
        "-ar", str(form.sample_rate), "-ac", str(form.channels), "-f", "f32le", "-",
    ]  # fmt: skip
    count = 0
    # A file takes any amount of messages; a pipe would fill up and stop the program.
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
        )
        with process:
            try:
                for block in _blocks(process, form.channels):
                    count += len(block)
                    yield block.astype(dtype, copy=False)
                process.wait()
            finally:
                process.kill()
        messages.seek(0)
        said = messages.read(1 << 16)
    if not count:
        raise AudioError(f"{path}: ffmpeg gives no sound ({_said(said)})")
    if process.returncode or said.strip():
        damaged(f"{path}: damaged after {count} samples or before (ffmpeg says: {_said(said)})")


def _blocks(process: subprocess.Popen[bytes], channels: int) -> Iterator[npt.NDArray[np.float32]]:
    size = 4 * channels
    pipe = process.stdout
    while pipe is not None:
        data = pipe.read(BLOCK * size)
        if len(data) < size:
            return
        whole = len(data) - len(data) % size
        yield np.frombuffer(data[:whole], "<f4").reshape(-1, channels).astype(np.float32)
