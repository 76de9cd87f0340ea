"""What the comparison asks of a system, and its measurement, in a process of its own.

Nothing here needs more than NumPy and soundfile: it runs in the environment of each system.
"""

import importlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import timed

SOURCES = ("bass", "drums", "other", "vocals")
RATE = 44100


class System:
    """A separator: `System(threads, folder)` loads it, with the files that `ours.prepare` made.

    `separate(audio)` returns four stems of stereo audio, (num_samples, 2), float32, 44.1 kHz.
    """

    separate: Callable[[Any], list[Any]]
    # Elapsed and CPU seconds so far, inside the networks and of loading within songs; only a
    # `Runner` measures them.
    network_s = loading_s = np.zeros(2)

    def file_to_files(self, song: Path, folder: Path) -> None:
        """Separate a file into 16-bit WAV files; here with the whole song in memory.

        Args:
            song: Stereo, 44.1 kHz.
            folder: Where the stems go; it exists.
        """
        import soundfile as sf

        audio, rate = sf.read(song, dtype="float32", always_2d=True)
        for source, stem in zip(SOURCES, self.separate(audio), strict=True):
            sf.write(folder / f"{source}.wav", stem, rate, "PCM_16")


def measure(system: str, threads: int, files: str, song: str, warm: str | None) -> dict[str, Any]:
    """Separate a song into files in this process, which is bound to as many cores as threads.

    Args:
        system: "module:class" below `benchmarks.peers`.
        threads: To use, on as many cores.
        files: The folder with prepared models.
        song: The file to separate.
        warm: A short song that is separated before, untimed; None for none.

    Returns:
        wall_s and cpu_s: From file to files, without loading; network_cpu_s: Of it, in the
        networks, 0 if not measured; total_cpu_s: Of the process, from its start, with loading;
        peak_bytes: Most memory resident.
    """
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-threads:]))
    module, name = system.split(":")
    peer = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)
    loaded = peer(threads, Path(files))
    with tempfile.TemporaryDirectory() as out:
        if warm is not None:
            loaded.file_to_files(Path(warm), Path(out))
        networks, loading = loaded.network_s, loaded.loading_s
        _, *spent = timed(lambda: loaded.file_to_files(Path(song), Path(out)))
        wall, cpu = spent - (loaded.loading_s - loading)
    from mmdense_edge.bench.host import peak_memory_bytes

    return {
        "wall_s": float(wall),
        "cpu_s": float(cpu),
        "network_cpu_s": float((loaded.network_s - networks)[1]),
        "total_cpu_s": time.process_time(),
        "peak_bytes": peak_memory_bytes(),
    }
