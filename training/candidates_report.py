"""The candidates as a table, as JSON, and as a plot of quality against cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mmdense_edge import machine

from keras_mmdense.plot.style import attempt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.candidates import Outcome


def write(outcomes: Sequence[Outcome], minutes: float, folder: Path) -> None:
    """Write candidates.json, candidates.md, candidates.png and candidates.svg.

    Args:
        outcomes: Of all candidates.
        minutes: Processor time of each.
        folder: Where to.
    """
    ranked = sorted(outcomes, key=lambda outcome: outcome.macs_per_second)
    data = {
        "machine": machine.describe(),
        "minutes": minutes,
        "candidates": [asdict(outcome) for outcome in ranked],
    }
    (folder / "candidates.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    (folder / "candidates.md").write_text(table(ranked), "utf-8")
    attempt(_plot, ranked, minutes, folder)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the candidates as a Markdown table."""
    sources = list(outcomes[0].sdr)
    head = ["candidate", "weights", "GMAC per s", "steps", *sources, "mean"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for one in outcomes:
        values = [f"{one.sdr[source]:.2f}" for source in sources]
        cells = [one.name, f"{one.weights:,}", f"{one.macs_per_second / 1e9:.2f}", str(one.steps)]
        lines.append(f"| {' | '.join([*cells, *values, f'{one.mean:.2f}'])} |")
    return "\n".join(lines) + "\n"


def _plot(outcomes: Sequence[Outcome], minutes: float, folder: Path) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, one in enumerate(outcomes):
        place = (one.macs_per_second / 1e9, one.mean)
        axes.scatter(*place, s=45, color="#0072b2")
        beside = (6, (5, -12)[number % 2])  # neighbours seldom hide each other's names
        axes.annotate(one.name, place, xytext=beside, textcoords="offset points", fontsize=9)
    axes.axvline(2.0, color="#999999", linestyle="--", linewidth=1)
    axes.set(
        xscale="log",
        xlabel="multiply-adds per second of audio, all sources, 1e9",
        ylabel="SDR, dB, mean of sources",
        title=f"After {minutes:g} minutes of processor time each",
    )
    axes.margins(x=0.15, y=0.12)
    axes.grid(alpha=0.3)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"candidates.{ending}", dpi=120)
    return figure
