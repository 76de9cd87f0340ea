"""Score models: `python -m training.evaluate MODEL... --data DIR --out REPORT`.

MODEL is a .keras file, a .tflite file (which the device runner separates with), several of one kind
joined by "+", a folder of estimates made elsewhere (FOLDER/TRACK/SOURCE.wav, .flac or .ogg), the
name of a bundled model, or a baseline: mixture, irm, ibm, iwf. NAME=MODEL names the row.

REPORT receives report.md, scores.csv, summary.json, plots/ and, per metric, row and track, a JSON
file in museval's format. Finished tracks are kept when the command is stopped, and the same command
goes on; it scores again only what has changed. Which number to compare with which:
docs/how-to/evaluation.md.

Exit code 0: done; 1: tracks failed, each is named, or a file cannot be written; 2: wrong usage or
data; 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdense_edge import signals
from mmdense_edge.errors import MMDenseError, printable

from keras_mmdense.data import KINDS, SUBSETS, DatasetError, open_dataset
from keras_mmdense.errors import SettingsError

if TYPE_CHECKING:
    from training.evaluation.session import Plan

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    try:
        with signals.taken(signals.interrupt, "SIGTERM", "SIGHUP"):
            return _evaluate(args)
    except ModuleNotFoundError as error:
        print(f"evaluate: {error}; pip install -e '.[train]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; finished tracks are kept, the same command goes on", file=sys.stderr)
        return INTERRUPTED


def _evaluate(args: argparse.Namespace) -> int:
    from training.evaluation.errors import EvaluationError
    from training.evaluation.session import evaluate

    try:
        faults = evaluate(_plan(args), args.jobs, sys.stderr)
    except (EvaluationError, DatasetError, SettingsError, MMDenseError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"evaluate: {error}; finished tracks are kept", file=sys.stderr)
        return 1
    for fault in faults:
        print(f"evaluate: {fault}", file=sys.stderr)
    if faults:
        print(
            f"{len(faults)} tracks failed, so no report was written; the others are kept. Repair "
            "them, or choose the tracks with --tracks",
            file=sys.stderr,
        )
        return 1
    print(f"report in {printable(Path(args.out) / 'report.md')}")
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    from training.evaluation.rows import open_rows
    from training.evaluation.session import Plan, choose_tracks
    from training.evaluation.songs import check_accompaniment

    dataset = open_dataset(
        args.data, kind=args.kind, subset=args.subset, sample_rate=args.sample_rate
    )
    if dataset.faults:
        print(dataset.report(), file=sys.stderr)
    if args.accompaniment:
        check_accompaniment(dataset.sources)
    tracks = choose_tracks(dataset, args.tracks, args.limit)
    rows = open_rows(
        args.models,
        tracks,
        accompaniment=args.accompaniment,
        wiener=args.wiener,
        allow_missing=args.allow_missing,
    )
    report = Path(args.out)
    return Plan(dataset, tracks, tuple(rows), args.metric, report, args.accompaniment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help="what is scored, a row each")
    parser.add_argument("--data", metavar="DIR", required=True, help="tree of separated tracks")
    parser.add_argument("--out", metavar="REPORT", required=True, help="folder of the report")
    parser.add_argument(
        "--metric",
        type=_metrics,
        default=("usdr",),
        metavar="NAME,...",
        help="usdr (default: fast, whole tracks), active (usdr where a source sounds), museval, "
        "bsseval3, sisdr",
    )
    parser.add_argument("--kind", choices=KINDS, default="auto", help="form of the tree")
    parser.add_argument("--subset", nargs="+", choices=SUBSETS, help="subsets; default all")
    parser.add_argument(
        "--tracks", nargs="+", default=[], metavar="NAME", help="names of tracks, also 'Artist*'"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="the first N tracks only")
    parser.add_argument(
        "--sample-rate", type=int, default=44100, metavar="HZ", help="rate of every file"
    )
    parser.add_argument(
        "--accompaniment", action="store_true", help="score the sum of all but the vocals, too"
    )
    parser.add_argument(
        "--wiener",
        type=_count(0),
        default=0,
        metavar="N",
        help="iterations of the multichannel Wiener filter after each model; default 0: none",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="score a folder of estimates on the tracks that it has",
    )
    parser.add_argument(
        "--jobs",
        type=_count(1),
        default=1,
        metavar="N",
        help="processes, each with its models and its share of the cores; default 1",
    )
    return parser


def _metrics(text: str) -> tuple[str, ...]:
    from training.evaluation.metrics import METRICS

    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise argparse.ArgumentTypeError(f"must be of {', '.join(METRICS)}; received {text!r}")
    return names


def _count(low: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"must be {low} or more; received {text!r}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
