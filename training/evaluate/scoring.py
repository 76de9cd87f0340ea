"""Score tracks, in this process or in several; every result is written as soon as it is finished.

A result is the score of one track of one row by one metric: a JSON file in museval's format,
REPORT/METRIC/ROW/SUBSET/TRACK.json. museval's `EvalStore.add_eval_dir(REPORT/museval/ROW)` reads
the files below "test", so the tracks of trees without subsets stand there, too. A value that is
not defined is left out of a frame, which museval reads as NaN; its own files hold the word NaN,
which JSON does not know.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mmdense_edge.errors import MMDenseError, printable
from mmdense_edge.model.interpreter import MAX_THREADS, free_cores
from tqdm import tqdm

from keras_mmdense import __version__
from keras_mmdense.data import Dataset, Track, TrackError
from keras_mmdense.errors import AudioError, SettingsError
from training.evaluate import EvaluationError
from training.evaluate.estimators import open_estimator
from training.evaluate.metrics import METRICS
from training.evaluate.metrics.source_score import SourceScore
from training.evaluate.rows import Row, find_estimates
from training.evaluate.songs import Song, label, open_song, stored
from training.train.run_folder import commit, write_text

RECORD = "run.json"
PACKAGES = (  # whose versions a score may depend on
    "keras", "ai-edge-litert", "keras-mmdense", "numpy", "scipy", "soundfile", "soxr", "tensorflow",
)  # fmt: skip

# What a file or a model can do wrong; anything else is a fault of this program.
FAULTS = (TrackError, AudioError, SettingsError, MMDenseError, EvaluationError, OSError)

# Each process computes with its share of the cores.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

Task = tuple[Row, Track, Mapping[str, str]]  # the metrics wanted, each with its fingerprint
Scores = Mapping[str, Mapping[str, SourceScore]]  # by metric and source


def evaluate(
    dataset: Dataset,
    tracks: Sequence[Track],
    rows: Sequence[Row],
    metrics: Sequence[str],
    report: Path,
    jobs: int = 1,
) -> list[str]:
    """Score what is not scored yet, then write the report.

    Args:
        dataset: The data set.
        tracks: Its tracks to score.
        rows: The rows.
        metrics: Names of the metrics.
        report: Folder of the report.
        jobs: Processes.

    Returns:
        The faults of tracks that could not be scored, a line each; with any, no report is
        written, and the results of the other tracks are kept.

    Raises:
        EvaluationError: The folder holds something else, or a process died.
        OSError: A file cannot be written.
    """
    # not at the top: the processes that score need no pandas
    from training.evaluate.tables import read_scores, write_report

    contents = {
        "rows": [row.name for row in rows],
        "metrics": list(metrics),
        "tracks": [label(track) for track in tracks],
    }
    runs = earlier_runs(report, contents)
    places = [(row, t) for t in tracks for row in rows if label(t) not in row.missing]
    paths = [result_path(report, metric, *place) for place in places for metric in metrics]
    tasks = list(pending(places, metrics, report))
    run: dict[str, Any] = {
        "command": sys.argv,
        "data": str(dataset.root),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": None,  # only of a run that was finished
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {d.name: d.version for d in distributions() if d.name in PACKAGES},
    }
    started = time.monotonic()
    record = {**contents, "runs": [*runs, run] if tasks else runs}
    report.mkdir(parents=True, exist_ok=True)
    write_text(report / RECORD, json.dumps(record, indent=1) + "\n")
    kept = len(paths) - sum(len(marks) for _, _, marks in tasks)
    if kept:
        print(f"{kept} results of an earlier run are kept", file=sys.stderr)
    faults = []
    bar = tqdm(total=len(tasks), leave=False, disable=None, dynamic_ncols=True)
    with closing(score(tasks, report, jobs)) as outcomes, bar:
        for (row, track, marks), scores, fault in outcomes:
            for metric, by_source in scores.items():
                write_result(report, row, track, metric, marks[metric], by_source)
            where = f"{printable(row.name)}, {printable(label(track))}"
            faults += [f"{where}: {fault}"] if fault else []
            bar.set_postfix_str(where, refresh=False)
            bar.update()
    if not faults:
        data = {
            "name": dataset.root.name,
            "kind": dataset.kind,
            "sources": list(dataset.sources),
            "tracks": [
                {"name": label(t), "num_samples": t.num_samples, "sample_rate": t.sample_rate}
                for t in tracks
            ],
            "left_out": [fault.describe(dataset.root) for fault in dataset.faults],
        }
        write_report(report, data, rows, metrics, read_scores(map(read_result, paths)))
        run["seconds"] = round(time.monotonic() - started, 1)
        write_text(report / RECORD, json.dumps(record, indent=1) + "\n")
    return faults


def earlier_runs(report: Path, contents: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Refuse a folder with other things in it, or a report that this one would cut down.

    Args:
        report: Folder of the report.
        contents: The names of the rows, metrics and tracks.

    Returns:
        The runs that scored something for the report before, as its record has them.

    Raises:
        EvaluationError: Says which.
    """
    record = report / RECORD
    if not record.is_file():
        if report.exists() and (not report.is_dir() or any(report.iterdir())):
            raise EvaluationError(
                f"--out must be a new or empty folder, or a report to go on with; received "
                f"{printable(report)}. Choose another."
            )
        return []
    try:
        before = json.loads(record.read_text("utf-8"))
        lost = [name for key, now in contents.items() for name in before[key] if name not in now]
        runs = list(before["runs"])
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{record} must be the record of a report; received {error!r}. Choose another --out."
        ) from error
    if lost:
        raise EvaluationError(
            f"the report in {printable(report)} has {printable(', '.join(lost[:5]))}, which this "
            "command would leave out. Name all rows, metrics and tracks, or choose another --out."
        )
    return runs


