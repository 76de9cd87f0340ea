"""The tables and the plot of what `python -m benchmarks.peers` measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.harness import shown, table
from benchmarks.peers.environments import BASE

# Okabe and Ito's blue and orange, which everyone can tell apart.
OURS_COLOR, PEERS_COLOR = "#0072B2", "#E69F00"
SHOWN = ("torch", "openunmix", "demucs", "tensorflow", "keras", "ai-edge-litert")
CASE = ["seconds", "threads"]
COLUMNS = ["peer", "kind", *CASE, "round", "cpu_s", "network_cpu_s", "wall_s", "total_cpu_s",
           "peak_bytes"]  # fmt: skip
# By system; the second is not in reports of earlier versions.
RATIOS = ["times the CPU of the first", "times its networks' own time"]
Report = Mapping[str, Any]


def medians(found: Report) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return medians over the rounds, one row per system; NaN for what was not measured.

    Returns:
        Real-time factors of CPU time and of elapsed time, by seconds and threads; peak memory in
        MB, by seconds; and one figure each: in the first case, CPU time as a multiple of the device
        model's in the same round, and of the system's own networks' in the same run; CPU seconds of
        the start, megabytes installed.
    """
    runs = pd.DataFrame(found["runs"], columns=COLUMNS)
    runs["cpu"], runs["wall"] = runs["cpu_s"] / runs["seconds"], runs["wall_s"] / runs["seconds"]
    songs = runs[runs["kind"] == "separate"]
    cpu, wall, peaks = (
        songs.pivot_table(value, "peer", columns, "median").reindex(found["labels"])
        for value, columns in (("cpu", CASE), ("wall", CASE), ("peak_bytes", "seconds"))
    )
    first = songs[songs["seconds"] == songs["seconds"].min()]
    first = first[first["threads"] == first["threads"].min()]
    rounds = first.pivot_table("cpu_s", "peer", "round")
    own = first["cpu_s"] / first["network_cpu_s"].astype(float).replace(0, float("nan"))
    single = pd.DataFrame({
        RATIOS[0]: (rounds / rounds.reindex([BASE]).iloc[0]).median(axis=1),
        RATIOS[1]: own.groupby(first["peer"]).median(),
        "start, CPU s": runs[runs["kind"] == "start"].groupby("peer")["total_cpu_s"].median(),
        "installed, MB": pd.Series({
            peer: found["environments"][home]["megabytes"] for peer, home in found["homes"].items()
        }),
    }).reindex(found["labels"])  # fmt: skip
    return cpu, wall, peaks / 1e6, single


def text(found: Report) -> str:
    """Return the whole report as Markdown."""
    cpu, wall, peaks, single = medians(found)
    names = {
        peer: f"**{label}**" if peer in found["ours"] else label
        for peer, label in found["labels"].items()
    }
    speed = cpu.map(shown, form=".3f") + " / " + wall.map(shown, form=".3f")
    speed.columns = pd.Index([
        f"{seconds:g} s, {threads} thread{'s' if threads > 1 else ''}: CPU / elapsed"
        for seconds, threads in cpu
    ])  # fmt: skip
    own = single[RATIOS[1:]].dropna(axis=1, how="all").map(shown, form=".2f")
    speed = speed.join([single[RATIOS[:1]].map(shown, form=".1f"), own]).rename(names)
    size = pd.concat([
        peaks.rename(columns="peak memory at {:g} s, MB".format).map(shown, form=".0f"),
        single[["start, CPU s"]].map(shown, form=".2f"),
        single[["installed, MB"]].map(shown, form=".0f"),
    ], axis=1).rename(names)  # fmt: skip
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
        table(["real-time factor, four stems", *speed], list(speed.itertuples(name=None))),
        table(["four stems", *size], list(size.itertuples(name=None))),
        "The environments:\n\n" + "\n".join(lines),
        *(["What failed:\n\n" + "\n".join(failed)] if failed else []),
    ])  # fmt: skip


def plot(found: Report, target: Path) -> None:
    """Draw speed, memory and installed size as bars, logarithmic, into a picture file."""
    from matplotlib.figure import Figure

    cpu, _, peaks, single = (figures[::-1] for figures in medians(found))
    if cpu.empty:
        return  # nothing was separated
    (seconds, threads), last = cpu.columns[0], peaks.columns[-1]
    panels = [
        (f"CPU s per s of audio\n({seconds:g} s, {threads} thread)", "%.3f", cpu.iloc[:, 0]),
        (f"peak memory, MB\n({last:g} s)", "%.0f", peaks[last]),
        ("installed, MB", "%.0f", single["installed, MB"]),
    ]
    figure = Figure(figsize=(11, 0.42 * len(cpu) + 1.2), layout="constrained")
    labels = [found["labels"][peer] for peer in cpu.index]
    colors = [OURS_COLOR if peer in found["ours"] else PEERS_COLOR for peer in cpu.index]
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, form, sizes) in zip(all_axes, panels, strict=True):
        axes.bar_label(axes.barh(labels, sizes, color=colors), fmt=form, padding=3, fontsize=8)
        axes.set(xscale="log", title=title)
        axes.margins(x=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)
