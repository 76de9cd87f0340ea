"""Histograms of the times that blocks took, against the time that they last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import PlotError
from keras_mmdense.plot.style import COLOURS, PathLike, in_style, log_ticks, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 60
PERCENTILES = {50: "-", 99: "--"}


@in_style
def block_times(
    seconds: Mapping[str, Sequence[float]],
    path: PathLike | None = None,
    *,
    block_seconds: float | None = None,
    title: str = "",
    overwrite: bool = False,
) -> Figure:
    """Draw how long blocks took: a histogram per row, with median, 99th percentile and maximum.

    Args:
        seconds: Times of single blocks in seconds, by label; for example of a model's precisions.
        path: Where to write it; see `save`.
        block_seconds: What a block lasts: a time beyond it is a drop-out. None leaves it out.
        title: Above the figure.
        overwrite: Replace existing files.

    Returns:
        The figure. The times are on one logarithmic axis, in milliseconds.

    Raises:
        PlotError: There is nothing to draw, or a time is not above 0.

    Example:
        >>> figure = block_times({"int8": [0.010, 0.011, 0.019]}, block_seconds=0.023)
        >>> figure.axes[0].get_xscale()
        'log'
    """
    rows = {name: 1000 * np.asarray(values, float) for name, values in seconds.items()}
    edges = [] if block_seconds is None else [1000 * block_seconds]
    every = np.concatenate([*rows.values(), edges]) if rows else np.zeros(0)
    if any(row.ndim != 1 or not len(row) for row in rows.values()) or not (
        len(every) and np.isfinite(every).all() and every.min() > 0
    ):
        raise PlotError(
            "block_times needs times above 0 s for each label; received "
            f"{ {name: row.shape for name, row in rows.items()} }, block_seconds={block_seconds}."
        )
    bins = np.geomspace(every.min() / 1.1, every.max() * 1.1, BINS + 1)
    figure = new_figure(6.4, 0.9 + 1.5 * len(rows))
    grid = figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
    for number, (axes, (name, row)) in enumerate(zip(grid, rows.items(), strict=True)):
        _panel(axes, row, bins, COLOURS[number % len(COLOURS)])
        if block_seconds is not None:
            late = np.count_nonzero(row > 1000 * block_seconds)
            label = f"a block: {_number(1000 * block_seconds)} ms; {late} beyond"
            axes.axvline(1000 * block_seconds, color="black", lw=2, label=label)
        axes.set_title(f"{plain(name)}: {len(row):,} blocks", fontsize=10, loc="left")
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    grid[-1].set(xscale="log", xlim=(bins[0], bins[-1]), xlabel="time of a block, ms")
    log_ticks(grid[-1].xaxis, bins[0], bins[-1])
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)


def _number(milliseconds: float) -> str:
    return f"{milliseconds:.3g}" if milliseconds < 1000 else f"{milliseconds:,.0f}"


def _panel(axes: Any, row: Any, bins: Any, colour: str) -> None:
    axes.hist(row, bins, color=colour, alpha=0.8)
    for rank, line in PERCENTILES.items():
        value = float(np.percentile(row, rank))
        axes.axvline(value, color="black", lw=1, ls=line, label=f"{rank} %: {_number(value)} ms")
    axes.plot(
        row.max(), 0, "v", color="black", clip_on=False, label=f"longest: {_number(row.max())} ms"
    )
    axes.set(yscale="symlog", ylabel="blocks", ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
