"""MUSDB18: `{train,test}/Artist - Title.stem.mp4`, five AAC streams each, read through musdb.

musdb and ffmpeg are asked for only here. Every excerpt starts an ffmpeg that decodes from the
beginning of the track: good for looking and measuring, slow for training. For training write the
tree to WAV once with musdb's own command `musdbconvert` and read that as "musdb18hq".

The mixture is a stream of its own. AAC is lossy: the sources add up to it only nearly. musdb
decodes to 16 bits, so int16 is exact. The length is the header's; the encoder's padding behind it
is left out.

Source: https://doi.org/10.5281/zenodo.1117372 and https://github.com/sigsep/sigsep-mus-db
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from keras_mmdense.data.candidates import SOURCES, Candidate, entries
from keras_mmdense.data.faults import DatasetError, Fault, TrackError
from keras_mmdense.data.musdb18hq import subset_of
from keras_mmdense.data.streams import Audio, DType, Stream, check_excerpt, to_float
from keras_mmdense.data.tracks import MIXTURE

FORM = "{train,test}/TRACK.stem.mp4"
SUFFIX = ".stem.mp4"
STEM_INDEX = {MIXTURE: 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}


@dataclass(frozen=True)
class StemStream:
    """One stream of a .stem.mp4 file.

    Args:
        path: the file.
        index: int, the stream's number in the file.
        num_samples: int, samples per channel.
        sample_rate: int, Hz.
        channels: int.
    """

    path: Path
    index: int
    num_samples: int
    sample_rate: int
    channels: int
    pcm16: bool = True

    def read(self, start: int, num_samples: int, dtype: DType = "float32") -> Audio:
        """Decode an excerpt.

        Args:
            start: int, first sample.
            num_samples: int, samples per channel.
            dtype: "float32" (full scale is 1.0) or "int16".

        Returns:
            Array of shape (num_samples, channels).

        Raises:
            TrackError: the samples are not all there or cannot be decoded.
        """
        seconds = start / self.sample_rate, num_samples / self.sample_rate
        try:
            decoded = _multitrack(self.path).load_audio(str(self.path), self.index, *seconds)
        except _musdb_errors() as error:
            raise TrackError(
                self.path,
                f"samples {start} to {start + num_samples} cannot be decoded: {_reason(error)}",
            ) from error
        # musdb drops axes of length 1 and returns float64 that was int16 once.
        audio = np.rint(decoded.reshape(-1, self.channels) * 32768).astype(np.int16)
        check_excerpt(self, audio, start, num_samples)
        return to_float(audio) if dtype == "float32" else audio


def recognises(root: Path) -> bool:
    """Tell whether there is a .stem.mp4 file in train or test."""
    return bool(find(root, None))


def find(root: Path, sources: Sequence[str] | None) -> list[Candidate]:
    """Return every .stem.mp4 file in train and test as a track."""
    del sources  # always the same four
    return [
        Candidate(
            path.name.removesuffix(SUFFIX),
            subset_of(split, path.name.removesuffix(SUFFIX)),
            path,
            dict.fromkeys((*SOURCES, MIXTURE), path),
        )
        for split in ("train", "test")
        for path in entries(root / split)
        if path.name.endswith(SUFFIX)
    ]


def open_streams(candidate: Candidate) -> tuple[dict[str, Stream], list[Fault]]:
    """Probe a stem file: its five streams by name, or the fault that prevents it.

    Raises:
        DatasetError: musdb or ffmpeg is not installed.
    """
    try:
        return dict(_probe(candidate.path)), []
    except TrackError as error:
        return {}, [Fault(error.path, error.reason, candidate.label)]


def _probe(path: Path) -> dict[str, StemStream]:
    _musdb()
    if not path.is_file():
        raise TrackError(path, "is not a file")
    missing = _missing_bytes(path)
    if missing:
        raise TrackError(path, f"is cut short: {missing} bytes are missing")
    try:
        info = _multitrack(path).info
        indices = info.audio_stream_idx()[: len(STEM_INDEX)]
        channels = set(info.channels_streams)
        streams = {
            name: StemStream(path, k, info.samples(k), info.sample_rate(k), info.channels(k))
            for name, k in STEM_INDEX.items()
            if k < len(indices)
        }
    except _musdb_errors() as error:
        raise TrackError(path, f"is not a readable stem file: {_reason(error)}") from error
    if indices != list(STEM_INDEX.values()) or len(channels) != 1:
        raise TrackError(
            path,
            "must begin with five audio streams of the same number of channels (mixture, drums, "
            f"bass, other, vocals); audio streams {indices} with {sorted(channels)} channels",
        )
    empty = [name for name, stream in streams.items() if stream.num_samples < 1]
    if empty:
        raise TrackError(path, f"holds no samples of {', '.join(empty)}")
    return streams


def _missing_bytes(path: Path) -> int:
    """Bytes that an MP4 file's top-level boxes promise beyond its end; 0 for other files."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            box = file.read(16)
            if position == 0 and box[4:8] != b"ftyp":
                return 0  # not MP4, which the probe tells
            length = int.from_bytes(box[:4], "big")
            if length == 1:  # the length follows in 64 bits
                length = int.from_bytes(box[8:16], "big")
            if length < 8:  # 0: up to the end of the file
                return 0
            position += length
    return max(0, position - size)


@lru_cache(maxsize=1024)
def _multitrack(path: Path) -> Any:
    return _musdb().MultiTrack(path=str(path), name=path.name.removesuffix(SUFFIX), stem_id=0)


def _musdb() -> Any:
    absent = [program for program in ("ffmpeg", "ffprobe") if shutil.which(program) is None]
    if absent:
        raise DatasetError(
            f"MUSDB18's .stem.mp4 files need {' and '.join(absent)} on PATH: install ffmpeg, or "
            "use MUSDB18-HQ (WAV), which needs neither"
        )
    try:
        import musdb
    except ImportError as error:
        raise DatasetError(
            f"MUSDB18's .stem.mp4 files are read through musdb ({error}): pip install musdb, or "
            "use MUSDB18-HQ (WAV), which does not need it"
        ) from error
    return musdb


def _musdb_errors() -> tuple[type[Exception], ...]:
    import ffmpeg

    # stempeg raises Warning instances, and the rest where a header lacks what it looks up.
    return (ffmpeg.Error, Warning, OSError, LookupError, TypeError, ValueError)


def _reason(error: Exception) -> str:
    # ffmpeg.Error says only "see stderr"; the last line there is the cause.
    stderr = getattr(error, "stderr", None)
    lines = stderr.decode("utf-8", "replace").split("\n") if stderr else [str(error)]
    return next((line.strip() for line in reversed(lines) if line.strip()), type(error).__name__)
