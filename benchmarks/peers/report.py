"""The tables and the plot of what `python -m benchmarks.peers` measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import table
from benchmarks.peers.environments import BASE

NONE = "-"
# Okabe and Ito's blue and orange, which everyone can tell apart.
OURS_COLOR, PEERS_COLOR = "#0072B2", "#E69F00"
SHOWN = ("torch", "openunmix", "demucs", "tensorflow", "keras", "ai-edge-litert")
Report = Mapping[str, Any]


def value(found: Report, peer: str, kind: str, key: str, **where: float) -> float | None:
    """Return the median over the rounds of what was measured, None if nothing was.

    Args:
        found: The report.
        peer: The system.
        kind: "separate" or "start".
        key: Of the measurement.
        **where: threads, seconds.
    """
    values = by_round(found, peer, kind, key, **where).values()
    return statistics.median(values) if values else None


def by_round(found: Report, peer: str, kind: str, key: str, **where: float) -> dict[Any, float]:
    """Return what was measured, by round and threads."""
    wanted = {"peer": peer, "kind": kind, **where}
    runs = [run for run in found["runs"] if wanted.items() <= run.items()]
    return {(run["round"], run["threads"]): run[key] for run in runs}


def cases(found: Report) -> list[tuple[float, int]]:
    """Return the lengths and numbers of threads that were measured, in order."""
    runs = [run for run in found["runs"] if run["kind"] == "separate"]
    return sorted({(run["seconds"], run["threads"]) for run in runs})


def ratio(found: Report, peer: str, seconds: float, threads: int) -> float | None:
    """Return how many times the CPU time of the device model a system takes; a median of rounds.

    Only rounds in which both were measured count.
    """
    one, base = (
        by_round(found, name, "separate", "cpu_s", seconds=seconds, threads=threads)
        for name in (peer, BASE)
    )
    ratios = [one[index] / base[index] for index in one.keys() & base.keys()]
    return statistics.median(ratios) if ratios else None


def figures(found: Report, peer: str, key: str) -> Callable[..., float | None]:
    """Return a function of a case: the median of a measurement, each second of audio."""

    def of_case(seconds: float, threads: int) -> float | None:
        work = value(found, peer, "separate", key, seconds=seconds, threads=threads)
        return work and work / seconds

    return of_case


def shown(number: float | None, form: str, unit: float = 1) -> str:
    """Return a number in a unit as text, "-" if there is none."""
    return NONE if number is None else format(number / unit, form)


def text(found: Report) -> str:
    """Return the whole report as Markdown."""
    measured = cases(found)
    lengths = sorted({seconds for seconds, _ in measured})
    speed, size = [], []
    for peer, label in found["labels"].items():
        name = f"**{label}**" if peer in found["ours"] else label
        cpu, wall = (figures(found, peer, key) for key in ("cpu_s", "wall_s"))
        factors = [f"{shown(cpu(*one), '.3f')} / {shown(wall(*one), '.3f')}" for one in measured]
        factors = [NONE if NONE in both.split() else both for both in factors]
        times = ratio(found, peer, *measured[0]) if measured else None
        speed.append([name, *factors, shown(times, ".1f")])
        peaks = [value(found, peer, "separate", "peak_bytes", seconds=s) for s in lengths]
        start = shown(value(found, peer, "start", "total_cpu_s"), ".2f")
        home = found["environments"].get(found["homes"][peer], {})
        installed = shown(home.get("megabytes"), ".0f")
        size.append([name, *(shown(b, ".0f", 1e6) for b in peaks), start, installed])
    columns = [
        f"{seconds:g} s, {threads} thread{'s' if threads > 1 else ''}: CPU / elapsed"
        for seconds, threads in measured
    ]
    speed_head = ["real-time factor, four stems", *columns, "times the CPU of the first"]
    size_head = [
        "four stems", *(f"peak memory at {seconds:g} s, MB" for seconds in lengths),
        "start, CPU s", "installed, MB"
    ]  # fmt: skip
    machine = found["machine"]
    rounds = 1 + max((run["round"] for run in found["runs"]), default=0)
    lines = []
    for name, one in found["environments"].items():
        packages = {key.lower(): version for key, version in one["packages"].items()}
        versions = ", ".join(f"{key} {packages[key]}" for key in SHOWN if key in packages)
        removed = f"; without {', '.join(one['removed'])}" if one["removed"] else ""
        lines.append(
            f"- {name}: `pip install {' '.join(one['requirements'])}`: {versions}; "
            f"{len(packages)} packages{removed}"
        )
    failed = [
        f"- {one['peer']}, {one['kind']}, {one['seconds']:g} s, {one['threads']} thread(s): "
        f"{one['error']}"
        for one in found["errors"]
    ]
    return "\n\n".join([
        f"`{found['command']}`, {found['date']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['os']}, Python {machine['python']}; medians of up to {rounds} rounds.",
        table(speed_head, speed),
        table(size_head, size),
        "The environments:\n\n" + "\n".join(lines),
        *(["What failed:\n\n" + "\n".join(failed)] if failed else []),
    ])  # fmt: skip


def plot(found: Report, target: Path) -> None:
    """Draw speed, memory and installed size as bars, logarithmic, into a picture file."""
    from matplotlib.figure import Figure

    names = list(found["labels"])[::-1]
    measured = cases(found) or [(0.0, 1)]
    (seconds, threads), (last, _) = measured[0], measured[-1]
    homes, environments = found["homes"], found["environments"]
    peaks = [value(found, peer, "separate", "peak_bytes", seconds=last) for peer in names]
    panels = [
        (f"CPU s per s of audio\n({seconds:g} s, {threads} thread)", "%.3f",
         [figures(found, peer, "cpu_s")(seconds, threads) for peer in names]),
        (f"peak memory, MB\n({last:g} s)", "%.0f", [peak and peak / 1e6 for peak in peaks]),
        ("installed, MB", "%.0f",
         [environments.get(homes[peer], {}).get("megabytes") for peer in names]),
    ]  # fmt: skip
    figure = Figure(figsize=(11, 0.42 * len(names) + 1.2), layout="constrained")
    labels = [found["labels"][name] for name in names]
    colors = [OURS_COLOR if name in found["ours"] else PEERS_COLOR for name in names]
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, form, sizes) in zip(all_axes, panels, strict=True):
        known = [size or math.nan for size in sizes]
        axes.bar_label(axes.barh(labels, known, color=colors), fmt=form, padding=3, fontsize=8)
        axes.set(xscale="log", title=title)
        axes.margins(x=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)
