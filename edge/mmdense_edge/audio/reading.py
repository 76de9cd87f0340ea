"""Reads audio files in blocks: libsndfile's formats, and through the ffmpeg program the others."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import soundfile as sf

from mmdense_edge.audio import TAGS, AudioInfo, OnDamage, ffmpeg, integrity, refuse
from mmdense_edge.audio.parts import Joined, Stream
from mmdense_edge.errors import AudioError

__all__ = ["BLOCK", "AudioInfo", "OnDamage", "audio_info", "read_blocks", "refuse"]

BLOCK = 1 << 16
_FLAC_BLOCK = 1 << 12
_MP3_FRAME = 1152

_UNRECOGNISED = 1  # libsndfile's number of this error
_UNKNOWN_LENGTH = (1 << 63) - 1


def audio_info(path: Path) -> AudioInfo:
    """Returns what an audio file says about itself.

    Args:
        path: wav, flac, ogg, opus, mp3, aiff and what else libsndfile reads; m4a, aac, wma and
            the sound of videos where the programs ffmpeg and ffprobe are installed.

    Raises:
        AudioError: no such file, or not audio that can be read.
    """
    info = None
    for part in _parts(path):
        sound = part.sound
        if sound is None:
            break
        if info is None:
            tags = {name: text for name, text in sound.copy_metadata().items() if name in TAGS}
            info = AudioInfo(sound.samplerate, sound.channels, 0, sound.subtype, tags)
        info = replace(info, num_samples=info.num_samples + sound.frames)
    return ffmpeg.probe(path) if info is None else info


def read_blocks(
    path: Path, *, dtype: str = "float32", damaged: OnDamage = refuse
) -> Iterator[npt.NDArray[Any]]:
    """Yields an audio file in blocks of 65536 samples at most, shape (samples, channels).

    Args:
        path: as in `audio_info`.
        dtype: "float32", or "float64", which holds every sample exactly.
        damaged: called with a line that says what is missing, where the file holds less than it
            promises; by default that is an error, else the file ends there.

    Raises:
        AudioError: the file cannot be read to its end.
    """
    told: list[str] = []
    form: tuple[int, int] | None = None
    name = ""

    def tell(message: str) -> None:
        # One damage often shows in several ways.
        if not told:
            told.append(message)
            damaged(f"{path}: {name}{message}")

    for part in _parts(path):
        sound, name = part.sound, part.name
        if sound is None and form is None:
            yield from ffmpeg.decode(path, dtype, damaged)
            return
        if sound is None:
            tell("cannot be read: it is left out, and what follows it")
            return
        if form is not None and form != (sound.samplerate, sound.channels):
            tell(
                f"has {sound.channels} channels at {sound.samplerate} Hz, what is before it has "
                f"{form[1]} at {form[0]} Hz: its {sound.frames} samples are left out, and what "
                "follows it"
            )
            return
        form = (sound.samplerate, sound.channels)
        for fault in part.stream.faults:
            tell(fault)
        count = 0
        for block in _blocks(sound, dtype, tell):
            count += len(block)
            yield block
        promised = part.stream.num_samples or sound.frames
        if count < promised - (_MP3_FRAME if sound.format == "MP3" else 0):
            tell(f"ends after {count} of {promised} samples")


def _blocks(sound: sf.SoundFile, dtype: str, damaged: OnDamage) -> Iterator[npt.NDArray[Any]]:
    # libsndfile gives nothing of a block in which it meets damage.
    size = _FLAC_BLOCK if sound.format == "FLAC" else BLOCK
    count = 0
    while True:
        try:
            block = sound.read(size, dtype=dtype, always_2d=True)
        except sf.LibsndfileError:
            damaged(f"damaged after {count} of {sound.frames} samples")
            return
        if not len(block):
            return
        count += len(block)
        yield block


@dataclass(frozen=True)
class _Part:
    """A stream of a file, opened; the sound is None where libsndfile does not read it."""

    name: str  # for messages; empty where the file is one stream
    stream: Stream
    sound: sf.SoundFile | None


def _parts(path: Path) -> Iterator[_Part]:
    """Yields the streams of a file, each opened until the next one is asked for."""
    if not path.is_file():
        raise AudioError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: cannot be read as audio: the file is empty")
    with open(path, "rb") as whole:
        streams = integrity.streams(whole)
    for number, stream in enumerate(streams, 1):
        name = f"part {number} of {len(streams)} " if len(streams) > 1 else ""
        # libsndfile gets the descriptor, so that any file name works.
        with open(path, "rb", buffering=0) as file:
            sound = None
            try:
                sound = _libsndfile(path, Joined(file, stream.parts) if stream.parts else file)
            except AudioError:
                if number == 1:
                    raise
            try:
                # A FLAC file that was piped may give no length, and libsndfile fails at its end.
                known = sound is not None and sound.frames != _UNKNOWN_LENGTH
                yield _Part(name, stream, sound if known else None)
            finally:
                if sound is not None:
                    sound.close()


def _libsndfile(path: Path, file: io.RawIOBase) -> sf.SoundFile | None:
    plain = isinstance(file, io.FileIO) and os.name == "posix"
    try:
        return sf.SoundFile(file.fileno() if plain else file, closefd=False)
    except sf.LibsndfileError as error:
        if error.code == _UNRECOGNISED:
            return None
        raise AudioError(
            f"{path}: cannot be read as audio ({error.error_string}): "
            "use a wav, flac, ogg, mp3 or aiff file that is whole"
        ) from error
