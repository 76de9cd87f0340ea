"""The level of stems over time, before that of the mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdense_edge.transform import Samples

from keras_mmdense.errors import PlotError
from keras_mmdense.plot.signals import checked
from keras_mmdense.plot.style import COLOURS, PathLike, in_style, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST_DB = -90.0


@in_style
def levels(
    signals: Mapping[str, Samples],
    sample_rate: int,
    path: PathLike | None = None,
    *,
    window_seconds: float = 0.4,
    title: str = "",
    overwrite: bool = False,
) -> Figure:
    """Draw how loud signals are over time, one below the other, on one scale.

    Args:
        signals: Audio by title, (num_samples,) or (num_samples, channels), all of one length,
            full scale 1; for example {"mixture": audio, **keras_mmdense.separate(...)}. The first
            one also stands in grey behind all others.
        sample_rate: Their rate in Hz.
        path: Where to write it; see `save`.
        window_seconds: Length of the windows, each next to the one before; the last may be
            shorter.
        title: Above the figure.
        overwrite: Replace existing files.

    Returns:
        The figure. Level: root mean square of a window and all channels, in dB of full scale, -90
        at least.

    Raises:
        PlotError: Signals of no or different length, values that are not finite, or a window of
            less than a sample.

    Example:
        >>> tone = np.full(44100, 0.1)
        >>> figure = levels({"mixture": tone, "vocals": tone / 10}, 44100)
        >>> float(figure.axes[1].lines[0].get_ydata()[0].round(3))
        -40.0
    """
    arrays = checked(signals, sample_rate)
    window = int(window_seconds * sample_rate) if np.isfinite(window_seconds) else 0
    if window < 1:
        raise PlotError(f"a window must last a sample or more; received {window_seconds} s.")
    curves = {name: _curve(x, window) for name, x in arrays.items()}
    num_samples = len(next(iter(arrays.values())))
    first, behind = next(iter(curves.items()))
    edges = np.minimum(np.arange(len(behind) + 1) * window, num_samples) / sample_rate
    times = (edges[1:] + edges[:-1]) / 2
    figure = new_figure(8, 0.9 + 1.1 * len(curves))
    grid = figure.subplots(len(curves), sharex=True, sharey=True, squeeze=False)[:, 0]
    for number, (axes, (name, curve)) in enumerate(zip(grid, curves.items(), strict=True)):
        axes.fill_between(times, behind, LOWEST_DB, color="0.85", lw=0)
        axes.plot(times, curve, color=COLOURS[number % len(COLOURS)], lw=1.2)
        axes.set_title(plain(name), fontsize=10, loc="left", pad=2)
        axes.grid(axis="y", lw=0.4)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    top = max(float(curve.max()) for curve in curves.values())
    grid[0].set(xlim=(0, num_samples / sample_rate), ylim=(max(LOWEST_DB, top - 60), top + 3))
    figure.supylabel(f"dB of full scale (grey: {plain(first)})", fontsize=9)
    figure.supxlabel("time (s)", fontsize=9)
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)


def _curve(audio: Samples, window: int) -> Any:
    starts = np.arange(0, len(audio), window)
    power = np.square(audio, dtype=np.float64).mean(axis=1)
    sizes = np.diff(np.append(starts, len(audio)))
    mean = np.add.reduceat(power, starts) / sizes
    return 10 * np.log10(np.maximum(mean, 10 ** (LOWEST_DB / 10)))
