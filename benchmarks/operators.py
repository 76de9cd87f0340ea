"""Where a network's time goes: its share by kind of operator, one thread on one core.

    python -m benchmarks.operators edge-float32.tflite edge-int8.tflite
    python -m benchmarks.operators --plain mmdensenet edge-int8.tflite --json operators.json

The times are XNNPACK's own, asked through LiteRT's profiler: elapsed time, of each operator the
least of all runs. The interpreter without XNNPACK would run other code, and would tell nothing.
Operators that XNNPACK has not taken are listed, too, by TFLite's names. What all operators add up
to stands beside the fastest of as many runs of the interpreter without a profiler, taken in turns:
far from 100 %, the profile tells nothing.

--plain converts a preset to float32 just as Keras has it, without the exporter's rewrites and with
random weights, which do not change its speed: the "before" of an int8 file. Profile it with the
frames of that file's window, and with the file itself exported as float32 beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdense_edge import machine

from benchmarks.bench_edge import ONE_THREAD, one_core

# The first that matches an operator's name.
KINDS = {
    "depthwise convolution": r"Convolution .*DWConv|DEPTHWISE_CONV_2D",
    "transposed convolution": r"Deconvolution|TRANSPOSE_CONV",
    "convolution": r"Convolution|CONV_2D",
    # What XNNPACK makes of a 1x1 convolution; these networks have no other use for it.
    "1x1 convolution": r"Fully Connected|FULLY_CONNECTED",
    "pooling": r".*Pooling|.*_POOL_2D",
    "concatenation": r"Copy|CONCATENATION",
    "slices, padding and places": r"Slice|.*Reshape|Constant Pad|Depth To Space|Transpose|"
    r"STRIDED_SLICE|SLICE|RESHAPE|PAD|DEPTH_TO_SPACE|TRANSPOSE",
    "number format": r"Convert|QUANTIZE|DEQUANTIZE",
    "activation": r"Sigmoid|Clamp|Leaky ReLU|Maximum|LOGISTIC|RELU|LEAKY_RELU",
    "arithmetic": r"Add|Subtract|Multiply|Log|Square|Divide|ADD|SUB|MUL|DIV|LOG|SQRT",
}
CONVOLUTIONS = (
    "convolution",
    "1x1 convolution",
    "depthwise convolution",
    "transposed convolution",
)
RUNS = 20
MOST_RUNS, MOST_FRAMES = 1000, 1024


def kind_of(name: str) -> str:
    """Returns the kind of an operator, or its own name if it is of none.

    Args:
        name: as XNNPACK or TFLite calls it.

    Example:
        >>> kind_of("Convolution (NHWC, QC8) DWConv")
        'depthwise convolution'
    """
    return next((kind for kind, names in KINDS.items() if re.match(names, name)), name)


def by_kind(operators: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Returns the seconds of each kind of operator, the largest first.

    Args:
        operators: name and seconds of each.
    """
    found: defaultdict[str, float] = defaultdict(float)
    for name, seconds in operators:
        found[kind_of(name)] += seconds
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def convolution_share(kinds: Mapping[str, float]) -> float:
    """Returns the convolutions' share of all operators' time.

    Args:
        kinds: seconds by kind; not all 0.
    """
    return sum(kinds.get(kind, 0.0) for kind in CONVOLUTIONS) / sum(kinds.values())


