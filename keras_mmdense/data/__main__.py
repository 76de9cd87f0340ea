"""List the tracks and the faults of a data set: `python -m keras_mmdense.data ROOT`.

Exit code 0: all tracks are usable; 1: there are faults; 2: ROOT cannot be used at all.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmdense_edge.cli.main import carry_out, prepare
from mmdense_edge.errors import printable

from keras_mmdense.data.dataset import KINDS, Dataset, open_dataset
from keras_mmdense.data.problems import DatasetError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; None (default): those of the process.

    Returns:
        The exit code.
    """
    prepare(own_process=argv is None)
    args = _parser().parse_args(argv)
    lost = ": nothing was changed"
    return carry_out("data", lambda: _list(args), lost, own_process=argv is None)


def _list(args: argparse.Namespace) -> int:
    try:
        dataset = open_dataset(args.root, kind=args.kind, sample_rate=args.sample_rate)
        if args.deep:
            dataset = dataset.check(progress_printer())
    except DatasetError as error:
        for fault in error.faults:
            print(f"fault: {fault.describe(Path(args.root).absolute())}")
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(dataset))
    print(dataset.report())
    return 1 if dataset.faults else 0


def table(dataset: Dataset) -> str:
    """Return the tracks as a text table: name, subset, duration, sample rate, channels."""
    rows = [("track", "subset", "seconds", "Hz", "channels")]
    rows += [
        (printable(t.name), t.subset, f"{t.duration:.3f}", str(t.sample_rate), str(t.channels))
        for t in dataset
    ]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{n:<{width}}  {s:<6}  {d:>9}  {r:>6}  {c:>8}" for n, s, d, r, c in rows)


def progress_printer(clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """Return a progress callback that writes the part done and the time left to stderr.

    Args:
        clock: returns seconds; default: the monotonic clock.
    """
    begin = clock()

    def show(done: int, total: int) -> None:
        left = (clock() - begin) * (total - done) / done
        print(f"read {100 * done / total:5.1f} %, {left:.0f} s left", file=sys.stderr)

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_mmdense.data",
        description="List the tracks and the faults of a source separation data set.",
        epilog="Exit code 0: all tracks are usable; 1: there are faults; 2: ROOT cannot be used.",
    )
    parser.add_argument("root", metavar="ROOT", help="root of the data set")
    parser.add_argument("--kind", choices=KINDS, default="auto", help="form of the tree")
    parser.add_argument(
        "--sample-rate", type=int, default=44100, metavar="HZ", help="rate of every file"
    )
    parser.add_argument(
        "--deep", action="store_true", help="read every sample instead of the headers only"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
