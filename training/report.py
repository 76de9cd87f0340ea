"""The loss curves of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path


def plot_history(history: Path, picture: Path) -> None:
    """Draw training and validation loss per epoch from a CSV history; nothing without epochs.

    Args:
        history: CSV with the columns epoch, loss and val_loss.
        picture: The PNG to write.
    """
    if not history.exists():
        return
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    epochs = [int(row["epoch"]) for row in rows]
    for column, label in (("loss", "training"), ("val_loss", "validation")):
        axes.plot(epochs, [float(row[column]) for row in rows], label=label, marker=".")
    axes.set(
        xlabel="epoch",
        ylabel="loss",
        yscale="log" if min(float(row["loss"]) for row in rows) > 0 else "linear",
        title=history.parent.name,
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    figure.savefig(picture, dpi=120)
