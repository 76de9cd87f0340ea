"""Time and memory of each metric on one track, beside museval's own.

    python -m benchmarks.bench_metrics                   # 240 s, stereo, four sources
    python -m benchmarks.bench_metrics --seconds 60 --json FILE

The track is seeded noise that falls with frequency, as music does, in raw files that are read as
memory maps. Each metric runs in a process of its own. Its memory is the peak of its resident set,
less what it held before it scored; the mapped pages of the track that it has touched count in, so
the size of the track stands beside it. museval holds the track as float64 arrays. Its functions
come from its file `metrics.py`; `bsseval3` has museval's mode "v3" beside it, which --no-museval
leaves out like the rest of museval, as it takes many minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_data import _machine
from benchmarks.museval_agreement import SECONDS, check_json, museval_scores
from training.evaluation.metrics import METRICS, Array

RATE, CHANNELS = 44100, 2
SOURCES = ("bass", "drums", "other", "vocals")
MIB = 1 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    if args.worker:
        print(json.dumps(work(*args.worker)))
        return 0
    check_json(args.json)
    try:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            make_track(Path(folder), args.seconds)
            rows = [
                measure(Path(folder), name, code)
                for name in args.metrics
                for code in (("ours", "museval") if args.museval else ("ours",))
                if code == "ours" or name in SECONDS
            ]
    except OSError as error:
        print(f"bench_metrics: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"bench_metrics: a measurement failed: {error.stderr.strip()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(f"{_machine()}\n\n{table(rows, args.seconds)}")
    if args.json:
        result = {"machine": _machine(), "seconds": args.seconds, "rows": rows}
        args.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return 0


def make_track(folder: Path, seconds: float) -> None:
    """Write references and estimates as raw float32, second by second.

    Args:
        folder: an empty folder.
        seconds: length of the track.
    """
    rng = np.random.default_rng(0)
    paths = {(kind, source): folder / f"{kind}.{source}" for kind in "re" for source in SOURCES}
    files = {key: path.open("wb") for key, path in paths.items()}
    left = round(seconds * RATE)
    while left > 0:
        block = {source: _noise(rng)[: min(left, RATE)] for source in SOURCES}
        mixture = sum(block.values())
        for source, signal in block.items():
            estimate = 0.8 * signal + 0.1 * mixture + 0.01 * rng.standard_normal(signal.shape)
            files["r", source].write(signal.astype(np.float32).tobytes())
            files["e", source].write(estimate.astype(np.float32).tobytes())
        left -= RATE
    for file in files.values():
        file.close()


def _noise(rng: np.random.Generator) -> Array:
    spectrum = np.fft.rfft(rng.standard_normal((RATE, CHANNELS)), axis=0)
    spectrum /= np.arange(20, len(spectrum) + 20)[:, None]
    signal = np.fft.irfft(spectrum, RATE, axis=0)
    return 0.5 / np.abs(signal).max() * signal


def measure(folder: Path, metric: str, code: str) -> dict[str, Any]:
    """Run one metric in a process of its own and return its row."""
    print(f"{metric}, {code} ...", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_metrics", "--worker", str(folder), metric, code],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def work(folder: str, metric: str, code: str) -> dict[str, Any]:
    """Score the track of a folder; return seconds, memory in MiB and the main values."""
    signals = [
        {source: _map(Path(folder) / f"{kind}.{source}") for source in SOURCES} for kind in "re"
    ]
    before = _resident()
    begin, cpu = time.perf_counter(), time.process_time()
    if code == "ours":
        scores = METRICS[metric].score(*signals, RATE)
        measure = METRICS[metric].measures[0]
        values = [score.values[measure] for score in scores.values()]
    else:
        average = np.nanmedian if metric == "museval" else np.nanmean
        values = average(museval_scores(metric, *signals, RATE)[0], axis=-1).tolist()
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "metric": metric,
        "code": code,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_mib": peak / MIB,
        "added_mib": (peak - before) / MIB,
        "track_mib": sum(x.nbytes for side in signals for x in side.values()) / MIB,
        "values": values,
    }


def _map(path: Path) -> Array:
    return np.memmap(path, np.float32, "r").reshape(-1, CHANNELS)


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def table(rows: Sequence[dict[str, Any]], seconds: float) -> str:
    """Return a Markdown table; museval's row comes after ours and carries the ratios."""
    lines = [
        f"{seconds:g} s, {CHANNELS} channels, {len(SOURCES)} sources; "
        f"the track has {rows[0]['track_mib']:.0f} MiB",
        "",
        "| metric | wall, s | CPU, s | peak, MiB | added, MiB | museval takes |",
        "|---|---|---|---|---|---|",
    ]
    ours = {row["metric"]: row for row in rows if row["code"] == "ours"}
    for row in rows:
        ratio = ""
        if row["code"] == "museval":
            mine = ours[row["metric"]]
            times, memory = (row[key] / mine[key] for key in ("cpu_seconds", "added_mib"))
            ratio = f"{times:.1f} times the CPU, {memory:.1f} times the memory"
        name = row["metric"] + ("" if row["code"] == "ours" else ", museval's code")
        cells = (row[key] for key in ("wall_seconds", "cpu_seconds", "peak_mib", "added_mib"))
        lines.append(f"| {name} | {' | '.join(f'{cell:,.1f}' for cell in cells)} | {ratio} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_metrics",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=240.0, help="of the track; default 240")
    parser.add_argument(
        "--metrics", nargs="+", choices=list(METRICS), default=list(METRICS), help="default: all"
    )
    parser.add_argument("--no-museval", dest="museval", action="store_false", help="ours alone")
    parser.add_argument("--folder", metavar="DIR", help="where the track's files go for a while")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
