"""Reports as other commands read them back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdense_edge.errors import printable

from training.evaluation.errors import EvaluationError
from training.evaluation.report import COLUMNS, SCORES, SUMMARY
from training.evaluation.summary import FORMAT, VERSION

MAX_FILE_BYTES = 1 << 30
READ_ERRORS = (
    OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError,
    csv.Error,
)  # fmt: skip

Key = tuple[str, str, str, str]  # label of the row, metric, measure, source
Values = Mapping[str, float | None]  # by track


@dataclass(frozen=True)
class Report:
    """A report as read back.

    Args:
        folder: Where it lies.
        summary: The content of its summary.json.
        values: Value by track, by (row, metric, measure, source).
    """

    folder: Path
    summary: Mapping[str, Any]
    values: Mapping[Key, Values]

    @property
    def rows(self) -> dict[str, frozenset[str]]:
        """The sources of its rows, by name."""
        return {row["name"]: frozenset(row["sources"]) for row in self.summary["rows"]}

    @property
    def titles(self) -> dict[str, str]:
        """Title by metric."""
        return {name: metric["title"] for name, metric in self.summary["metrics"].items()}

    @property
    def tracks(self) -> dict[str, tuple[int, int]]:
        """Length in samples and rate in Hz by track."""
        tracks = self.summary["data"]["tracks"]
        return {printable(t["name"]): (t["num_samples"], t["sample_rate"]) for t in tracks}

    @property
    def accompaniment(self) -> bool:
        """True where the accompaniment was scored along."""
        return any(row["accompaniment"] for row in self.summary["rows"])


def read_report(folder: Path) -> Report:
    """Read the summary and the scores of a report.

    Raises:
        EvaluationError: The folder holds no report, or a damaged one.
    """
    try:
        summary = json.loads(_read(folder / SUMMARY))
        if (summary["format"], summary["version"]) != (FORMAT, VERSION):
            raise ValueError(f"{summary['format']} {summary['version']} is not known")
        lines = csv.reader(io.StringIO(_read(folder / SCORES)))
        if tuple(next(lines)) != COLUMNS:
            raise ValueError(f"{SCORES} has other columns")
        values: dict[Key, dict[str, float | None]] = {}
        for row, track, source, metric, measure, value in lines:
            place = values.setdefault((row, metric, measure, source), {})
            place[track] = float(value) if value else None
        report = Report(folder, summary, values)
        if not (report.rows and report.tracks and report.titles):
            raise ValueError("it has no rows, tracks or metrics")
        _ = report.accompaniment
    except READ_ERRORS as error:
        raise EvaluationError(
            f"a report must be a folder with {SUMMARY} and {SCORES} of training.evaluate; received "
            f"{printable(folder)} ({error}). Evaluate first, to the end."
        ) from error
    return report


def _read(path: Path) -> str:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_FILE_BYTES} bytes")
    return path.read_text("utf-8")
