"""Score tracks in one or several processes; every result is written as soon as it is available.

A result is the score of one track of one row by one metric: a JSON file in museval's format,
REPORT/METRIC/ROW/test/TRACK.json. museval's `EvalStore.add_eval_dir(REPORT/museval/ROW)` reads all
files below "test", so tracks of the subsets train and valid are in folders in it. Frames leave
out undefined values, which museval reads as NaN; its own files contain the word NaN, which is not
JSON.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import signal
import sys
import tempfile
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
from mmdense_edge.separate.cluster import on_cluster
from tqdm import tqdm

from keras_mmdense import __version__
from keras_mmdense.data import Dataset, Track, TrackError
from keras_mmdense.errors import SettingsError, require
from training.evaluate.estimators import open_estimator, open_signals, stored
from training.evaluate.metrics import ENGINES, Metric
from training.evaluate.metrics.source_score import SourceScore
from training.evaluate.rows import Row, find_estimates
from training.train.run_folder import commit, write_json

RECORD = "run.json"
PACKAGES = (  # whose versions a score may depend on
    "keras", "ai-edge-litert", "keras-mmdense", "museval", "numpy", "scipy", "soundfile", "soxr",
    "tensorflow",
)  # fmt: skip

# What files and models raise; anything else is a bug.
FAULTS = (TrackError, SettingsError, MMDenseError, OSError)

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
    engine: str = "own",
    cluster: str | None = None,
) -> list[str]:
    """Score what has not been scored yet, then write the report.

    Args:
        dataset: The data set.
        tracks: The tracks to score.
        rows: The rows.
        metrics: Names of the metrics.
        report: Folder of the report.
        jobs: Number of processes.
        engine: Who computes the metrics, of `ENGINES`.
        cluster: Address of a Dask scheduler whose workers score instead; see `on_cluster`.

    Returns:
        One line for each track that could not be scored. If there are any, no report is written;
        the results of the other tracks are kept.

    Raises:
        SettingsError: The folder contains something else, or a process died.
        OSError: A file cannot be written.
    """
    # not at the top: the processes that score need no pandas
    from training.evaluate.tables import write_report

    contents = {
        "rows": [row.name for row in rows],
        "metrics": list(metrics),
        "tracks": [track.label for track in tracks],
    }
    runs = earlier_runs(report, contents)
    places = [(row, t) for t in tracks for row in rows if t.label not in row.missing]
    paths = [result_path(report, metric, *place) for place in places for metric in metrics]
    tasks = list(pending(places, metrics, report, engine))
    run: dict[str, Any] = {
        "command": sys.argv,
        "data": str(dataset.root),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": None,  # set when the run ends
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {d.name: d.version for d in distributions() if d.name in PACKAGES},
    }
    started = time.monotonic()
    record = {**contents, "runs": [*runs, run] if tasks else runs}
    write_json(report / RECORD, record)
    kept = len(paths) - sum(len(marks) for _, _, marks in tasks)
    if kept:
        print(f"{kept} results of an earlier run are kept", file=sys.stderr)
    faults = []
    bar = tqdm(total=len(tasks), leave=False, disable=None, dynamic_ncols=True)
    with closing(score(tasks, report, jobs, engine, cluster)) as outcomes, bar:
        for (row, track, marks), scores, fault in outcomes:
            for metric, by_source in scores.items():
                title = ENGINES[engine][metric].title
                write_result(report, row, track, metric, title, marks[metric], by_source)
            where = f"{printable(row.name)}, {printable(track.label)}"
            faults += [f"{where}: {fault}"] if fault else []
            bar.set_postfix_str(where, refresh=False)
            bar.update()
    if not faults:
        data = {
            "name": dataset.root.name,
            "kind": dataset.kind,
            "sources": list(dataset.sources),
            "tracks": [
                {"name": t.label, "num_samples": t.num_samples, "sample_rate": t.sample_rate}
                for t in tracks
            ],
            "left_out": [fault.describe(dataset.root) for fault in dataset.faults],
        }
        write_report(report, data, rows, metrics, map(read_result, paths), engine)
        run["seconds"] = round(time.monotonic() - started, 1)
        write_json(report / RECORD, record)
    return faults


def earlier_runs(report: Path, contents: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return the runs in the record of a report.

    Args:
        report: Folder of the report.
        contents: The names of the rows, metrics and tracks to score.

    Raises:
        SettingsError: The folder contains something else, or a report with more than `contents`.
    """
    record = report / RECORD
    if not record.is_file():
        require(
            not report.exists() or (report.is_dir() and not any(report.iterdir())),
            "--out must be a new or empty folder, or a report to continue",
            str(report),
            "Choose another.",
        )
        return []
    try:
        before = json.loads(record.read_text("utf-8"))
        lost = [name for key, now in contents.items() for name in before[key] if name not in now]
        runs = list(before["runs"])
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{record} must be the record of a report; received {error!r}. Choose another --out."
        ) from error
    if lost:
        raise SettingsError(
            f"the report in {printable(report)} has {printable(', '.join(lost[:5]))}, which this "
            "command would leave out. Name all rows, metrics and tracks, or choose another --out."
        )
    return runs


def pending(
    places: Sequence[tuple[Row, Track]], metrics: Sequence[str], report: Path, engine: str
) -> Iterator[Task]:
    """Yield the tasks whose results are missing or stale.

    Raises:
        SettingsError: A result's path holds something else.
    """
    for row, track in places:
        stale = {}
        for metric in metrics:
            path = result_path(report, metric, row, track)
            mark = fingerprint(row, track, metric, ENGINES[engine][metric])
            if not path.exists() or read_result(path)["fingerprint"] != mark:
                stale[metric] = mark
        if stale:
            yield row, track, stale


