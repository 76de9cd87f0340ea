"""Draws the spectrograms of a mixture and its stems under one another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmdense_edge.audio import audio_info, read_blocks
from mmdense_edge.contract import Transform
from mmdense_edge.errors import UsageError
from mmdense_edge.form import OnDamage, refuse
from mmdense_edge.transform import Analysis, Spectra

MAX_COLUMNS = 1000
BANDS = 128
LOWEST_HZ = 40.0
RANGE_DB = 80.0
WIDTH_INCHES, ROW_INCHES, DPI = 10.0, 2.0, 100

_TRANSFORM = Transform()
_SMALLEST_POWER = 1e-12


def check_available() -> None:
    """Says what to install where pictures cannot be drawn.

    Raises:
        UsageError: matplotlib is missing.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError(
            'pictures need matplotlib: pip install ".[plot]" in a checkout of keras_mmdense'
        )


def band_edges(sample_rate: int) -> npt.NDArray[np.float64]:
    """Returns the edges of the bands in Hz, shape (129,), evenly spaced in log frequency.

    Args:
        sample_rate: in Hz; the highest edge is half of it, 20 kHz at most.
    """
    highest = min(20000.0, sample_rate / 2)
    return np.geomspace(min(LOWEST_HZ, highest / 2), highest, BANDS + 1)


class Spectrogram:
    """Mean power in bands of log frequency over columns of time, in fixed memory.

    Args:
        sample_rate: in Hz.
        num_samples: length of the signal.

    Example:
        >>> Spectrogram(sample_rate=44100, num_samples=44100).power().shape
        (128, 45)
    """

    def __init__(self, sample_rate: int, num_samples: int) -> None:
        """Starts with no power."""
        self._num_frames = _TRANSFORM.num_frames(num_samples)
        self._columns = min(MAX_COLUMNS, self._num_frames)
        self._weights = _band_weights(sample_rate)
        self._sum = np.zeros((self._columns, BANDS))
        self._count = np.zeros((self._columns, 1))
        self._frames = 0

    def add(self, spectra: Spectra) -> None:
        """Adds the next frames, shape (frames, 1025, 1)."""
        frames = np.arange(self._frames, self._frames + len(spectra))
        columns = np.minimum(frames * self._columns // self._num_frames, self._columns - 1)
        np.add.at(self._sum, columns, np.abs(spectra[:, :, 0]) ** 2 @ self._weights)
        np.add.at(self._count, columns, 1)
        self._frames += len(spectra)

    def power(self) -> npt.NDArray[np.float64]:
        """Returns the mean power, shape (bands, columns)."""
        mean: npt.NDArray[np.float64] = (self._sum / np.maximum(self._count, 1)).T
        return mean


def _band_weights(sample_rate: int) -> npt.NDArray[np.float32]:
    """Returns the matrix (bins, bands) that averages the bins of each band."""
    edges = band_edges(sample_rate)
    hertz = np.arange(_TRANSFORM.num_bins) * sample_rate / _TRANSFORM.n_fft
    inside = (hertz[:, None] >= edges[:-1]) & (hertz[:, None] < edges[1:])
    # Low bands are narrower than a bin: they show the bin that is nearest.
    nearest = np.abs(hertz[:, None] - np.sqrt(edges[:-1] * edges[1:])).argmin(axis=0)
    empty = ~inside.any(axis=0)
    inside[nearest[empty], np.flatnonzero(empty)] = True
    weights: npt.NDArray[np.float32] = (inside / inside.sum(axis=0)).astype(np.float32)
    return weights


def spectrogram_of(
    path: Path, num_samples: int, damaged: OnDamage = refuse
) -> npt.NDArray[np.float64]:
    """Returns the power of an audio file's mean channel, shape (bands, columns).

    Args:
        path: the file.
        num_samples: its length.
        damaged: as for `read_blocks`.
    """
    spectrogram = Spectrogram(audio_info(path).sample_rate, num_samples)
    # Full scale is 0 dB: a sine of amplitude 1 gives n_fft / 4 in its bin.
    scale = np.float32(4 / _TRANSFORM.n_fft)
    analysis = Analysis(_TRANSFORM, channels=1)
    for block in read_blocks(path, damaged=damaged):
        spectrogram.add(analysis.push(block.mean(axis=1, keepdims=True) * scale))
    spectrogram.add(analysis.finish())
    return spectrogram.power()


def draw(
    rows: Mapping[str, Path], num_samples: int, picture: Path, damaged: OnDamage = refuse
) -> None:
    """Writes a PNG with one spectrogram for each file, on one colour scale.

    Args:
        rows: for each title an audio file; all of the same sample rate and length.
        num_samples: their length.
        picture: the file to write.
        damaged: as for `read_blocks`.

    Raises:
        UsageError: matplotlib is missing.
        AudioError: a file cannot be read.
    """
    check_available()
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    sample_rate = audio_info(next(iter(rows.values()))).sample_rate
    levels = {
        title: 10
        * np.log10(np.maximum(spectrogram_of(path, num_samples, damaged), _SMALLEST_POWER))
        for title, path in rows.items()
    }
    top = max(float(level.max()) for level in levels.values())
    figure = Figure((WIDTH_INCHES, ROW_INCHES * len(rows)), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
    for axis, (title, level) in zip(axes, levels.items(), strict=True):
        seconds = np.linspace(0, num_samples / sample_rate, level.shape[1] + 1)
        mesh = axis.pcolormesh(
            seconds, band_edges(sample_rate), level, vmin=top - RANGE_DB, vmax=top, cmap="magma"
        )
        axis.set(title=title, yscale="log", ylabel="Hz")
        axis.yaxis.set_major_formatter(EngFormatter())
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(mesh, ax=list(axes), label="dB of full scale")
    figure.savefig(picture, format="png")
