"""Where a live run's samples go: a file, the standard output, or nowhere."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.separate import staging
from mmdense_edge.signal.stft import Audio

_RIFF_LIMIT = (1 << 32) - (1 << 16)
_FORMATS = {".wav": "FLOAT", ".flac": "PCM_24"}


class NullSink:
    """Take the output block by block and throw it away; the base of the other outputs.

    `clipped` counts samples that were beyond full scale and set to it.
    """

    clipped = 0

    def write(self, block: Audio) -> None:
        """Take the next samples, shape (samples, channels)."""

    def close(self, keep: bool) -> None:
        """End the output; `keep` False leaves nothing behind."""


class StreamSink(NullSink):
    """Write raw samples to a stream, such as the standard output.

    Args:
        fileno: The file descriptor.
        sample_format: "s16le" (samples beyond full scale are set to it, and counted) or "f32le".
    """

    def __init__(self, fileno: int, sample_format: str) -> None:
        """Write nothing yet."""
        # Unbuffered: nothing waits here, and nothing is left to be written to a closed pipe.
        self._stream = open(fileno, "wb", buffering=0, closefd=False)  # noqa: SIM115
        self._integer = sample_format == "s16le"

    def write(self, block: Audio) -> None:
        """Take the next samples and send them off.

        Raises:
            AudioError: The output pipe was closed.
        """
        samples = block.astype("<f4")
        if self._integer:
            steps = np.rint(block * np.float32(32768))
            samples = np.clip(steps, -32768, 32767).astype("<i2")
            self.clipped += int(np.count_nonzero(steps != samples))
        rest = memoryview(samples.tobytes())
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except BrokenPipeError as error:
            raise AudioError("the output pipe was closed") from error

    def close(self, keep: bool) -> None:
        """Leave the stream open: it is not ours."""
        self._stream.close()


class FileSink(NullSink):
    """Write a file in a temporary folder, and move it to its place when it is complete.

    Args:
        path: .wav (32-bit float: nothing is clipped) or .flac (24 bits: samples beyond full scale
            are set to it, and counted). Of unknown or great length a .wav is an RF64, the same
            with wider counters.
        sample_rate: In Hz.
        channels: 1 or 2.
        num_samples: Length, if known.
        overwrite: Replace a file that exists.

    Raises:
        AudioError: The file exists, or cannot be written.
        UsageError: Another suffix.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        num_samples: int | None,
        overwrite: bool,
    ) -> None:
        """Create the file under a temporary name."""
        self._written = False
        self._path, self._overwrite = path, overwrite
        subtype = _FORMATS.get(path.suffix.lower())
        if subtype is None:
            raise UsageError(
                f"--output must be card, null, -, or a .wav or .flac file; received {path}"
            )
        staging.check_targets([path], overwrite, "--output")
        self._integer = subtype != "FLOAT"
        wide = num_samples is None or num_samples * channels * 4 > _RIFF_LIMIT
        container = "FLAC" if self._integer else "RF64" if wide else "WAV"
        try:
            self._folder = tempfile.TemporaryDirectory(prefix=staging.PREFIX, dir=path.parent)
        except OSError as error:
            raise AudioError(
                f"{path}: cannot be written ({error.strerror}). Choose another --output."
            ) from error
        self._temporary = Path(self._folder.name, f"live{path.suffix}")
        try:
            self._file = sf.SoundFile(
                self._temporary, "w", sample_rate, channels, subtype, format=container
            )
        except sf.LibsndfileError as error:
            self._folder.cleanup()
            raise AudioError(f"{path}: cannot be written ({error.error_string})") from error

    def write(self, block: Audio) -> None:
        """Take the next samples."""
        self._written = self._written or len(block) > 0
        if self._integer:
            limited = np.clip(block, -1, 1 - 2**-23)
            self.clipped += int(np.count_nonzero(limited != block))
            block = limited
        try:
            self._file.write(block)
        except sf.LibsndfileError as error:
            raise AudioError(
                f"{self._path}: cannot be written ({error.error_string}). Is there space left?"
            ) from error

    def close(self, keep: bool) -> None:
        """End the file: in its place if it is to be kept and not empty, else gone."""
        try:
            self._file.close()
            if keep and self._written:
                staging.check_targets([self._path], self._overwrite, "--output")
                os.replace(self._temporary, self._path)
        finally:
            self._folder.cleanup()
