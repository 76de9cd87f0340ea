"""Measure one model in a process of its own: `python -m mmdense_edge.bench.worker TASK`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mmdense_edge.live.input import LiveInput
    from mmdense_edge.model.interpreter import Magnitude, Network
    from mmdense_edge.signal.stft import Audio

RATE, CHANNELS = 44100, 2
BLOCK = 4096


def music(seconds: float) -> Iterator[Audio]:
    """Yield something like music, from a fixed seed: chords, a bass and a beat, in a loop of 4 s.

    Args:
        seconds: Length, 44.1 kHz stereo.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    time_axis = np.arange(4 * RATE) / RATE
    beat = np.exp(-8 * (time_axis % 0.5))
    notes = np.array([55, 220, 277.2, 329.6, 440])[:, None] * np.arange(1, 9)
    tones = sum(np.sin(2 * np.pi * note * time_axis) / (1 + n % 8) for n, note in
                enumerate(notes.ravel()))  # fmt: skip
    sides = [0.05 * tones + 0.3 * beat * generator.normal(size=len(time_axis)) for _ in "lr"]
    loop = np.stack(sides, axis=1).astype(np.float32) * 0.5
    left = max(1, round(seconds * RATE))
    while left > 0:
        for first in range(0, min(left, len(loop)), BLOCK):
            yield loop[first : min(first + BLOCK, left)]
        left -= len(loop)


def open_song(song: Path, seconds: float) -> LiveInput:
    """Return the first seconds of an audio file as blocks.

    Raises:
        AudioError: It cannot be read.
    """
    from mmdense_edge.live.input import limited, open_file

    source = open_file(song, BLOCK)
    return limited(source, max(1, round(seconds * source.sample_rate)))


class CountedNetwork:
    """A network that counts its windows."""

    def __init__(self, network: Network) -> None:
        """Wrap a network."""
        self.contract, self.num_calls = network.contract, 0
        self._network = network

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Count, and answer as the network does."""
        self.num_calls += 1
        return self._network(magnitude)


def measure(model: str, threads: int, seconds: float, song: str | None) -> dict[str, Any]:
    """Separate some audio and return the figures.

    Args:
        model: A model file.
        threads: Of the interpreter.
        seconds: Of audio.
        song: An audio file; None generates `music`.

    Returns:
        load_seconds and load_cpu_seconds: From nothing but Python to a network that has run once;
        wall_seconds, cpu_seconds and seconds (of audio); block_seconds: Of each window;
        peak_memory_bytes.
    """
    start = (time.perf_counter(), time.process_time())
    from mmdense_edge.separator import Separator

    separator = Separator(model, threads)
    load = (time.perf_counter() - start[0], time.process_time() - start[1])
    rate, channels, blocks = RATE, CHANNELS, music(seconds)
    if song is not None:
        source = open_song(Path(song), seconds)
        rate, channels, blocks = source.sample_rate, source.channels, source.blocks
    network = CountedNetwork(separator.network)
    separator.network = cast("Network", network)
    times: list[float] = []
    done = calls = 0
    start = (time.perf_counter(), time.process_time())
    last = start[0]
    for stems in separator.stream(blocks, rate, channels):
        done += len(next(iter(stems.values())))
        if network.num_calls > calls:
            times.append(0.0)
            calls = network.num_calls
        # A window comes in parts: its time is that of all of them.
        now = time.perf_counter()
        times[-1] += now - last
        last = now
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    from mmdense_edge.bench.host import peak_memory_bytes

    return {
        "load_seconds": load[0],
        "load_cpu_seconds": load[1],
        "seconds": done / rate,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "block_seconds": times,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def main(task: str) -> int:
    """Carry out a task, JSON with the arguments of `measure`; print the figures as JSON."""
    from mmdense_edge.errors import MMDenseError

    try:
        print(json.dumps(measure(**json.loads(task))))
    except (MMDenseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
