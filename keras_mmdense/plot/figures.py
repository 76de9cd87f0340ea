"""Figures of signals, scores, exports and training runs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdense_edge.separate.picture import draw_panels, spectrogram
from mmdense_edge.signal.stft import Audio, Real

from keras_mmdense.errors import PlotError, require
from keras_mmdense.plot.style import COLORS, PathLike, in_style, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 1 << 19  # samples that are transformed at a time
LARGEST_DB = 60.0  # values beyond come from silence, and would squeeze all others together
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "++")

Panels = Mapping[str, Mapping[str, Sequence[float]]]


@in_style
def spectrograms(
    signals: Mapping[str, Audio],
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
        PlotError: No signals, signals of no or different length, values that are not finite, a
            rate below 1000 Hz, or no columns.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (22050, 2))
        >>> figure = spectrograms({"mixture": noise, "vocals": noise / 2}, 44100)
        >>> len(figure.axes)  # two panels and the scale
        3
    """
    require(
        columns is None or columns >= 1,
        "columns must be 1 or more",
        columns,
        "Leave it out.",
        PlotError,
    )
    levels = {plain(name): level for name, level in levels_of(signals, sample_rate).items()}
    across = min(columns or len(levels), len(levels))
    down = -(-len(levels) // across)
    figure = new_figure(1.3 + max(5.5, 2.3 * across), 0.8 + (2.4 if down == 1 else 1.8) * down)
    seconds = len(next(iter(signals.values()))) / sample_rate
    draw_panels(figure, levels, sample_rate, seconds, columns=across, range_db=range_db)
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)


def levels_of(signals: Mapping[str, Audio], sample_rate: int) -> dict[str, Real]:
    """Return the spectrogram of each signal.

    Raises:
        PlotError: As `spectrograms`.
    """
    arrays = {name: np.atleast_2d(np.asarray(x).T).T for name, x in signals.items()}
    require(
        len({len(x) for x in arrays.values()}) == 1
        and all(x.size and x.ndim == 2 and np.isfinite(x).all() for x in arrays.values())
        and sample_rate >= 1000,
        "a picture of signals needs one or more, finite and of one length, and a rate of 1000 Hz "
        "or more",
        {name: x.shape for name, x in arrays.items()} | {"sample_rate": sample_rate},
        "",
        PlotError,
    )
    num_samples = len(next(iter(arrays.values())))
    return {
        name: spectrogram(
            (x[start : start + BLOCK].astype(np.float32) for start in range(0, len(x), BLOCK)),
            sample_rate, num_samples, x.shape[1],
        )
        for name, x in arrays.items()
    }  # fmt: skip


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


@in_style
def training_curves(
    history: Any,
    path: PathLike | None = None,
    *,
    metrics: Sequence[str] = ("loss",),
    title: str = "",
    overwrite: bool = False,
) -> Figure:
    """Draw training and validation values over the epochs, and mark the best validation.

    Args:
        history: What `model.fit` returns, its `history` dict, or the `history.csv` of a run of
            `python -m training.train`.
        path: Where to write it; see `save`.
        metrics: Names of the columns, a panel each; the validation is `val_` and the name.
        title: Above the figure.
        overwrite: Replace existing files.

    Returns:
        The figure; the axis is logarithmic where all values are above 0.

    Raises:
        PlotError: A metric is missing, there are no epochs, or the file cannot be read.

    Example:
        >>> figure = training_curves({"loss": [3, 2, 1], "val_loss": [3, 2.5, 2.6]})
        >>> len(figure.axes)
        1
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    columns = read_history(history)
    missing = [name for name in metrics if not columns.get(name)]
    require(
        bool(metrics) and not missing,
        "metrics must be columns of the history with one epoch or more",
        list(metrics),
        f"The history has {', '.join(columns) or 'none'}.",
        PlotError,
    )
    figure = new_figure(1.2 + 4.2 * len(metrics), 3.4)
    for axes, name in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        epochs = list(columns.get("epoch", range(1, len(columns[name]) + 1)))
        for color, (column, label, style) in zip(
            COLORS, ((name, "training", ".-"), (f"val_{name}", "validation", "x--")), strict=False
        ):
            if column in columns:
                axes.plot(epochs, columns[column], style, markersize=4, color=color, label=label)
        best = np.asarray(columns.get(f"val_{name}", ()), float)
        if np.isfinite(best).any():
            place = int(np.nanargmin(np.where(np.isfinite(best), best, np.nan)))
            axes.plot(epochs[place], best[place], "o", markersize=9, mfc="none", color="black",
                      label=f"lowest, epoch {epochs[place]:g}")  # fmt: skip
        values = np.concatenate([line.get_ydata() for line in axes.lines])
        finite = values[np.isfinite(values)]
        axes.set(xlabel="epoch", ylabel=plain(name))
        if len(finite) and finite.min() > 0:
            axes.set_yscale("log")
            # plain numbers: powers of ten, and 2 and 5 in a short range
            subs = (1.0,) if finite.max() / finite.min() > 30 else (1.0, 2.0, 5.0)
            axes.yaxis.set_major_locator(LogLocator(subs=subs))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)


def read_history(history: Any) -> dict[str, list[float]]:
    """Return the columns of a history: of `fit`, a dict, or a CSV file.

    Raises:
        PlotError: The file cannot be read as CSV with numbers, or it is no history.
    """
    if isinstance(history, str | os.PathLike):
        path = Path(history)
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                names, *rows = csv.reader(file, strict=True)
            columns = [[float(cell or "nan") for cell in row] for row in rows]
            return dict(zip(names, map(list, zip(*columns, strict=True)), strict=True))
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise PlotError(
                f"a history must be a CSV file of numbers with one line an epoch; received {path} "
                f"({error})."
            ) from error
    columns = getattr(history, "history", history)
    require(
        isinstance(columns, Mapping),
        "a history must be what fit() returns, a dict of columns, or a CSV file",
        type(history).__name__,
        "Pass one of them.",
        PlotError,
    )
    return {str(name): [float(v) for v in values] for name, values in columns.items()}
