"""The files of a report: scores.csv, summary.json, report.md and the plots."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mmdense_edge.errors import printable
from scipy import stats

from keras_mmdense.plot import boxes
from keras_mmdense.plot.style import attempt
from training.evaluate.metrics import ENGINES, METRICS
from training.evaluate.metrics.source_score import ACCOMPANIMENT
from training.evaluate.rows import Row
from training.train.run_folder import write_text

SUMMARY, SCORES, PAGE, PLOTS = "summary.json", "scores.csv", "report.md", "plots"
FORMAT, VERSION = "mmdense-evaluation", 1
KEYS = ["row", "track", "source", "metric", "measure"]
SILENT = ("silent_references", "silent_estimates")  # counts, stored like measures
RESAMPLES, LEVEL, SEED = 5000, 95.0, 0
NOTHING, NO_CELL = "-", {"value": None, "interval": None}

Interval = tuple[float, float]


def write_report(
    report: Path,
    data: Mapping[str, Any],
    rows: Sequence[Row],
    metrics: Sequence[str],
    results: Iterable[Mapping[str, Any]],
    engine: str = "own",
) -> None:
    """Write a report; the same results give the same bytes.

    Args:
        report: The folder; an earlier report of the same rows is replaced.
        data: What was scored: name, kind, sources, tracks, and what was left out.
        rows: The rows.
        metrics: Names of the metrics.
        results: From `scoring.read_result`.
        engine: Who computed the metrics.

    Raises:
        OSError: A file cannot be written.
    """
    lines = [
        (result["row"], printable(result["track"]), target["name"], result["metric"], name, value)
        for result in results
        for target in result["targets"]
        for name, value in [*target["values"].items(), *((name, target[name]) for name in SILENT)]
    ]
    scores = pd.DataFrame(lines, columns=[*KEYS, "value"]).astype({"value": float})
    groups = scores.dropna().groupby(["metric", "row", "source", "measure"])["value"]
    values = {key: list(group) for key, group in groups}
    columns = [
        *data["sources"],
        *([ACCOMPANIMENT] if any(row.accompaniment for row in rows) else []),
    ]
    measured = scores[~scores["measure"].isin(SILENT)]
    box_plots(measured, "value", report / PLOTS, "", f"of {len(data['tracks'])} tracks")
    summary = {
        "format": FORMAT,
        "version": VERSION,
        "data": data,
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "rows": [{key: x for key, x in asdict(row).items() if key != "paths"} for row in rows],
        "metrics": {
            name: {
                "title": ENGINES[engine][name].title,
                "measures": METRICS[name].measures,
                "over_tracks": METRICS[name].over_tracks,
                "rows": {row.name: summarize(values, name, row, data) for row in rows},
            }
            for name in metrics
        },
    }
    write_text(report / SCORES, measured.to_csv(index=False, lineterminator="\n"))
    write_text(report / PAGE, "\n\n".join(page(summary, columns)) + "\n")
    write_text(report / SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n")


def listed(report: Path) -> str:
    """Return the scores of a report as text: the first measure of each metric."""
    summary = json.loads((report / SUMMARY).read_text("utf-8"))
    texts = []
    for name, metric in summary["metrics"].items():
        measure = metric["measures"][0]
        cells = {
            printable(row): {s: cell[measure]["value"] for s, cell in scores["sources"].items()}
            | {"mean": scores["mean"][measure]}
            for row, scores in metric["rows"].items()
        }
        frame = pd.DataFrame.from_dict(cells, orient="index", dtype=float)
        shown = frame.to_string(float_format="{:.2f}".format, na_rep=NOTHING)
        texts.append(f"{measure} in dB by {name}, {metric['over_tracks']} over tracks\n{shown}")
    return "\n\n".join(texts)


def summarize(
    values: Mapping[tuple[str, str, str, str], Sequence[float]],
    metric: str,
    row: Row,
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the scores of a row by one metric, in the form of summary.json.

    `sources.SOURCE.MEASURE` contains `value`, `interval` (95 %, or null) and `tracks`, the number
    of tracks with a value. `mean` contains, for each measure, the mean over all sources of the data
    set without the accompaniment; null if one of them has no value.

    Args:
        values: Values of the tracks by metric, row, source and measure, without NaN.
        metric: Its name.
        row: The row.
        data: As for `write_report`.
    """
    over_tracks = METRICS[metric].over_tracks
    sources: dict[str, Any] = {}
    for source in row.sources:
        own = {
            measure: values.get((metric, row.name, source, measure), [])
            for measure in (*SILENT, *METRICS[metric].measures)
        }
        sources[source] = {name: int(sum(own.pop(name))) for name in SILENT}
        sources[source] |= {
            measure: {
                "value": float(getattr(np, over_tracks)(known)) if known else None,
                "interval": bootstrap(known, over_tracks),
                "tracks": len(known),
            }
            for measure, known in own.items()
        }
    means = {}
    for measure in METRICS[metric].measures:
        cells = [sources.get(s, {}).get(measure, NO_CELL)["value"] for s in data["sources"]]
        means[measure] = None if None in cells else float(np.mean(cells))
    return {
        "tracks": len(data["tracks"]) - len(row.missing),
        "sources": sources,
        "mean": means,
    }


