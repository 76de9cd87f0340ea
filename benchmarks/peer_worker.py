"""One measurement of bench_peers in a process of its own: `python -m benchmarks.peer_worker TASK`.

TASK is JSON: `name`, a function of `TASKS`, and its arguments. The answer is the last line printed,
JSON. It runs in the environment of the system that is measured.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.peer_system import System


def separate(
    system: str, song: str, out: str, files: str, threads: int, warm: str | None = None
) -> dict[str, Any]:
    """Separates a song into files.

    Args:
        system: module and class.
        song: the file.
        out: an empty folder for the stems.
        files: the folder that `bench_peers` prepared.
        threads: to use.
        warm: a short song that is separated before, untimed; None for none.

    Returns:
        wall_s and cpu_s: from file to files, with the system loaded; total_cpu_s: of the process,
        from its start; peak_bytes: most memory resident.
    """
    loaded = _system(system)(threads, Path(files))
    if warm is not None:
        loaded.file_to_files(Path(warm), Path(out))
    wall, cpu = time.perf_counter(), time.process_time()
    loaded.file_to_files(Path(song), Path(out))
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "total_cpu_s": time.process_time(),
        "peak_bytes": _peak_bytes(),
    }


def train(system: str, threads: int, steps: int) -> dict[str, Any]:
    """Trains on random numbers, after one step that is not timed.

    Args:
        system: module and class.
        threads: to use.
        steps: how many.

    Returns:
        audio_s_per_cpu_s: seconds of audio, of all four stems, for a second of CPU time;
        peak_bytes.
    """
    step = _system(system).training(threads)
    step()
    start = time.process_time()
    audio = sum(step() for _ in range(steps))
    return {
        "audio_s_per_cpu_s": audio / (time.process_time() - start),
        "peak_bytes": _peak_bytes(),
    }


def describe(system: str, files: str, threads: int) -> dict[str, Any]:
    """Returns a system's parameters and multiply-adds.

    Args:
        system: module and class.
        files: the folder that `bench_peers` prepared.
        threads: to use.
    """
    return _system(system)(threads, Path(files)).describe()


def _system(name: str) -> type[System]:
    module, kind = name.split(":")
    found: type[System] = getattr(importlib.import_module(f"benchmarks.{module}"), kind)
    return found


def _peak_bytes() -> int:
    # Not getrusage: its figure can be that of the process which started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status must have VmHWM: measure memory on Linux")


def _bind(threads: int) -> None:
    """Takes as many cores as threads, the last ones."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[-threads:]))


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task for task in (separate, train, describe)
}


def main(text: str) -> None:
    """Carries out a task and prints the answer."""
    task = json.loads(text)
    _bind(task["threads"])
    print(json.dumps(TASKS[task.pop("name")](**task)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
