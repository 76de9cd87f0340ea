"""Scores over tracks as box plots; the figures of exported files as bars."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import PlotError, require
from keras_mmdense.plot.style import COLORS, PathLike, in_style, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_DB = 60.0  # values beyond come from silence, and would squeeze all others together
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "++")

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
    require(bool(rows), "boxes needs a panel with a row", dict(panels), "Pass scores.", PlotError)
    figure = new_figure(1.6 + 2.6 * len(panels), 1.5 + 0.5 * len(rows))
    every = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (source, panel) in zip(every, panels.items(), strict=True):
        drawn = axes.boxplot(
            [panel.get(row, []) for row in rows], positions=range(len(rows)), widths=0.6,
            orientation="horizontal", showfliers=False, patch_artist=True, manage_ticks=False,
            medianprops={"color": "black", "linewidth": 1.6},
        )  # fmt: skip
        for place, (row, box) in enumerate(zip(rows, drawn["boxes"], strict=True)):
            box.set(facecolor=COLORS[place % len(COLORS)], alpha=0.6)
            values = panel.get(row, [])
            # Spread evenly in a fixed random order, so that no dot hides another.
            spread = np.random.default_rng(0).permutation(len(values)) + 0.5
            places = place + 0.36 * (spread / max(1, len(values)) - 0.5)
            axes.scatter(values, places, s=9, color="black", alpha=0.5, lw=0)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(plain(source), fontsize=10)
        if zero:
            axes.axvline(0, color="black", linewidth=0.8)
    every[0].set_yticks(range(len(rows)), [plain(row) for row in rows])
    every[0].invert_yaxis()
    shown = np.array([v for panel in panels.values() for row in panel.values() for v in row])
    inside, note = shown[np.abs(shown) <= LARGEST_DB], ""
    if 0 < len(inside) < len(shown):
        margin = 0.05 * max(1.0, float(np.ptp(inside)))
        every[0].set_xlim(inside.min() - margin, inside.max() + margin)
        note = f"; {len(shown) - len(inside)} values lie beyond the axis"
    figure.supxlabel(f"{axis} (box: quartiles and median, dots: tracks{note})", fontsize=9)
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)


@in_style
def parity(
    figures: Sequence[Mapping[str, Any]] | PathLike,
    path: PathLike | None = None,
    *,
    title: str = "",
    overwrite: bool = False,
) -> Figure:
    """Draw SNR against Keras, SDR lost, size and speed of each precision of an export.

    Args:
        figures: The `<name>.parity.json` that `keras_mmdense.export(report=True)` writes, or its
            content, a list of dicts.
        path: Where to write it; see `save`.
        title: Above the figure.
        overwrite: Replace existing files.

    Returns:
        The figure; without stems it has no panel of the SDR.

    Raises:
        PlotError: The file is no parity report, or there is nothing to draw.

    Example:
        >>> int8 = {"precision": "int8", "snr_db": {"vocals": 25.0}, "sdr_db": {}}
        >>> int8 |= {"size_bytes": 700_000, "probe": {"cpu_rtf": 0.03}}
        >>> [axes.get_title() for axes in parity([int8]).axes]
        ['SNR against Keras, dB', 'size, kB', 'CPU s per s of audio']
    """
    try:
        found: Any = (
            json.loads(Path(figures).read_text("utf-8"))
            if isinstance(figures, str | os.PathLike)
            else figures
        )
        sources, stems = (
            dict.fromkeys(name for f in found for name in f[series])
            for series in ("snr_db", "sdr_db")
        )
        panels: dict[str, Mapping[str, Sequence[float]]] = {
            "SNR against Keras, dB": {s: [float(f["snr_db"][s]) for f in found] for s in sources},
            "SDR lost, dB": {
                s: [f["float_sdr_db"][s] - f["sdr_db"][s] for f in found] for s in stems
            },
            "size, kB": {"": [f["size_bytes"] / 1e3 for f in found]},
            "CPU s per s of audio": {"": [float(f["probe"]["cpu_rtf"]) for f in found]},
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PlotError(
            "parity needs the .parity.json of an export, or its figures with the same sources; "
            f"received {figures} ({error})."
        ) from error
    require(len(found) > 0, "parity needs one precision or more", found, "Export one.", PlotError)
    panels = {name: series for name, series in panels.items() if series}
    figure = new_figure(3.4 * len(panels), 3.4)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    places = np.arange(len(found))
    for axes, (name, series) in zip(grid, panels.items(), strict=True):
        width = 0.8 / len(series)
        for i, (source, values) in enumerate(series.items()):
            axes.bar(
                places + (i - (len(series) - 1) / 2) * width, values, width, label=plain(source),
                color=COLORS[i % len(COLORS)], hatch=HATCHES[i % len(HATCHES)],
                edgecolor="white", linewidth=0.4,
            )  # fmt: skip
        axes.set_xticks(places, [plain(f["precision"]) for f in found], rotation=40, ha="right")
        if len(series) > 1:
            axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(name, fontsize=10)
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)
