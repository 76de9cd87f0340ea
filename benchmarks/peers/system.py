"""What the comparison asks of a system, and its measurements, each in a process of its own.

Nothing here needs more than NumPy and soundfile: it runs in the environment of each system.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

SOURCES = ("bass", "drums", "other", "vocals")
RATE = 44100
SECONDS_PER_FRAME = 1024 / RATE  # all systems that work on frames have a hop of 1024
# One step of training, four stems; returns the seconds of audio it learned from.
Step = Callable[[], float]


class System:
    """A separator: `System(threads, folder)` loads it, with the files that `ours.prepare` made.

    `separate(audio)` returns four stems of stereo audio, (num_samples, 2), float32, 44.1 kHz.

    `training(threads)`, of the class, returns a step of training: forward, backward and update on
    random numbers. Where each source has a network of its own, a step trains one, and its seconds
    of audio count a quarter.
    """

    separate: Callable[[Any], list[Any]]

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


def measure(
    kind: str,
    system: str,
    threads: int,
    files: str,
    steps: int,
    song: str | None,
    warm: str | None,
) -> dict[str, Any]:
    """Carry out one measurement in this process, which is bound to as many cores as threads.

    Args:
        kind: "train", on random numbers, after one step that is not timed; or else from file to
            files.
        system: "module:class" below `benchmarks.peers`.
        threads: To use, on as many cores.
        files: The folder with prepared models.
        steps: Of training.
        song: The file to separate; None if there is none.
        warm: A short song that is separated before, untimed; None for none.

    Returns:
        Of "train" audio_s_per_cpu_s, seconds of audio, of all four stems, for a second of CPU
        time; else wall_s and cpu_s, with the system loaded, and total_cpu_s, of the process, from
        its start. peak_bytes: Most memory resident.
    """
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-threads:]))
    module, name = system.split(":")
    made = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)
    found: dict[str, Any]
    if kind == "train":
        step = made.training(threads)
        step()
        start = time.process_time()
        audio = sum(step() for _ in range(steps))
        found = {"audio_s_per_cpu_s": audio / (time.process_time() - start)}
    else:
        loaded = made(threads, Path(files))
        with tempfile.TemporaryDirectory() as out:
            if warm is not None:
                loaded.file_to_files(Path(warm), Path(out))
            wall, cpu = time.perf_counter(), time.process_time()
            loaded.file_to_files(Path(str(song)), Path(out))
            found = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        found["total_cpu_s"] = time.process_time()
    from mmdense_edge.bench.host import peak_memory_bytes

    return {**found, "peak_bytes": peak_memory_bytes()}


def keras_step(model: keras.Model, shape: tuple[int, ...], seconds: float) -> Step:
    """Return a step of training a compiled Keras model on noise of a shape."""
    import numpy as np

    given = np.random.default_rng(0).rayleigh(size=shape).astype(np.float32)
    names = list(model.output) if isinstance(model.output, dict) else None
    wanted = given / 2 if names is None else {name: given / 2 for name in names}

    def step() -> float:
        model.train_on_batch(given, wanted)
        return seconds

    return step