def measure(model: Path, runs: int) -> dict[str, Any]:
    """Profiles a model in this process.

    Args:
        model: the file.
        runs: with the profiler, and as many without.

    Returns:
        operators: name and seconds of each; run_s: of a run without the profiler, the least.
    """
    from benchmarks.edge_worker import runner
    from benchmarks.litert_profiler import profile

    run = runner(model)
    times: list[float] = []

    def unprofiled() -> None:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)

    found = profile(model, runs, unprofiled)
    return {"operators": found, "run_s": min(times)}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the models' profiles as a Markdown table, a column for each.

    Args:
        found: by name what `measure` returns.
    """
    columns = [by_kind(one["operators"]) for one in found.values()]
    kinds = sorted(
        {k for c in columns for k in c}, key=lambda k: -max(c.get(k, 0) for c in columns)
    )
    sums = [sum(column.values()) for column in columns]
    lines = [f"| share of the time | {' | '.join(found)} |", "|---" * (len(columns) + 1) + "|"]
    for kind in kinds:
        cells = [f"{c.get(kind, 0) / whole:.1%}" for c, whole in zip(columns, sums, strict=True)]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    shares = [f"**{convolution_share(column):.1%}**" for column in columns]
    times = [f"{whole * 1000:.1f}" for whole in sums]
    covered = [
        f"{whole / one['run_s']:.0%}" for whole, one in zip(sums, found.values(), strict=True)
    ]
    lines.append(f"| **all convolutions** | {' | '.join(shares)} |")
    lines.append(f"| all operators, ms | {' | '.join(times)} |")
    lines.append(f"| of a run without the profiler | {' | '.join(covered)} |")
    return "\n".join(lines)


def plain(preset: str, frames: int, path: Path) -> None:
    """Writes a preset as float32 without the exporter's rewrites, with random weights.

    Args:
        preset: its name.
        frames: of a window.
        path: the file.

    Raises:
        SettingsError: no such preset, or frames that it cannot have.
    """
    import keras_mmdense
    from benchmarks.conversion import convert, vary_constants

    network = keras_mmdense.build(preset, frames=frames)
    vary_constants(network)
    path.write_bytes(convert(network, int8=False))


def _in_a_process(*arguments: str) -> str:
    """Runs this module anew: a library that dies takes no other model's figures with it."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.operators", "--worker", *arguments],
        capture_output=True, text=True, errors="replace", check=False,
        env=os.environ | ONE_THREAD, cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
        raise RuntimeError(f"{arguments[1]}: {lines[-1]}")
    return done.stdout


def _worker(task: str, *arguments: str) -> None:
    if task == "plain":
        plain(arguments[0], int(arguments[1]), Path(arguments[2]))
    else:
        print("\n" + json.dumps(measure(Path(arguments[0]), int(arguments[1]))))


def run(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Profiles what was asked for; returns by name what `measure` does.

    Args:
        args: the command line's.

    Raises:
        RuntimeError: a conversion or a profile failed.
    """
    found = {}
    with tempfile.TemporaryDirectory(prefix="operators-") as folder:
        models = {}
        for preset in args.plain:
            models[f"{preset}, float32, plain"] = Path(folder, f"{preset}.tflite")
            print(f"converting {preset} ...", file=sys.stderr, flush=True)
            _in_a_process("plain", preset, str(args.frames), str([*models.values()][-1]))
        models |= {path.stem: path.resolve() for path in args.models}
        for number, (name, path) in enumerate(models.items(), 1):
            print(f"{number} of {len(models)}: {name} ...", file=sys.stderr, flush=True)
            printed = _in_a_process("profile", str(path), str(args.runs))
            found[name] = json.loads(printed.splitlines()[-1])
    return found


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("models", nargs="*", type=Path, metavar="MODEL.tflite")
    add("--plain", action="append", default=[], metavar="PRESET", help="convert it as it is")
    add("--frames", type=int, default=128, metavar="N", help="of --plain (default: 128)")
    add("--runs", type=int, default=RUNS, metavar="N", help=f"(default: {RUNS})")
    add("--json", type=Path, metavar="FILE", help="also write all operators there")
    args = parser.parse_args(argv)
    if not args.models and not args.plain:
        parser.error("name a model file, or a preset with --plain")
    for path in args.models:
        if not path.is_file():
            parser.error(f"no model file at {path}")
    if not 1 <= args.runs <= MOST_RUNS or not 1 <= args.frames <= MOST_FRAMES:
        parser.error(f"--runs must be from 1 to {MOST_RUNS}, --frames from 1 to {MOST_FRAMES}")
    if args.json and (args.json.exists() or not args.json.parent.is_dir()):
        parser.error(f"--json must name a new file in a folder that exists, got {args.json}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["--worker"]:
        _worker(*arguments[1:])
        return 0
    args = _arguments(arguments)
    core = one_core()
    try:
        found = run(args)
    except RuntimeError as error:
        print(f"operators: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    described = {**machine.describe("ai_edge_litert"), "core": core, "date": time.strftime("%F")}
    print(", ".join(f"{key} {value}" for key, value in described.items()))
    print(f"\n{table(found)}")
    if args.json:
        with args.json.open("x", encoding="utf-8") as file:
            json.dump({"machine": described, "models": found}, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
