"""The metrics of evaluation: time and memory, and their values compared with museval's.

    python -m benchmarks.metrics cost                    # 240 s, stereo, four sources
    python -m benchmarks.metrics cost --seconds 60 --json FILE
    python -m benchmarks.metrics agreement DATA          # every track of a data set
    python -m benchmarks.metrics agreement DATA --tracks 3 --metric bsseval3 --json FILE

`cost`: the track is seeded noise that falls with frequency, as music does, in a file that is
read as a memory map. Each metric runs in a process of its own. Its memory is the peak of its
resident set, less what it held before it scored; the mapped pages of the track that it has touched
are included, so the table gives the size of the track.

`agreement`: the estimates are those of the ideal ratio mask; the sources are scored together, then
the vocals with the accompaniment. For each track it prints the largest difference of any frame in
dB for SDR, ISR, SIR and SAR, and "itself": how much museval's own values change when zeros are
appended to the signals, which affects only its rounding. If a source is mono, nearly mono, or
empty in a band, museval solves equations that are singular to double precision, and no
implementation can agree with it more closely than it does with itself.

museval's functions come from its file `metrics.py` alone, because importing the package asks for
ffmpeg.
"""

import argparse
import importlib.util
import json
import os
import runpy
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmdense_edge.bench.host import peak_memory_bytes

from benchmarks.harness import (
    call,
    command_parser,
    exit_code,
    machine_line,
    new_path,
    number,
    say,
    table,
    timed,
)
from keras_mmdense.data import Track, open_dataset
from training.evaluate.estimators import open_estimator, open_signals, stored
from training.evaluate.metrics import METRICS, projection
from training.evaluate.metrics.bsseval import MEASURES, SECONDS
from training.evaluate.metrics.source_score import ACCOMPANIMENT, VOCALS, Array, SourceScore
from training.evaluate.rows import SUM, Row

RATE, CHANNELS = 44100, 2
SOURCES = ("bass", "drums", "other", "vocals")
MIB = 1 << 20
Scores = npt.NDArray[np.float64]  # (measures, sources, frames); NaN where not defined
Signals = Mapping[str, Array]


def museval_scores(
    metric: str, references: Signals, estimates: Signals, sample_rate: int, zeros: int = 0
) -> Scores:
    """Return museval's own values.

    Args:
        metric: "museval" or "bsseval3".
        references: Signals of shape (num_samples, channels) by source.
        estimates: The same sources and shapes.
        sample_rate: Hz.
        zeros: Number of zeros to append to each signal.

    Raises:
        ValueError: museval refuses the signals: one is silent throughout.
    """
    package = importlib.util.find_spec("museval")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("museval is not installed: pip install museval==0.4.1")
    # this file alone, because the package itself asks for ffmpeg
    museval = runpy.run_path(str(Path(package.origin).with_name("metrics.py")))
    window, hop = (seconds * sample_rate for seconds in SECONDS[metric])
    signals = [
        np.pad(np.stack([side[name] for name in references]), ((0, 0), (0, zeros), (0, 0)))
        for side in (references, estimates)
    ]
    scores = museval["bss_eval"](
        *signals,
        window=window,
        hop=hop,
        framewise_filters=metric == "bsseval3",
        filters_len=projection.TAPS,
    )
    return np.stack(scores[:4])


def our_scores(scores: Mapping[str, SourceScore]) -> Scores:
    """Return a metric's values in museval's form."""
    return np.array(
        [
            [[frame["metrics"].get(m, np.nan) for frame in s.frames] for s in scores.values()]
            for m in MEASURES
        ]
    )


def largest(one: Scores, other: Scores) -> list[float]:
    """Return the largest difference of each measure; 0 where no frame has a value."""
    gaps = np.abs(one - other).reshape(len(MEASURES), -1)
    return [float(f"{gap:.2g}") for gap in np.nan_to_num(gaps).max(axis=1)]


def compare(
    metric: str, references: Signals, estimates: Signals, sample_rate: int
) -> dict[str, Any]:
    """Score signals with both and return frames, seconds and largest differences."""
    given = (references, estimates, sample_rate)
    scores, seconds, _ = timed(partial(METRICS[metric].score, *given))
    theirs, museval_seconds, _ = timed(partial(museval_scores, metric, *given))
    ours = our_scores(scores)
    num_samples = len(next(iter(references.values())))
    next_fft_size = 1 << (num_samples + projection.TAPS - 2).bit_length()
    again = museval_scores(metric, *given, next_fft_size - num_samples)[..., : ours.shape[-1]]
    if (np.isnan(ours) != np.isnan(theirs)).any():
        raise ValueError("frames have values in one of the two and none in the other")
    return {
        "frames": ours.shape[-1],
        "seconds": seconds,
        "museval_seconds": museval_seconds,
        "difference": largest(ours, theirs),
        "itself": largest(again, theirs) if metric == "museval" else None,
        "median": largest(*(np.nanmedian(x, -1, keepdims=True) for x in (ours, theirs))),
    }


def scenarios(
    track: Track, folder: Path
) -> Iterator[tuple[str, dict[str, Array], dict[str, Array]]]:
    """Yield the sources together, then the vocals with the accompaniment."""
    with_rest = VOCALS in track.sources and len(track.sources) > 1
    signals = open_signals(track, with_rest, folder)
    sources = tuple(name for name in signals if name != "mixture")
    row = Row("irm", "baseline", "", sources, accompaniment=SUM if with_rest else "")
    estimates = stored(open_estimator(row)(track, signals), folder)
    together = [track.sources, (VOCALS, ACCOMPANIMENT)] if with_rest else [track.sources]
    for title, names in zip(("sources", "vocals, accompaniment"), together, strict=False):
        yield title, {s: signals[s] for s in names}, {s: estimates[s] for s in names}


