"""The score of one track of one row by one metric: a JSON file in museval's format.

REPORT/METRIC/ROW/SUBSET/TRACK.json. museval's `EvalStore.add_eval_dir(REPORT/museval/ROW)` reads
the files below "test", so the tracks of trees without subsets stand there, too. A value that is
not defined is left out of a frame, which museval reads as NaN; its own files hold the word NaN,
which JSON does not know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_mmdense.data import Track
from training.evaluation.errors import EvaluationError
from training.evaluation.folders import file_facts, find_estimates
from training.evaluation.metrics import METRICS
from training.evaluation.rows import Row
from training.evaluation.scores import SourceScore
from training.evaluation.songs import label
from training.train.run_folder import write_text

Scores = Mapping[str, SourceScore]


@dataclass(frozen=True)
class Result:
    """What the tables need of one file.

    Args:
        row: Name of the row.
        track: Label of the track.
        metric: Name of the metric.
        values: dB by source and measure; None where not defined.
        silent_references: Silent windows of the reference by source.
        silent_estimates: Silent windows of the estimate by source.
    """

    row: str
    track: str
    metric: str
    values: Mapping[str, Mapping[str, float | None]]
    silent_references: Mapping[str, int]
    silent_estimates: Mapping[str, int]


def result_path(report: Path, metric: str, row: str, track: Track) -> Path:
    """Return the file of a result."""
    return report / metric / row / (track.subset or "test") / f"{track.name}.json"


def fingerprint(row: Row, track: Track, metric: str) -> str:
    """Return a checksum of all that a result depends on: row, track, metric, versions.

    Model files count with their content, audio files with size and time of change.
    """
    m = METRICS[metric]
    streams = {name: stream.path for name, stream in track.streams.items()}
    own = find_estimates(row.paths[0], track, row.estimated) if row.kind == "folder" else {}
    facts = {
        "row": row.identity,
        "metric": [m.name, m.title, m.measures],
        "track": [label(track), track.num_samples, track.sample_rate, track.channels],
        "sources": track.sources,
        "audio": file_facts(streams),
        "estimates": file_facts(own),
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def write_result(
    path: Path, row: Row, track: Track, metric: str, mark: str, scores: Scores
) -> None:
    """Write a result beside its place, then rename it.

    Args:
        path: The file.
        row: The row.
        track: The track.
        metric: Name of the metric.
        mark: The fingerprint.
        scores: The score of each source.

    Raises:
        OSError: It cannot be written; nothing is left then.
    """
    content = {
        "row": row.name,
        "track": label(track),
        "metric": metric,
        "title": METRICS[metric].title,
        "num_samples": track.num_samples,
        "sample_rate": track.sample_rate,
        "wiener": row.wiener,
        "accompaniment": row.rule,
        "fingerprint": mark,
        "targets": [_target(source, score) for source, score in scores.items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> Result:
    """Read what `write_result` wrote.

    Raises:
        EvaluationError: It is no such file.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        targets = {target["name"]: target for target in content["targets"]}
        return Result(
            content["row"],
            content["track"],
            content["metric"],
            {source: target["values"] for source, target in targets.items()},
            {source: target["silent_references"] for source, target in targets.items()},
            {source: target["silent_estimates"] for source, target in targets.items()},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{path} must be a result of this command; received {error!r}. Delete the file."
        ) from error


def stored_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of a result; None where there is no result.

    Raises:
        EvaluationError: The file there is something else, which is not overwritten.
    """
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text("utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{path} must be a result of this command; received {error!r}. Move the file away."
        ) from error


def _target(source: str, score: SourceScore) -> dict[str, Any]:
    frames = [
        {
            "time": frame.time,
            "duration": frame.duration,
            "metrics": {name: value for name, value in frame.values.items() if value is not None},
        }
        for frame in score.frames
    ]
    return {
        "name": source,
        "values": dict(score.values),
        "silent_references": score.silent_references,
        "silent_estimates": score.silent_estimates,
        "frames": frames,
    }
