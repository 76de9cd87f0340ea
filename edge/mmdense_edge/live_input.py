"""Where a live run's samples come from: a file or the standard input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf

from mmdense_edge.audio import audio_info, read_blocks
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.transform import Samples

SAMPLE_FORMATS = {"s16le": "PCM_16", "f32le": "FLOAT"}
MIN_RATE, MAX_RATE = 1000, 768000
STDIN = 0  # the file descriptor


@dataclass(frozen=True)
class LiveInput:
    """A stream of blocks.

    Args:
        name: for messages.
        sample_rate: in Hz.
        channels: 1 or 2.
        blocks: the samples, each block of shape (samples, channels), float32.
        num_samples: length, if known.
    """

    name: str
    sample_rate: int
    channels: int
    blocks: Iterator[Samples]
    num_samples: int | None = None


def open_file(path: Path, block: int) -> LiveInput:
    """Opens an audio file.

    Args:
        path: any file that `mmdense separate` reads, mono or stereo.
        block: samples in a block; the last may be shorter.

    Raises:
        AudioError: the file cannot be read, or has more than two channels.
    """
    info = audio_info(path)
    _check_channels(str(path), info.channels)
    blocks = reblock(read_blocks(path), block)
    return LiveInput(str(path), info.sample_rate, info.channels, blocks, info.num_samples)


def open_stdin(
    block: int, rate: int | None, channels: int, sample_format: str, fileno: int = STDIN
) -> LiveInput:
    """Opens the standard input: WAV, or raw samples if their rate is given.

    Args:
        block: samples in a block; the last may be shorter.
        rate: of raw samples, in Hz; None for WAV.
        channels: of raw samples, 1 or 2.
        sample_format: of raw samples, "s16le" or "f32le".
        fileno: the file descriptor.

    Raises:
        AudioError: not WAV, or more than two channels.
        UsageError: the rate is out of range; Windows.
    """
    if os.name != "posix":
        raise UsageError("live input from stdin needs Linux or macOS: give a file or a sound card")
    if rate is not None:
        _check_rate(rate)
    try:
        sound = _stdin_sound(rate, channels, sample_format, fileno)
    except sf.LibsndfileError as error:
        raise AudioError(
            f"stdin: no WAV header ({error.error_string}): raw samples need --rate, "
            "--channels and --sample-format"
        ) from error
    _check_channels("stdin", sound.channels)
    return LiveInput("stdin", sound.samplerate, sound.channels, _read(sound, block))


def _stdin_sound(rate: int | None, channels: int, sample_format: str, fileno: int) -> sf.SoundFile:
    if rate is None:
        return sf.SoundFile(fileno, closefd=False)
    return sf.SoundFile(
        fileno, "r", rate, channels, SAMPLE_FORMATS[sample_format], "LITTLE", "RAW", closefd=False
    )


def _read(sound: sf.SoundFile, block: int) -> Iterator[Samples]:
    with sound:
        while True:
            samples = sound.read(block, dtype="float32", always_2d=True)
            if not len(samples):
                return
            yield samples


def reblock(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """Yields the same samples in blocks of `size`; the last may be shorter.

    Example:
        >>> [len(part) for part in reblock([np.zeros((5, 1)), np.zeros((2, 1))], 3)]
        [3, 3, 1]
    """
    rest: Samples | None = None
    for block in blocks:
        rest = block if rest is None else np.concatenate([rest, block])
        full = len(rest) // size * size
        for first in range(0, full, size):
            yield rest[first : first + size]
        rest = rest[full:]
    if rest is not None and len(rest):
        yield rest


def limited(source: LiveInput, limit: int | None) -> LiveInput:
    """Returns an input that ends after `limit` samples at the latest; None for no limit."""
    if limit is None:
        return source
    length = None if source.num_samples is None else min(limit, source.num_samples)
    return replace(source, blocks=_first(source.blocks, limit), num_samples=length)


def _first(blocks: Iterator[Samples], left: int) -> Iterator[Samples]:
    while left > 0:
        block = next(blocks, None)
        if block is None:
            return
        yield block[:left]
        left -= len(block)


def _check_channels(name: str, channels: int) -> None:
    if channels > 2:
        raise AudioError(f"{name}: audio must have 1 or 2 channels, got {channels}: mix it down")


def _check_rate(rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(f"--rate must be from {MIN_RATE} to {MAX_RATE} Hz, got {rate}")
