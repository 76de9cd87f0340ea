"""The tables and the plot of what `python -m benchmarks.peers` measured."""

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import table
from benchmarks.peers.environments import BASE

# Okabe and Ito's blue and orange, which everyone can tell apart.
OURS_COLOR, PEERS_COLOR = "#0072B2", "#E69F00"
SHOWN = ("torch", "openunmix", "demucs", "tensorflow", "keras", "ai-edge-litert")
Report = Mapping[str, Any]


def median(found: Report, peer: str, key: str, kind: str = "separate", **where: float) -> float:
    """Return the median over the rounds of what was measured, NaN if nothing was.

    Args:
        found: The report.
        peer: The system.
        key: Of the measurement.
        kind: "separate" or "start".
        **where: threads, seconds.
    """
    wanted = {"peer": peer, "kind": kind, **where}
    values = [run[key] for run in found["runs"] if wanted.items() <= run.items()]
    return statistics.median(values) if values else math.nan


def cases(found: Report) -> list[tuple[float, int]]:
    """Return the lengths and numbers of threads that were measured, in order."""
    runs = [run for run in found["runs"] if run["kind"] == "separate"]
    return sorted({(run["seconds"], run["threads"]) for run in runs})


def ratio(found: Report, peer: str, seconds: float, threads: int) -> float:
    """Return how many times the CPU time of the device model a system takes; a median of rounds.

    Only rounds in which both were measured count.
    """
    case = {"seconds": seconds, "threads": threads}
    rounds = {run["round"] for run in found["runs"]}
    pairs = [[median(found, one, "cpu_s", round=n, **case) for one in (peer, BASE)] for n in rounds]
    ratios = [work / base for work, base in pairs if not math.isnan(work / base)]
    return statistics.median(ratios) if ratios else math.nan


def shown(number: float, form: str) -> str:
    """Return a number as text, "-" if there is none."""
    return "-" if math.isnan(number) else format(number, form)


def text(found: Report) -> str:
    """Return the whole report as Markdown."""
    measured = cases(found)
    lengths = sorted({seconds for seconds, _ in measured})
    speed, size = [], []
    for peer, label in found["labels"].items():
        name = f"**{label}**" if peer in found["ours"] else label
        factors = [
            " / ".join(
                shown(median(found, peer, key, seconds=seconds, threads=threads) / seconds, ".3f")
                for key in ("cpu_s", "wall_s")
            )
            for seconds, threads in measured
        ]
        times = ratio(found, peer, *measured[0]) if measured else math.nan
        speed.append([name, *factors, shown(times, ".1f")])
        peaks = [median(found, peer, "peak_bytes", seconds=s) / 1e6 for s in lengths]
        start = shown(median(found, peer, "total_cpu_s", "start"), ".2f")
        installed = found["environments"][found["homes"][peer]]["megabytes"]
        size.append([name, *(shown(peak, ".0f") for peak in peaks), start, f"{installed:.0f}"])
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
    measured = cases(found) or [(1.0, 1)]
    (seconds, threads), (last, _) = measured[0], measured[-1]
    case = {"seconds": seconds, "threads": threads}
    panels = [
        (f"CPU s per s of audio\n({seconds:g} s, {threads} thread)", "%.3f",
         [median(found, peer, "cpu_s", **case) / seconds for peer in names]),
        (f"peak memory, MB\n({last:g} s)", "%.0f",
         [median(found, peer, "peak_bytes", seconds=last) / 1e6 for peer in names]),
        ("installed, MB", "%.0f",
         [found["environments"][found["homes"][peer]]["megabytes"] for peer in names]),
    ]  # fmt: skip
    figure = Figure(figsize=(11, 0.42 * len(names) + 1.2), layout="constrained")
    labels = [found["labels"][name] for name in names]
    colors = [OURS_COLOR if name in found["ours"] else PEERS_COLOR for name in names]
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, form, sizes) in zip(all_axes, panels, strict=True):
        axes.bar_label(axes.barh(labels, sizes, color=colors), fmt=form, padding=3, fontsize=8)
        axes.set(xscale="log", title=title)
        axes.margins(x=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)