def pending(
    places: Sequence[tuple[Row, Track]], metrics: Sequence[str], report: Path
) -> Iterator[Task]:
    """Yield the tasks whose results are missing or stale.

    Raises:
        EvaluationError: There is something else in a result's place.
    """
    for row, track in places:
        marks = {metric: fingerprint(row, track, metric) for metric in metrics}
        paths = {metric: result_path(report, metric, row, track) for metric in metrics}
        stale = {
            metric: mark
            for metric, mark in marks.items()
            if not paths[metric].exists() or read_result(paths[metric])["fingerprint"] != mark
        }
        if stale:
            yield row, track, stale


def result_path(report: Path, metric: str, row: Row, track: Track) -> Path:
    """Return the file of a result."""
    return report / metric / row.name / (track.subset or "test") / f"{track.name}.json"


def fingerprint(row: Row, track: Track, metric: str) -> str:
    """Return a checksum of all that a result depends on: row, track, metric, version.

    Model files count with their content, audio files with size and time of change.
    """
    files = {name: stream.path for name, stream in track.streams.items()}
    if row.kind == "folder":
        own = find_estimates(row.paths[0], track, row.estimated)
        files |= {f"estimate {name}": path for name, path in own.items()}
    stats = {name: path.stat() for name, path in files.items()}
    facts = {
        "version": __version__,
        "row": [row.kind, row.sha256, row.sources, row.wiener, row.accompaniment],
        "baseline": row.name if row.kind == "baseline" else "",
        "metric": [metric, METRICS[metric].title, METRICS[metric].measures],
        "track": [label(track), track.num_samples, track.sample_rate, track.channels],
        "sources": track.sources,
        "files": {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()},
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def write_result(
    report: Path, row: Row, track: Track, metric: str, mark: str, scores: Mapping[str, SourceScore]
) -> None:
    """Write a result beside its place, then rename it.

    Args:
        report: Folder of the report.
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
        "accompaniment": row.accompaniment,
        "fingerprint": mark,
        "targets": [{"name": source, **asdict(score)} for source, score in scores.items()],
    }
    path = result_path(report, metric, row, track)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> dict[str, Any]:
    """Read what `write_result` wrote.

    Raises:
        EvaluationError: It is something else, which is not overwritten.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        _ = content["fingerprint"], content["targets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{path} must be a result of this command; received {error!r}. Move the file away."
        ) from error
    return content


_songs: dict[Track, Song] = {}  # the song of the last task of this process


def score_task(task: Task, folder: Path, num_threads: int) -> tuple[Task, Scores, str]:
    """Score a track of a row; models stay open, and the song until another one comes.

    Args:
        task: The task.
        folder: Where raw audio goes while it is needed.
        num_threads: Threads of a TFLite interpreter.

    Returns:
        The task, its scores, and what a file or model did wrong, in one line.
    """
    row, track, marks = task
    try:
        estimator = open_estimator(row, num_threads)
        if track not in _songs:
            _songs.clear()  # its disk space is free before the next one takes some
            _songs[track] = open_song(track, bool(row.accompaniment), folder)
        references = {source: _songs[track].references[source] for source in row.sources}
        estimates = stored(estimator(_songs[track]), folder)
        rate = track.sample_rate
        return task, {m: METRICS[m].score(references, estimates, rate) for m in marks}, ""
    except FAULTS as error:
        return task, {}, (str(error).strip() or type(error).__name__).splitlines()[0]


def score(tasks: Sequence[Task], folder: Path, jobs: int) -> Generator[tuple[Task, Scores, str]]:
    """Score all tasks; yield what `score_task` returns, in no fixed order.

    Args:
        tasks: The tasks.
        folder: Where raw audio goes while it is needed.
        jobs: Processes; 1 works in this one. They are stopped if the iteration ends early.

    Raises:
        EvaluationError: A process died.
    """
    jobs = max(1, min(jobs, len(tasks)))
    num_threads = min(MAX_THREADS, max(1, free_cores() // jobs))
    if jobs == 1:
        _songs.clear()  # of an earlier evaluation
        for task in tasks:
            yield score_task(task, folder, num_threads)
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_start_process
    )
    environment = dict(os.environ)
    wanted = dict.fromkeys(THREAD_VARIABLES, str(num_threads))
    os.environ.update(wanted | {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} | environment)
    try:
        # nothing else holds the futures: their scores go when they are written
        done = as_completed([pool.submit(score_task, t, folder, num_threads) for t in tasks])
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        for future in done:
            yield future.result()
    except BrokenProcessPool:
        raise EvaluationError(
            "a process that scored tracks died; received no result from it. Memory may be short: "
            "lower --jobs; the same command goes on where this one stopped."
        ) from None
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process stops this one
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:  # if it was killed, nobody would take the results
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
