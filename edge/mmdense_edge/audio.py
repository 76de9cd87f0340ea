"""Reads and writes audio files in blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

from mmdense_edge.errors import AudioError
from mmdense_edge.pipeline import RESIDUAL
from mmdense_edge.transform import Samples

BLOCK = 1 << 16
FORMATS = ("wav", "flac")

_RIFF_LIMIT = (1 << 32) - (1 << 16)

# Stems have the input's bit depth where the output format knows it. Lossy and 8-bit files get 16
# bits; separation computes in float32, so 64-bit floats get 32.
_SUBTYPES = {
    "PCM_24": "PCM_24",
    "ALAC_20": "PCM_24",
    "ALAC_24": "PCM_24",
    "PCM_32": "PCM_32",
    "ALAC_32": "PCM_32",
    "FLOAT": "FLOAT",
    "DOUBLE": "FLOAT",
}
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": None}


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says about itself.

    Args:
        sample_rate: in Hz.
        channels: how many.
        num_samples: length; of an MP3 file without a length header an estimate.
        subtype: libsndfile's name of the sample format, for example "PCM_16".
    """

    sample_rate: int
    channels: int
    num_samples: int
    subtype: str


def audio_info(path: Path) -> AudioInfo:
    """Returns what an audio file says about itself.

    Args:
        path: a file that libsndfile reads: wav, flac, ogg, opus, mp3, aiff and others.

    Raises:
        AudioError: no such file, or not audio that can be read.
    """
    with _opened(path) as (_, sound):
        return AudioInfo(sound.samplerate, sound.channels, sound.frames, sound.subtype)


def read_blocks(path: Path) -> Iterator[Samples]:
    """Yields an audio file in blocks of 65536 samples, shape (samples, channels), float32.

    Args:
        path: as in `audio_info`.

    Raises:
        AudioError: the file cannot be read to its end.
    """
    with _opened(path) as (file, sound):
        count = 0
        while True:
            block = sound.read(BLOCK, dtype="float32", always_2d=True)
            if not len(block):
                break
            count += len(block)
            yield block
        _check_end(path, file, sound, count)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[io.FileIO, sf.SoundFile]]:
    if not path.is_file():
        raise AudioError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    # libsndfile gets the descriptor, so that any file name works and the position can be asked.
    with open(path, "rb", buffering=0) as file:
        source = file.fileno() if os.name == "posix" else file
        try:
            with sf.SoundFile(source, closefd=False) as sound:
                yield file, sound
        except sf.LibsndfileError as error:
            raise AudioError(
                f"{path}: cannot be read as audio ({error.error_string}): "
                "use a wav, flac, ogg, mp3 or aiff file that is whole"
            ) from error


def _check_end(path: Path, file: io.FileIO, sound: sf.SoundFile, count: int) -> None:
    """Refuses a file of which only a part was read."""
    if sound.format == "MP3":
        # Without a length header the decoder estimates the length, and stops there.
        following = file.read(2)
        if len(following) == 2 and following[0] == 0xFF and following[1] >= 0xE0:
            raise AudioError(
                f"{path}: the MP3 file gives no length and the decoder stopped after {count} "
                "samples, before its end: convert it to wav or flac first"
            )
    elif count != sound.frames:
        raise AudioError(
            f"{path}: ends after {count} of {sound.frames} samples: the file is damaged"
        )


def stem_subtype(subtype: str, file_format: str) -> str:
    """Returns the sample format of the stems: the input's bit depth where the format has it.

    Args:
        subtype: the input's.
        file_format: "wav" or "flac".

    Example:
        >>> stem_subtype("PCM_24", "wav"), stem_subtype("VORBIS", "wav")
        ('PCM_24', 'PCM_16')
    """
    wanted = _SUBTYPES.get(subtype, "PCM_16")
    return "PCM_24" if file_format == "flac" and wanted != "PCM_16" else wanted


class StemFiles:
    """Writes the stems of one song, each to its file.

    Integer formats: samples beyond full scale are set to full scale and counted. The residual is
    what is missing, in whole steps, to the mixture: at 16 and 24 bits the files add up to the
    mixture exactly, unless the residual itself was clipped. Float files keep what is beyond full
    scale.

    Args:
        paths: for each stem its file; a context manager closes them all.
        info: of the mixture.
        file_format: "wav" or "flac".

    Raises:
        AudioError: a file cannot be written.
    """

    def __init__(self, paths: Mapping[str, Path], info: AudioInfo, file_format: str) -> None:
        """Creates the files."""
        subtype = stem_subtype(info.subtype, file_format)
        self._bits = _BITS[subtype]
        self._paths = paths
        self._squares = dict.fromkeys(paths, 0.0)
        self.clipped = dict.fromkeys(paths, 0)
        self.num_samples = 0
        self._channels = info.channels
        size = info.num_samples * info.channels * ((self._bits or 32) // 8)
        # RIFF cannot count beyond 4 GiB; RF64 is the same file with wider counters.
        container = "RF64" if file_format == "wav" and size > _RIFF_LIMIT else file_format.upper()
        self._files: dict[str, sf.SoundFile] = {}
        with self._reported():
            for name, path in paths.items():
                self._files[name] = sf.SoundFile(
                    _name(path), "w", info.sample_rate, info.channels, subtype, format=container
                )

    def __enter__(self) -> StemFiles:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the files."""
        with self._reported():
            for file in self._files.values():
                file.close()

    def write(self, stems: Mapping[str, Samples]) -> None:
        """Appends a block to each file.

        Args:
            stems: for each stem its next samples, shape (samples, channels), all equally long.
        """
        blocks = stems if self._bits is None else self._in_steps(stems, self._bits)
        scale = 1.0 if self._bits is None else 2.0**-31
        with self._reported():
            for name, block in blocks.items():
                self._squares[name] += float(np.sum((block * scale) ** 2, dtype=np.float64))
                self._files[name].write(block)
        self.num_samples += len(next(iter(stems.values())))

    def level_dbfs(self, name: str) -> float | None:
        """Returns the RMS level of a stem as written, in dB of full scale; None if silent."""
        values = self.num_samples * self._channels
        if not self._squares[name]:
            return None
        return float(10 * np.log10(self._squares[name] / values))

    def _in_steps(
        self, stems: Mapping[str, Samples], bits: int
    ) -> dict[str, npt.NDArray[np.int32]]:
        """Returns the stems as integers, in the upper bits of 32, as libsndfile takes them."""
        full = 1 << (bits - 1)
        steps = {name: np.rint(stem * np.float64(full)) for name, stem in stems.items()}
        if RESIDUAL in stems:
            mixture = sum(stem.astype(np.float64) for stem in stems.values())
            others = sum(
                np.clip(stem, -full, full - 1) for name, stem in steps.items() if name != RESIDUAL
            )
            steps[RESIDUAL] = np.rint(mixture * full) - others
        for name, stem in steps.items():
            self.clipped[name] += int(np.count_nonzero((stem < -full) | (stem > full - 1)))
        return {
            name: np.clip(stem, -full, full - 1).astype(np.int32) << (32 - bits)
            for name, stem in steps.items()
        }

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sf.LibsndfileError as error:
            folder = next(iter(self._paths.values())).parent
            raise AudioError(
                f"cannot write stems below {folder.parent} ({error.error_string}): "
                "is there space left, and does the format have this sample rate?"
            ) from error


def _name(path: Path) -> str | bytes:
    # soundfile cannot encode names that are not valid text; the operating system can.
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)
