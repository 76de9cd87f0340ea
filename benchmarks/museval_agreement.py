"""The metrics `museval` and `bsseval3` beside museval's own code, frame by frame.

    python -m benchmarks.museval_agreement DATA                # every track of a data set
    python -m benchmarks.museval_agreement DATA --tracks 3 --metric bsseval3 --json FILE

The estimates are those of the ideal ratio mask; the sources are scored together, then the vocals
beside the accompaniment. For each track it prints the largest difference of any frame in dB for
SDR, ISR, SIR and SAR, and below it ("itself") what museval's own values move by when zeros are
appended to the signals, which changes nothing but its rounding: where a source is mono, nearly
mono, or holds nothing in a band, museval solves equations that are singular to double precision,
and no implementation can agree with it more closely than it does with itself.

museval's functions come from its file `metrics.py` alone, because importing the package asks for
ffmpeg.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_mmdense.data import DatasetError, Track, open_dataset
from training.evaluation.baselines import MaskEstimator
from training.evaluation.metrics import METRICS, Array, SourceScore
from training.evaluation.scores import ACCOMPANIMENT, VOCALS
from training.evaluation.songs import open_song

MEASURES = ("SDR", "ISR", "SIR", "SAR")
SECONDS = {"museval": (1, 1), "bsseval3": (30, 15)}  # window and hop
TAPS = 512
Scores = npt.NDArray[np.float64]  # (measures, sources, frames); NaN where not defined
Signals = Mapping[str, Array]


def load_museval() -> ModuleType:
    """Return museval's module `metrics` without importing the package, which asks for ffmpeg."""
    package = importlib.util.find_spec("museval")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("museval is not installed: pip install museval==0.4.1")
    path = Path(package.origin).with_name("metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"museval has no {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def museval_scores(
    metric: str, references: Signals, estimates: Signals, sample_rate: int, zeros: int = 0
) -> Scores:
    """Return museval's own values.

    Args:
        metric: "museval" or "bsseval3".
        references: signals of shape (num_samples, channels) by source.
        estimates: the same sources and shapes.
        sample_rate: Hz.
        zeros: samples to append to all signals.

    Raises:
        ValueError: museval refuses the signals: one is silent throughout.
    """
    window, hop = (seconds * sample_rate for seconds in SECONDS[metric])
    signals = [
        np.pad(np.stack([side[name] for name in references]), ((0, 0), (0, zeros), (0, 0)))
        for side in (references, estimates)
    ]
    scores = load_museval().bss_eval(
        *signals, window=window, hop=hop, framewise_filters=metric == "bsseval3"
    )
    return np.stack(scores[:4])


def our_scores(scores: Mapping[str, SourceScore]) -> Scores:
    """Return a metric's values in museval's form."""
    return np.array(
        [
            [
                [np.nan if (x := f.values[m]) is None else x for f in s.frames]
                for s in scores.values()
            ]
            for m in MEASURES
        ]
    )


def compare(
    metric: str, references: Signals, estimates: Signals, sample_rate: int
) -> dict[str, Any]:
    """Score signals with both and return frames, seconds and largest differences."""
    begin = time.perf_counter()
    ours = our_scores(METRICS[metric].score(references, estimates, sample_rate))
    middle = time.perf_counter()
    theirs = museval_scores(metric, references, estimates, sample_rate)
    end = time.perf_counter()
    num_samples = len(next(iter(references.values())))
    zeros = (1 << (num_samples + TAPS - 2).bit_length()) - num_samples  # the next size of its FFT
    again = museval_scores(metric, references, estimates, sample_rate, zeros)[..., : ours.shape[-1]]
    if (np.isnan(ours) != np.isnan(theirs)).any():
        raise ValueError("frames have values in one of the two and none in the other")
    return {
        "frames": ours.shape[-1],
        "seconds": middle - begin,
        "museval_seconds": end - middle,
        "difference": _largest(ours, theirs),
        "itself": _largest(again, theirs) if metric == "museval" else None,
        "median": _largest(*(np.nanmedian(x, -1, keepdims=True) for x in (ours, theirs))),
    }


def _largest(one: Scores, other: Scores) -> list[float]:
    """Return the largest difference of each measure; 0 where no frame has a value."""
    gaps = np.abs(one - other).reshape(len(MEASURES), -1)
    return [float(x) for x in np.nan_to_num(gaps).max(axis=1)]


def scenarios(
    track: Track, folder: Path
) -> Iterator[tuple[str, dict[str, Array], dict[str, Array]]]:
    """Yields the sources together, then the vocals beside the accompaniment."""
    with_rest = VOCALS in track.sources and len(track.sources) > 1
    song = open_song(track, with_rest, folder)
    blocks = list(MaskEstimator("irm", track.sources).stream(song))
    estimates = {name: np.concatenate([block[name] for block in blocks]) for name in track.sources}
    yield "sources", {name: song.references[name] for name in estimates}, estimates
    if with_rest:
        rest = np.sum([estimates[name] for name in estimates if name != VOCALS], axis=0)
        both = {VOCALS: estimates[VOCALS], ACCOMPANIMENT: rest}
        yield "vocals, accompaniment", {name: song.references[name] for name in both}, both


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    check_json(args.json)
    rows = []
    try:
        tracks = list(open_dataset(args.data))[: args.tracks]
        print(f"largest differences in dB of: {', '.join(MEASURES)}\n")
        for number, track in enumerate(tracks, 1):
            print(f"{number} of {len(tracks)}: {track.name}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                rows += list(_rows(args.metric, track, Path(folder)))
    except (DatasetError, ModuleNotFoundError, OSError) as error:
        print(f"museval_agreement: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print("\n" + summary(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    return 0


def check_json(path: Path | None) -> None:
    """Refuse a file that cannot be written, before the work.

    Raises:
        SystemExit: Its folder does not exist.
    """
    if path and not path.parent.is_dir():
        raise SystemExit(f"--json must stand in an existing folder; received {path}. Make it.")


def _rows(metric: str, track: Track, folder: Path) -> Iterator[dict[str, Any]]:
    for scenario, references, estimates in scenarios(track, folder):
        row: dict[str, Any] = {"track": track.name, "scenario": scenario}
        try:
            row |= compare(metric, references, estimates, track.sample_rate)
        except ValueError as error:
            row["refused"] = str(error).partition(".")[0]
            print(f"{track.name} ({scenario})\n  museval: {row['refused']}")
            yield row
            continue
        ratio = row["museval_seconds"] / row["seconds"]
        print(f"{track.name} ({scenario}): {row['frames']} frames, {ratio:.1f} times as fast")
        print(f"  ours    {_show(row['difference'])}")
        if row["itself"]:
            print(f"  itself  {_show(row['itself'])}", flush=True)
        yield row


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table over all tracks."""
    done = [row for row in rows if "difference" in row]
    frames = sum(row["frames"] for row in done)
    lines = [
        f"{len(done)} comparisons, {frames} frames; museval refused {len(rows) - len(done)}",
        "",
        f"| largest difference, dB | {' | '.join(MEASURES)} |",
        "|---|---|---|---|---|",
    ]
    for title, key in (
        ("ours and museval, any frame", "difference"),
        ("museval and itself with zeros appended, any frame", "itself"),
        ("ours and museval, median of a track", "median"),
    ):
        values = [row[key] for row in done if row[key]]
        if values:
            cells = " | ".join(f"{value:.1e}" for value in np.max(values, axis=0))
            lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def _show(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.1e}" for value in values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.museval_agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DATA", help="a data set of any form that is read")
    parser.add_argument("--tracks", type=int, metavar="N", help="the first N; default: all")
    parser.add_argument("--metric", choices=sorted(SECONDS), default="museval")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all rows there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
