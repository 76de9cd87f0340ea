"""Separate several songs at a time, each in a process of its own."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from mmdense_edge import signals
from mmdense_edge.errors import MMDenseError, printable
from mmdense_edge.separate import staging
from mmdense_edge.separate.files import separate_file
from mmdense_edge.separate.jobs import Job
from mmdense_edge.separate.song_report import SongReport
from mmdense_edge.separator import Separator

MAX_PROCESSES = 64
POLL_SECONDS = 0.2


def attempt(separator: Separator, job: Job, **options: Any) -> SongReport:
    """Separate one song as `separate_file` does, and report its failure instead of raising it."""
    try:
        return separate_file(separator, job, **options)
    except (MMDenseError, OSError) as error:
        text, label = printable(str(error)), printable(f"{job.song.label}: ")
        text = text.removeprefix(printable(f"{job.song.path}: ")).removeprefix(label)
        return SongReport(job.song.label, error=label + text)


def separate_all(
    jobs: Sequence[Job],
    model: Path,
    threads: int,
    processes: int,
    progress: Callable[[int, float, float], object] | None = None,
) -> list[SongReport]:
    """Separate songs in parallel processes, all of which end before this call returns.

    Args:
        jobs: At least one song; all share one output folder.
        model: The model file.
        threads: Interpreter threads of each process.
        processes: Songs at a time, 1 to 64.
        progress: Called regularly with the songs done, the seconds of music done and the seconds
            expected.

    Returns:
        One report per song, in the order of `jobs`.

    Raises:
        MMDenseError: A process died.
    """
    # Spawned: neither threads nor the interpreter survive a fork.
    context = multiprocessing.get_context("spawn")
    made = staging.missing_folders(jobs[0].out)
    # The processes ignore Ctrl-C and the terminal's end: this process stops them.
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
                # Songs that have not started count as the mean of the others.
                known = [length for length in board[1::2] if length]
                expected = sum(known) * len(jobs) / max(1, len(known))
                progress(len(jobs) - len(pending), sum(board[::2]), expected)
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise MMDenseError(
            "a process died, perhaps because memory ran out: finished songs are complete, the "
            "others were not written. Use fewer --jobs."
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)
        # A failed song leaves the output folder to the songs that are still being written.
        staging.remove_empty(made)


_process: dict[str, Any] = {}


def _start(model: Path, threads: int, stop: Any, board: Any) -> None:
    """Prepare a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in signals.wanted("SIGTERM"):
        signal.signal(number, lambda *_: stop.set())
    _process.update(model=model, threads=threads, stop=stop, board=board)


def _work(number: int, job: Job) -> SongReport:
    """Separate one song in this process."""
    board = _process["board"]
    if "separator" not in _process:  # not in `_start`, whose errors are not passed on
        _process["separator"] = Separator(_process["model"], _process["threads"])

    def progress(done: float, expected: float) -> None:
        board[2 * number], board[2 * number + 1] = done, expected

    return attempt(_process["separator"], job, progress=progress, cancel=_process["stop"].is_set)
