"""Box plots over tracks, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.data.faults import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008: told apart with any kind of colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
SUFFIXES = (".png", ".svg")
LARGEST_DB = 60.0  # values beyond tell of silence, and would squeeze all others together
BOX_WIDTH = 0.6

Panels = Mapping[str, Mapping[str, Sequence[float]]]


def draw_boxes(panels: Panels, title: str, axis: str, target: Path, zero: bool = False) -> None:
    """Draw a panel per source with a box per row: quartiles, median, whiskers, all tracks as dots.

    Args:
        panels: Values by row, by source.
        title: Above the figure.
        axis: What the values are.
        target: The files' path without suffix.
        zero: Draw a line at 0.

    Raises:
        OSError: A file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(row for panel in panels.values() for row in panel))
    size = (1.6 + 2.6 * len(panels), 1.5 + 0.5 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (source, panel) in zip(every, panels.items(), strict=True):
        _draw_panel(axes, rows, panel)
        axes.set_title(printable(source), fontsize=10, parse_math=False)
        if zero:
            axes.axvline(0, color="black", linewidth=0.8)
    every[0].set_yticks(range(len(rows)), [printable(row) for row in rows], parse_math=False)
    every[0].invert_yaxis()
    beyond = _limit(every[0], panels)
    note = f"; {beyond} values lie beyond the axis" if beyond else ""
    figure.supxlabel(f"{axis} (box: quartiles and median, dots: tracks{note})", fontsize=9)
    figure.suptitle(title, fontsize=11)
    _save(figure, target)


def _draw_panel(axes: Any, rows: Sequence[str], panel: Mapping[str, Sequence[float]]) -> None:
    for place, row in enumerate(rows):
        values = panel.get(row, ())
        if not len(values):
            continue
        colour = COLOURS[place % len(COLOURS)]
        boxes = axes.boxplot(
            [values],
            positions=[place],
            widths=BOX_WIDTH,
            orientation="horizontal",
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black", "linewidth": 1.6},
        )
        boxes["boxes"][0].set(facecolor=colour, alpha=0.6)
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


def _save(figure: Figure, target: Path) -> None:
    import matplotlib

    target.parent.mkdir(parents=True, exist_ok=True)
    # The same values give the same bytes: no date, no random identifiers.
    with matplotlib.rc_context({"svg.hashsalt": "mmdense"}):
        for suffix in SUFFIXES:
            metadata = {"Date": None} if suffix == ".svg" else {}
            temporary = target.with_name(f".{target.name}{suffix}")
            try:
                figure.savefig(temporary, dpi=120, format=suffix[1:], metadata=metadata)
                temporary.replace(target.with_name(f"{target.name}{suffix}"))
            finally:
                temporary.unlink(missing_ok=True)
