"""One stored audio signal, read by seeking: the common form, and audio files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import soundfile as sf
from mmdense_edge.audio import integrity
from mmdense_edge.audio.parts import Joined, Part
from numpy.typing import NDArray

from keras_mmdense.data.problems import TrackError

DType = Literal["float32", "int16"]
Audio = NDArray[Any]


class Stream(Protocol):
    """A stored signal of known length: a source of a track, or its mixture."""

    @property
    def path(self) -> Path:
        """The file that holds the signal."""

    @property
    def num_samples(self) -> int:
        """Length in samples per channel."""

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""

    @property
    def channels(self) -> int:
        """Number of channels."""

    @property
    def pcm16(self) -> bool:
        """True where int16 holds the signal without loss."""

    def read(self, start: int, num_samples: int, dtype: DType) -> Audio:
        """Return exactly `num_samples` samples from `start`, shape (num_samples, channels)."""


@dataclass(frozen=True)
class AudioFile:
    """A WAV, FLAC, Ogg or other audio file that soundfile reads.

    Made by `open_audio_file`, which checks it. The file is open only while it is read, so that
    any number of tracks can be held, pickled and read from several threads.

    Args:
        path: the file.
        num_samples: int, length in samples per channel.
        sample_rate: int, Hz.
        channels: int.
        pcm16: bool, True where the file stores 16-bit integers.
        parts: what is read of the file, from `mmdense_edge.audio.integrity`; empty if all of it is.
    """

    path: Path
    num_samples: int
    sample_rate: int
    channels: int
    pcm16: bool
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def read(self, start: int, num_samples: int, dtype: DType = "float32") -> Audio:
        """Read an excerpt by seeking.

        Args:
            start: int, first sample.
            num_samples: int, samples per channel.
            dtype: "float32" (full scale is 1.0) or "int16" (only of 16-bit files).

        Returns:
            Array of shape (num_samples, channels).

        Raises:
            TrackError: the samples are not all there, are not finite, or are not 16-bit.
        """
        if dtype == "int16" and not self.pcm16:
            raise TrackError(self.path, "is not a 16-bit file: read it as float32")
        stored = "int16" if self.pcm16 else "float32"
        try:
            with _opened(self.path, self.parts) as file:
                file.seek(start)
                audio = file.read(num_samples, dtype=stored, always_2d=True)
        except (OSError, sf.SoundFileError) as error:
            raise TrackError(
                self.path, f"samples {start} to {start + num_samples} cannot be read: {error}"
            ) from error
        check_excerpt(self, audio, start, num_samples)
        # libsndfile's own conversion to float costs several times the read.
        return to_float(audio) if self.pcm16 and dtype == "float32" else audio


def to_float(audio: Audio) -> Audio:
    """Convert int16 samples to float32 with full scale 1.0.

    Args:
        audio: int16 array of any shape.

    Returns:
        float32 array of the same shape, audio / 32768.

    Example:
        >>> to_float(np.array([[-32768, 16384]], np.int16)).tolist()
        [[-1.0, 0.5]]
    """
    return np.multiply(audio, np.float32(1 / 32768), dtype=np.float32)


def check_excerpt(stream: Stream, audio: Audio, start: int, num_samples: int) -> None:
    """Raise TrackError unless `audio` is the whole excerpt asked for, and finite."""
    wanted = f"samples {start} to {start + num_samples}"
    if audio.shape != (num_samples, stream.channels):
        raise TrackError(
            stream.path,
            f"{wanted} of {stream.channels} channels were asked for, {audio.shape[0]} samples of "
            f"{audio.shape[1]} came: the file is truncated or has changed since it was opened",
        )
    if audio.dtype.kind == "f" and not np.isfinite(audio).all():
        raise TrackError(stream.path, f"{wanted} hold NaN or infinite values")


def open_audio_file(path: Path) -> AudioFile:
    """Check an audio file by its header and its last sample, and return its facts.

    Args:
        path: the file.

    Returns:
        An `AudioFile` that holds at least one sample.

    Raises:
        TrackError: missing, a folder, unreadable, empty, cut short, or several files joined into
            one. A wrong length in the header, if all of the sound is there, is no fault.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "bass.wav"
        ...     sf.write(path, np.zeros((441, 2)), 44100)
        ...     open_audio_file(path).num_samples
        441
    """
    if path.is_dir():
        raise TrackError(path, "is a folder, an audio file is expected here")
    if not path.exists():
        raise TrackError(path, "is missing")
    try:
        with path.open("rb") as bytes_of_file:
            stream, *more = integrity.streams(bytes_of_file, whole=False)
        parts = tuple(stream.parts)
        with _opened(path, parts) as file:
            facts = AudioFile(
                path, file.frames, file.samplerate, file.channels, file.subtype == "PCM_16", parts
            )
    except (OSError, sf.SoundFileError) as error:
        raise TrackError(path, f"is not a readable audio file: {_cause(error)}") from error
    if facts.num_samples < 1:
        raise TrackError(path, "holds no samples")
    if more:
        raise TrackError(path, f"is {1 + len(more)} files joined into one: decode it to one WAV")
    if stream.faults:
        raise TrackError(path, stream.faults[0])
    facts.read(facts.num_samples - 1, 1)
    return facts


@contextmanager
def _opened(path: Path, parts: Sequence[Part]) -> Iterator[sf.SoundFile]:
    """Open an audio file, or the parts of it that are one."""
    if not parts:
        with sf.SoundFile(_soundfile_name(path)) as sound:
            yield sound
        return
    with path.open("rb") as file, sf.SoundFile(io.BufferedReader(Joined(file, parts))) as sound:
        yield sound


def _soundfile_name(path: Path) -> str | bytes:
    # soundfile encodes str strictly, which fails on names that are no valid UTF-8.
    return str(path) if os.name == "nt" else os.fsencode(path)


def _cause(error: Exception) -> str:
    # The full text of a LibsndfileError repeats the path.
    return str(getattr(error, "error_string", error))
