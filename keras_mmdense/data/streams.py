"""One stored audio signal, read by seeking: the common form, and audio files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from keras_mmdense.data.faults import TrackError

DType = Literal["float32", "int16"]
Audio = NDArray[Any]

# Writers that stream to a pipe cannot know the size beforehand and leave this placeholder.
RIFF_SIZE_UNKNOWN = 0xFFFFFFFF


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
    """

    path: Path
    num_samples: int
    sample_rate: int
    channels: int
    pcm16: bool

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
            with sf.SoundFile(_soundfile_name(self.path)) as file:
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
        TrackError: missing, a folder, unreadable, empty, or cut short. A cut Ogg file cannot be
            told from a shorter one here; it shows as a difference in length from its siblings.

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
        with sf.SoundFile(_soundfile_name(path)) as file:
            facts = AudioFile(
                path, file.frames, file.samplerate, file.channels, file.subtype == "PCM_16"
            )
    except (OSError, sf.SoundFileError) as error:
        raise TrackError(path, f"is not a readable audio file: {_cause(error)}") from error
    if facts.num_samples < 1:
        raise TrackError(path, "holds no samples")
    missing = _missing_riff_bytes(path)
    if missing:
        raise TrackError(path, f"is cut short: its header promises {missing} bytes more")
    facts.read(facts.num_samples - 1, 1)
    return facts


def _missing_riff_bytes(path: Path) -> int:
    """Bytes that a WAV file's header promises beyond the end of the file."""
    with path.open("rb") as file:
        header = file.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"WAVE":
        return 0
    size = int.from_bytes(header[4:8], "little")
    missing = size + 8 - path.stat().st_size
    # Many writers leave out the last padding byte.
    return missing if missing > 1 and size != RIFF_SIZE_UNKNOWN else 0


def _soundfile_name(path: Path) -> str | bytes:
    # soundfile encodes str strictly, which fails on names that are no valid UTF-8.
    return str(path) if os.name == "nt" else os.fsencode(path)


def _cause(error: Exception) -> str:
    # The full text of a LibsndfileError repeats the path.
    return str(getattr(error, "error_string", error))
