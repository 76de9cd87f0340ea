"""Where a live run's samples go: a file or the standard output."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

from mmdense_edge.errors import AudioError, CardStopped, UsageError
from mmdense_edge.live.input import LiveInput
from mmdense_edge.live.stats import LiveStats
from mmdense_edge.separate import staging
from mmdense_edge.signal.stft import Audio

_RIFF_LIMIT = (1 << 32) - (1 << 16)
_SUBTYPES = {".wav": "FLOAT", ".flac": "PCM_24"}

Write = Callable[[Audio], None]


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
    subtype = _SUBTYPES.get(path.suffix.lower())
    if subtype is None:
        raise UsageError(
            f"--output must be card, null, -, or a .wav or .flac file; received {path}"
        )
    staging.check_targets([path], overwrite, "--output")
    rate, channels, length = source.sample_rate, source.channels, source.num_samples
    wide = length is None or length * channels * 4 > _RIFF_LIMIT
    container = "FLAC" if subtype == "PCM_24" else "RF64" if wide else "WAV"
    try:
        folder = tempfile.TemporaryDirectory(prefix=staging.PREFIX, dir=path.parent)
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be written ({error.strerror}). Choose another --output."
        ) from error
    with folder:
        temporary = Path(folder.name, f"live{path.suffix}")
        try:
            file = sf.SoundFile(temporary, "w", rate, channels, subtype, format=container)
        except sf.LibsndfileError as error:
            raise AudioError(f"{path}: cannot be written ({error.error_string})") from error

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

        ending: BaseException | None = None
        with file:
            try:
                yield write
            except (KeyboardInterrupt, SystemExit, CardStopped) as error:
                ending = error
            written = file.frames > 0
        if written:
            staging.check_targets([path], overwrite, "--output")
            os.replace(temporary, path)
        if ending is not None:
            raise ending
