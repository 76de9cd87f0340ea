"""Score models: `python -m training.evaluate MODEL... --data DIR --out REPORT`.

MODEL is a .keras file, a .tflite file (separated by the device runner), several of one kind joined
by "+", a folder of estimates made elsewhere (FOLDER/TRACK/SOURCE.wav, .flac or .ogg), the name of a
bundled model, or a baseline: mixture, irm, ibm, iwf. NAME=MODEL names the row.

REPORT will contain report.md, scores.csv, summary.json, plots/ and, for each metric, row and track,
a JSON file in museval's format. If the command is stopped, finished tracks are kept; run the same
command again to continue. It scores again only what has changed. docs/how-to/evaluation.md says
which figures may be compared.

Exit code 0: success; 1: tracks failed and are listed, or a file cannot be written; 2: wrong usage
or data; 130: stopped with Ctrl-C.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from mmdense_edge.errors import printable

from keras_mmdense.data import KINDS, SUBSETS, open_dataset
from keras_mmdense.errors import require
from training import command, command_parser
from training.evaluate.metrics import ENGINES
from training.evaluate.metrics.bsseval import museval_package
from training.evaluate.rows import choose_tracks, open_rows
from training.evaluate.scoring import evaluate


@command("evaluate", "finished tracks are kept, and the same command continues")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser("training.evaluate", __doc__)
    parser.add_argument("models", metavar="MODEL", nargs="+", help="what to score, one row each")
    parser.add_argument("--data", metavar="DIR", required=True, help="folder of the data set")
    parser.add_argument("--out", metavar="REPORT", required=True, help="folder of the report")
    parser.add_argument(
        "--metric",
        metavar="NAME,...",
        help="usdr (default: fast, whole tracks), active (usdr where a source is heard), museval, "
        "bsseval3, sisdr",
    )
    parser.add_argument(
        "--engine",
        choices=list(ENGINES),
        default="own",
        help="own (default), or museval: the package itself, for the metrics museval (then the "
        "default) and bsseval3; needs ffmpeg",
    )
    parser.add_argument("--kind", choices=KINDS, default="auto", help="layout of the data set")
    parser.add_argument("--subset", nargs="+", choices=SUBSETS, help="subsets; default all")
    parser.add_argument(
        "--tracks",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names of tracks, or 'Artist*'",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N tracks only")
    parser.add_argument(
        "--sample-rate", type=int, default=44100, metavar="HZ", help="sample rate of all files"
    )
    parser.add_argument(
        "--accompaniment",
        action="store_true",
        help="also score the sum of all sources except the vocals",
    )
    parser.add_argument(
        "--wiener",
        type=int,
        default=0,
        metavar="N",
        help="iterations of the multichannel Wiener filter after each model; default 0: none",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="score a folder of estimates on the tracks it contains",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="number of processes, each with its own models and share of the cores; default 1",
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="score on the workers of a Dask scheduler: HOST:PORT on this machine, or "
        "tls://HOST:PORT",
    )
    args = parser.parse_args(argv)
    known = ENGINES[args.engine]
    text = args.metric or next(iter(known))
    metrics = tuple(dict.fromkeys(text.split(",")))
    require(set(metrics) <= set(known), f"--metric must be of {', '.join(known)}", text, "")
    if args.engine == "museval":
        museval_package()
    require(args.jobs >= 1, "--jobs must be 1 or more", args.jobs, "Leave it out.")
    require(not args.cluster or args.jobs == 1, "--cluster needs no --jobs", args.jobs, "Drop it.")
    dataset = open_dataset(args.data, args.kind, args.subset, sample_rate=args.sample_rate)
    if dataset.faults or dataset.notes:
        print(dataset.report(), file=sys.stderr)
    tracks = choose_tracks(dataset, args.tracks, args.limit)
    rows = open_rows(
        args.models,
        tracks,
        accompaniment=args.accompaniment,
        wiener=args.wiener,
        allow_missing=args.allow_missing,
    )
    faults = evaluate(
        dataset, tracks, rows, metrics, Path(args.out), args.jobs, args.engine, args.cluster
    )
    for fault in faults:
        print(f"evaluate: {fault}", file=sys.stderr)
    if faults:
        print(
            f"{len(faults)} tracks failed, so no report was written; the others are kept. Repair "
            "them, or choose the tracks with --tracks",
            file=sys.stderr,
        )
        return 1
    from training.evaluate.tables import listed

    print(listed(Path(args.out)))
    print(f"report in {printable(Path(args.out) / 'report.md')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
