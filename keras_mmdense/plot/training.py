"""Training curves."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import PlotError, require
from keras_mmdense.plot.style import COLORS, PathLike, in_style, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
