"""Writes measured scores and the work of a model into exported files: `python -m training.stamp`.

    python -m training.stamp best.keras edge/mmdense_edge/models/*.tflite --report reports/clips

Each file's contract gets `scores`, the SDR of every source from the row of the report that scored
this very file (checksums are compared), and `macs_per_second`, counted from the Keras model for
the file's windows, their context included. The network itself is not touched. Exit code 0: all
files are written; 1: a file cannot be written; 2: wrong input, nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdense_edge import container
from mmdense_edge.contract import load_model
from mmdense_edge.errors import MMDenseError

import keras_mmdense
from keras_mmdense.contract import with_contract, write_whole
from keras_mmdense.errors import SettingsError
from keras_mmdense.operations import multiply_adds_per_second

MAX_BYTES = 64 << 20


class StampError(ValueError):
    """A report or a file that does not fit."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.stamp",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL.keras")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.tflite")
    parser.add_argument("--report", type=Path, required=True, help="a report of training.evaluate")
    parser.add_argument("--metric", default="usdr", help="metric of the scores; default usdr")
    args = parser.parse_args(argv)
    try:
        work = work_per_frame(args.model)
        scores = read_scores(args.report, args.metric)
        stamped = [(path, stamp(path, scores, work)) for path in args.files]
    except (StampError, SettingsError, MMDenseError) as error:
        print(f"stamp: {error}", file=sys.stderr)
        return 2
    try:
        for path, content in stamped:
            write_whole(path, content)
    except OSError as error:
        print(f"stamp: {error}", file=sys.stderr)
        return 1
    return 0


def work_per_frame(path: Path) -> float:
    """Count the multiply-adds that a model needs for a second of audio, without windows.

    Raises:
        StampError: Not a Keras file.
    """
    try:
        return multiply_adds_per_second(keras_mmdense.load(path))
    except SettingsError as error:
        raise StampError(f"MODEL must be a .keras file: {error}") from error


def read_scores(report: Path, metric: str) -> dict[str, dict[str, float]]:
    """Return the SDR of each source by the checksum of the file that was scored.

    Raises:
        StampError: No such report or metric.
    """
    path = report / "summary.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StampError(f"{path} must have at most {MAX_BYTES} bytes")
        summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
        rows = summary["metrics"][metric]["rows"]
        return {
            digest: {
                source: float(one["SDR"]["value"])
                for source, one in rows[row["name"]]["sources"].items()
                if one["SDR"]["value"] is not None
            }
            for row in summary["rows"]
            for digest in [str(row["sha256"])]
        }
    except OSError as error:
        raise StampError(
            f"--report must be a report's folder; received {report} ({error.strerror})"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StampError(
            f"{path} must be a summary with the metric {metric!r}; received one without ({error})"
        ) from error


def stamp(path: Path, scores: dict[str, dict[str, float]], work: float) -> bytes:
    """Return a model file's bytes with its scores and its work in the contract.

    Args:
        path: The file.
        scores: By checksum of the file, see `read_scores`.
        work: Multiply-adds for a second of audio, without windows.

    Raises:
        StampError: The report has not scored this file.
    """
    contract = load_model(path).contract
    data = path.read_bytes()
    known = scores.get(hashlib.sha256(data).hexdigest())
    if known is None:
        raise StampError(
            f"the report must have scored {path} as it is; received one that has not. Evaluate it."
        )
    content, text = container.split(data)
    stamped = json.loads(text) | {
        "scores": {source: round(value, 2) for source, value in known.items()},
        "macs_per_second": round(work * contract.frames / contract.step_frames),
    }
    return with_contract(content, stamped)


if __name__ == "__main__":
    sys.exit(main())
