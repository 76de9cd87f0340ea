"""Draw the spectrograms of a mixture and its stems on one scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmdense_edge.audio import OnDamage, refuse
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.model.contract import Transform
from mmdense_edge.signal.stft import Analysis, Audio, Real

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COLUMNS = 1000
BANDS = 128
LOWEST_HZ, HIGHEST_HZ = 40.0, 20000.0
RANGE_DB = 80.0
WIDTH_INCHES, ROW_INCHES, DPI = 10.0, 2.0, 100

_TRANSFORM = Transform()
_SMALLEST_POWER = 1e-12


def band_edges(sample_rate: int) -> Real:
    """Return the edges of the bands in Hz, shape (129,), evenly spaced in log frequency.

    Args:
        sample_rate: In Hz; the highest edge is half of it, 20 kHz at most.
    """
    highest = min(HIGHEST_HZ, sample_rate / 2)
    return np.geomspace(min(LOWEST_HZ, highest / 2), highest, BANDS + 1)


def spectrogram(blocks: Iterable[Audio], sample_rate: int, num_samples: int, channels: int) -> Real:
    """Return the level of a signal in bands of log frequency over time, in fixed memory.

    Args:
        blocks: The signal, of shape (any length, channels), full scale 1.0.
        sample_rate: In Hz.
        num_samples: Length of the signal.
        channels: Number of channels; their power is averaged.

    Returns:
        Mean power in dB relative to a full-scale sine, at least -120, shape (128, columns) with
        at most 1000 columns.

    Example:
        >>> spectrogram([np.zeros((44100, 2), np.float32)], 44100, 44100, 2).shape
        (128, 45)
    """
    num_frames = _TRANSFORM.num_frames(num_samples)
    columns = min(MAX_COLUMNS, num_frames)
    weights = band_weights(sample_rate)
    power, count, done = np.zeros((columns, BANDS)), np.zeros((columns, 1)), 0
    analysis = Analysis(_TRANSFORM, channels)
    for block in chain(blocks, [None]):  # None is the end
        spectra = analysis.finish() if block is None else analysis.push(block)
        frames = np.arange(done, done + len(spectra))
        places = np.minimum(frames * columns // num_frames, columns - 1)
        # A sine of amplitude 1 gives n_fft / 4 in its bin.
        squares = np.square(np.abs(spectra) * (4 / _TRANSFORM.n_fft)).mean(axis=2)
        np.add.at(power, places, squares @ weights)
        np.add.at(count, places, 1)
        done += len(spectra)
    return 10 * np.log10(np.maximum(power / np.maximum(count, 1), _SMALLEST_POWER)).T


def band_weights(sample_rate: int) -> Audio:
    """Return the matrix (bins, bands) that averages the bins of each band."""
    edges = band_edges(sample_rate)
    hertz = np.arange(_TRANSFORM.num_bins) * sample_rate / _TRANSFORM.n_fft
    inside = (hertz[:, None] >= edges[:-1]) & (hertz[:, None] < edges[1:])
    # Low bands are narrower than a bin: they show the nearest bin.
    nearest = np.abs(hertz[:, None] - np.sqrt(edges[:-1] * edges[1:])).argmin(axis=0)
    empty = ~inside.any(axis=0)
    inside[nearest[empty], np.flatnonzero(empty)] = True
    return np.asarray(inside / inside.sum(axis=0), np.float32)


def draw_panels(
    figure: Figure,
    levels: Mapping[str, Real],
    sample_rate: int,
    seconds: float,
    *,
    columns: int = 1,
    range_db: float = RANGE_DB,
) -> None:
    """Draw spectrograms on one scale of time, frequency and level.

    Args:
        figure: An empty Matplotlib figure.
        levels: The result of `spectrogram` for each title.
        sample_rate: Sample rate of the signals, in Hz.
        seconds: Length of the signals.
        columns: Panels in a row.
        range_db: The range of colors below the loudest, in dB.
    """
    from matplotlib.ticker import EngFormatter

    rows = -(-len(levels) // columns)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    top = max(float(level.max()) for level in levels.values())
    for axes in grid.flat[len(levels) :]:
        axes.set_visible(False)
    for axes, (title, level) in zip(grid.flat, levels.items(), strict=False):
        edges = np.linspace(0, seconds, level.shape[1] + 1)
        mesh = axes.pcolormesh(
            edges, band_edges(sample_rate), level, vmin=top - range_db, vmax=top, cmap="magma",
            rasterized=True,
        )  # fmt: skip
        axes.set_title(title, fontsize=10)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.tick_params(labelsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("Hz", fontsize=9)
    figure.supxlabel("time (s)", fontsize=9)
    figure.colorbar(mesh, ax=list(grid.flat), label="dB of full scale", pad=0.01)


def draw(
    rows: Mapping[str, Path], num_samples: int, picture: Path, damaged: OnDamage = refuse
) -> None:
    """Write a PNG with one spectrogram for each file.

    Args:
        rows: For each title an audio file; all of the same sample rate and length.
        num_samples: Their length.
        picture: The file to write.
        damaged: As for `read_blocks`.

    Raises:
        AudioError: A file cannot be read.
    """
    from matplotlib.figure import Figure

    levels, rate = {}, 1
    for title, path in rows.items():
        info = audio_info(path)
        rate = info.sample_rate
        levels[title] = spectrogram(
            read_blocks(path, damaged=damaged), rate, num_samples, info.channels
        )
    figure = Figure((WIDTH_INCHES, ROW_INCHES * len(rows)), dpi=DPI, layout="constrained")
    draw_panels(figure, levels, rate, num_samples / rate)
    figure.savefig(picture, format="png")
