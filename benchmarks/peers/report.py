"""The tables and the plot of what `python -m benchmarks.peers` measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import table
from benchmarks.peers.environments import BASE

NONE = "-"
# Okabe and Ito's blue and orange, which everyone can tell apart.
OURS_COLOR, PEERS_COLOR = "#0072B2", "#E69F00"
Report = Mapping[str, Any]


def value(found: Report, peer: str, kind: str, key: str, **where: float) -> float | None:
    """Return the median over the rounds of what was measured, None if nothing was.

    Args:
        found: The report.
        peer: The system.
        kind: "separate", "start", "train" or "describe".
        key: Of the measurement.
        **where: threads, seconds.
    """
    values = [
        run[key]
        for run in found["runs"]
        if run["peer"] == peer and run["kind"] == kind and where.items() <= run.items()
    ]
    return statistics.median(values) if values else None


def cases(found: Report) -> list[tuple[float, int]]:
    """Return the lengths and numbers of threads that were measured, in order."""
    runs = [run for run in found["runs"] if run["kind"] == "separate"]
    return sorted({(run["seconds"], run["threads"]) for run in runs})


def factor(found: Report, peer: str, key: str, seconds: float, threads: int) -> float | None:
    """Return the real-time factor: seconds of work ("wall_s" or "cpu_s") for a second of audio."""
    work = value(found, peer, "separate", key, seconds=seconds, threads=threads)
    return None if work is None else work / seconds


def ratio(found: Report, peer: str, seconds: float, threads: int) -> float | None:
    """Return how many times the CPU time of the device model a system takes; a median of rounds.

    Only rounds in which both were measured count.
    """

    def by_round(name: str) -> dict[int, float]:
        return {
            run["round"]: run["cpu_s"]
            for run in found["runs"]
            if (run["peer"], run["kind"], run["seconds"], run["threads"])
            == (name, "separate", seconds, threads)
        }

    one, base = by_round(peer), by_round(BASE)
    ratios = [one[index] / base[index] for index in one.keys() & base.keys()]
    return statistics.median(ratios) if ratios else None


def memory(found: Report, peer: str, seconds: float) -> float | None:
    """Return the peak memory at a length in megabytes."""
    peak = value(found, peer, "separate", "peak_bytes", seconds=seconds)
    return None if peak is None else peak / 1e6


def installed(found: Report, peer: str) -> float | None:
    """Return the size of a system's environment in megabytes."""
    home = found["environments"].get(found["homes"][peer])
    return home and home["megabytes"]


def _cell(number: float | None, form: str) -> str:
    return NONE if number is None else format(number, form)


def text(found: Report) -> str:
    """Return the whole report as Markdown."""
    measured = cases(found)
    lengths = sorted({seconds for seconds, _ in measured})
    speed, size = [], []
    for peer, label in found["labels"].items():
        name = f"**{label}**" if peer in found["ours"] else label
        factors = []
        for case in measured:
            both = [factor(found, peer, key, *case) for key in ("cpu_s", "wall_s")]
            factors.append(NONE if None in both else " / ".join(_cell(one, ".3f") for one in both))
        times = ratio(found, peer, *measured[0]) if measured else None
        speed.append([name, *factors, _cell(times, ".1f")])
        parameters = value(found, peer, "describe", "parameters")
        size.append([
            name, *(_cell(memory(found, peer, seconds), ".0f") for seconds in lengths),
            _cell(value(found, peer, "start", "total_cpu_s"), ".2f"),
            _cell(installed(found, peer), ".0f"),
            _cell(parameters and parameters / 1e6, ".2f"),
            _cell(value(found, peer, "describe", "gmac_per_s"), ".1f"),
            _cell(value(found, peer, "train", "audio_s_per_cpu_s"), ".1f"),
        ])  # fmt: skip
    columns = [
        f"{seconds:g} s, {threads} thread{'s' if threads > 1 else ''}: CPU / elapsed"
        for seconds, threads in measured
    ]
    speed_head = ["real-time factor, four stems", *columns, "times the CPU of the first"]
    size_head = [
        "four stems", *(f"peak memory at {seconds:g} s, MB" for seconds in lengths),
        "start, CPU s", "installed, MB", "parameters, M", "GMAC per s of audio",
        "training, audio s per CPU s",
    ]  # fmt: skip
    described = found["machine"]
    rounds = 1 + max((run["round"] for run in found["runs"]), default=0)
    parts = [
        f"`{found['command']}`, {found['date']}: {described['cpu']}, {described['cores']} cores, "
        f"{described['os']}, Python {described['python']}; medians of up to {rounds} rounds.",
        table(speed_head, speed),
        table(size_head, size),
        "The environments:\n",
    ]
    for name, one in found["environments"].items():
        packages = {key.lower(): version for key, version in one["packages"].items()}
        shown = ("torch", "openunmix", "demucs", "tensorflow", "keras", "ai-edge-litert")
        versions = ", ".join(f"{key} {packages[key]}" for key in shown if key in packages)
        removed = f"; without {', '.join(one['removed'])}" if one["removed"] else ""
        parts[-1] += (
            f"\n- {name}: `pip install {' '.join(one['requirements'])}`: {versions}; "
            f"{len(packages)} packages{removed}"
        )
    if found["errors"]:
        failed = [
            f"- {one['peer']}, {one['kind']}, {one['seconds']:g} s, {one['threads']} thread(s): "
            f"{one['error']}"
            for one in found["errors"]
        ]
        parts.append("What failed:\n\n" + "\n".join(failed))
    return "\n\n".join(parts)


def plot(found: Report, target: Path) -> None:
    """Draw speed, memory and installed size as bars, logarithmic, into a picture file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(found["labels"])[::-1]
    measured = cases(found) or [(0.0, 1)]
    first, last = measured[0], measured[-1]
    panels = [
        (f"CPU s per s of audio\n({first[0]:g} s, {first[1]} thread)", ".3f",
         [factor(found, peer, "cpu_s", *first) for peer in names]),
        (f"peak memory, MB\n({last[0]:g} s)", ".0f",
         [memory(found, peer, last[0]) for peer in names]),
        ("installed, MB", ".0f", [installed(found, peer) for peer in names]),
    ]  # fmt: skip
    figure = Figure(figsize=(11, 0.42 * len(names) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    labels = [found["labels"][name] for name in names]
    colors = [OURS_COLOR if name in found["ours"] else PEERS_COLOR for name in names]
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, form, sizes) in zip(all_axes, panels, strict=True):
        known = [size for size in sizes if size]
        least = min(known, default=1) / 2
        axes.barh(labels, [size or least for size in sizes], color=colors)
        axes.set_xscale("log")
        axes.set_xlim(least, max(known, default=10) * 4)
        for row, size in enumerate(sizes):
            axes.text((size or least) * 1.1, row, _cell(size, form), va="center", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.set_title(title, fontsize=10)
    figure.savefig(target, dpi=150)
