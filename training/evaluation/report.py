"""The files of a report: scores.csv, summary.json, report.md and the plots."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmdense_edge.errors import printable

from keras_mmdense.plot import boxes
from keras_mmdense.plot.style import attempt
from training.evaluation.metrics import METRICS
from training.evaluation.scores import ACCOMPANIMENT
from training.evaluation.summary import Evaluation, summarize, values_of
from training.evaluation.tables import NOTHING, number, table, text
from training.train.run_folder import write_text

SUMMARY, SCORES, PAGE, PLOTS = "summary.json", "scores.csv", "report.md", "plots"
COLUMNS = ("row", "track", "source", "metric", "measure", "value")


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write a report; the same results give the same bytes.

    Args:
        evaluation: The results and what they are of.
        folder: Where the files go; those of an earlier report of the same rows are replaced.

    Raises:
        OSError: A file cannot be written.
    """
    summary = summarize(evaluation)
    for metric in evaluation.metrics:
        for measure in METRICS[metric].measures:
            _plot(evaluation, metric, measure, folder / PLOTS / f"{metric}_{measure}")
    write_text(folder / SCORES, csv_text(evaluation))
    write_text(folder / PAGE, "\n".join(page(summary)) + "\n")
    write_text(folder / SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n")


def csv_text(evaluation: Evaluation) -> str:
    """Return the values of all tracks as CSV, one per line; empty where not defined."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in evaluation.results:
        for source, values in result.values.items():
            for measure, value in values.items():
                where = (result.row, printable(result.track), source, result.metric, measure)
                writer.writerow([*where, "" if value is None else repr(value)])
    return stream.getvalue()


def page(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the Markdown page."""
    data = summary["data"]
    seconds = sum(track["num_samples"] / track["sample_rate"] for track in data["tracks"])
    yield f"# Evaluation on {text(data['name'])}"
    yield ""
    yield (
        f"{len(data['tracks'])} tracks ({data['kind']}), {seconds / 60:.1f} minutes, sources "
        f"{text(', '.join(data['sources']))}."
    )
    yield ""
    yield from _rows_table(summary["rows"])
    for name, metric in summary["metrics"].items():
        yield from _metric(name, metric, _columns(summary))
    yield from _notes(summary)


def _columns(summary: Mapping[str, Any]) -> list[str]:
    derived = any(row["accompaniment"] for row in summary["rows"])
    return [*summary["data"]["sources"], *([ACCOMPANIMENT] if derived else [])]


def _rows_table(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    wiener = any(row["wiener"] for row in rows)
    header = ["row", "what it is", "SHA-256", *(["Wiener iterations"] if wiener else [])]
    lines = [
        [
            text(row["name"]),
            text(row["description"]),
            row["sha256"][:12] or NOTHING,
            *([str(row["wiener"])] if wiener else []),
        ]
        for row in rows
    ]
    yield from table(header, lines, texts=3)


def _metric(name: str, metric: Mapping[str, Any], columns: list[str]) -> Iterator[str]:
    yield ""
    yield f"## {name}"
    yield ""
    yield text(metric["title"])
    yield ""
    for measure in metric["measures"]:
        yield from _measure_table(measure, metric, columns)
        yield ""
        yield f"![{name}: {measure} over tracks]({PLOTS}/{name}_{measure}.png)"
        yield ""
    yield from _silence(metric["rows"], columns)


def _measure_table(measure: str, metric: Mapping[str, Any], columns: list[str]) -> Iterator[str]:
    yield f"{measure} in dB, {metric['over_tracks']} over tracks (95 % interval):"
    yield ""
    lines = []
    for row, scores in metric["rows"].items():
        cells = [scores["sources"].get(source, {}).get(measure) for source in columns]
        texts = [number(c["value"], c["interval"]) if c else NOTHING for c in cells]
        lines.append([text(row), *texts, number(scores["mean"][measure]), str(scores["tracks"])])
    yield from table(["row", *map(text, columns), "mean of sources", "tracks"], lines)


def _silence(rows: Mapping[str, Any], columns: list[str]) -> Iterator[str]:
    lines = []
    for row, scores in rows.items():
        pairs = [
            [scores["sources"].get(source, {}).get(kind, 0) for source in columns]
            for kind in ("silent_references", "silent_estimates")
        ]
        if any(map(any, pairs)):
            lines.append([text(row), *(f"{ref} / {est}" for ref, est in zip(*pairs, strict=True))])
    if not lines:
        yield "No window of a reference or an estimate is silent."
        return
    yield "Windows in which the reference / the estimate is silent; rows without any are left out:"
    yield ""
    yield from table(["row", *map(text, columns)], lines)


def _notes(summary: Mapping[str, Any]) -> Iterator[str]:
    interval = summary["interval"]
    yield ""
    yield "## Notes"
    yield ""
    yield (
        f"- Intervals: {interval['level']:g} % percentile bootstrap over tracks, "
        f"{interval['resamples']} resamples, seed {interval['seed']}. They tell how far another "
        "choice of such tracks would move a row, not whether two rows differ: for that, "
        "`python -m training.compare` pairs the tracks."
    )
    yield "- Mean of sources: of the values in the row, the accompaniment apart."
    if any(row["accompaniment"] for row in summary["rows"]):
        rules = "; ".join(f"{text(r['name'])}: {r['accompaniment']}" for r in summary["rows"])
        yield (
            f"- The accompaniment is {rules}. The reference is the sum of all sources but the "
            "vocals. It is scored beside the vocals alone, and so are the vocals then."
        )
    sources = {tuple(row["sources"]) for row in summary["rows"]}
    if len(sources) > 1:
        yield (
            "- The rows have different sources. bsseval's SIR and SAR, and the windows that "
            "museval leaves out, depend on the sources scored together."
        )
    for row in summary["rows"]:
        yield from _row_notes(row)
    for fault in summary["data"]["left_out"]:
        yield f"- Left out of the data: {text(fault)}"


def _row_notes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["missing"]:
        yield (
            f"- {text(row['name'])} has no estimates of {len(row['missing'])} tracks, which are "
            f"missing in its values: {text('; '.join(row['missing']))}."
        )
    if row["fitted"]:
        yield (
            f"- {text(row['name'])}: estimates up to 0.1 s longer or shorter than their tracks "
            f"were cut, or filled up with zeros: {text('; '.join(row['fitted']))}."
        )


def _plot(evaluation: Evaluation, metric: str, measure: str, target: Path) -> None:
    panels: dict[str, dict[str, list[float]]] = {}
    for source in evaluation.scored:
        of_rows = {
            row.name: values_of(evaluation.of(metric, row.name), source, measure)
            for row in evaluation.rows
        }
        panels[source] = {
            name: [value for value in values if value is not None]
            for name, values in of_rows.items()
        }
    title = f"{metric}: {measure} of {len(evaluation.tracks)} tracks"
    target.parent.mkdir(parents=True, exist_ok=True)
    attempt(boxes, panels, f"{measure} in dB", target, title=title, overwrite=True)
