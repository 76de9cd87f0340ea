"""A song laid out for scoring: mixture and references in raw files, read in blocks.

Estimators and metrics take them slice by slice: memory does not grow with the length of a song.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from keras_mmdense.data import Track
from keras_mmdense.data.tracks import MIXTURE
from training.evaluation.errors import EvaluationError
from training.evaluation.scores import ACCOMPANIMENT, BLOCK, VOCALS

Samples = npt.NDArray[np.float32]


class StoredSignal:
    """A signal in a file, read slice by slice wherever an array of samples is taken.

    Not a memory map: the pages of a map that were read count as the process's memory.

    Args:
        file: Raw float32 samples; closed when the signal is no longer needed.
        num_samples: Samples per channel.
        channels: Channels.
    """

    ndim, dtype = 2, np.dtype(np.float32)

    def __init__(self, file: BinaryIO, num_samples: int, channels: int) -> None:
        self._file = file
        self.shape = (num_samples, channels)
        weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Samples:
        """Return samples in a row, (any length, channels)."""
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"samples are read in a row, with step 1; received {part}")
        count = max(0, stop - start) * self.shape[1]
        self._file.seek(start * self.shape[1] * self.dtype.itemsize)
        data = self._file.read(count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise OSError(f"samples {start} to {stop} of a temporary file cannot be read")
        return np.frombuffer(data, np.float32).reshape(-1, self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the whole signal, for functions that take arrays only."""
        return np.asarray(self[:], dtype)


class SignalFile:
    """Takes a signal block by block and gives it back as an array that lies on the disk.

    The file has no name: nothing is left of it, however the process ends.

    Args:
        folder: A folder on the disk that has room for it.
        channels: Channels of the signal.

    Example:
        >>> with SignalFile(Path(tempfile.gettempdir()), channels=2) as signal:
        ...     signal.write(np.zeros((100, 2), np.float32))
        ...     audio = signal.stored()
        >>> audio[90:200].shape
        (10, 2)
    """

    def __init__(self, folder: Path, channels: int) -> None:
        self._file: BinaryIO | None = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._channels = channels
        self._num_samples = 0

    def __enter__(self) -> SignalFile:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, unless it was handed on."""
        if self._file:
            self._file.close()

    def write(self, block: Samples) -> None:
        """Append a block of shape (any length, channels)."""
        if self._file is None:
            raise ValueError("a signal cannot grow after it was handed on")
        self._file.write(np.ascontiguousarray(block, np.float32).data)
        self._num_samples += len(block)

    def stored(self) -> Samples:
        """Return the signal, (num_samples, channels), and hand the file on to it."""
        if self._file is None:
            raise ValueError("a signal can be handed on once")
        self._file.flush()
        signal = StoredSignal(self._file, self._num_samples, self._channels)
        self._file = None
        return cast(Samples, signal)  # it has what the metrics use of an array


@dataclass(frozen=True)
class Song:
    """What a track's estimates are made from and compared with.

    Args:
        track: The track.
        mixture: Samples (num_samples, channels).
        references: The true sources by name, each of the mixture's shape; the accompaniment last
            where it is wanted.
    """

    track: Track
    mixture: Samples
    references: Mapping[str, Samples]

    @property
    def num_samples(self) -> int:
        """Samples per channel."""
        return self.track.num_samples

    @property
    def channels(self) -> int:
        """1 or 2."""
        return self.track.channels

    @property
    def sample_rate(self) -> int:
        """Rate in Hz."""
        return self.track.sample_rate


def open_song(track: Track, accompaniment: bool, folder: Path) -> Song:
    """Lay out a track.

    Args:
        track: The track.
        accompaniment: Add the sum of all sources but the vocals.
        folder: Where the raw files go: 4 bytes per sample, channel and signal.

    Raises:
        TrackError: A file cannot be read to its end, or holds NaN.
    """
    names = (MIXTURE, *track.sources, *((ACCOMPANIMENT,) if accompaniment else ()))
    with signal_files(names, folder, track.channels) as files:
        for start, count in blocks(track.num_samples):
            parts = {source: track.read(source, start, count) for source in track.sources}
            parts[MIXTURE] = track.read(MIXTURE, start, count)
            if accompaniment:
                others = [parts[source] for source in track.sources if source != VOCALS]
                parts[ACCOMPANIMENT] = total(others)
            for name, file in files.items():
                file.write(parts[name])
        arrays = {name: file.stored() for name, file in files.items()}
    return Song(track, arrays.pop(MIXTURE), arrays)


@contextmanager
def signal_files(
    names: Sequence[str], folder: Path, channels: int
) -> Iterator[dict[str, SignalFile]]:
    """Open a file for each of several signals of a song, and close them all at the end."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(SignalFile(folder, channels)) for name in names}


def label(track: Track) -> str:
    """Return a track's name with its subset: "test/Artist - Title"."""
    return f"{track.subset}/{track.name}" if track.subset else track.name


def blocks(num_samples: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the length of the blocks that make up a signal.

    Example:
        >>> list(blocks(300000))
        [(0, 262144), (262144, 37856)]
    """
    for start in range(0, num_samples, BLOCK):
        yield start, min(BLOCK, num_samples - start)


def total(signals: list[Samples]) -> Samples:
    """Return the sum of equally long signals, added in double precision."""
    result: npt.NDArray[np.float64] = np.sum(np.stack(signals), axis=0, dtype=np.float64)
    return result.astype(np.float32)


def check_accompaniment(sources: tuple[str, ...]) -> None:
    """Refuse an accompaniment that the data cannot give.

    Raises:
        EvaluationError: The data have no vocals, nothing but vocals, or one already.
    """
    if VOCALS not in sources or len(sources) < 2 or ACCOMPANIMENT in sources:
        raise EvaluationError(
            "--accompaniment needs data with vocals and other sources, and none of that name; "
            f"received data with {', '.join(sources)}. Leave it out."
        )
