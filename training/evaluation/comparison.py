"""Several reports against one of their rows, paired by track."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdense_edge.errors import printable

from keras_mmdense.plot import boxes
from keras_mmdense.plot.style import attempt
from training.evaluation.errors import EvaluationError
from training.evaluation.reading import Key, Report, Values
from training.evaluation.report import PLOTS
from training.evaluation.statistics import SMALLEST_DB, Difference, paired_difference
from training.evaluation.tables import number, table, text
from training.train.run_folder import write_text

PAGE, DIFFERENCES = "comparison.md", "differences.csv"


@dataclass(frozen=True)
class Comparison:
    """Rows of several reports, each less the base.

    Args:
        base: Label of the base.
        titles: Title by metric.
        left_out: Metrics that the base has no values of.
        differences: By metric and measure, then by source, then by row.
        unlike: Rows with other sources than the base.
        unpaired: Rows without a value on a track that the base has one on.
    """

    base: str
    titles: Mapping[str, str]
    left_out: tuple[str, ...]
    differences: Mapping[tuple[str, str], Mapping[str, Mapping[str, Difference]]]
    unlike: tuple[str, ...]
    unpaired: tuple[str, ...]


def compare(reports: Sequence[Report], base: str | None = None) -> Comparison:
    """Pair the rows of reports with a base row by track.

    Args:
        reports: The reports. A row whose name stands in several is called REPORT/ROW.
        base: Label of the row to compare with; default the first row of the first report.

    Raises:
        EvaluationError: An unknown base, or reports whose scores mean different things.
    """
    _check_alike(reports)
    labels = _labels(reports)
    base = next(iter(labels.values())) if base is None else base
    if base not in labels.values() or len(labels) < 2:
        raise EvaluationError(
            f"--base must be one of at least two rows; received {printable(base)} among "
            f"{printable(', '.join(labels.values()))}."
        )
    titles, values = _joined(reports, labels)
    differences: dict[tuple[str, str], dict[str, dict[str, Difference]]] = {}
    for (row, metric, measure, source), of_row in values.items():
        difference = paired_difference(of_row, values.get((base, metric, measure, source), {}))
        if row != base and difference:
            sources = differences.setdefault((metric, measure), {})
            sources.setdefault(source, {})[row] = difference
    found = {metric for metric, _ in differences}
    paired = {row for sources in differences.values() for rows in sources.values() for row in rows}
    if not found:
        raise EvaluationError(
            f"the rows must share tracks, sources and a metric with the base {printable(base)}; "
            "received none that does. Evaluate them on the same data."
        )
    return Comparison(
        base,
        {metric: title for metric, title in titles.items() if metric in found},
        tuple(metric for metric in titles if metric not in found),
        differences,
        _unlike(reports, labels, base),
        tuple(row for row in labels.values() if row not in paired | {base}),
    )


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write comparison.md, differences.csv and plots/ into a new or empty folder; all or nothing.

    Raises:
        EvaluationError: The folder is in use.
        OSError: A file cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EvaluationError(
            f"--out must be a new or empty folder; received {printable(folder)}. Choose another."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        made = Path(beside) / "made"
        _draw(comparison, made / PLOTS)
        write_text(made / DIFFERENCES, csv_text(comparison))
        write_text(made / PAGE, "\n".join(page(comparison)) + "\n")
        if folder.exists():
            folder.rmdir()
        made.rename(folder)


def _draw(comparison: Comparison, folder: Path) -> None:
    folder.mkdir(parents=True)
    for (metric, measure), sources in comparison.differences.items():
        panels = {
            source: {row: list(d.values.values()) for row, d in rows.items()}
            for source, rows in sources.items()
        }
        title = f"{metric}: {measure} less that of {printable(comparison.base)}"
        axis = f"difference of {measure} in dB"
        attempt(boxes, panels, axis, folder / f"{metric}_{measure}", title=title, zero=True)


def csv_text(comparison: Comparison) -> str:
    """Return the differences of all tracks as CSV, one per line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("row", "base", "track", "source", "metric", "measure", "difference"))
    for (metric, measure), sources in comparison.differences.items():
        for source, rows in sources.items():
            for row, difference in rows.items():
                for track, value in difference.values.items():
                    writer.writerow(
                        (row, comparison.base, track, source, metric, measure, repr(value))
                    )
    return stream.getvalue()


