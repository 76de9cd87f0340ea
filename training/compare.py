"""Compare rows of reports: `python -m training.compare REPORT... --out FOLDER`.

Every row is paired with the base row, track by track. FOLDER receives comparison.md,
differences.csv and plots/. Exit code 0: done; 1: a file cannot be written; 2: wrong usage or
reports; 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdense_edge.errors import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    try:
        return _compare(args)
    except ModuleNotFoundError as error:
        print(f"compare: {error}; pip install -e '.[train]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130


def _compare(args: argparse.Namespace) -> int:
    from training.evaluation.comparison import PAGE, compare, write_comparison
    from training.evaluation.errors import EvaluationError
    from training.evaluation.reading import read_report

    folder = Path(args.out)
    try:
        reports = [read_report(Path(path)) for path in args.reports]
        write_comparison(compare(reports, args.base), folder)
    except EvaluationError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    print(f"comparison in {printable(folder / PAGE)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reports", metavar="REPORT", nargs="+", help="folders of training.evaluate")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="new folder for the page")
    parser.add_argument(
        "--base",
        metavar="ROW",
        help="row to compare with; default the first of the first report. REPORT/ROW where several "
        "reports have it",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
