"""One evaluation: what is to be done, doing what is missing, writing the report."""

from __future__ import annotations

import fnmatch
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from mmdense_edge.errors import printable
from tqdm import tqdm

from keras_mmdense.data import Dataset, Track
from keras_mmdense.data.readers import composed
from training.evaluation.errors import EvaluationError
from training.evaluation.report import write_report
from training.evaluation.results import (
    fingerprint,
    read_result,
    result_path,
    stored_fingerprint,
    write_result,
)
from training.evaluation.rows import Row
from training.evaluation.runner import Outcome, Task, run
from training.evaluation.songs import label
from training.evaluation.summary import Evaluation
from training.train.run_folder import commit, write_text

RECORD = "run.json"
PACKAGES = (  # whose versions a score may depend on
    "keras", "ai-edge-litert", "keras-mmdense", "numpy", "scipy", "soundfile", "soxr", "tensorflow",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What an evaluation is to score.

    Args:
        dataset: The data set.
        tracks: Its tracks to score.
        rows: The rows.
        metrics: Names of the metrics.
        report: Folder of the report.
        accompaniment: The accompaniment is scored.
    """

    dataset: Dataset
    tracks: tuple[Track, ...]
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    report: Path
    accompaniment: bool

    def places(self) -> list[tuple[Row, Track, str]]:
        """Return row, track and metric of every result, track by track."""
        return [
            (row, track, metric)
            for track in self.tracks
            for row in self.rows
            if label(track) not in row.missing
            for metric in self.metrics
        ]


def choose_tracks(
    dataset: Dataset, patterns: Sequence[str] = (), limit: int | None = None
) -> tuple[Track, ...]:
    """Return the tracks to score.

    Args:
        dataset: The data set.
        patterns: Names of tracks, also as "Artist*"; none for all.
        limit: No more than this many, the first ones.

    Raises:
        EvaluationError: A pattern that fits no track, or a limit below 1.
    """
    tracks = list(dataset)
    for pattern in patterns:
        if not any(_fits(track, pattern) for track in tracks):
            raise EvaluationError(
                f"--tracks must name tracks of the data; received {printable(pattern)}, which fits "
                f"none of {len(tracks)}. python -m keras_mmdense.data lists them."
            )
    if limit is not None and limit < 1:
        raise EvaluationError(f"--limit must be 1 or more; received {limit}. Leave it out for all.")
    chosen = [t for t in tracks if not patterns or any(_fits(t, p) for p in patterns)]
    return tuple(chosen[:limit])


def evaluate(plan: Plan, jobs: int, stream: TextIO) -> list[str]:
    """Score what is not scored yet, then write the report.

    Args:
        plan: What to score.
        jobs: Processes.
        stream: Where progress and faults are told.

    Returns:
        The faults of tracks that could not be scored, a line each; with any, no report is
        written, and the results of the other tracks are kept.

    Raises:
        EvaluationError: The folder holds something else, or a process died.
        OSError: A file cannot be written.
    """
    runs = check_folder(plan)
    tasks, marks = pending(plan)
    this = _run(plan)
    runs += [this] if tasks else []
    begin = time.monotonic()
    plan.report.mkdir(parents=True, exist_ok=True)
    _write_record(plan, runs)
    done = len(plan.places()) - sum(len(task.metrics) for task in tasks)
    if done:
        print(f"{done} results of an earlier run are kept", file=stream)
    faults: list[str] = []
    bar = tqdm(total=len(tasks), file=stream, leave=False, disable=None, dynamic_ncols=True)

    def finished(outcome: Outcome) -> None:
        row, track = outcome.task.row, outcome.task.track
        for metric, scores in outcome.scores.items():
            path = result_path(plan.report, metric, row.name, track)
            write_result(path, row, track, metric, marks[path], scores)
        if outcome.fault:
            faults.append(f"{printable(row.name)}, {printable(label(track))}: {outcome.fault}")
        bar.set_postfix_str(f"{printable(row.name)}, {printable(label(track))}", refresh=False)
        bar.update()

    with bar:
        run(tasks, plan.report, jobs, finished)
    if not faults:
        write_report(collect(plan), plan.report)
        this["seconds"] = round(time.monotonic() - begin, 1)
        _write_record(plan, runs)
    return faults


def pending(plan: Plan) -> tuple[list[Task], dict[Path, str]]:
    """Return the tasks whose results are missing or stale, and the fingerprint of every result."""
    marks: dict[Path, str] = {}
    wanted: dict[tuple[str, str], tuple[Row, Track, list[str]]] = {}
    for row, track, metric in plan.places():
        path = result_path(plan.report, metric, row.name, track)
        marks[path] = fingerprint(row, track, metric)
        if stored_fingerprint(path) != marks[path]:
            wanted.setdefault((label(track), row.name), (row, track, []))[2].append(metric)
    tasks = [
        Task(row, track, tuple(metrics), plan.accompaniment)
        for row, track, metrics in wanted.values()
    ]
    return tasks, marks


def collect(plan: Plan) -> Evaluation:
    """Read all results."""
    paths = [result_path(plan.report, m, row.name, track) for row, track, m in plan.places()]
    results = [read_result(path) for path in paths]
    dataset = plan.dataset
    faults = [fault.describe(dataset.root) for fault in dataset.faults]
    return Evaluation(
        data=dataset.root.name,
        kind=dataset.kind,
        sources=dataset.sources,
        tracks=plan.tracks,
        left_out=tuple(faults),
        rows=plan.rows,
        metrics=plan.metrics,
        results=tuple(results),
    )


def check_folder(plan: Plan) -> list[dict[str, Any]]:
    """Refuse a folder with other things in it, or a report that this one would cut down.

    Returns:
        The runs that scored something for the report before, as its record has them.

    Raises:
        EvaluationError: Says which.
    """
    folder, record = plan.report, plan.report / RECORD
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not record.is_file():
        raise EvaluationError(
            f"--out must be a new or empty folder, or a report to go on with; received "
            f"{printable(folder)}. Choose another."
        )
    if not record.exists():
        return []
    try:
        before, now = json.loads(record.read_text("utf-8")), _contents(plan)
        lost = [
            name for key in ("rows", "metrics", "tracks") for name in before[key]
            if name not in now[key]
        ]  # fmt: skip
        runs = list(before["runs"])
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{record} must be the record of a report; received {error!r}. Choose another --out."
        ) from error
    if lost:
        raise EvaluationError(
            f"the report in {printable(folder)} has {printable(', '.join(lost[:5]))}, which this "
            "command would leave out. Name all rows, metrics and tracks, or choose another --out."
        )
    return runs


def _fits(track: Track, pattern: str) -> bool:
    name, pattern = composed(track.name), composed(pattern)
    # a name may hold brackets, which mean something in a pattern
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _contents(plan: Plan) -> dict[str, list[str]]:
    return {
        "rows": [row.name for row in plan.rows],
        "metrics": list(plan.metrics),
        "tracks": [label(track) for track in plan.tracks],
    }


def _write_record(plan: Plan, runs: Sequence[Mapping[str, Any]]) -> None:
    """Write what the report holds, and the runs that made it."""
    text = json.dumps({**_contents(plan), "runs": runs}, indent=1)
    write_text(plan.report / RECORD, f"{text}\n")


def _run(plan: Plan) -> dict[str, Any]:
    """Return what may differ from one run to the next; "seconds" only of one that was finished."""
    return {
        "command": sys.argv,
        "data": str(plan.dataset.root),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": None,
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