def bootstrap(values: Sequence[float], over_tracks: str) -> Interval | None:
    """Return the 95 % percentile interval of a median or mean, by resampling the tracks.

    The seed is fixed, so the same values give the same interval.

    Args:
        values: One per track.
        over_tracks: "median" or "mean".

    Returns:
        Lower and upper end, or None for fewer than two values.

    Example:
        >>> bootstrap([1.0, 1.0, 1.0], "mean")
        (1.0, 1.0)

    Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if len(values) < 2:
        return None
    low, high = stats.bootstrap(
        (values,),
        getattr(np, over_tracks),
        n_resamples=RESAMPLES,
        confidence_level=LEVEL / 100,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(low), float(high)


def box_plots(
    scores: pd.DataFrame, column: str, folder: Path, change: str, of: str, zero: bool = False
) -> None:
    """Draw a figure for each metric and measure: a panel for each source, a box for each row.

    A figure that cannot be drawn is reported and left out.

    Args:
        scores: With `KEYS` and the column.
        column: The values to draw.
        folder: Folder for the PNG and SVG files, called METRIC_MEASURE; created if needed.
        change: Text before the measure on the axis: "difference of ", for example.
        of: Text after the measure in the title.
        zero: Draw a line at 0.
    """
    folder.mkdir(exist_ok=True)
    for (metric, measure), group in scores.groupby(["metric", "measure"], sort=False):
        panels = {
            source: {row: list(x.dropna()) for row, x in own.groupby("row", sort=False)[column]}
            for source, own in group.groupby("source", sort=False)
        }
        attempt(
            boxes, panels, f"{change}{measure} in dB", folder / f"{metric}_{measure}",
            title=f"{metric}: {measure} {of}", zero=zero, overwrite=True,
        )  # fmt: skip


def page(summary: Mapping[str, Any], columns: Sequence[str]) -> Iterator[str]:
    """Yield the paragraphs of the Markdown page."""
    data, rows, interval = summary["data"], summary["rows"], summary["interval"]
    seconds = sum(track["num_samples"] / track["sample_rate"] for track in data["tracks"])
    yield f"# Evaluation on {text(data['name'])}"
    yield (
        f"{len(data['tracks'])} tracks ({data['kind']}), {seconds / 60:.1f} minutes, sources "
        f"{text(', '.join(data['sources']))}."
    )
    shown = 4 if any(row["wiener"] for row in rows) else 3
    lines = [
        [text(r["name"]), text(r["description"]), r["sha256"][:12] or NOTHING, str(r["wiener"])]
        for r in rows
    ]
    header = ["row", "what it is", "SHA-256", "Wiener iterations"]
    yield table(header[:shown], [line[:shown] for line in lines], texts=3)
    for name, metric in summary["metrics"].items():
        yield f"## {name}"
        yield text(metric["title"])
        for measure in metric["measures"]:
            yield f"{measure} in dB, {metric['over_tracks']} over tracks (95 % interval):"
            lines = [
                [
                    text(row),
                    *(
                        number(cell["value"], cell["interval"])
                        for source in columns
                        for cell in [scores["sources"].get(source, {}).get(measure, NO_CELL)]
                    ),
                    number(scores["mean"][measure]),
                    str(scores["tracks"]),
                ]
                for row, scores in metric["rows"].items()
            ]
            yield table(["row", *map(text, columns), "mean of sources", "tracks"], lines)
            yield f"![{name}: {measure} over tracks]({PLOTS}/{name}_{measure}.png)"
        counts = {
            row: [[scores["sources"].get(s, {}).get(kind, 0) for kind in SILENT] for s in columns]
            for row, scores in metric["rows"].items()
        }
        lines = [
            [text(row), *(f"{reference} / {estimate}" for reference, estimate in cells)]
            for row, cells in counts.items()
            if np.any(cells)
        ]
        if lines:
            yield (
                "Number of windows in which the reference / the estimate is silent, in rows with "
                "such windows:"
            )
            yield table(["row", *map(text, columns)], lines)
        else:
            yield "No reference and no estimate has a silent window."
    yield "## Notes"
    rules = "; ".join(f"{text(r['name'])}: {r['accompaniment']}" for r in rows)
    notes = [
        f"Intervals: {interval['level']:g} % percentile bootstrap over tracks, "
        f"{interval['resamples']} resamples, seed {interval['seed']}. They say how much a "
        "row would change with other tracks of this kind, not whether two rows differ: for that, "
        "`python -m training.evaluate.compare` pairs the tracks.",
        "Mean of sources: the mean of the values in the row, without the accompaniment.",
        any(row["accompaniment"] for row in rows)
        and f"The accompaniment is {rules}. The reference is the sum of all sources except the "
        "vocals. The accompaniment and the vocals are scored together, without other sources.",
        len({row["sources"] for row in rows}) > 1
        and "The rows have different sources. bsseval's SIR and SAR, and the windows that "
        "museval leaves out, depend on the sources scored together.",
        *(
            f"{text(row['name'])} has no estimates of {len(row['missing'])} tracks, which its "
            f"values leave out: {text('; '.join(row['missing']))}."
            for row in rows
            if row["missing"]
        ),
        *(
            f"{text(row['name'])}: estimates up to 0.1 s longer or shorter than their tracks "
            f"were cut, or padded with zeros: {text('; '.join(row['fitted']))}."
            for row in rows
            if row["fitted"]
        ),
        *(f"Left out of the data: {text(fault)}" for fault in data["left_out"]),
    ]
    yield "\n".join(f"- {note}" for note in notes if note)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    r"""Return a Markdown table.

    Args:
        header: Names of the columns.
        rows: The cells.
        texts: Number of text columns, which are aligned left; the others are aligned right.

    Example:
        >>> print(table(["row", "bass"], [["a|b", "1.00"]]))
        | row | bass |
        |---|--:|
        | a|b | 1.00 |
    """
    first, *others = (f"| {' | '.join(cells)} |" for cells in (header, *rows))
    rule = "|" + "---|" * texts + "--:|" * (len(header) - texts)
    return "\n".join([first, rule, *others])


def number(value: float | None, interval: Interval | None = None, sign: str = "") -> str:
    """Return a value in dB with its interval, or a dash if there is no value.

    Args:
        value: In dB.
        interval: Its lower and upper end.
        sign: "+" to write the sign of positive values.

    Example:
        >>> number(1.234, (1.0, 1.5)), number(0.5, sign="+"), number(None)
        ('1.23 (1.00 to 1.50)', '+0.50', '-')
    """
    if value is None:
        return NOTHING
    # no -0.00
    first, *ends = (f"{round(x, 2) + 0.0:{sign}.2f}" for x in (value, *(interval or ())))
    return f"{first} ({' to '.join(ends)})" if ends else first


def text(value: str) -> str:
    r"""Return a name, escaped for Markdown and on one line.

    Example:
        >>> text("a_b*[c]")
        'a\\_b\\*\\[c\\]'
    """
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in printable(value))
