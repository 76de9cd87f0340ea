"""What the benchmarks share: processes, arguments, exit codes, tables."""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
QUIET = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "edge")]),
}
_CALL = (
    "import importlib, json, sys; module, name, given = sys.argv[1:]; "
    "print(json.dumps(getattr(importlib.import_module(module), name)(**json.loads(given))))"
)
_PACKAGES = (
    "import importlib.metadata as m, json, sysconfig\n"
    "print(json.dumps([sysconfig.get_path('purelib'), sorted((d.metadata['Name'], d.version)\n"
    "    for d in m.distributions() if d.metadata['Name'] not in ('pip', 'setuptools'))]))"
)


def on_cpu(threads: int) -> dict[str, str]:
    """Return the variables that hold NumPy, PyTorch and TensorFlow to the CPU and some threads."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def run(command: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed.

    Args:
        command: Program and arguments.
        environ: Variables to add to those of this process.

    Raises:
        RuntimeError: It failed; the message is its last line.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=os.environ | (environ or {})
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"the process ended with {done.returncode}")
    return done.stdout


def call(
    function: str, python: str = sys.executable, environ: Mapping[str, str] | None = None,
    **arguments: Any,
) -> Any:  # fmt: skip
    """Call a function in a process of its own and return its answer.

    Args:
        function: "module:name". The answer travels as JSON.
        python: The interpreter.
        environ: Variables to add to `QUIET` and to those of this process.
        **arguments: Of the function, as JSON takes them.

    Raises:
        RuntimeError: The process failed; the message is its last line.
    """
    command = [python, "-c", _CALL, *function.split(":"), json.dumps(arguments)]
    return json.loads(run(command, QUIET | (environ or {})).splitlines()[-1])


def packages_of(python: Path) -> tuple[dict[str, str], float]:
    """Return an environment's packages with their versions, and its size in megabytes.

    Both without pip and setuptools.

    Args:
        python: Its interpreter.
    """
    site, packages = json.loads(run([str(python), "-I", "-c", _PACKAGES]))
    own = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    sizes = [
        path.stat().st_size
        for path in Path(site).rglob("*")
        if path.is_file() and not path.relative_to(site).parts[0].startswith(own)
    ]
    return dict(packages), sum(sizes) / 1e6


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Call a function; return its answer, the elapsed seconds and the process' CPU seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return answer, time.perf_counter() - start, time.process_time() - cpu


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def exit_code(main: Callable[[Sequence[str] | None], int | None]) -> Callable[..., int]:
    """Make a command return its exit code: 2, with one line, if it fails, 130 if interrupted."""

    @wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv) or 0
        except (RuntimeError, ValueError, OSError, ModuleNotFoundError) as error:
            say(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            say("stopped")
            return 130

    return run


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command `python -m benchmarks.NAME`."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def number(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], Any]:
    """Return the `type` of an argument that is a number within bounds.

    Args:
        kind: int or float.
        least: The smallest number allowed.
        most: The largest.
    """

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"must be a number from {least:g} to {most:g}; received {text!r}"
            )
        return value

    return parse


def numbers(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], Any]:
    """Return the `type` of an argument that is some numbers within bounds, as in 1,2."""
    return lambda text: [number(kind, least, most)(part) for part in text.split(",")]


def new_path(text: str) -> Path:
    """Return the path of a file or folder to make; the `type` of such an argument."""
    path = Path(text)
    if path.exists() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be new, in a folder that exists; received {text!r}")
    return path


def machine_line() -> str:
    """Return the machine, the software and the date in one line."""
    from mmdense_edge.bench import host

    described = host.describe()
    return (
        f"{described['cpu']}, {described['cores']} cores, load {described['load']}, "
        f"Python {described['python']}, {time.strftime('%Y-%m-%d')}"
    )


def shown(number: float, form: str) -> str:
    """Return a number as text, "-" if there is none."""
    return "-" if math.isnan(number) else format(number, form)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns but the first are aligned to the right."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
