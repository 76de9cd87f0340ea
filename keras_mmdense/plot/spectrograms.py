"""Spectrograms of a mixture and its stems side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import PlotError
from keras_mmdense.plot.signals import checked
from keras_mmdense.plot.style import PathLike, in_style, new_figure, plain, save
from keras_mmdense.spectrogram import FloatArray, analyse, num_frames, pad
from keras_mmdense.transform import Transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = 128
LOWEST_HZ, HIGHEST_HZ = 40.0, 20000.0
MAX_COLUMNS = 1000
BLOCK_FRAMES = 512


@in_style
def spectrograms(
    signals: Mapping[str, FloatArray],
    sample_rate: int,
    path: PathLike | None = None,
    *,
    columns: int | None = None,
    range_db: float = 80.0,
    title: str = "",
    overwrite: bool = False,
) -> Figure:
    """Draw the spectrograms of signals on one scale of time, frequency and level.

    Args:
        signals: Audio by title, (num_samples,) or (num_samples, channels), all of one length,
            full scale 1; for example {"mixture": audio, **keras_mmdense.separate(...)}. Of
            several channels the mean power is drawn.
        sample_rate: Their rate in Hz.
        path: Where to write it; see `save`.
        columns: Panels in a row; default all of them.
        range_db: Range of levels below the loudest, in dB.
        title: Above the figure.
        overwrite: Replace existing files.

    Returns:
        The figure. Level: mean power in 128 bands of log frequency, in dB of a full-scale sine.

    Raises:
        PlotError: Signals of no or different length, or values that are not finite.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (22050, 2))
        >>> figure = spectrograms({"mixture": noise, "vocals": noise / 2}, 44100)
        >>> len(figure.axes)  # two panels and the scale
        3
    """
    arrays = checked(signals, sample_rate)
    if columns is not None and columns < 1:
        raise PlotError(f"columns must be 1 or more; received {columns}.")
    levels = {name: _levels(x, sample_rate) for name, x in arrays.items()}
    num_samples = len(next(iter(arrays.values())))
    return save(
        _draw(levels, num_samples / sample_rate, sample_rate, columns, range_db, title),
        path, overwrite=overwrite,
    )  # fmt: skip


def _draw(
    levels: Mapping[str, Any], seconds: float, rate: int, columns: int | None, range_db: float,
    title: str,
) -> Figure:  # fmt: skip
    from matplotlib.ticker import EngFormatter

    across = min(columns or len(levels), len(levels))
    down = -(-len(levels) // across)
    figure = new_figure(1.3 + max(5.5, 2.3 * across), 0.8 + (2.4 if down == 1 else 1.8) * down)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    top = max(float(level.max()) for level in levels.values())
    for axes in grid.flat[len(levels) :]:
        axes.set_visible(False)
    for axes, (name, level) in zip(grid.flat, levels.items(), strict=False):
        edges = np.linspace(0, seconds, level.shape[1] + 1)
        mesh = axes.pcolormesh(
            edges, band_edges(rate), level, vmin=top - range_db, vmax=top, cmap="magma",
            rasterized=True,
        )  # fmt: skip
        axes.set_title(plain(name), fontsize=10)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.tick_params(labelsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("Hz", fontsize=9)
    figure.supxlabel("time (s)", fontsize=9)
    figure.suptitle(plain(title), fontsize=11)
    figure.colorbar(mesh, ax=list(grid.flat), label="dB of full scale", pad=0.01)
    return figure


def band_edges(sample_rate: int) -> Any:
    """Return the edges of the bands in Hz, evenly spaced in log frequency, shape (129,)."""
    highest = min(HIGHEST_HZ, sample_rate / 2)
    return np.geomspace(min(LOWEST_HZ, highest / 2), highest, BANDS + 1)


def _levels(audio: FloatArray, sample_rate: int) -> Any:
    """Return the level in dB, (bands, columns)."""
    transform = Transform(max(1000, sample_rate))
    total = num_frames(len(audio), transform)
    columns = min(MAX_COLUMNS, total)
    power, count = np.zeros((columns, BANDS)), np.zeros((columns, 1))
    padded = pad(audio.astype(np.float32), transform)
    for start in range(0, total, BLOCK_FRAMES):
        stop = min(total, start + BLOCK_FRAMES)
        samples = slice(
            start * transform.hop_length, (stop - 1) * transform.hop_length + transform.n_fft
        )
        spectrum = analyse(padded[samples], transform) * (4 / transform.n_fft)
        place = np.arange(start, stop) * columns // total
        bins = np.square(np.abs(spectrum), dtype=np.float64).mean(axis=2)
        np.add.at(power, place, _in_bands(bins, sample_rate, transform.n_fft))
        np.add.at(count, place, 1)
    return 10 * np.log10(np.maximum(power / count, 1e-12)).T


def _in_bands(power: Any, sample_rate: int, n_fft: int) -> Any:
    """Average the bins of each band; a band narrower than a bin shows the nearest one."""
    edges = band_edges(sample_rate) * n_fft / sample_rate
    first, after = np.ceil(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    nearest = np.rint(np.sqrt(edges[:-1] * edges[1:])).astype(int)
    first, after = np.where(after > first, (first, after), (nearest, nearest + 1))
    sums = np.pad(np.cumsum(power, axis=1), ((0, 0), (1, 0)))
    return (sums[:, after] - sums[:, first]) / (after - first)
