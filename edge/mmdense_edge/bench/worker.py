"""Measure one model in a process of its own: `python -m mmdense_edge.bench.worker TASK`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmdense_edge.live.streams import LiveInput

RATE, CHANNELS = 44100, 2
BLOCK = 4096


def open_song(song: str | None, seconds: float) -> LiveInput:
    """Return the first seconds of an audio file, or of something like music.

    Args:
        song: The file; None for chords, a bass and a beat from a fixed seed, 44.1 kHz stereo, in a
            loop of 4 s.
        seconds: How many.

    Raises:
        AudioError: The file cannot be read.
    """
    import numpy as np

    from mmdense_edge.live.streams import LiveInput, limited, open_file

    if song is not None:
        return limited(open_file(Path(song), BLOCK), seconds)
    generator = np.random.default_rng(0)
    time_axis = np.arange(4 * RATE) / RATE
    beat = np.exp(-8 * (time_axis % 0.5))
    notes = np.array([55, 220, 277.2, 329.6, 440])[:, None] * np.arange(1, 9)
    tones = sum(np.sin(2 * np.pi * note * time_axis) / (1 + n % 8) for n, note in
                enumerate(notes.ravel()))  # fmt: skip
    sides = [0.05 * tones + 0.3 * beat * generator.normal(size=len(time_axis)) for _ in "lr"]
    loop = np.stack(sides, axis=1).astype(np.float32) * 0.5
    blocks = itertools.cycle(np.split(loop, range(BLOCK, len(loop), BLOCK)))
    return limited(LiveInput("generated", RATE, CHANNELS, blocks), seconds)


def measure(model: str, threads: int, seconds: float, song: str | None) -> dict[str, Any]:
    """Separate some audio and return the figures.

    Args:
        model: A model file.
        threads: Of the interpreter.
        seconds: Of audio.
        song: As for `open_song`.

    Returns:
        load_seconds and load_cpu_seconds: From nothing but Python to a network that has run once;
        wall_seconds, cpu_seconds and seconds (of audio); block_seconds: Of each window;
        peak_memory_bytes.
    """
    start = (time.perf_counter(), time.process_time())
    from mmdense_edge.separator import Separator

    separator = Separator(model, threads)
    load = (time.perf_counter() - start[0], time.process_time() - start[1])
    from mmdense_edge.bench.host import peak_memory_bytes
    from mmdense_edge.live.plan import SlidingNetwork

    source, contract, times = open_song(song, seconds), separator.contract, []

    def new_window() -> bool:
        times.append(0.0)
        return True

    # With the model's own steps it answers as the network itself, and tells when a window begins.
    separator.network = SlidingNetwork(
        separator.network,
        contract.step_frames,
        contract.context_frames,
        source.channels,
        new_window,
    )
    done = 0
    start = (time.perf_counter(), time.process_time())
    last = start[0]
    for stems in separator.stream(source.blocks, source.sample_rate, source.channels):
        done += len(next(iter(stems.values())))
        # A window comes in parts: its time is that of all of them.
        now = time.perf_counter()
        times[-1] += now - last
        last = now
    return {
        "load_seconds": load[0],
        "load_cpu_seconds": load[1],
        "seconds": done / source.sample_rate,
        "wall_seconds": time.perf_counter() - start[0],
        "cpu_seconds": time.process_time() - start[1],
        "block_seconds": times,
        "peak_memory_bytes": peak_memory_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
