"""Scores tracks, in this process or in several; every finished result is written at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmdense_edge.errors import MMDenseError
from mmdense_edge.model.interpreter import MAX_THREADS, free_cores

from keras_mmdense.data import Track, TrackError
from keras_mmdense.errors import AudioError, SettingsError
from training.evaluation.errors import EvaluationError
from training.evaluation.metrics import METRICS, score_track
from training.evaluation.results import Scores
from training.evaluation.rows import REST, SUM, Estimator, Row, open_estimator
from training.evaluation.scores import ACCOMPANIMENT, VOCALS
from training.evaluation.songs import Samples, Song, open_song, signal_files, total

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


@dataclass(frozen=True)
class Task:
    """One track of one row.

    Args:
        row: The row.
        track: The track.
        metrics: Names of the metrics that are wanted of it.
        accompaniment: The accompaniment is scored.
    """

    row: Row
    track: Track
    metrics: tuple[str, ...]
    accompaniment: bool


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Args:
        task: The task.
        scores: Scores by metric; empty where it failed.
        fault: Why it failed, one line; empty where it did not.
    """

    task: Task
    scores: Mapping[str, Scores]
    fault: str = ""


class Scorer:
    """Scores one task after the other; keeps the models open, and the song of the last task.

    Args:
        folder: Where raw audio goes while it is needed.
        num_threads: Threads of a TFLite interpreter.
    """

    def __init__(self, folder: Path, num_threads: int) -> None:
        self._folder, self._num_threads = folder, num_threads
        self._estimators: dict[str, Estimator] = {}
        self._song: Song | None = None

    def __call__(self, task: Task) -> Outcome:
        """Score a task; a file or model that fails is told in the outcome."""
        try:
            return Outcome(task, self._scores(task))
        except FAULTS as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            return Outcome(task, {}, text)

    def _scores(self, task: Task) -> dict[str, Scores]:
        row = task.row
        if row.name not in self._estimators:
            self._estimators[row.name] = open_estimator(row, self._num_threads)
        if self._song is None or self._song.track != task.track:
            self._song = None  # its disk space is free before the next one takes some
            self._song = open_song(task.track, task.accompaniment, self._folder)
        references = {source: self._song.references[source] for source in row.sources}
        estimates = write_estimates(self._estimators[row.name], row, self._song, self._folder)
        return {
            name: score_track(METRICS[name], references, estimates, task.track.sample_rate)
            for name in task.metrics
        }


def write_estimates(estimator: Estimator, row: Row, song: Song, folder: Path) -> dict[str, Samples]:
    """Make the estimates of a song, the accompaniment among them where the row has one.

    Args:
        estimator: What makes them.
        row: Its row.
        song: The song.
        folder: Where the raw files go.

    Returns:
        For each of the row's sources samples of the song's shape, in a file.

    Raises:
        EvaluationError: Estimates that are not finite, or of another length.
    """
    done = 0
    with signal_files(row.sources, folder, song.channels) as files:
        for block in estimator.stream(song):
            count = len(next(iter(block.values())))
            if row.rule in (SUM, REST):
                mixture = song.mixture[done : done + count]
                block = block | {ACCOMPANIMENT: _accompaniment(row, block, mixture)}
            for source, file in files.items():
                _check_finite(row, source, block[source], done)
                file.write(block[source])
            done += count
        if done != song.num_samples:
            raise EvaluationError(
                f"estimates must have the track's {song.num_samples} samples; {row.name} gave "
                f"{done}."
            )
        return {source: file.stored() for source, file in files.items()}


def run(
    tasks: Sequence[Task], folder: Path, jobs: int, finished: Callable[[Outcome], None]
) -> None:
    """Score all tasks.

    Args:
        tasks: The tasks.
        folder: Where raw audio goes while it is needed.
        jobs: Processes; 1 works in this one.
        finished: Called in this process with each outcome, in no fixed order.

    Raises:
        EvaluationError: A process died.
        KeyboardInterrupt: From Ctrl-C; the processes are stopped.
    """
    jobs = max(1, min(jobs, len(tasks)))
    num_threads = min(MAX_THREADS, max(1, free_cores() // jobs))
    if jobs == 1:
        scorer = Scorer(folder, num_threads)
        for task in tasks:
            finished(scorer(task))
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs,
        multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(folder, num_threads),
    )
    try:
        with limited_threads(num_threads):
            # nothing else holds the futures: their scores go when they are written
            done: Iterator[Future[Outcome]] = as_completed([pool.submit(_score, t) for t in tasks])
        for future in done:
            finished(future.result())
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


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Let processes started inside compute with so many threads, and share a GPU's memory."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(count)) | {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: text for name, text in wanted.items() if before[name] is None})
    try:
        yield
    finally:
        for name, text in before.items():
            if text is None:
                del os.environ[name]


_scorer: Scorer | None = None  # of this process, where it is one of the pool


def _start(folder: Path, num_threads: int) -> None:
    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process stops this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _scorer = Scorer(folder, num_threads)


def _end_with_parent() -> None:
    """End this process when its parent was killed: nobody would take its results."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
    os._exit(1)


def _score(task: Task) -> Outcome:
    if _scorer is None:
        raise RuntimeError("a process of the pool was not started by it")
    return _scorer(task)


def _check_finite(row: Row, source: str, block: Samples, start: int) -> None:
    if not np.isfinite(block).all():
        raise EvaluationError(
            f"estimates must be finite; received NaN or infinity in {source} of {row.name}, "
            f"between samples {start} and {start + len(block)}."
        )


def _accompaniment(row: Row, block: Mapping[str, Samples], mixture: Samples) -> Samples:
    if row.rule == REST:
        return mixture - block[VOCALS]
    return total([part for source, part in block.items() if source != VOCALS])
