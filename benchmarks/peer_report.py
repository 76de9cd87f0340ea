"""The table and the plot of what bench_peers measured.

    python -m benchmarks.peer_report peers/peers.json                        # prints the tables
    python -m benchmarks.peer_report peers/peers.json --page docs/peers.md   # into the docs

With --page the tables go between the page's markers, and the plot (PNG and SVG) and the raw figures
into a folder beside it that has its name.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NONE = "-"
BASE = "edge-int8"
# Okabe and Ito's blue and orange, told apart by everyone.
OURS_COLOUR, PEERS_COLOUR = "#0072B2", "#E69F00"


def value(found: Mapping[str, Any], peer: str, kind: str, key: str, **where: float) -> float | None:
    """Returns the median over the rounds of what was measured, None if nothing was.

    Args:
        found: the report.
        peer: the system.
        kind: "separate", "start", "train" or "describe".
        key: of the measurement.
        **where: threads, seconds.
    """
    values = [
        run[key]
        for run in found["runs"]
        if run["peer"] == peer and run["kind"] == kind and where.items() <= run.items()
    ]
    return statistics.median(values) if values else None


def cases(found: Mapping[str, Any]) -> list[tuple[float, int]]:
    """Returns the lengths and numbers of threads that were measured, in order."""
    runs = [run for run in found["runs"] if run["kind"] == "separate"]
    return sorted({(run["seconds"], run["threads"]) for run in runs})


def factor(
    found: Mapping[str, Any], peer: str, key: str, seconds: float, threads: int
) -> float | None:
    """Returns the real-time factor: seconds of work for a second of audio.

    Args:
        found: the report.
        peer: the system.
        key: "wall_s" or "cpu_s".
        seconds: of audio.
        threads: that were used.
    """
    work = value(found, peer, "separate", key, seconds=seconds, threads=threads)
    return None if work is None else work / seconds


def ratio(found: Mapping[str, Any], peer: str, seconds: float, threads: int) -> float | None:
    """Returns how many times the CPU time of the device model a system takes; a median of rounds.

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
    ratios = [one[number] / base[number] for number in one.keys() & base.keys()]
    return statistics.median(ratios) if ratios else None


def _cell(number: float | None, form: Callable[[float], str] | str) -> str:
    if number is None:
        return NONE
    return format(number, form) if isinstance(form, str) else form(number)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _label(found: Mapping[str, Any], peer: str) -> str:
    label = found["labels"][peer]
    return f"**{label}**" if peer in found["ours"] else str(label)


def speed_table(found: Mapping[str, Any]) -> str:
    """Returns the real-time factors: CPU and elapsed, by length and threads, and the ratio."""
    head = ["real-time factor, four stems"]
    for seconds, threads in cases(found):
        head.append(f"{seconds:g} s, {threads} thread{'s' if threads > 1 else ''}: CPU / elapsed")
    first = cases(found)[0] if cases(found) else (0.0, 1)
    head.append("times the CPU of the first")
    rows = []
    for peer in found["labels"]:
        row = [_label(found, peer)]
        for seconds, threads in cases(found):
            both = [factor(found, peer, key, seconds, threads) for key in ("cpu_s", "wall_s")]
            row.append(NONE if None in both else " / ".join(_cell(one, ".3f") for one in both))
        rows.append([*row, _cell(ratio(found, peer, *first), ".1f")])
    return _table(head, rows)


def size_table(found: Mapping[str, Any]) -> str:
    """Returns memory, start, size, parameters, multiply-adds and training."""
    lengths = sorted({seconds for seconds, _ in cases(found)})
    head = ["four stems", *(f"peak memory at {seconds:g} s, MB" for seconds in lengths)]
    head += ["start, CPU s", "installed, MB", "parameters, M", "GMAC per s of audio",
             "training, audio s per CPU s"]  # fmt: skip
    rows = []
    for peer in found["labels"]:
        row = [_label(found, peer)]
        for seconds in lengths:
            peak = value(found, peer, "separate", "peak_bytes", seconds=seconds)
            row.append(_cell(peak and peak / 1e6, ".0f"))
        home = found["environments"].get(found["homes"][peer])
        parameters = value(found, peer, "describe", "parameters")
        row += [
            _cell(value(found, peer, "start", "total_cpu_s"), ".2f"),
            _cell(home and home["megabytes"], ".0f"),
            _cell(parameters and parameters / 1e6, ".2f"),
            _cell(value(found, peer, "describe", "gmac_per_s"), ".1f"),
            _cell(value(found, peer, "train", "audio_s_per_cpu_s"), ".1f"),
        ]
        rows.append(row)
    return _table(head, rows)


