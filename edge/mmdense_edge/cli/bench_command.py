"""The command `mmdense bench`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdense_edge import __version__
from mmdense_edge.errors import MMDenseError, UsageError

if TYPE_CHECKING:
    from mmdense_edge.bench.bench_report import BenchRow, Comparison
    from mmdense_edge.model.contract import Contract, Model

MAX_SECONDS = 86400
MAX_ROUNDS = 1000

Measure = Callable[["Model", int], "dict[str, Any]"]


_DESCRIPTION = """
Measures models on this machine, each in a process of its own: real-time factor, processor time,
time of a window, latency of a live run, memory and load time. Let nothing else run meanwhile.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], epilog: str) -> None:
    """Adds the command to the command line's parser."""
    bench = commands.add_parser(
        "bench", help="measure models on this machine", description=_DESCRIPTION, epilog=epilog
    )
    add = bench.add_argument
    add("models", nargs="*", metavar="MODEL", help="bundled names or files (default: the default)")
    add("--threads", default="1", metavar="N,M", help="numbers of threads (default: 1)")
    add("--seconds", type=float, default=30.0, metavar="S", help="of audio (default: 30)")
    add("--song", metavar="FILE", help="audio to separate (default: generated)")
    add(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="measure two models in turns, and print the ratio of their processor times",
    )
    add("--rounds", type=int, default=5, metavar="N", help="of --compare (default: 5)")
    add(
        "--lookahead",
        nargs="?",
        const="",
        metavar="N,M",
        help="print what a shorter look-ahead costs on --song, as a difference from file "
        "processing in dB (default: up to nine values)",
    )
    add("--step-frames", type=int, metavar="N", help="of --lookahead (default: two multiples)")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--quiet", action="store_true", help="no progress")
    bench.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns the exit code; see `mmdense bench --help`."""
    _check(arguments)
    found = _found(arguments)
    if arguments.json:
        print(json.dumps({name: part for name, (part, _) in found.items()}, indent=2))
    else:
        print("\n\n".join(text for _, text in found.values() if text))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.seconds <= MAX_SECONDS:
        raise UsageError(
            f"--seconds must be more than 0, up to {MAX_SECONDS}, got {arguments.seconds:g}"
        )
    if not 1 <= arguments.rounds <= MAX_ROUNDS:
        raise UsageError(f"--rounds must be from 1 to {MAX_ROUNDS}, got {arguments.rounds}")
    if arguments.compare and arguments.models:
        raise UsageError("--compare names its models itself: leave out the others")
    if arguments.lookahead is not None and arguments.song is None:
        raise UsageError("--lookahead needs --song: what it costs depends on the music")
    if arguments.song is not None:
        from mmdense_edge.audio.reading import audio_info

        audio_info(Path(arguments.song))


def _numbers(option: str, text: str, low: int, high: int) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and low <= int(part) <= high for part in parts):
        raise UsageError(f"{option} must be numbers from {low} to {high}, as in 1,2, got {text!r}")
    return [int(part) for part in parts]


def _found(arguments: argparse.Namespace) -> dict[str, tuple[Any, str]]:
    """Returns the parts of the report: for each its values, and its text."""
    from mmdense_edge.bench import host
    from mmdense_edge.bench.bench_report import make_row
    from mmdense_edge.model import interpreter
    from mmdense_edge.model.bundled import find
    from mmdense_edge.model.contract import load_model

    threads = _numbers("--threads", arguments.threads, 1, interpreter.MAX_THREADS)
    models = [load_model(find(name)) for name in arguments.compare or arguments.models or [None]]
    runtimes: list[str] = []

    def measure(model: Model, count: int) -> dict[str, Any]:
        if not arguments.quiet:
            name = model.contract.name
            print(f"mmdense: {name}, {count} thread(s) ...", file=sys.stderr, flush=True)
        result = _in_a_process(model, count, arguments.seconds, arguments.song)
        runtimes.append(result["runtime"])
        return result

    # The load is that before the measurement.
    before = host.describe()
    parts: dict[str, tuple[Any, str]] = {}
    if arguments.compare:
        comparison = _compare(models, threads[0], arguments.rounds, measure)
        parts["comparison"] = (comparison.as_json(), comparison.text())
    elif arguments.lookahead is not None:
        found = [_lookahead(arguments, model, threads[0], runtimes) for model in models]
        parts["lookahead"] = ([part for part, _ in found], "\n\n".join(text for _, text in found))
    else:
        rows = [make_row(m.contract, count, measure(m, count)) for m in models for count in threads]
        parts["models"] = _rows(rows)
    described = {**before, "interpreter": interpreter.describe(runtimes[0])}
    source = arguments.song or "generated"
    head = {"version": __version__, "machine": described, "audio": source}
    shown = ", ".join(f"{name} {value}" for name, value in described.items())
    return {
        **{name: (value, "") for name, value in head.items()},
        **parts,
        "seconds": (arguments.seconds, f"{arguments.seconds:g} s of audio ({source}); {shown}"),
    }


def _rows(rows: list[BenchRow]) -> tuple[Any, str]:
    from mmdense_edge.bench.bench_report import table

    return [row.as_json() for row in rows], table(rows)


def _compare(models: list[Model], threads: int, rounds: int, measure: Measure) -> Comparison:
    """Measures two models in turns, so that what else the machine does meets both."""
    from mmdense_edge.bench.bench_report import Comparison

    figures: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        # Each goes first in every other round.
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            found = measure(models[index], threads)
            figures[index].append(found["cpu_seconds"] / found["seconds"])
    names = [model.contract.name for model in models]
    if names[0] == names[1]:
        names = [str(model.path) for model in models]
    return Comparison((names[0], names[1]), (tuple(figures[0]), tuple(figures[1])))


def _lookahead(
    arguments: argparse.Namespace, model: Model, threads: int, runtimes: list[str]
) -> tuple[Any, str]:
    from mmdense_edge.bench import lookahead
    from mmdense_edge.separator import Separator

    separator = Separator(model.path, threads)
    runtimes.append(separator.runtime)
    contract = separator.contract
    lookaheads = _lookaheads(arguments.lookahead, contract)
    step = arguments.step_frames
    if step is None:
        step = 2 * contract.frame_multiple
    rows = []
    song = Path(arguments.song)
    measured = lookahead.measure(separator.network, song, arguments.seconds, step, lookaheads)
    for row in measured:
        rows.append(row)
        if not arguments.quiet:
            print(f"mmdense: {len(rows)} of {len(lookaheads)} ...", file=sys.stderr, flush=True)
    text = f"{contract.name}: difference from file processing\n{lookahead.table(rows)}"
    return {"model": contract.name, "rows": [row.as_json() for row in rows]}, text


def _lookaheads(text: str, contract: Contract) -> list[int]:
    from mmdense_edge.bench import lookahead

    if not text:
        return lookahead.default_lookaheads(contract)
    return _numbers("--lookahead", text, 0, contract.context_frames)


def _in_a_process(model: Model, threads: int, seconds: float, song: str | None) -> dict[str, Any]:
    """Measures in a process of its own: its memory and its load time are the model's alone."""
    task = {"model": str(model.path), "threads": threads, "seconds": seconds, "song": song}
    done = subprocess.run(
        [sys.executable, "-m", "mmdense_edge.bench.worker", json.dumps(task)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise MMDenseError(f"{model.contract.name}: the measurement failed: {lines[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
