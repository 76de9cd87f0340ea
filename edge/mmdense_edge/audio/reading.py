"""Read audio files in blocks: with libsndfile, and other formats with the ffmpeg program."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import soundfile as sf

from mmdense_edge.audio import TAGS, AudioInfo, OnDamage, ffmpeg, integrity, refuse
from mmdense_edge.audio.parts import Joined, Stream
from mmdense_edge.errors import AudioError, refuse_if

BLOCK = 1 << 16
_FLAC_BLOCK = 1 << 12
_MP3_FRAME = 1152

_UNRECOGNIZED = 1  # libsndfile's number of this error
_UNKNOWN_LENGTH = (1 << 63) - 1


def audio_info(path: Path) -> AudioInfo:
    """Return what an audio file says about itself.

    Args:
        path: A wav, flac, ogg, opus, mp3, aiff or other file that libsndfile reads; if the programs
            ffmpeg and ffprobe are installed, also m4a, aac, wma and the audio of videos.

    Raises:
        AudioError: The file does not exist or cannot be read as audio.
    """
    info = None
    for _, _, sound in _streams(path):
        if sound is None:
            break
        if info is None:
            info = AudioInfo(
                sound.samplerate,
                sound.channels,
                0,
                sound.subtype,
                {name: text for name, text in sound.copy_metadata().items() if name in TAGS},
            )
        info = replace(info, num_samples=info.num_samples + sound.frames)
    return ffmpeg.probe(path) if info is None else info


def read_blocks(
    path: Path, *, dtype: str = "float32", damaged: OnDamage = refuse
) -> Iterator[npt.NDArray[Any]]:
    """Yield an audio file in blocks of at most 65536 samples, shape (samples, channels).

    Args:
        path: As in `audio_info`.
        dtype: "float32", or "float64", which holds every sample exactly.
        damaged: Called with a line that says what is missing if the file holds less than it
            promises. The default raises an error; otherwise reading ends there.

    Raises:
        AudioError: The file cannot be read to its end.
    """
    told: list[str] = []
    form: tuple[int, int] | None = None
    name = ""

    def tell(message: str) -> None:
        # One fault often shows in several ways.
        if not told:
            told.append(message)
            damaged(f"{path}: {name}{message}")

    for name, stream, sound in _streams(path):  # noqa: B007  (tell reads the name)
        if sound is None and form is None:
            yield from ffmpeg.decode(path, dtype, damaged)
            return
        if sound is None:
            tell("cannot be read: it is skipped, and so is what follows")
            return
        if form is not None and form != (sound.samplerate, sound.channels):
            tell(
                f"has {sound.channels} channels at {sound.samplerate} Hz, but what precedes it has "
                f"{form[1]} at {form[0]} Hz: its {sound.frames} samples are skipped, and so is "
                "what follows"
            )
            return
        form = (sound.samplerate, sound.channels)
        for fault in stream.faults:
            tell(fault)
        # libsndfile returns nothing of a block that contains damage.
        size = _FLAC_BLOCK if sound.format == "FLAC" else BLOCK
        count = 0
        try:
            while len(block := sound.read(size, dtype=dtype, always_2d=True)):
                count += len(block)
                yield block
        except sf.LibsndfileError:
            tell(f"damaged after {count} of {sound.frames} samples")
        promised = stream.num_samples or sound.frames
        if count < promised - (_MP3_FRAME if sound.format == "MP3" else 0):
            tell(f"ends after {count} of {promised} samples")


def _streams(path: Path) -> Iterator[tuple[str, Stream, sf.SoundFile | None]]:
    """Yield the streams of a file, each open until the next one is requested.

    Yields:
        (name, stream, sound): The name is for messages, empty if the file is one stream; the
        sound is None if libsndfile does not read it.
    """
    refuse_if(
        not path.is_file(),
        f"{path}: {'not a regular file' if path.exists() else 'no such file'}",
        AudioError,
    )
    refuse_if(
        path.stat().st_size == 0,
        f"{path}: cannot be read as audio: the file is empty",
        AudioError,
    )
    with open(path, "rb") as whole:
        streams = integrity.streams(whole)
    for number, stream in enumerate(streams, 1):
        name = f"part {number} of {len(streams)} " if len(streams) > 1 else ""
        with contextlib.ExitStack() as opened:
            file: Any = opened.enter_context(open(path, "rb", buffering=0))
            if stream.parts:
                file = Joined(file, stream.parts)
            elif os.name == "posix":
                file = file.fileno()  # so that any file name works
            sound = None
            try:
                sound = opened.enter_context(sf.SoundFile(file, closefd=False))
            except sf.LibsndfileError as error:
                if number == 1 and error.code != _UNRECOGNIZED:
                    raise AudioError(
                        f"{path}: cannot be read as audio ({error.error_string}). "
                        "Use a wav, flac, ogg, mp3 or aiff file that is whole"
                    ) from error
            # A FLAC file that was piped may give no length, and libsndfile fails at its end.
            known = sound is not None and sound.frames != _UNKNOWN_LENGTH
            yield name, stream, sound if known else None
