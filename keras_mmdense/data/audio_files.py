"""One stored audio signal, read by seeking: the common form, and audio files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile as sf
from mmdense_edge.audio import integrity
from mmdense_edge.audio.parts import Joined, Part
from numpy.typing import NDArray

from keras_mmdense.data.problems import TrackError

DType = Literal["float32", "int16"]
Audio = NDArray[Any]
FULL_SCALE = 32768
# Long enough that few decoders start over for each block, short enough for any memory.
BLOCK = 1 << 21


@dataclass(frozen=True)
class Stream(ABC):
    """A stored signal of known length: a source of a track, or its mixture.

    The file is open only while it is read, so that any number of tracks can be held, pickled and
    read from several threads.

    Args:
        path: The file that holds the signal.
        num_samples: Length in samples per channel.
        sample_rate: In Hz.
        channels: Number of channels.
        pcm16: Whether int16 holds the signal without loss.
    """

    path: Path
    num_samples: int
    sample_rate: int
    channels: int
    pcm16: bool

    @property
    def is_fast(self) -> bool:
        """True for a 16-bit WAV file, whose samples need no decoding."""
        return False

    @abstractmethod
    def _decode(self, start: int, num_samples: int, out: Audio | None = None) -> Audio:
        """Return the samples as they are stored, int16 if `pcm16`, else float32; maybe in `out`."""

    def read(
        self, start: int, num_samples: int, dtype: DType = "float32", out: Audio | None = None
    ) -> Audio:
        """Read an excerpt.

        Args:
            start: First sample.
            num_samples: Samples per channel.
            dtype: "float32" (full scale is 1.0) or "int16" (only of 16-bit signals).
            out: An array of this shape and type that is used if that saves a copy.

        Returns:
            Array of shape (num_samples, channels).

        Raises:
            TrackError: Samples are missing, not finite, or not 16-bit.
        """
        if dtype == "int16" and not self.pcm16:
            raise TrackError(self.path, "is not a 16-bit file: read it as float32")
        audio = self._decode(start, num_samples, out if dtype == "int16" else None)
        check_excerpt(self, audio, start, num_samples)
        if self.pcm16 and dtype == "float32":  # libsndfile's own conversion takes several reads
            return np.multiply(audio, np.float32(1 / FULL_SCALE), dtype=np.float32)
        return audio

    def blocks(self) -> Iterator[Audio]:
        """Yield all samples in blocks, int16 if `pcm16`, else float32.

        Raises:
            TrackError: Samples are missing, unreadable, NaN or infinite.
        """
        dtype: DType = "int16" if self.pcm16 else "float32"
        for start in range(0, self.num_samples, BLOCK):
            yield self.read(start, min(BLOCK, self.num_samples - start), dtype)


@dataclass(frozen=True)
class AudioFile(Stream):
    """A WAV, FLAC, Ogg or other audio file that soundfile reads; made by `open_audio_file`.

    Args:
        parts: What is read of the file, from `mmdense_edge.audio.integrity`; empty if all of it is.
        data_start: Where the samples of a 16-bit WAV file begin, in bytes; 0 for other files.
    """

    parts: tuple[Part, ...] = field(default=(), repr=False)
    data_start: int = field(default=0, repr=False)

    @property
    def is_fast(self) -> bool:
        """True for a 16-bit WAV file, whose samples need no decoding."""
        return self.data_start > 0

    def _decode(self, start: int, num_samples: int, out: Audio | None = None) -> Audio:
        stored, shape = "int16" if self.pcm16 else "float32", (num_samples, self.channels)
        try:
            if self.data_start:  # several times faster than libsndfile, which parses the header
                if out is None or out.shape != shape or not out.flags.c_contiguous:
                    out = np.empty(shape, "<i2")
                with open(self.path, "rb", buffering=0) as file:
                    file.seek(self.data_start + 2 * self.channels * start)
                    size = file.readinto(out.data)
                return out[: size // (2 * self.channels)]  # of a file that has become shorter
            with _opened(self.path, self.parts) as file:
                file.seek(start)
                audio: Audio = file.read(num_samples, dtype=stored, always_2d=True)
                return audio
        except (OSError, sf.SoundFileError) as error:
            wanted = f"samples {start} to {start + num_samples}"
            raise TrackError(self.path, f"{wanted} cannot be read: {error}") from error


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


def to_int16(audio: Audio) -> tuple[Audio, int]:
    """Round samples to 16 bits as ffmpeg does: to even, limited to full scale.

    Args:
        audio: int16, or float32 with full scale 1.0, any shape.

    Returns:
        int16 samples, and how many lay beyond full scale and were limited. Full scale itself,
        1.0, becomes 32767 and does not count.

    Raises:
        ValueError: NaN or infinite samples.

    Example:
        >>> samples, beyond = to_int16(np.array([0.5, 1.0, -1.5], np.float32))
        >>> samples.tolist(), beyond
        ([16384, 32767, -32768], 1)
    """
    if audio.dtype == np.int16:
        return audio, 0
    if not np.isfinite(audio).all():
        raise ValueError("the samples hold NaN or infinite values")
    steps = np.rint(audio * np.float32(FULL_SCALE))
    beyond = int(np.count_nonzero(np.abs(steps) > FULL_SCALE))
    return np.clip(steps, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16), beyond


def open_audio_file(path: Path) -> AudioFile:
    """Check an audio file by its header and its last sample, and describe it.

    Returns:
        An `AudioFile` that holds at least one sample.

    Raises:
        TrackError: The file is missing, a folder, unreadable, empty, truncated, or several files
            joined into one. A wrong length in the header is not a fault if all audio is present.

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
        with path.open("rb") as content:
            stream, *more = integrity.streams(content, whole=False)
            parts = tuple(stream.parts)
            with _opened(path, parts) as file:
                facts = (file.frames, file.samplerate, file.channels, file.subtype == "PCM_16")
                is_wav16 = file.format in ("WAV", "WAVEX") and facts[3] and not parts
            chunk = integrity.sound_chunk(content, 0) if is_wav16 else None
    except (OSError, sf.SoundFileError) as error:
        cause = getattr(error, "error_string", error)  # the full text repeats the path
        raise TrackError(path, f"is not a readable audio file: {cause}") from error
    data_start = chunk[3] if chunk and chunk[1] == "<I" else 0  # 0: the samples are big-endian
    found = AudioFile(path, *facts, parts, data_start)
    if found.num_samples < 1:
        raise TrackError(path, "holds no samples")
    if more:
        raise TrackError(path, f"is {1 + len(more)} files joined into one: decode it to one WAV")
    if stream.faults:
        raise TrackError(path, stream.faults[0])
    found.read(found.num_samples - 1, 1)
    return found


@contextmanager
def _opened(path: Path, parts: Sequence[Part]) -> Iterator[sf.SoundFile]:
    """Open an audio file, or the parts of it that are one."""
    if not parts:
        # soundfile encodes str strictly, which fails on names that are no valid UTF-8
        with sf.SoundFile(str(path) if os.name == "nt" else os.fsencode(path)) as sound:
            yield sound
        return
    with path.open("rb") as file, sf.SoundFile(Joined(file, parts)) as sound:
        yield sound