def page(comparison: Comparison) -> Iterator[str]:
    """Yield the lines of the Markdown page."""
    yield f"# Compared with {text(comparison.base)}"
    yield ""
    yield (
        "Differences in dB, row less base, on the tracks that both have a value for: above 0 the "
        "row is better. In brackets the 95 % interval by bootstrap over tracks: one that holds 0 "
        "is no evidence of a difference, and of many intervals some miss 0 by chance. Better and "
        f"worse: tracks that differ by {SMALLEST_DB} dB or more."
    )
    for metric, title in comparison.titles.items():
        yield from ("", f"## {metric}", "", text(title))
        for (name, measure), sources in comparison.differences.items():
            if name == metric:
                yield from _measure(metric, measure, sources)
    if comparison.unlike:
        yield ""
        yield (
            f"Rows with other sources than the base: {text(', '.join(comparison.unlike))}. "
            "bsseval's SIR and SAR, and the windows that museval leaves out, depend on the sources "
            "scored together."
        )
    if comparison.unpaired:
        yield ""
        yield (
            "Rows with no value on a track, source and metric of the base, left out: "
            f"{text(', '.join(comparison.unpaired))}."
        )
    if comparison.left_out:
        yield ""
        yield f"Without values of the base: {', '.join(comparison.left_out)}."


def _measure(
    metric: str, measure: str, sources: Mapping[str, Mapping[str, Difference]]
) -> Iterator[str]:
    yield from ("", f"{measure}:", "")
    header = ["row", "source", "median difference", "mean difference", "better", "worse", "tracks"]
    rows = [
        [
            text(row),
            text(source),
            number(d.median, d.median_interval, sign=True),
            number(d.mean, d.mean_interval, sign=True),
            *map(str, (d.better, d.worse, d.tracks)),
        ]
        for row in dict.fromkeys(row for of_rows in sources.values() for row in of_rows)
        for source, of_rows in sources.items()
        if (d := of_rows.get(row))
    ]
    yield from table(header, rows, texts=2)
    yield from ("", f"![{metric}: {measure}, differences]({PLOTS}/{metric}_{measure}.png)")


def _check_alike(reports: Sequence[Report]) -> None:
    """Refuse to pair values that mean different things."""
    titles: dict[str, str] = {}
    tracks: dict[str, tuple[int, int]] = {}
    for report in reports:
        for metric, title in report.titles.items():
            if titles.setdefault(metric, title) != title:
                raise EvaluationError(
                    f"reports must define {metric} alike; received {titles[metric]!r} and "
                    f"{title!r}. Evaluate again with one version."
                )
        for track, form in report.tracks.items():
            if tracks.setdefault(track, form) != form:
                raise EvaluationError(
                    f"reports must be of the same audio; received {track} with samples and rate "
                    f"{tracks[track]} and {form}. Evaluate on one data set."
                )
    if len({report.accompaniment for report in reports}) > 1:
        raise EvaluationError(
            "the accompaniment must be scored in all reports or in none, because the vocals' "
            "bsseval scores change with it; received both. Evaluate again with or without "
            "--accompaniment."
        )


def _labels(reports: Sequence[Report]) -> dict[tuple[int, str], str]:
    """Return a label for every row, by report and name."""
    names = [row for report in reports for row in report.rows]
    folders = [report.folder.resolve().name for report in reports]
    labels = {}
    for index, report in enumerate(reports):
        unique = folders.count(folders[index]) == 1
        folder = folders[index] if unique else str(report.folder)
        for row in report.rows:
            labels[index, row] = row if names.count(row) == 1 else f"{folder}/{row}"
    if len(set(labels.values())) < len(labels):
        raise EvaluationError(
            f"each report must be given once; received {', '.join(str(r.folder) for r in reports)}."
        )
    return labels


def _unlike(
    reports: Sequence[Report], labels: Mapping[tuple[int, str], str], base: str
) -> tuple[str, ...]:
    """Return the labels of the rows that do not have the sources of the base."""
    sources = {label: reports[index].rows[row] for (index, row), label in labels.items()}
    return tuple(label for label, own in sources.items() if own != sources[base])


def _joined(
    reports: Sequence[Report], labels: Mapping[tuple[int, str], str]
) -> tuple[dict[str, str], dict[Key, Values]]:
    """Return the title of every metric, and all values by label."""
    titles: dict[str, str] = {}
    values: dict[Key, Values] = {}
    for index, report in enumerate(reports):
        titles |= report.titles
        for (row, metric, measure, source), of_tracks in report.values.items():
            if (index, row) in labels:
                values[labels[index, row], metric, measure, source] = of_tracks
    return titles, values
