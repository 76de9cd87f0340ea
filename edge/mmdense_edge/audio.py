"""Reads audio files in blocks: libsndfile's formats, and through the ffmpeg program the others."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
import soundfile as sf

from mmdense_edge import ffmpeg, integrity
from mmdense_edge.errors import AudioError
from mmdense_edge.form import TAGS, AudioInfo, OnDamage, refuse

__all__ = ["BLOCK", "AudioInfo", "OnDamage", "audio_info", "read_blocks", "refuse"]

BLOCK = 1 << 16
_FLAC_BLOCK = 1 << 12

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
    with _opened(path) as (_, sound):
        if sound is None:
            return ffmpeg.probe(path)
        tags = {name: text for name, text in sound.copy_metadata().items() if name in TAGS}
        return AudioInfo(sound.samplerate, sound.channels, sound.frames, sound.subtype, tags)


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
    with _opened(path) as (file, sound):
        if sound is None:
            yield from ffmpeg.decode(path, ffmpeg.probe(path), dtype, damaged)
            return
        told: list[str] = []

        def tell(message: str | None) -> None:
            # One damage often shows in several ways.
            if message is not None and not told:
                told.append(message)
                damaged(f"{path}: {message}")

        tell(integrity.cut_short(path, sound))
        count = 0
        for block in _blocks(sound, dtype, tell):
            count += len(block)
            yield block
        tell(integrity.missing(path, file, sound, count))


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


@contextmanager
def _opened(path: Path) -> Iterator[tuple[io.FileIO, sf.SoundFile | None]]:
    """Opens a file; the sound is None where the format is one for ffmpeg."""
    if not path.is_file():
        raise AudioError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: cannot be read as audio: the file is empty")
    # libsndfile gets the descriptor, so that any file name works and the position can be asked.
    with open(path, "rb", buffering=0) as file:
        sound = _libsndfile(path, file)
        try:
            # A FLAC file that was piped gives no length, and libsndfile then fails at its end.
            yield file, None if sound is None or sound.frames == _UNKNOWN_LENGTH else sound
        finally:
            if sound is not None:
                sound.close()


def _libsndfile(path: Path, file: io.FileIO) -> sf.SoundFile | None:
    try:
        return sf.SoundFile(file.fileno() if os.name == "posix" else file, closefd=False)
    except sf.LibsndfileError as error:
        if error.code == _UNRECOGNISED:
            return None
        raise AudioError(
            f"{path}: cannot be read as audio ({error.error_string}): "
            "use a wav, flac, ogg, mp3 or aiff file that is whole"
        ) from error
