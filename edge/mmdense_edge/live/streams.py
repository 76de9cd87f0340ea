"""Files, standard input and standard output of a live run, as blocks of samples."""

import itertools
import os
import stat
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf

from mmdense_edge.audio import integrity
from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.audio.reading import BLOCK, audio_info, read_blocks
from mmdense_edge.audio.writing import RIFF_LIMIT
from mmdense_edge.errors import AudioError, CardStopped, UsageError, refuse_if
from mmdense_edge.live.stats import LiveStats
from mmdense_edge.separate import staging
from mmdense_edge.separator import MAX_RATE, MIN_RATE
from mmdense_edge.signal.stft import Audio

_NO_WAV = "stdin: no WAV header"
_RAW = "Raw samples need --rate, --channels and --sample-format."
_EXTENSIBLE = 0xFFFE
_WAV_SUBTYPES = {
    **{(1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32"},
    **{(3, 32): "FLOAT", (3, 64): "DOUBLE"},
}
_LONGEST_FIELD = 40  # bytes of the extensible form; ds64 has 28
SAMPLE_FORMATS = {"s16le": "PCM_16", "f32le": "FLOAT"}
STDIN = 0  # the file descriptor
_FILE_SUBTYPES = {".wav": "FLOAT", ".flac": "PCM_24"}

Write = Callable[[Audio], None]


@dataclass(frozen=True)
class LiveInput:
    """A stream of blocks.

    Args:
        name: For messages.
        sample_rate: In Hz, 1000 to 768000.
        channels: 1 or 2.
        blocks: The samples, each block of shape (samples, channels), float32.
        num_samples: The most samples that come, if known.

    Raises:
        AudioError: More than two channels, or the rate is out of range.
    """

    name: str
    sample_rate: int
    channels: int
    blocks: Iterator[Audio]
    num_samples: int = sys.maxsize

    def __post_init__(self) -> None:
        """Check the channels and the rate."""
        refuse_if(
            self.channels > 2,
            f"{self.name}: audio must have 1 or 2 channels; received {self.channels}. Mix it down.",
            AudioError,
        )
        refuse_if(
            not MIN_RATE <= self.sample_rate <= MAX_RATE,
            f"{self.name}: the sample rate must be from {MIN_RATE} to {MAX_RATE} Hz; received "
            f"{self.sample_rate}. Resample it.",
            AudioError,
        )


def open_file(path: Path, block: int) -> LiveInput:
    """Open an audio file.

    Args:
        path: Any file that `mmdense separate` reads, mono or stereo.
        block: Samples in a block; the last may be shorter.

    Raises:
        AudioError: The file cannot be read, or has more than two channels.
    """
    info = audio_info(path)
    return LiveInput(
        str(path),
        info.sample_rate,
        info.channels,
        even(read_blocks(path), block),
        info.num_samples or sys.maxsize,
    )


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
    refuse_if(
        os.name != "posix",
        "live input from stdin needs Linux or macOS. Give a file or a sound card.",
    )
    form: tuple[int | str, ...] = ()
    num_samples = sys.maxsize
    if rate is not None:
        refuse_if(
            not MIN_RATE <= rate <= MAX_RATE,
            f"--rate must be from {MIN_RATE} to {MAX_RATE} Hz; received {rate}",
        )
        form = (rate, channels, SAMPLE_FORMATS[sample_format], "LITTLE", "RAW")
    elif not stat.S_ISREG(os.fstat(fileno).st_mode):
        # libsndfile trusts the length in a pipe's header and would stop there.
        form, num_samples = _wav_header(fileno)
    try:
        sound = sf.SoundFile(fileno, "r", *form, closefd=False)
    except sf.LibsndfileError as error:
        raise AudioError(f"{_NO_WAV} ({error.error_string}). {_RAW}") from error
    if not form:
        num_samples = sound.frames or sys.maxsize
    read = (sound.read(block, dtype="float32", always_2d=True) for _ in itertools.count())
    blocks = _first(itertools.takewhile(len, read), num_samples)
    return LiveInput("stdin", sound.samplerate, sound.channels, blocks, num_samples)


def _wav_header(fileno: int) -> tuple[tuple[int | str, ...], int]:
    """Read a WAV file's header from a pipe: the form of its samples, and their number."""

    def take(count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = os.read(fileno, count - len(data))
            refuse_if(
                not part,
                f"{_NO_WAV} (the input ended after {len(data)} of {count} bytes). {_RAW}",
                AudioError,
            )
            data += part
        return data

    head = take(12)
    refuse_if(
        head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE",
        f"{_NO_WAV} (the input starts with {head!r}). {_RAW}",
        AudioError,
    )
    chunks: dict[bytes, bytes] = {}
    name, length = struct.unpack("<4sI", take(8))
    while name != b"data":
        padded = length + length % 2
        chunks[name] = take(min(padded, _LONGEST_FIELD))
        # Never read whole: the length may be anything.
        for start in range(_LONGEST_FIELD, padded, BLOCK):
            take(min(BLOCK, padded - start))
        name, length = struct.unpack("<4sI", take(8))
    form = chunks.get(b"fmt ", b"")
    refuse_if(len(form) < 16, f"{_NO_WAV} (the sample format is missing). {_RAW}", AudioError)
    code, channels, rate, _, size, bits = struct.unpack("<HHIIHH", form[:16])
    if code == _EXTENSIBLE:
        code = int.from_bytes(form[24:26], "little")
    subtype = _WAV_SUBTYPES.get((code, bits))
    if subtype is None or not size or not rate:
        raise AudioError(
            "stdin: a WAV file from a pipe must hold PCM or floats; received samples of format "
            f"{code} with {bits} bits at {rate} Hz. Convert it."
        )
    if b"ds64" in chunks and length == integrity.MAX_32:
        length = int.from_bytes(chunks[b"ds64"][8:16], "little")
    num_samples = sys.maxsize if integrity.unknown(length) else length // size
    return (rate, channels, subtype, "LITTLE", "RAW"), num_samples


def limited(source: LiveInput, seconds: float | None) -> LiveInput:
    """Return an input that ends after so many seconds, at most; None does not limit it."""
    if seconds is None:
        return source
    limit = max(1, round(seconds * source.sample_rate))
    length = min(limit, source.num_samples)
    return replace(source, blocks=_first(source.blocks, limit), num_samples=length)


def _first(blocks: Iterator[Audio], left: int) -> Iterator[Audio]:
    while left > 0:
        block = next(blocks, None)
        if block is None:
            return
        yield block[:left]
        left -= len(block)


@contextmanager
def raw_output(fileno: int, sample_format: str, stats: LiveStats) -> Iterator[Write]:
    """Yield a function that sends the next samples, shape (samples, channels), to a stream.

    Args:
        fileno: The file descriptor of the stream, such as the standard output; it stays open.
        sample_format: "s16le" (samples beyond full scale are clamped and counted) or "f32le".
        stats: Receives the count.

    Raises:
        AudioError: The output pipe was closed.
    """
    # Unbuffered: nothing is delayed, and nothing is left to write to a closed pipe.
    with open(fileno, "wb", buffering=0, closefd=False) as stream:

        def write(block: Audio) -> None:
            samples = block.astype("<f4")
            if sample_format == "s16le":
                steps = np.rint(block * np.float32(32768))
                samples = np.clip(steps, -32768, 32767).astype("<i2")
                stats.clipped += int(np.count_nonzero(steps != samples))
            rest = memoryview(samples.tobytes())
            try:
                while rest:
                    rest = rest[stream.write(rest) :]
            except BrokenPipeError as error:
                raise AudioError("the output pipe was closed") from error

        yield write


@contextmanager
def file_output(
    path: Path, source: LiveInput, stats: LiveStats, overwrite: bool
) -> Iterator[Write]:
    """Yield a function that writes to a file, which is moved to its path when it is complete.

    What was written is kept after Ctrl-C, a signal, or if the sound card stopped. After any other
    error, or if there are no samples, no file is left.

    Args:
        path: .wav (32-bit float: nothing is clipped) or .flac (24 bits: samples beyond full scale
            are clamped and counted). A .wav of unknown or great length is written as RF64, the
            same format with wider counters.
        source: The input, whose rate, channels and length the file gets.
        stats: Receives the count of samples beyond full scale.
        overwrite: Replace an existing file.

    Raises:
        AudioError: The file exists, or cannot be written.
        UsageError: The path has another suffix.
    """
    subtype = _FILE_SUBTYPES.get(path.suffix.lower())
    if subtype is None:
        raise UsageError(
            f"--output must be card, null, -, or a .wav or .flac file; received {path}"
        )
    staging.check_targets([path], overwrite, "--output")
    wide = source.num_samples * source.channels * 4 > RIFF_LIMIT
    container = "FLAC" if subtype == "PCM_24" else "RF64" if wide else "WAV"
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix=staging.PREFIX, dir=path.parent)
            )
            temporary = Path(folder, f"live{path.suffix}")
            file = stack.enter_context(
                sf.SoundFile(
                    temporary, "w", source.sample_rate, source.channels, subtype, format=container
                )
            )
        except (OSError, sf.LibsndfileError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.error_string
            raise AudioError(
                f"{path}: cannot be written ({reason}). Choose another --output."
            ) from error

        def write(block: Audio) -> None:
            if subtype == "PCM_24":
                limited = np.clip(block, -1, 1 - 2**-23)
                stats.clipped += int(np.count_nonzero(limited != block))
                block = limited
            try:
                file.write(block)
            except sf.LibsndfileError as error:
                raise AudioError(
                    f"{path}: cannot be written ({error.error_string}). Is there space left?"
                ) from error

        keep = False
        try:
            yield write
            keep = True
        except (KeyboardInterrupt, SystemExit, CardStopped):
            keep = True
            raise
        finally:
            keep &= file.frames > 0
            file.close()
            if keep:
                staging.check_targets([path], overwrite, "--output")
                os.replace(temporary, path)