def installed(found: Mapping[str, Any]) -> str:
    """Returns what pip was given for each environment, and the versions that matter."""
    lines = []
    for name, one in found["environments"].items():
        packages = {key.lower(): version for key, version in one["packages"].items()}
        told = [
            f"{key} {packages[key]}"
            for key in ("torch", "openunmix", "demucs", "tensorflow", "keras", "ai-edge-litert")
            if key in packages
        ]
        removed = f"; without {', '.join(one['removed'])}" if one["removed"] else ""
        lines.append(
            f"- {name}: `pip install {' '.join(one['requirements'])}`: {', '.join(told)}; "
            f"{len(packages)} packages{removed}"
        )
    return "\n".join(lines)


def text(found: Mapping[str, Any]) -> str:
    """Returns the whole report as Markdown.

    Args:
        found: the report.
    """
    described = found["machine"]
    rounds = 1 + max((run["round"] for run in found["runs"]), default=0)
    parts = [
        f"`{found['command']}`, {found['date']}: {described['cpu']}, {described['cores']} cores, "
        f"{described['os']}, Python {described['python']}; medians of up to {rounds} rounds.",
        speed_table(found),
        size_table(found),
        "The environments:\n\n" + installed(found),
    ]
    failed = [
        f"- {one['peer']}, {one['kind']}, {one['seconds']:g} s, {one['threads']} thread(s): "
        f"{one['error']}"
        for one in found["errors"]
    ]
    if failed:
        parts.append("What failed:\n\n" + "\n".join(failed))
    return "\n\n".join(parts)


def plot(found: Mapping[str, Any], targets: Sequence[Path]) -> None:
    """Draws speed, memory and installed size as bars, logarithmic.

    Args:
        found: the report.
        targets: files; their suffix says which form.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(found["labels"])[::-1]
    first, last = (cases(found) or [(0.0, 1)])[0], (cases(found) or [(0.0, 1)])[-1]

    def memory(peer: str) -> float | None:
        peak = value(found, peer, "separate", "peak_bytes", seconds=last[0])
        return None if peak is None else peak / 1e6

    panels: list[tuple[str, Callable[[str], float | None], str]] = [
        (f"CPU s per s of audio\n({first[0]:g} s, {first[1]} thread)",
         lambda peer: factor(found, peer, "cpu_s", *first), ".3f"),
        (f"peak memory, MB\n({last[0]:g} s)", memory, ".0f"),
        ("installed, MB", lambda peer: (found["environments"].get(found["homes"][peer]) or {})
         .get("megabytes"), ".0f"),
    ]  # fmt: skip
    figure = Figure(figsize=(11, 0.42 * len(names) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, of, form) in zip(all_axes, panels, strict=True):
        _bars(axes, found, names, [of(name) for name in names], form)
        axes.set_title(title, fontsize=10)
    for target in targets:
        figure.savefig(target, dpi=150, metadata={"Date": None} if target.suffix == ".svg" else {})


def _bars(
    axes: Any, found: Mapping[str, Any], names: Sequence[str], sizes: Sequence[float | None],
    form: str,
) -> None:  # fmt: skip
    known = [size for size in sizes if size]
    least = min(known, default=1) / 2
    colours = [OURS_COLOUR if name in found["ours"] else PEERS_COLOUR for name in names]
    axes.barh([found["labels"][name] for name in names], [size or least for size in sizes],
              color=colours)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(least, max(known, default=10) * 4)
    for row, size in enumerate(sizes):
        axes.text((size or least) * 1.1, row, _cell(size, form), va="center", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)


def write(found: Mapping[str, Any], folder: Path) -> None:
    """Writes peers.md, peers.png and peers.svg.

    Args:
        found: the report.
        folder: exists.
    """
    (folder / "peers.md").write_text(text(found) + "\n", "utf-8")
    plot(found, [folder / "peers.png", folder / "peers.svg"])


def into_page(found: Mapping[str, Any], page: Path) -> None:
    """Puts the tables between a page's markers, and plot and figures into the folder beside it.

    Args:
        found: the report.
        page: Markdown with both markers.

    Raises:
        ValueError: the page has no markers.
    """
    content = page.read_text("utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} must have the lines {BEGIN} and {END}: put them where tables go")
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    plot(found, [folder / "peers.png", folder / "peers.svg"])
    (folder / "peers.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    name = folder.name
    picture = f"![CPU time, peak memory and installed size of each system]({name}/peers.png)"
    raw = f"The raw figures: [peers.json]({name}/peers.json)."
    block = "\n\n".join([BEGIN, picture, text(found), raw, END])
    page.write_text(f"{before}{block}{after}", "utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path, help="peers.json of bench_peers")
    parser.add_argument("--page", type=Path, help="a page with markers, such as docs/peers.md")
    args = parser.parse_args(argv)
    try:
        found = json.loads(args.figures.read_text("utf-8"))
        print(text(found))
        if args.page:
            into_page(found, args.page)
    except (OSError, ValueError) as error:
        print(f"peer_report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