def result_path(report: Path, metric: str, row: Row, track: Track) -> Path:
    """Return the path of a result."""
    subset = "" if track.subset == "test" else track.subset
    return report / metric / row.name / "test" / subset / f"{track.name}.json"


def fingerprint(row: Row, track: Track, name: str, metric: Metric) -> str:
    """Return a checksum of everything that a result depends on: row, track, metric, version.

    It includes the content of model files, and the size and modification time of audio files.
    """
    files = {name: stream.path for name, stream in track.streams.items()}
    if row.kind == "folder":
        files |= {
            f"estimate {name}": path
            for name, path in find_estimates(row.paths[0], track, row.estimated).items()
        }
    stats = {name: path.stat() for name, path in files.items()}
    facts = {
        "version": __version__,
        "row": [row.kind, row.sha256, row.sources, row.wiener, row.accompaniment],
        "baseline": row.name if row.kind == "baseline" else "",
        "metric": [name, metric.title, metric.measures],
        "track": [track.label, track.num_samples, track.sample_rate, track.channels],
        "sources": track.sources,
        "files": {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()},
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def write_result(
    report: Path,
    row: Row,
    track: Track,
    metric: str,
    title: str,
    mark: str,
    scores: Mapping[str, SourceScore],
) -> None:
    """Write a result, completely or not at all.

    Args:
        report: Folder of the report.
        row: The row.
        track: The track.
        metric: Name of the metric.
        title: Its title.
        mark: The fingerprint.
        scores: The score of each source.

    Raises:
        OSError: It cannot be written.
    """
    content = {
        "row": row.name,
        "track": track.label,
        "metric": metric,
        "title": title,
        "num_samples": track.num_samples,
        "sample_rate": track.sample_rate,
        "wiener": row.wiener,
        "accompaniment": row.accompaniment,
        "fingerprint": mark,
        "targets": [{"name": source, **asdict(score)} for source, score in scores.items()],
    }
    write_json(result_path(report, metric, row, track), content)


def read_result(path: Path) -> dict[str, Any]:
    """Read what `write_result` wrote.

    Raises:
        SettingsError: The file is something else; it is not overwritten.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        _ = content["fingerprint"], content["targets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path} must be a result of this command; received {error!r}. Move the file away."
        ) from error
    return content


_signals: dict[tuple[Path, Track], dict[str, Any]] = {}  # of the last track of this process


def score_task(
    task: Task, folder: Path, num_threads: int, engine: str, run: Path | None = None
) -> tuple[Task, Scores, str]:
    """Score a track of a row; models stay open, and the signals until the next track.

    Args:
        task: The task.
        folder: Folder for raw audio while it is needed.
        num_threads: Threads of a TFLite interpreter.
        engine: Who computes the metrics.
        run: Tells this evaluation from others in the same process; defaults to `folder`.

    Returns:
        The task, its scores, and what is wrong with a file or model, in one line.
    """
    row, track, marks = task
    try:
        estimator = open_estimator(row, num_threads)
        key = run or folder, track
        if key not in _signals:
            _signals.clear()  # frees disk space for the next track
            _signals[key] = open_signals(track, bool(row.accompaniment), folder)
        references = {source: _signals[key][source] for source in row.sources}
        estimates = stored(estimator(track, _signals[key]), folder)
        scores = {
            m: ENGINES[engine][m].score(references, estimates, track.sample_rate) for m in marks
        }
        return task, scores, ""
    except FAULTS as error:
        return task, {}, (str(error).strip() or type(error).__name__).splitlines()[0]


def score(
    tasks: Sequence[Task], folder: Path, jobs: int, engine: str, cluster: str | None = None
) -> Generator[tuple[Task, Scores, str]]:
    """Score all tasks; yield the results of `score_task` in any order.

    Args:
        tasks: The tasks.
        folder: Folder for raw audio while it is needed.
        jobs: Number of processes; 1 uses this one. They are stopped if the iteration ends early.
        engine: Who computes the metrics.
        cluster: As for `evaluate`.

    Raises:
        SettingsError: A process died.
    """
    if cluster and tasks:

        def work(task: Task, aside: Path, _: object) -> tuple[Task, Scores, str]:
            # raw audio stays off the disk that the workers share
            return score_task(task, Path(tempfile.gettempdir()), 1, engine, aside.parent)

        with closing(on_cluster(cluster, work, tasks, folder)) as outcomes:
            yield from (done or (tasks[number], {}, fault) for number, done, fault in outcomes)
        return
    jobs = max(1, min(jobs, len(tasks)))
    num_threads = min(MAX_THREADS, max(1, free_cores() // jobs))
    if jobs == 1:
        _signals.clear()  # of an earlier evaluation
        for task in tasks:
            yield score_task(task, folder, num_threads, engine)
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_start_process
    )
    environment = dict(os.environ)
    os.environ.update(
        dict.fromkeys(THREAD_VARIABLES, str(num_threads))
        | {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        | environment
    )
    try:
        # nothing else refers to the futures: their scores are freed once they are written
        done = as_completed(
            [pool.submit(score_task, t, folder, num_threads, engine) for t in tasks]
        )
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        for future in done:
            yield future.result()
    except BrokenProcessPool:
        raise SettingsError(
            "a process that scored tracks died; received no result from it. Memory may be short: "
            "lower --jobs and run the same command again to continue."
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

    def end_with_parent() -> None:  # without it, nobody would receive the results
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
