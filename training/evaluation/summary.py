"""The numbers of a report: per row, source and measure one value over the tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_mmdense.data import Track
from training.evaluation.metrics import METRICS
from training.evaluation.results import Result
from training.evaluation.rows import Row
from training.evaluation.scores import ACCOMPANIMENT
from training.evaluation.songs import label
from training.evaluation.statistics import LEVEL, RESAMPLES, SEED, bootstrap

FORMAT, VERSION = "mmdense-evaluation", 1


@dataclass(frozen=True)
class Evaluation:
    """All that a report is made of.

    Args:
        data: Name of the data set's folder.
        kind: Its kind.
        sources: Its sources.
        tracks: The tracks that were scored.
        left_out: Why other tracks could not be used, a line each.
        rows: The rows.
        metrics: Names of the metrics.
        results: One per metric, row and track that the row has.
    """

    data: str
    kind: str
    sources: tuple[str, ...]
    tracks: tuple[Track, ...]
    left_out: tuple[str, ...]
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def scored(self) -> tuple[str, ...]:
        """The sources of the tables: those of the data, the accompaniment last."""
        derived = any(row.rule for row in self.rows)
        return (*self.sources, *((ACCOMPANIMENT,) if derived else ()))

    def of(self, metric: str, row: str) -> list[Result]:
        """Return the results of a row, in the order of the tracks."""
        return [r for r in self.results if (r.metric, r.row) == (metric, row)]


def values_of(results: Sequence[Result], source: str, measure: str) -> list[float | None]:
    """Return a value per track; None where it is not defined or the source is not scored."""
    return [result.values.get(source, {}).get(measure) for result in results]


def summarize(evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of summary.json.

    `metrics.NAME.rows.ROW.sources.SOURCE.MEASURE` has `value`, `interval` (95 %, or null) and
    `tracks`, the number of tracks with a value; `mean` has, by measure, the mean of the values of
    all sources of the data, the accompaniment apart; null where one of them is not there.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "data": {
            "name": evaluation.data,
            "kind": evaluation.kind,
            "sources": list(evaluation.sources),
            "tracks": [
                {"name": label(t), "num_samples": t.num_samples, "sample_rate": t.sample_rate}
                for t in evaluation.tracks
            ],
            "left_out": list(evaluation.left_out),
        },
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "rows": [_row(row) for row in evaluation.rows],
        "metrics": {name: _metric(evaluation, name) for name in evaluation.metrics},
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "description": row.describe(),
        "sources": list(row.sources),
        "sha256": row.digest,
        "wiener": row.wiener,
        "accompaniment": row.rule,
        "missing": list(row.missing),
        "fitted": list(row.fitted),
    }


def _metric(evaluation: Evaluation, name: str) -> dict[str, Any]:
    metric = METRICS[name]
    rows = {row.name: _scores(evaluation, name, row) for row in evaluation.rows}
    return {
        "title": metric.title,
        "measures": list(metric.measures),
        "over_tracks": metric.over_tracks,
        "rows": rows,
    }


def _scores(evaluation: Evaluation, name: str, row: Row) -> dict[str, Any]:
    metric, results = METRICS[name], evaluation.of(name, row.name)
    sources: dict[str, Any] = {}
    for source in row.sources:
        sources[source] = {
            "silent_references": sum(r.silent_references.get(source, 0) for r in results),
            "silent_estimates": sum(r.silent_estimates.get(source, 0) for r in results),
        }
        for measure in metric.measures:
            values = values_of(results, source, measure)
            sources[source][measure] = {
                "value": metric.combine(values),
                "interval": bootstrap(values, metric.over_tracks),
                "tracks": sum(value is not None for value in values),
            }
    means = {measure: _mean(sources, evaluation.sources, measure) for measure in metric.measures}
    return {"tracks": len(results), "sources": sources, "mean": means}


def _mean(scores: Mapping[str, Any], sources: Sequence[str], measure: str) -> float | None:
    values = [scores[source][measure]["value"] for source in sources if source in scores]
    if len(values) < len(sources) or None in values:
        return None
    return float(sum(values) / len(values))
