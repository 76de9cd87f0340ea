"""Separates several songs at a time, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from mmdense_edge import signals
from mmdense_edge.audio import AudioInfo
from mmdense_edge.errors import MMDenseError, UsageError, printable
from mmdense_edge.separate import staging
from mmdense_edge.separate.files import separate_file
from mmdense_edge.separate.jobs import Job
from mmdense_edge.separate.song_report import SongReport
from mmdense_edge.separator import Cancel, OnProgress, Separator

MAX_PROCESSES = 64
POLL_SECONDS = 0.2

# Called with the songs that are done, and the seconds of music that are done and expected.
OnSongs = Callable[[int, float, float], None]


def attempt(
    separator: Separator,
    job: Job,
    progress: Callable[[AudioInfo], OnProgress] | None = None,
    cancel: Cancel | None = None,
) -> SongReport:
    """Separates one song; what goes wrong with it goes into its report.

    Args:
        separator: the model.
        job: the song.
        progress: as for `separate_file`.
        cancel: as for `separate_file`.
    """
    try:
        return separate_file(separator, job, progress=progress, cancel=cancel)
    except (MMDenseError, OSError) as error:
        return SongReport(job.song.label, error=_named(job, str(error)))


def _named(job: Job, text: str) -> str:
    """Returns an error's text with the song's name before it, once."""
    text = printable(text)
    for name in (printable(f"{job.song.path}: "), printable(f"{job.song.label}: ")):
        text = text[len(name) :] if text.startswith(name) else text
    return printable(f"{job.song.label}: ") + text


def check_processes(processes: int) -> None:
    """Checks how many songs are wanted at a time.

    Raises:
        UsageError: not 1 to 64.
    """
    if not 1 <= processes <= MAX_PROCESSES:
        raise UsageError(f"jobs must be from 1 to {MAX_PROCESSES}, got {processes}")


def separate_all(
    jobs: Sequence[Job],
    model: Path,
    threads: int,
    processes: int,
    progress: OnSongs | None = None,
) -> list[SongReport]:
    """Separates songs in parallel processes, which all end when this call does.

    Args:
        jobs: the songs, one at least, with one output folder.
        model: the model file.
        threads: of each process.
        processes: songs at a time, 1 to 64.
        progress: called now and then.

    Returns:
        For each song its report, in the order of `jobs`.

    Raises:
        MMDenseError: a process died.
    """
    # Started afresh: neither threads nor the interpreter survive a fork.
    context = multiprocessing.get_context("spawn")
    made = staging.missing_folders(jobs[0].out)
    # What is started ignores Ctrl-C and the terminal's end: this process tells it to stop.
    with signals.taken(signal.SIG_IGN, "SIGINT", "SIGHUP"):
        stop, board = context.Event(), context.RawArray("d", 2 * len(jobs))
        executor = ProcessPoolExecutor(
            min(processes, len(jobs)),
            mp_context=context,
            initializer=_start,
            initargs=(model, threads, stop, board),
        )
    try:
        with signals.taken(signal.SIG_IGN, "SIGINT", "SIGHUP"):
            futures = [executor.submit(_work, number, job) for number, job in enumerate(jobs)]
        pending = set(futures)
        while pending:
            pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED).not_done
            if progress is not None:
                progress(len(jobs) - len(pending), sum(board[::2]), _expected(board[1::2]))
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise MMDenseError(
            "a process died, perhaps for want of memory: use fewer --jobs; finished songs are "
            "complete, the others were not written"
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)
        # A song that failed leaves the output folder to the others that are at work in it.
        staging.remove_empty(made)


def _expected(seconds: Sequence[float]) -> float:
    """Returns the length of all songs, of which those not yet begun count as the others' mean."""
    known = [length for length in seconds if length]
    return sum(known) / len(known) * len(seconds) if known else 0.0


_process: dict[str, Any] = {}


def _start(model: Path, threads: int, stop: Any, board: Any) -> None:
    """Prepares a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in signals.wanted("SIGTERM"):
        signal.signal(number, lambda *_: stop.set())
    _process.update(model=model, threads=threads, stop=stop, board=board)


def _work(number: int, job: Job) -> SongReport:
    """Separates one song in this process."""
    stop, board = _process["stop"], _process["board"]
    if stop.is_set():
        return SongReport(job.song.label, error=f"{job.song.label}: cancelled")
    if "separator" not in _process:
        _process["separator"] = Separator(_process["model"], _process["threads"])

    def progress(info: AudioInfo) -> OnProgress:
        board[2 * number + 1] = info.num_samples / info.sample_rate

        def show(done: int) -> None:
            board[2 * number] = done / info.sample_rate

        return show

    return attempt(_process["separator"], job, progress, stop.is_set)
