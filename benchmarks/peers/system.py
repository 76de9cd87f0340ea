"""What the comparison asks of a system, and the three measurements, each in a process of its own.

Nothing here needs more than NumPy and soundfile: it runs in the environment of each system.
"""

from __future__ import annotations

import importlib
import os
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

    `describe()` returns parameters, of all four stems, and gmac_per_s, the multiply-adds (in
    billions, for a second of a long song) that are carried out: overlaps of windows and discarded
    context are counted.

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


def separate(
    system: str, threads: int, files: str, song: str, out: str, warm: str | None
) -> dict[str, Any]:
    """Separate a song into files.

    Args:
        system: "module:class".
        threads: To use, on as many cores.
        files: The folder with prepared models.
        song: The file.
        out: An empty folder for the stems.
        warm: A short song that is separated before, untimed; None for none.

    Returns:
        wall_s and cpu_s: From file to files, with the system loaded; total_cpu_s: of the process,
        from its start; peak_bytes: most memory resident.
    """
    loaded = _bound(system, threads)(threads, Path(files))
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
    """Train on random numbers, after one step that is not timed.

    Returns:
        audio_s_per_cpu_s: Seconds of audio, of all four stems, for a second of CPU time;
        peak_bytes.
    """
    step = _bound(system, threads).training(threads)
    step()
    start = time.process_time()
    audio = sum(step() for _ in range(steps))
    return {
        "audio_s_per_cpu_s": audio / (time.process_time() - start),
        "peak_bytes": _peak_bytes(),
    }


def describe(system: str, threads: int, files: str) -> dict[str, Any]:
    """Return a system's parameters and multiply-adds."""
    return _bound(system, threads)(threads, Path(files)).describe()


def _bound(name: str, threads: int) -> Any:
    """Return a system's class, with this process bound to the last cores, as many as threads."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-threads:]))
    module, kind = name.split(":")
    return getattr(importlib.import_module(f"benchmarks.peers.{module}"), kind)


def _peak_bytes() -> int:
    from mmdense_edge.bench.host import peak_memory_bytes

    peak = peak_memory_bytes()
    if peak is None:
        raise RuntimeError("/proc/self/status must have VmHWM: measure memory on Linux")
    return peak


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


def keras_multiply_adds(model: keras.Model) -> int:
    """Return a Keras model's multiply-adds, from its layers: there is no TFLite file to count."""
    total = 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            transposed = "Transpose" in type(layer).__name__
            places = layer.input.shape if transposed else layer.output.shape
            total += places[1] * places[2] * kernel.shape.num_elements()
    return int(total)
