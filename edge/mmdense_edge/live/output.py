"""Where a live run's samples go: a file, the standard output, or nowhere."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile as sf

from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.signal.stft import Audio

_RIFF_LIMIT = (1 << 32) - (1 << 16)
_FORMATS = {".wav": "FLOAT", ".flac": "PCM_24"}


class Sink(Protocol):
    """Takes the output block by block.

    `clipped` counts samples that were beyond full scale and set to it.
    """

    clipped: int

    def write(self, block: Audio) -> None:
        """Takes the next samples, shape (samples, channels)."""

    def close(self, keep: bool) -> None:
        """Ends the output; `keep` False leaves nothing behind."""


class NullSink:
    """Throws the output away."""

    clipped = 0

    def write(self, block: Audio) -> None:
        """Takes the next samples."""

    def close(self, keep: bool) -> None:
        """Does nothing."""


class StreamSink:
    """Writes raw samples to a stream, such as the standard output.

    Args:
        fileno: the file descriptor.
        sample_format: "s16le" (samples beyond full scale are set to it, and counted) or "f32le".
    """

    def __init__(self, fileno: int, sample_format: str) -> None:
        """Writes nothing yet."""
        self.clipped = 0
        # Unbuffered: nothing waits here, and nothing is left to be written to a closed pipe.
        self._stream = open(fileno, "wb", buffering=0, closefd=False)  # noqa: SIM115
        self._integer = sample_format == "s16le"

    def write(self, block: Audio) -> None:
        """Takes the next samples and sends them off.

        Raises:
            AudioError: nobody reads any more.
        """
        if self._integer:
            steps = np.rint(block * np.float32(32768))
            limited = np.clip(steps, -32768, 32767)
            self.clipped += int(np.count_nonzero(steps != limited))
            self._send(limited.astype("<i2").tobytes())
        else:
            self._send(np.ascontiguousarray(block, "<f4").tobytes())

    def close(self, keep: bool) -> None:
        """Leaves the stream open: it is not ours."""
        self._stream.close()

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except BrokenPipeError as error:
            raise AudioError("stdout was closed by the program that reads it") from error


class FileSink:
    """Writes a file beside its final place, and moves it there when it is complete.

    Args:
        path: .wav (32-bit float: nothing is clipped) or .flac (24 bits: samples beyond full scale
            are set to it, and counted). Of unknown or great length a .wav is an RF64, the same
            with wider counters.
        sample_rate: in Hz.
        channels: 1 or 2.
        num_samples: length, if known.
        overwrite: replace a file that exists.

    Raises:
        AudioError: the file exists, or cannot be written.
        UsageError: another suffix.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        num_samples: int | None,
        overwrite: bool,
    ) -> None:
        """Creates the file under a temporary name."""
        self.clipped = 0
        self._written = False
        self._path, self._overwrite = path, overwrite
        subtype = _FORMATS.get(path.suffix.lower())
        if subtype is None:
            raise UsageError(f"--output must be card, null, -, or a .wav or .flac file, got {path}")
        self._check_target()
        self._integer = subtype != "FLOAT"
        wide = num_samples is None or num_samples * channels * 4 > _RIFF_LIMIT
        container = "FLAC" if self._integer else "RF64" if wide else "WAV"
        try:
            self._folder = tempfile.TemporaryDirectory(prefix=".mmdense-", dir=path.parent)
        except OSError as error:
            raise AudioError(
                f"{path}: cannot be written ({error.strerror}): choose another --output"
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
        """Takes the next samples."""
        self._written = self._written or len(block) > 0
        if self._integer:
            limited = np.clip(block, -1, 1 - 2**-23)
            self.clipped += int(np.count_nonzero(limited != block))
            block = limited
        try:
            self._file.write(block)
        except sf.LibsndfileError as error:
            raise AudioError(
                f"{self._path}: cannot be written ({error.error_string}): is there space left?"
            ) from error

    def close(self, keep: bool) -> None:
        """Ends the file: in its place if it is to be kept and not empty, else gone."""
        try:
            self._file.close()
            if keep and self._written:
                self._check_target()
                os.replace(self._temporary, self._path)
        finally:
            self._folder.cleanup()

    def _check_target(self) -> None:
        if self._path.is_dir():
            raise AudioError(f"{self._path} is a folder: choose another --output")
        if os.path.lexists(self._path) and not self._overwrite:
            raise AudioError(f"{self._path} exists: choose another file or pass --overwrite")
