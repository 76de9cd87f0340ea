"""The Wiener filter: seconds of work per second of music, and what its windows change.

Without arguments: time and peak memory of one and two iterations on a generated stereo signal of
four sources, beside norbert on the same arrays, each case in a process of its own. With --song: how
far the windows of several sizes are from one window over the whole song, and how large a step the
fade from window to window leaves from one frame to the next, with the bundled model.

Command: python benchmarks/bench_wiener.py --seconds 60 --rounds 3
         python benchmarks/bench_wiener.py --song song.ogg
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from mmdense_edge import wiener

RATE, HOP, BINS, SOURCES = 44100, 1024, 1025, 4
CASES = ("stream", "whole song", "norbert, complex64", "norbert, complex128")
SIZES = ((64, 16), (64, 32), (128, 32), (128, 64), (256, 32), (256, 64), (512, 64))


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--song", type=Path, help="measure windows on this song instead of time")
    parser.add_argument("--iterations", type=int, default=1, help="with --song (default: 1)")
    parser.add_argument("--seconds", type=float, default=60, help="of music (default: 60)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(_measure(args.case, args.seconds)))
    elif args.song:
        _print_windows(args.song, args.iterations)
    else:
        _print_times(args)


def _print_times(args: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(args.rounds):
        for case, rounds in found.items():
            command = [sys.executable, __file__, "--case", case, "--seconds", str(args.seconds)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rounds.append(json.loads(done.stdout.splitlines()[-1]))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, NumPy {np.__version__}, {time.strftime('%Y-%m-%d')}")
    print(f"{args.seconds:g} s of stereo, {SOURCES} sources; median of {args.rounds}\n")
    print("| case | 1 iteration, s per s | 2 iterations, s per s | peak memory, MB |")
    print("|---|---|---|---|")
    for case, rounds in found.items():
        one, two, peak = (
            statistics.median(r[key] for r in rounds) for key in ("one", "two", "peak_mb")
        )
        print(f"| {case} | {one:.4f} | {two:.4f} | {peak:.0f} |")


def _measure(case: str, seconds: float) -> dict[str, float]:
    """Return seconds per second of one and two iterations, and memory besides what is given."""
    mixture, magnitudes = _spectra(round(seconds * RATE / HOP))
    estimates = magnitudes * np.exp(1j * np.angle(mixture))

    def run(iterations: int) -> float:
        start = time.perf_counter()
        if case == "stream":
            _stream(mixture, estimates, iterations)
        elif case == "whole song":
            wiener.filter_spectra(mixture, estimates, iterations)
        else:
            _norbert(mixture, magnitudes, iterations, case.rpartition(" ")[2])
        return (time.perf_counter() - start) / seconds

    figures = {"one": run(1), "two": run(2)}
    tracemalloc.start()
    run(1)
    return {**figures, "peak_mb": tracemalloc.get_traced_memory()[1] / 1e6}


def _spectra(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a mixture, and magnitudes of its sources: noise that comes and goes."""
    rng = np.random.default_rng(0)
    shape = (frames, BINS, 2)
    mixture = rng.standard_normal(shape, np.float32) + 1j * rng.standard_normal(shape, np.float32)
    shares = rng.gamma(0.5, 1, (SOURCES, *shape)).astype(np.float32)
    return mixture, np.abs(mixture) * shares / (shares.sum(axis=0) + 1e-6)


def _stream(mixture: np.ndarray, estimates: np.ndarray, iterations: int) -> None:
    stage = wiener.WienerFilter(iterations)
    for first in range(0, len(mixture), 128):  # as the runner's network gives them
        part = slice(first, first + 128)
        for _ in stage.push(mixture[part], {str(s): y[part] for s, y in enumerate(estimates)}):
            pass
    for _ in stage.finish():
        pass


def _norbert(mixture: np.ndarray, magnitudes: np.ndarray, iterations: int, dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # norbert imports SciPy from where it was in 2019
        import norbert
    norbert.wiener(
        np.moveaxis(magnitudes, 0, -1), mixture.astype(dtype), iterations, use_softmask=False
    )


def _print_windows(song: Path, iterations: int) -> None:
    mixture, estimates = _estimates(song)
    whole = wiener.filter_spectra(mixture, estimates, iterations)
    level = _energy(whole)
    print(f"{song.name}, {len(mixture)} frames, {iterations} iteration(s), dB below the stem")
    print(f"the filter changes the estimates by {_db(_energy(estimates - whole).sum(), level):.1f}")
    print("\n| step + context, frames | from one window | step of the fade | largest step |")
    print("|---|---|---|---|")
    for step, context in SIZES:
        wiener.STEP_FRAMES, wiener.CONTEXT_FRAMES, wiener.OVERLAP = step, context, 2 * context
        streamed = _joined(mixture, estimates, iterations)
        steps = np.array(list(_steps(mixture, estimates, iterations))) * len(mixture)
        away = _db(_energy(streamed - whole).sum(), level)
        print(
            f"| {step} + {context} | {away:.1f} | {_db(steps.mean(axis=0).sum(), level):.1f} | "
            f"{_db((steps / level).max(), np.ones(1)):.1f} |"
        )


def _energy(spectra: np.ndarray) -> np.ndarray:
    """Return the energy of each source."""
    energy: np.ndarray = (np.abs(spectra) ** 2).sum(axis=tuple(range(1, spectra.ndim)))
    return energy


def _db(energy: float, level: np.ndarray) -> float:
    return float(10 * np.log10(energy / level.sum()))


def _joined(mixture: np.ndarray, estimates: np.ndarray, iterations: int) -> np.ndarray:
    stage = wiener.WienerFilter(iterations)
    parts = [*stage.push(mixture, {str(s): y for s, y in enumerate(estimates)}), *stage.finish()]
    return np.stack([np.concatenate([part[name] for part in parts]) for name in parts[0]])


def _steps(mixture: np.ndarray, estimates: np.ndarray, iterations: int) -> Iterator[np.ndarray]:
    """Yield, for each border, the energy by which the fade moves each source from frame to frame.

    It is what two neighbouring windows differ by at the border, divided by the fade's length.
    """
    step, context = wiener.STEP_FRAMES, wiener.CONTEXT_FRAMES
    before: tuple[int, np.ndarray] | None = None
    for first in range(0, len(mixture), step):
        start, stop = max(0, first - context), first + step + context
        result = wiener.filter_spectra(mixture[start:stop], estimates[:, start:stop], iterations)
        if before is not None:
            jump = result[:, first - start] - before[1][:, first - before[0]]
            yield _energy(jump / wiener.OVERLAP)
        before = start, result


def _estimates(song: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of a song and of the bundled model's estimates."""
    from mmdense_edge import Separator
    from mmdense_edge.transform import stft
    from mmdense_edge.windows import Windows

    separator = Separator()
    audio, rate = soundfile.read(song, dtype="float32", always_2d=True)
    if rate != separator.contract.sample_rate:
        sys.exit(f"{song}: {rate} Hz; the model needs {separator.contract.sample_rate} Hz")
    spectrum = stft(audio, separator.contract.transform)
    windows = Windows(separator.network, audio.shape[1], separator.sources)
    parts = [estimates for _, estimates in (*windows.push(spectrum), *windows.finish())]
    joined = [np.concatenate([part[name] for part in parts]) for name in separator.sources]
    return spectrum, np.stack(joined)


if __name__ == "__main__":
    main()
