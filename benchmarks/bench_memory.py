"""Peak memory of `mmdense separate` by the length of the song: it must not grow.

    python -m benchmarks.bench_memory                        # 1, 10 and 60 minutes
    python -m benchmarks.bench_memory --minutes 1,10 --model mmdensenet-edge-float32

Writes stereo WAV files of noise and tones, 44.1 kHz and 16 bits, into a temporary folder, and
separates each in a process of its own. The figure is the maximum resident set that Linux gives
for the process, Python, the interpreter and the model included. 60 minutes need 4 GB of disk.
Ends with 1 if the peaks differ by more than 5 %, or one is not under 250 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from mmdense_edge import machine

RATE = 44100
MOST_BYTES = 250e6
MOST_SPREAD = 0.05


@dataclass(frozen=True)
class Peak:
    """One song.

    Args:
        minutes: its length.
        peak_bytes: maximum resident set of the process that separated it.
        seconds: taken, loading included.
    """

    minutes: float
    peak_bytes: int
    seconds: float


def write_song(path: Path, minutes: float) -> None:
    """Writes a song second by second.

    Args:
        path: the file.
        minutes: its length.
    """
    generator = np.random.default_rng(0)
    left = max(1, round(minutes * 60 * RATE))
    angles = 2 * np.pi * 220 * np.arange(RATE)[:, None] / RATE
    with sf.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        while left > 0:
            block = 0.3 * np.sin(angles) + 0.1 * generator.normal(size=(RATE, 2))
            file.write(block[:left])
            left -= RATE


def measure(song: Path, minutes: float, model: str | None, threads: int) -> Peak:
    """Separates a song in a process of its own.

    Args:
        song: the file.
        minutes: its length.
        model: a model's name or file; None for the default.
        threads: of the interpreter.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    command = [sys.executable, "-m", "mmdense_edge.cli", "separate", str(song), "--quiet"]
    command += ["-o", str(song.parent / "out"), "--threads", str(threads)]
    command += [] if model is None else ["--model", model]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None  # a pipe was asked for
    errors = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)
    return Peak(minutes, usage.ru_maxrss * 1024, time.perf_counter() - start)


def spread(peaks: Sequence[Peak]) -> float:
    """Returns how much the largest peak exceeds the smallest, as a share of the smallest."""
    sizes = [peak.peak_bytes for peak in peaks]
    return max(sizes) / min(sizes) - 1


def passed(peaks: Sequence[Peak]) -> bool:
    """Tells whether the peaks are within 5 % of each other, and all under 250 MB."""
    return spread(peaks) <= MOST_SPREAD and max(p.peak_bytes for p in peaks) < MOST_BYTES


def table(peaks: Sequence[Peak]) -> str:
    """Returns the peaks as a Markdown table."""
    lines = ["| minutes | peak memory, MB | seconds |", "|---|---|---|"]
    lines += [f"| {p.minutes:g} | {p.peak_bytes / 1e6:.1f} | {p.seconds:.1f} |" for p in peaks]
    return "\n".join(lines)


def run(minutes: Sequence[float], model: str | None, threads: int) -> list[Peak]:
    """Measures a song of each length; nothing stays on the disk.

    Args:
        minutes: the lengths.
        model: a model's name or file; None for the default.
        threads: of the interpreter.
    """
    peaks = []
    for length in minutes:
        with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
            song = Path(folder, "song.wav")
            print(f"{length:g} minutes ...", file=sys.stderr, flush=True)
            write_song(song, length)
            peaks.append(measure(song, length, model, threads))
    return peaks


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", default="1,10,60", metavar="N,M", help="lengths of the songs")
    parser.add_argument("--model", metavar="NAME|FILE", help="default: the bundled default")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    args = parser.parse_args(argv)
    try:
        minutes = [float(length) for length in args.minutes.split(",")]
    except ValueError:
        minutes = []
    if not minutes or not all(0 < length <= 600 for length in minutes):
        parser.error(f"--minutes must be numbers up to 600, as in 1,10, got {args.minutes!r}")
    try:
        peaks = run(minutes, args.model, args.threads)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        print(f"bench_memory: mmdense failed: {lines[-1] if lines else error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(table(peaks))
    found = {"peaks": [asdict(peak) for peak in peaks], "spread": spread(peaks)}
    print(json.dumps({**found, "passed": passed(peaks), "machine": machine.describe()}, indent=2))
    return 0 if passed(peaks) else 1


if __name__ == "__main__":
    sys.exit(main())
