"""Box plots over tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import PlotError
from keras_mmdense.plot.style import COLORS, PathLike, in_style, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_DB = 60.0  # values beyond tell of silence, and would squeeze all others together
BOX_WIDTH = 0.6

Panels = Mapping[str, Mapping[str, Sequence[float]]]


@in_style
def boxes(
    panels: Panels,
    axis: str,
    path: PathLike | None = None,
    *,
    title: str = "",
    zero: bool = False,
    overwrite: bool = False,
) -> Figure:
    """Draw a panel per source with a box per row: quartiles, median, whiskers, all tracks as dots.

    Args:
        panels: Values in dB by row, by source.
        axis: What the values are.
        path: Where to write it; see `save`.
        title: Above the figure.
        zero: Draw a line at 0.
        overwrite: Replace existing files.

    Returns:
        The figure. Values beyond 60 dB are counted, not shown.

    Raises:
        PlotError: There is no panel.

    Example:
        >>> figure = boxes({"vocals": {"int8": [5.0, 4.1], "mixture": [-3.9, -4.2]}}, "SDR in dB")
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['int8', 'mixture']
    """
    rows = list(dict.fromkeys(row for panel in panels.values() for row in panel))
    if not rows:
        raise PlotError(f"boxes needs a panel with a row; received {dict(panels)}.")
    figure = new_figure(1.6 + 2.6 * len(panels), 1.5 + 0.5 * len(rows))
    every = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (source, panel) in zip(every, panels.items(), strict=True):
        _draw_panel(axes, rows, panel)
        axes.set_title(plain(source), fontsize=10)
        if zero:
            axes.axvline(0, color="black", linewidth=0.8)
    every[0].set_yticks(range(len(rows)), [plain(row) for row in rows])
    every[0].invert_yaxis()
    beyond = _limit(every[0], panels)
    note = f"; {beyond} values lie beyond the axis" if beyond else ""
    figure.supxlabel(f"{axis} (box: quartiles and median, dots: tracks{note})", fontsize=9)
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)


def _draw_panel(axes: Any, rows: Sequence[str], panel: Mapping[str, Sequence[float]]) -> None:
    for place, row in enumerate(rows):
        values = panel.get(row, ())
        if not len(values):
            continue
        colour = COLORS[place % len(COLORS)]
        drawn = axes.boxplot(
            [values], positions=[place], widths=BOX_WIDTH, orientation="horizontal",
            showfliers=False, patch_artist=True, manage_ticks=False,
            medianprops={"color": "black", "linewidth": 1.6},
        )  # fmt: skip
        drawn["boxes"][0].set(facecolor=colour, alpha=0.6)
        # Spread evenly in order of value, so that no dot hides another.
        spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
        order = np.random.default_rng(0).permutation(len(values))
        axes.scatter(values, place + spread[order], s=9, color="black", alpha=0.5, linewidths=0)
    axes.grid(axis="x", alpha=0.3)


def _limit(axes: Any, panels: Panels) -> int:
    """Keep the axis within sensible values; return how many lie beyond."""
    values = np.array([v for panel in panels.values() for row in panel.values() for v in row])
    inside = values[np.abs(values) <= LARGEST_DB]
    if len(inside) in (0, len(values)):
        return 0
    margin = 0.05 * max(1.0, float(np.ptp(inside)))
    axes.set_xlim(inside.min() - margin, inside.max() + margin)
    return len(values) - len(inside)
