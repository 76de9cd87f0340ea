"""Songs, or other tasks, on the workers of a Dask cluster: at most two attempts each.

Each attempt has a folder of its own below the folder of the run, which all workers share. Only the
command that started the run moves results out of it, the first of each song, whatever happens to
the workers. At the end it removes the folder of the run, with all that dead workers left in it.
"""

import logging
import re
import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, chdir, closing, suppress
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from mmdense_edge import __version__
from mmdense_edge.errors import AudioError, MMDenseError, printable, refuse_if
from mmdense_edge.separate import staging
from mmdense_edge.separate.files import Moves
from mmdense_edge.separate.jobs import Job
from mmdense_edge.separate.pool import attempt
from mmdense_edge.separate.song_report import SongReport
from mmdense_edge.separator import Cancel, Separator

ATTEMPTS = 2
IN_FLIGHT = 1000  # tasks that the scheduler knows at a time
CONNECT_SECONDS, WORKER_SECONDS, STOP_SECONDS = 10, 60, 60
RUNNING = "running"  # a file in the folder of the run: while it exists, the work goes on


def on_cluster(
    address: str,
    work: Callable[[Any, Path, Cancel], Any],
    tasks: Sequence[Any],
    folder: Path,
    files: Sequence[Path] = (),
) -> Generator[tuple[int, Any, str]]:
    """Carry out tasks on the workers of a cluster, in the working folder of this process.

    Args:
        address: Of the scheduler; see `check_address`.
        work: A function that can be pickled. It is called with a task, the folder of the attempt
            and a function that returns True when the work is to end.
        tasks: The tasks.
        folder: Holds the folder of the run; all workers must see it, and the working folder.
        files: Copied into the folder of the run, the parent of the attempts' folders.

    Yields:
        As soon as each is done, in any order: the task's index, its result, and what is wrong if
        two workers died with it. The folder of its attempts is removed afterwards. If the iteration
        ends early, the work ends first.

    Raises:
        UsageError: distributed is not installed, the address is not allowed, or a worker cannot
            take part.
        MMDenseError: No worker can be reached, or the scheduler was lost.
    """
    pending: dict[Any, int] = {}  # futures, and the indices of their tasks
    with ExitStack() as stack:
        stack.callback(staging.remove_empty, staging.missing_folders(folder))
        client = _connected(address, stack)
        from distributed import KilledWorker, as_completed, wait

        run = stack.enter_context(staging.staging(folder.absolute()))
        for file in files:
            shutil.copy(file, run)
        (run / RUNNING).touch()
        shared = (run, Path.cwd(), __version__, work)
        for worker, reason in client.run(_check, *shared, on_error="return").items():
            refuse_if(reason, f"{worker}: {reason}")

        def submit(numbers: Iterable[int]) -> list[Any]:
            futures = {
                client.submit(_attempt, *shared, n, tasks[n], pure=False): n for n in numbers
            }
            pending.update(futures)
            return [*futures]

        @stack.callback
        def stop() -> None:
            (run / RUNNING).unlink()
            with suppress(CancelledError, TimeoutError):
                wait([*pending], STOP_SECONDS)

        numbers = iter(range(len(tasks)))
        completed = as_completed(submit(islice(numbers, IN_FLIGHT)))
        for future in completed:
            number = pending.pop(future)
            try:
                result, fault = future.result()
            except KilledWorker:  # by another task: those that wait for a worker count, too
                completed.update(submit([number]))
                continue
            except CancelledError as error:
                raise MMDenseError(
                    f"the connection to {address} was lost; what was finished is complete. Start "
                    "the scheduler and the command again."
                ) from error
            yield number, result, fault
            for count in range(ATTEMPTS):
                shutil.rmtree(run / f"{number}-{count}", ignore_errors=True)
            completed.update(submit(islice(numbers, 1)))


def check_address(address: str, name: str = "--cluster") -> None:
    """Check that nobody else on the network can send work to a scheduler or worker.

    Args:
        address: Its address: tls://HOST:PORT, or [tcp://]HOST:PORT on the loopback interface.
        name: What has this address, for the message.

    Raises:
        UsageError: It is another one.
    """
    loopback = r"(tcp://)?(127(\.\d+){3}|localhost|\[::1\]):\d+"
    refuse_if(
        not re.fullmatch(rf"tls://.+|{loopback}", address),
        f"{name} must be tls://HOST:PORT, or HOST:PORT on this machine (127.0.0.1), because "
        f"Dask's plain TCP lets anyone run code; received {address}. Set up Dask's TLS, or an "
        "ssh tunnel that ends on 127.0.0.1.",
    )