def agreement(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Score and print all tracks; return a row for each scenario."""
    rows: list[dict[str, Any]] = []
    tracks = list(open_dataset(args.data))[: args.tracks]
    print(f"differences: largest of {', '.join(MEASURES)} in dB\n")
    for index, track in enumerate(tracks, 1):
        say(f"{index} of {len(tracks)}: {track.name}")
        with tempfile.TemporaryDirectory() as folder:
            for scenario, references, estimates in scenarios(track, Path(folder)):
                row: dict[str, Any] = {"track": track.name, "scenario": scenario}
                try:
                    row |= compare(args.metric, references, estimates, track.sample_rate)
                except ValueError as error:
                    row["refused"] = str(error).partition(".")[0]
                rows.append(row)
                print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print("\n" + summary(rows))
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of agreement over all tracks."""
    done = [row for row in rows if "difference" in row]
    frames = sum(row["frames"] for row in done)
    compared = {
        "ours and museval, any frame": [row["difference"] for row in done],
        "museval and itself with zeros appended, any frame": [
            row["itself"] for row in done if row["itself"]
        ],
        "ours and museval, median of a track": [row["median"] for row in done],
    }
    cells = [
        [title, *(f"{gap:.1e}" for gap in np.max(gaps, axis=0))]
        for title, gaps in compared.items()
        if gaps
    ]
    head = f"{len(done)} comparisons, {frames} frames; museval refused {len(rows) - len(done)}"
    return f"{head}\n\n{table(['largest difference, dB', *MEASURES], cells)}"


def make_track(file: Path, seconds: float) -> None:
    """Write references and estimates as float32, second by second.

    Args:
        file: A new `.npy` file; its shape is (2, sources, num_samples, channels).
        seconds: Length of the track.
    """
    rng, num_samples = np.random.default_rng(0), round(seconds * RATE)
    track = np.lib.format.open_memmap(
        file, "w+", np.float32, (2, len(SOURCES), num_samples, CHANNELS)
    )
    for start in range(0, num_samples, RATE):
        spectrum = np.fft.rfft(rng.standard_normal((len(SOURCES), RATE, CHANNELS)), axis=1)
        spectrum /= np.arange(20, spectrum.shape[1] + 20)[:, None]
        signals = np.fft.irfft(spectrum, RATE, axis=1)[:, : num_samples - start]
        signals *= 0.5 / np.abs(signals).max(axis=(1, 2), keepdims=True)
        noise = rng.standard_normal(signals.shape)
        estimates = 0.8 * signals + 0.1 * signals.sum(axis=0) + 0.01 * noise
        track[:, :, start : start + RATE] = signals, estimates


def measure(track: str, metric: str) -> dict[str, Any]:
    """Score a track; return seconds, memory in MiB and the main values.

    Args:
        track: What `make_track` wrote.
        metric: Its name.
    """
    mapped = np.load(track, mmap_mode="r")
    signals = [dict(zip(SOURCES, side, strict=True)) for side in mapped]
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    scores, wall, cpu = timed(partial(METRICS[metric].score, *signals, RATE))
    peak = peak_memory_bytes() or 0
    return {
        "metric": metric,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_mib": peak / MIB,
        "added_mib": (peak - before) / MIB,
        "track_mib": mapped.nbytes / MIB,
        "values": [score.values[METRICS[metric].measures[0]] for score in scores.values()],
    }


def cost(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print time and memory; return the report."""
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        track = Path(folder, "track.npy")
        make_track(track, args.seconds)
        for metric in args.metrics:
            say(f"{metric} ...")
            rows.append(call("benchmarks.metrics:measure", track=str(track), metric=metric))
    keys = ("wall_seconds", "cpu_seconds", "peak_mib", "added_mib")
    cells = [[row["metric"], *(f"{row[key]:,.1f}" for key in keys)] for row in rows]
    head = ["metric", "wall, s", "CPU, s", "peak, MiB", "added, MiB"]
    print(
        f"{machine_line()}\n\n{args.seconds:g} s, {CHANNELS} channels, {len(SOURCES)} sources; "
        f"the track has {rows[0]['track_mib']:.0f} MiB\n\n{table(head, cells)}"
    )
    return {"machine": machine_line(), "seconds": args.seconds, "rows": rows}


@exit_code
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("metrics", __doc__)
    commands = parser.add_subparsers(required=True, metavar="cost|agreement")
    one = commands.add_parser("cost")
    one.add_argument("--seconds", type=number(float, 1, 3600), default=240, help="default 240")
    one.add_argument("--metrics", nargs="+", choices=list(METRICS), default=list(METRICS))
    one.add_argument("--folder", help="where the track's file goes for a while")
    other = commands.add_parser("agreement")
    other.add_argument("data", metavar="DATA", help="a data set of any form that is read")
    other.add_argument("--tracks", type=number(int, 1, 1e6), metavar="N", help="the first N")
    other.add_argument("--metric", choices=sorted(SECONDS), default="museval")
    for command, work in ((one, cost), (other, agreement)):
        command.set_defaults(work=work)
        command.add_argument("--json", type=new_path, help="a new file for the figures")
    args = parser.parse_args(argv)
    found = args.work(args)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
