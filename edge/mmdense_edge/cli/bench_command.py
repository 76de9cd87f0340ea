"""The command `mmdense bench`."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmdense_edge import __version__
from mmdense_edge.errors import MMDenseError, refuse_if
from mmdense_edge.model.model_file import Model

MAX_SECONDS = 86400
MAX_ROUNDS = 1000

_DESCRIPTION = """
Measure models on this machine, each in a process of its own: real-time factor, CPU time, time per
window, latency of a live run, memory and load time. Do not use the machine for anything else
meanwhile.
"""


def add_parser(commands: Any, epilog: str) -> None:
    """Add the command to the command line's parser."""
    bench = commands.add_parser(
        "bench", help="measure models on this machine", description=_DESCRIPTION, epilog=epilog
    )
    add = bench.add_argument
    add(
        "models",
        nargs="*",
        metavar="MODEL",
        help="bundled models or files (default: the default model)",
    )
    add("--threads", default="1", metavar="N,M", help="numbers of threads (default: 1)")
    add("--seconds", type=float, default=30.0, metavar="S", help="seconds of audio (default: 30)")
    add("--song", metavar="FILE", help="audio to separate (default: generated)")
    add(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="measure two models in alternation and print the ratio of their CPU times",
    )
    add("--rounds", type=int, default=5, metavar="N", help="rounds of --compare (default: 5)")
    add(
        "--lookahead",
        nargs="?",
        const="",
        metavar="N,M",
        help="print the cost of a shorter look-ahead on --song, as the difference from file "
        "processing in dB (default: up to nine values)",
    )
    add(
        "--step-frames",
        type=int,
        metavar="N",
        help="new frames per window for --lookahead (default: twice the model's frame_multiple)",
    )
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--quiet", action="store_true", help="print no progress")
    bench.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code; see `mmdense bench --help`."""
    from mmdense_edge.audio.reading import audio_info
    from mmdense_edge.bench import bench_report, host
    from mmdense_edge.model import bundled, interpreter, model_file

    seconds, rounds, song = arguments.seconds, arguments.rounds, arguments.song
    refuse_if(
        not 0 < seconds <= MAX_SECONDS,
        f"--seconds must be more than 0, up to {MAX_SECONDS}; received {seconds:g}",
    )
    refuse_if(
        not 1 <= rounds <= MAX_ROUNDS,
        f"--rounds must be from 1 to {MAX_ROUNDS}; received {rounds}",
    )
    refuse_if(
        arguments.compare and arguments.models,
        "--compare takes both models itself. Drop the others.",
    )
    refuse_if(
        arguments.compare and arguments.lookahead is not None,
        "--compare and --lookahead are two measurements. Run them one after the other.",
    )
    refuse_if(
        arguments.lookahead is not None and song is None,
        "--lookahead needs --song: its cost depends on the music",
    )
    if song is not None:
        audio_info(Path(song))
    threads = _numbers("--threads", arguments.threads, 1, interpreter.MAX_THREADS)
    refuse_if(
        len(threads) > 1 and (arguments.compare or arguments.lookahead is not None),
        f"--compare and --lookahead take one number of --threads; received {arguments.threads}",
    )
    models = [
        model_file.load_model(bundled.find(name))
        for name in arguments.compare or arguments.models or [None]
    ]

    def say(text: str) -> None:
        if not arguments.quiet:
            print(f"mmdense: {text} ...", file=sys.stderr, flush=True)

    def measure(model: Model, count: int) -> dict[str, Any]:
        say(f"{model.contract.name}, {count} thread(s)")
        return measure_in_a_process(model, count, seconds, song)

    described = host.describe()  # before the measurement, for the load average
    found: Any
    if arguments.compare:
        figures: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds):
            # Alternate, so that other work on the machine affects both; each goes first in every
            # other round.
            for index in (0, 1) if number % 2 == 0 else (1, 0):
                one = measure(models[index], threads[0])
                figures[index].append(one["cpu_seconds"] / one["seconds"])
        names = [model.contract.name for model in models]
        names = names if len(set(names)) == 2 else [str(model.path) for model in models]
        kind, found = "comparison", bench_report.compared(names, figures)
        text = bench_report.comparison_text(found)
    elif arguments.lookahead is not None:
        kind, found = "lookahead", [
            {"model": model.contract.name, "rows": [*_lookahead(arguments, model, threads[0], say)]}
            for model in models
        ]  # fmt: skip
        text = "\n\n".join(
            f"{one['model']}: difference from file processing\n"
            + bench_report.lookahead_table(one["rows"])
            for one in found
        )
    else:
        kind, found = "models", [
            bench_report.make_row(model.contract, count, measure(model, count))
            for model in models
            for count in threads
        ]  # fmt: skip
        text = bench_report.table(found)
    described["interpreter"] = interpreter.describe(interpreter.interpreter_class()[0])
    source = song or "generated"
    if arguments.json:
        report = {"version": __version__, "machine": described, "audio": source, kind: found}
        print(json.dumps({**report, "seconds": seconds}, indent=2))
    else:
        shown = ", ".join(f"{name} {value}" for name, value in described.items())
        print(f"{text}\n\n{seconds:g} s of audio ({source}); {shown}")
    return 0


def _numbers(option: str, text: str, low: int, high: int) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    refuse_if(
        not all(part.isdecimal() and low <= int(part) <= high for part in parts),
        f"{option} must be numbers from {low} to {high}, as in 1,2; received {text!r}",
    )
    return [int(part) for part in parts]


def _lookahead(
    arguments: argparse.Namespace, model: Model, threads: int, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    from mmdense_edge.bench import bench_report
    from mmdense_edge.model.interpreter import TFLiteNetwork

    contract, step = model.contract, arguments.step_frames
    frames = (
        _numbers("--lookahead", arguments.lookahead, 0, contract.context_frames)
        if arguments.lookahead
        else bench_report.default_lookaheads(contract)
    )
    step = 2 * contract.frame_multiple if step is None else step
    network = TFLiteNetwork(model, threads)
    rows = bench_report.lookahead_rows(network, arguments.song, arguments.seconds, step, frames)
    for number, row in enumerate(rows, 1):
        say(f"{number} of {len(frames)}")
        yield row


def measure_in_a_process(
    model: Model, threads: int, seconds: float, song: str | None
) -> dict[str, Any]:
    """Measure in a separate process, so that memory and load time are the model's alone.

    Raises:
        MMDenseError: The process failed; the message quotes its last line.
    """
    task = {"model": str(model.path), "threads": threads, "seconds": seconds, "song": song}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mmdense_edge.bench.worker", json.dumps(task)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        # The last line of a traceback names the type of the error first.
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        reason = lines[-1].partition("Error: ")[2] or lines[-1]
        raise MMDenseError(f"{model.contract.name}: the measurement failed: {reason}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
