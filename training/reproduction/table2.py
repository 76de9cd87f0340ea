"""Table 2: what to run on DSD100, the published rows with their grade, and measured ones."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdense_edge.errors import printable

from training.evaluation.tables import text
from training.reproduction.markdown import ReproductionError, table
from training.reproduction.published import GRADES, SOURCES, TABLE2

METRIC, MEASURE = "bsseval3", "SDR"
SONGS = range(1, 51)  # of DSD100, the songs of Test carry these numbers
MAX_BYTES = 64 << 20
RUN = """\
```sh
# bass, drums, other and vocals, a network each; hours to days, see table3
python -m training.train paper --data DSD100 --out runs/paper
# 50 songs, with the multichannel Wiener filter
python -m training.evaluate MMDenseNet=runs/paper/best.keras mixture --data DSD100 \\
    --subset test --metric bsseval3 --wiener 1 --accompaniment --out reports/paper
python -m training.reproduce table2 --report reports/paper
```"""
EXPLAINED = (
    "SDR in dB on the 50 test songs of DSD100: BSSEval v3 (images), the mean over the frames of a "
    "song, the median over the songs. It is not museval's figure (BSSEval v4, the median over the "
    "frames): the two are not to be compared."
)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: The method.
        values: dB by source; None where there is none.
        origin: Its grade and source, or what it was measured on.
    """

    name: str
    values: dict[str, float | None]
    origin: str


def published_rows() -> list[Row]:
    """Return the published rows; what is from memory says so."""
    return [
        Row(
            f"{name}{' (from memory)' if grade == 'M' else ''}",
            dict(zip(SOURCES, values, strict=True)),
            f"[{grade}] {GRADES[grade]}: {source}",
        )
        for name, (values, grade, source) in TABLE2.items()
    ]


def measured_rows(folder: Path, names: Sequence[str] = (), anyway: bool = False) -> list[Row]:
    """Return the rows of a report of `training.evaluate`.

    Args:
        folder: The report.
        names: Rows to show; none for all.
        anyway: Take a report of other data or another metric, too; each row says what it is of.

    Raises:
        ReproductionError: No such report or row, or one that cannot be compared.
    """
    summary = _read(folder / "summary.json")
    try:
        metric = METRIC if METRIC in summary["metrics"] else next(iter(summary["metrics"]))
        other = _differences(summary, metric)
        if other and not anyway:
            raise ReproductionError(
                f"table2 compares reports of {METRIC} on the 50 test songs of DSD100; received "
                f"{printable(folder)} of {'; '.join(other)}. Pass --anyway to show it labelled."
            )
        known = {row["name"]: row for row in summary["rows"]}
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise ReproductionError(
                f"--rows must name rows of the report, {', '.join(known)}; received {unknown}."
            )
        return [_row(summary, metric, known[name], other) for name in names or known]
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise _broken(folder, error) from error


def report(measured: Sequence[Row] = ()) -> str:
    """Return what to run, the table and what it means, as Markdown."""
    rows = [
        [row.name, *(_cell(row.values.get(source)) for source in SOURCES), row.origin]
        for row in [*published_rows(), *measured]
    ]
    missing = "" if measured else "\n\nNo row was measured: there is no --report."
    return (
        f"# Table 2: SDR on DSD100\n\n{EXPLAINED}\n\n{table(['method', *SOURCES, ''], rows)}"
        f"{missing}\n\n## To measure it\n\n{RUN}\n\n"
        "FNN, BLSTM and BLEND train with the same command by a recipe with "
        '`network = "blstm"` in [model]; see docs/reproduction.md.\n'
    )


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReproductionError(
                f"a summary has at most {MAX_BYTES} bytes; received {printable(path)}. It is none."
            )
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, ReproductionError):
            raise
        raise _broken(path.parent, error) from error
    if not isinstance(summary, dict) or summary.get("format") != "mmdense-evaluation":
        raise _broken(path.parent, "no report's summary")
    if summary.get("version") != 1:
        raise _broken(path.parent, f"version {summary.get('version')!r}, known is 1")
    return summary


def _broken(folder: Path, error: object) -> ReproductionError:
    return ReproductionError(
        f"--report must be a finished report of training.evaluate; received {printable(folder)} "
        f"({error if isinstance(error, str) else repr(error)}). Run the evaluation again."
    )


def _differences(summary: Any, metric: str) -> list[str]:
    """Tell in what a report is not one of bsseval3 on the 50 test songs of DSD100."""
    data = summary["data"]
    labels = [track["name"] for track in data["tracks"]]
    numbers = sorted(int(n[1]) for n in (re.match(r"test/(\d+) - ", one) for one in labels) if n)
    found = []
    if metric != METRIC:
        found.append(f"metric {metric}")
    if data["kind"] != "dsd100" or numbers != list(SONGS) or len(labels) != len(SONGS):
        found.append(f"{len(labels)} tracks of {printable(data['name'])} ({data['kind']})")
    return found


def _row(summary: Any, metric: str, row: Any, other: Sequence[str]) -> Row:
    scores = summary["metrics"][metric]["rows"][row["name"]]
    values = {
        source: found[MEASURE]["value"]
        for source, found in scores["sources"].items()
        if source in SOURCES
    }
    notes = [f"measured, {metric}" if not other else f"measured on other terms: {'; '.join(other)}"]
    if row["wiener"]:
        notes.append(f"Wiener filter, {row['wiener']} iterations")
    total = len(summary["data"]["tracks"])
    few = {source: scores["sources"][source][MEASURE]["tracks"] for source in values}
    notes += [f"{source} of {n} of {total} songs" for source, n in few.items() if n < total]
    if row["accompaniment"]:
        notes.append(f"accompaniment: {row['accompaniment']}")
    return Row(text(row["name"]), values, "; ".join(map(text, notes)))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
