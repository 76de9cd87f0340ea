"""`keras-mmdense separate`: songs to files of their sources, with a Keras model."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from keras_mmdense.cli.models import open_model
from keras_mmdense.cli.progress import Progress
from keras_mmdense.data.faults import printable
from keras_mmdense.errors import AudioError
from keras_mmdense.spectrogram import FloatArray

if TYPE_CHECKING:
    import keras

SUBTYPES = {"wav": "FLOAT", "flac": "PCM_24"}
RIFF_BYTES = (1 << 32) - 4096


@dataclass(frozen=True)
class Song:
    """A song and the folder for its sources."""

    path: Path
    folder: Path


def run(arguments: argparse.Namespace) -> int:
    """Separate song after song; one that fails leaves the others to be done."""
    out = Path(arguments.out)
    songs = check_songs(arguments.songs, out, arguments.format)
    model = open_model(arguments.model)
    failed = 0
    for song in songs:
        try:
            _separate(model, song, arguments)
        except (AudioError, OSError, soundfile.SoundFileError) as error:
            failed += 1
            print(f"keras-mmdense: {printable(song.path)}: {error}", file=sys.stderr)
    return 1 if failed else 0


def check_songs(paths: Sequence[str], out: Path, form: str) -> list[Song]:
    """Return the songs with their folders; all can be opened, and no folder exists.

    Raises:
        AudioError: A song is missing or no audio, has more than two channels, or is too long for
            the format; a folder exists, or two songs would have the same.
    """
    songs = []
    for path in map(Path, paths):
        try:
            info = soundfile.info(str(path))
        except soundfile.SoundFileError as error:
            raise AudioError(f"a song must be an audio file; received {path} ({error}).") from error
        if info.channels > 2:
            raise AudioError(
                f"a song must be mono or stereo; received {path} with {info.channels} channels. "
                "The command mmdense takes more."
            )
        if form == "wav" and info.frames * info.channels * 4 > RIFF_BYTES:
            raise AudioError(f"{path} is too long for WAV files of 4 GiB. Pass --format flac.")
        songs.append(Song(path, out / path.stem))
    folders = [song.folder for song in songs]
    for folder in folders:
        if os.path.lexists(folder):
            raise AudioError(f"{folder} exists already. Choose another folder (-o) or move it.")
        if folders.count(folder) > 1:
            raise AudioError(f"songs need different names; received two for {folder}. Rename one.")
    return songs


def _separate(model: keras.Model, song: Song, arguments: argparse.Namespace) -> None:
    from keras_mmdense.separation import separate

    begin = time.monotonic()
    audio, rate = read_song(song.path)
    progress = Progress(song.path.name, sys.stderr)
    try:
        stems = separate(
            model, audio, rate, residual=arguments.residual, wiener=arguments.wiener,
            window_frames=arguments.window_frames, progress=progress,
        )  # fmt: skip
    finally:
        progress.close()
    clipped = write_stems(stems, rate, song.folder, arguments.format)
    if clipped:
        print(f"{printable(song.path)}: clipped {clipped} samples beyond full scale; "
              "--format wav keeps them", file=sys.stderr)  # fmt: skip
    taken, seconds = time.monotonic() - begin, len(audio) / rate
    print(f"{printable(song.folder)}: {', '.join(stems)}; {seconds:.1f} s in {taken:.1f} s, "
          f"real-time factor {taken / seconds:.2f}", flush=True)  # fmt: skip


def read_song(path: Path) -> tuple[Any, int]:
    """Return the samples, (num_samples, channels), and the rate.

    Raises:
        AudioError: The file has fewer samples than its header says.
    """
    expected = soundfile.info(str(path)).frames
    audio, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    if len(audio) != expected:
        raise AudioError(
            f"the file must have the {expected} samples of its header; received {len(audio)}. "
            "It was cut short: copy it again."
        )
    return audio, int(rate)


def write_stems(stems: Mapping[str, FloatArray], rate: int, folder: Path, form: str) -> int:
    """Write a file per source beside, and move their folder to its place.

    Returns:
        The number of samples that the format cannot hold, which were clipped.

    Raises:
        AudioError: The folder exists meanwhile, or the disk is full.
    """
    with (
        _made(folder.parent),
        tempfile.TemporaryDirectory(prefix=".keras-mmdense-", dir=folder.parent) as beside,
    ):
        aside = Path(beside) / "stems"
        aside.mkdir()
        for source, stem in stems.items():
            target = aside / f"{source}.{form}"
            soundfile.write(str(target), stem, rate, subtype=SUBTYPES[form])
            written = soundfile.info(str(target)).frames
            if written != len(stem):
                raise AudioError(f"{written} of {len(stem)} samples were written: make space.")
        if os.path.lexists(folder):
            raise AudioError(f"{folder} exists already. Choose another folder (-o) or move it.")
        aside.rename(folder)
    return sum(_clipped(stem) for stem in stems.values()) if form == "flac" else 0


def _clipped(stem: FloatArray) -> int:
    return int(np.count_nonzero((stem < -1) | (stem >= 1)))


@contextlib.contextmanager
def _made(out: Path) -> Any:
    """Make a folder; after an error take away what was made of it and is empty."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