def _connected(address: str, stack: ExitStack) -> Any:
    """Return a client whose scheduler and workers can do the work and are nobody else's."""
    refuse_if(
        find_spec("distributed") is None,
        '--cluster needs distributed. Run pip install ".[cluster]" in a checkout of keras_mmdense.',
    )
    from distributed import Client, Security

    check_address(address)
    refuse_if(
        address.startswith("tls:")
        and not Security().get_connection_args("client").get("ssl_context"),
        "tls:// needs certificates. Name them in Dask's configuration, distributed.comm.tls.",
    )
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # its errors are raised
    try:
        client = stack.enter_context(Client(address, timeout=CONNECT_SECONDS))
        client.wait_for_workers(1, WORKER_SECONDS)
    except OSError as error:
        raise MMDenseError(
            f"no worker can be reached through {address} ({error}). Start a scheduler, python "
            f"-m dask scheduler --host 127.0.0.1, and workers, python -m dask worker {address} "
            "--nthreads 1 --nworkers N."
        ) from error
    workers = client.nthreads()
    for reached in (client.scheduler_info()["address"], *workers):
        check_address(reached, "the address of the scheduler and of each worker")
    refuse_if(
        {*workers.values()} != {1},
        f"a worker must have one thread; received {workers}. Start workers with "
        "--nthreads 1 --nworkers N.",
    )
    return client


def _check(run: Path, where: Path, version: str, _: object) -> None:
    """Check, on a worker, that it can take part in a run."""
    refuse_if(
        version != __version__,
        f"this worker has mmdense_edge {__version__}, the command {version}. Install the same.",
    )
    refuse_if(
        not (where.is_dir() and run.is_dir()),
        f"this worker does not see {where} or {run}. Use folders that all workers share.",
    )


def _attempt(
    run: Path, where: Path, version: str, work: Callable[..., Any], number: int, task: Any
) -> tuple[Any, str]:
    """Carry out a task on a worker; return its result, and what is wrong if there is none."""
    _check(run, where, version, work)  # this worker may have come later
    if not (run / RUNNING).exists():
        return None, "the command was stopped"
    for count in range(ATTEMPTS):
        aside = run / f"{number}-{count}"
        with suppress(FileExistsError):
            aside.mkdir()
            break
    else:
        return None, f"{ATTEMPTS} workers died with it, perhaps because memory ran out"
    with chdir(where):
        return work(task, aside, lambda: not (run / RUNNING).exists()), ""


def separate_on_cluster(
    jobs: Sequence[Job], model: Path, threads: int, address: str, progress: Callable[[], object]
) -> list[SongReport]:
    """Separate songs on the workers of a cluster.

    Args:
        jobs: At least one song; all share one output folder.
        model: The model file, which each worker loads once.
        threads: Interpreter threads of each worker.
        address: Of the scheduler.
        progress: Called after each song.

    Returns:
        One report per song, in the order of `jobs`.

    Raises:
        MMDenseError: As for `on_cluster`.
    """
    reports = [SongReport(job.song.label) for job in jobs]
    work = partial(_separate, model.name, threads)
    with closing(on_cluster(address, work, jobs, jobs[0].out, [model])) as outcomes:
        for number, result, fault in outcomes:
            job, (report, moves, aside) = jobs[number], result or (reports[number], {}, Path())
            try:
                staging.publish(moves, aside, job.options.overwrite)
            except AudioError as error:
                fault = str(error)
            failure = printable(f"{job.song.label}: {fault}") if fault else report.error
            reports[number] = replace(report, error=failure)
            progress()
    return reports


_separator = lru_cache(maxsize=1)(Separator)


def _separate(
    model: str, threads: int, job: Job, aside: Path, cancel: Cancel
) -> tuple[SongReport, Moves, Path]:
    """Separate a song on a worker, and leave its files in the folder of the attempt."""
    moves: dict[Path, Path] = {}

    def keep(finished: Moves, *_: object) -> None:
        moves.update({file.rename(aside / file.name): to for file, to in finished.items()})

    separator = _separator(aside.parent / model, threads)
    report = attempt(separator, replace(job, out=aside), cancel=cancel, publish=keep)
    return report, moves, aside
