"""Where a live run's samples come from: a file or the standard input."""

from __future__ import annotations

import itertools
import math
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile as sf

from mmdense_edge.audio import integrity
from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.separator import MAX_RATE, MIN_RATE
from mmdense_edge.signal.stft import Audio

_NO_WAV = "stdin: no WAV header"
_RAW = "Raw samples need --rate, --channels and --sample-format."
_EXTENSIBLE = 0xFFFE
_SUBTYPES = {
    **{(1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32"},
    **{(3, 32): "FLOAT", (3, 64): "DOUBLE"},
}
_BLOCK = 1 << 16
_LONGEST_FIELD = 40  # bytes of the extensible form; ds64 has 28
SAMPLE_FORMATS = {"s16le": "PCM_16", "f32le": "FLOAT"}
STDIN = 0  # the file descriptor


@dataclass(frozen=True)
class LiveInput:
    """A stream of blocks.

    Args:
        name: For messages.
        sample_rate: In Hz.
        channels: 1 or 2.
        blocks: The samples, each block of shape (samples, channels), float32.
        num_samples: Length, if known.
    """

    name: str
    sample_rate: int
    channels: int
    blocks: Iterator[Audio]
    num_samples: int | None = None


def open_file(path: Path, block: int) -> LiveInput:
    """Open an audio file.

    Args:
        path: Any file that `mmdense separate` reads, mono or stereo.
        block: Samples in a block; the last may be shorter.

    Raises:
        AudioError: The file cannot be read, or has more than two channels.
    """
    info = audio_info(path)
    _check_channels(str(path), info.channels)
    blocks = even(read_blocks(path), block)
    return LiveInput(str(path), info.sample_rate, info.channels, blocks, info.num_samples)


def open_stdin(
    block: int, rate: int | None, channels: int, sample_format: str, fileno: int = STDIN
) -> LiveInput:
    """Open the standard input: WAV, or raw samples if their rate is given.

    Args:
        block: Samples in a block; the last may be shorter.
        rate: Of raw samples, in Hz; None for WAV.
        channels: Of raw samples, 1 or 2.
        sample_format: Of raw samples, "s16le" or "f32le".
        fileno: The file descriptor.

    Raises:
        AudioError: Not WAV, or more than two channels.
        UsageError: The rate is out of range; Windows.
    """
    if os.name != "posix":
        raise UsageError("live input from stdin needs Linux or macOS. Give a file or a sound card.")
    form, samples = None, math.inf
    if rate is not None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise UsageError(f"--rate must be from {MIN_RATE} to {MAX_RATE} Hz; received {rate}")
        form = (rate, channels, SAMPLE_FORMATS[sample_format])
    elif not stat.S_ISREG(os.fstat(fileno).st_mode):
        # libsndfile trusts the length in a pipe's header and would stop there.
        form, samples = _wav_header(fileno)
    try:
        sound = (
            sf.SoundFile(fileno, closefd=False)
            if form is None
            else sf.SoundFile(fileno, "r", *form, "LITTLE", "RAW", closefd=False)
        )
    except sf.LibsndfileError as error:
        raise AudioError(f"{_NO_WAV} ({error.error_string}). {_RAW}") from error
    _check_channels("stdin", sound.channels)
    read = (sound.read(block, dtype="float32", always_2d=True) for _ in itertools.count())
    blocks = _first(itertools.takewhile(len, read), samples)
    return LiveInput("stdin", sound.samplerate, sound.channels, blocks)


def _wav_header(fileno: int) -> tuple[tuple[int, int, str], float]:
    """Read a WAV file's header from a pipe: (rate, channels, subtype), number of samples."""

    def take(count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = os.read(fileno, count - len(data))
            if not part:
                raise AudioError(
                    f"{_NO_WAV} (the input ended after {len(data)} of {count} bytes). {_RAW}"
                )
            data += part
        return data

    head, form, wide = take(12), b"", 0
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise AudioError(f"{_NO_WAV} (the input starts with {head!r}). {_RAW}")
    while True:
        name, length = struct.unpack("<4sI", take(8))
        if name == b"data":
            break
        padded = length + length % 2
        body = take(min(padded, _LONGEST_FIELD))
        # Never read whole: the length may be anything.
        for start in range(len(body), padded, _BLOCK):
            take(min(_BLOCK, padded - start))
        form = body if name == b"fmt " else form
        wide = int.from_bytes(body[8:16], "little") if name == b"ds64" else wide
    if len(form) < 16:
        raise AudioError(f"{_NO_WAV} (the sample format is missing). {_RAW}")
    code, channels, rate, _, size, bits = struct.unpack("<HHIIHH", form[:16])
    if code == _EXTENSIBLE:
        code = int.from_bytes(form[24:26], "little")
    subtype = _SUBTYPES.get((code, bits))
    if subtype is None or not size or not rate:
        raise AudioError(
            "stdin: a WAV file from a pipe must hold PCM or floats; received samples of format "
            f"{code} with {bits} bits at {rate} Hz. Convert it."
        )
    length = wide if wide and length == integrity.MAX_32 else length
    return (rate, channels, subtype), math.inf if integrity.unknown(length) else length // size


def limited(source: LiveInput, limit: int) -> LiveInput:
    """Return an input that ends after at most `limit` samples."""
    length = None if source.num_samples is None else min(limit, source.num_samples)
    return replace(source, blocks=_first(source.blocks, limit), num_samples=length)


def _first(blocks: Iterator[Audio], left: float) -> Iterator[Audio]:
    while left > 0:
        block = next(blocks, None)
        if block is None:
            return
        yield block if left >= len(block) else block[: int(left)]
        left -= len(block)


def _check_channels(name: str, channels: int) -> None:
    if channels > 2:
        raise AudioError(
            f"{name}: audio must have 1 or 2 channels; received {channels}. Mix it down."
        )
