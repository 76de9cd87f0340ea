"""What `mmdense bench` does not measure: memory by length of the song, and the installation.

    python -m benchmarks.edge memory --minutes 1,10,60           # 60 minutes need 4 GB of disk
    python -m benchmarks.edge install --extras live

`memory` separates stereo songs of several lengths. The figure is the maximum resident set that
Linux gives for the process, Python, the interpreter and the model included. It must not grow: the
command ends with 1 if the peaks differ by more than 5 %, or one is not under 250 MB.

`install` runs `pip install .` in a fresh environment and measures size, packages and CPU time of
imports. It needs only Python and pip, and ends with 1 if a limit is exceeded.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import (
    ROOT,
    call,
    command_parser,
    exit_code,
    machine_line,
    number,
    numbers,
    packages_of,
    run,
    say,
    table,
    timed,
)

MOST_BYTES, MOST_SPREAD = 250e6, 0.05
MAX_MEGABYTES, MAX_PACKAGES, REPEATS = 170, 14, 5
STATEMENTS = (
    "import mmdense_edge",
    "from mmdense_edge import Separator",
    "from mmdense_edge import Separator; Separator()",
)
_TIMED = "import time\nstart = time.process_time()\n{}\nprint(time.process_time() - start)"
_RUNTIME = (
    "from mmdense_edge.model.interpreter import interpreter_class; print(interpreter_class()[0])"
)


def write_song(path: Path, seconds: float) -> None:
    """Write music, 44.1 kHz stereo, 16 bits."""
    import soundfile as sf
    from mmdense_edge.bench.worker import open_song

    music = open_song(None, seconds)
    with sf.SoundFile(path, "w", music.sample_rate, music.channels, "PCM_16") as file:
        for block in music.blocks:
            file.write(block)


def memory(args: argparse.Namespace) -> int:
    """Measure and print peak memory by length; return 1 if it grows or is too much."""
    rows, peaks = [], []
    for minutes in args.minutes:
        say(f"{minutes:g} minutes ...")
        with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
            song = Path(folder, "song.wav")
            write_song(song, minutes * 60)
            command = [
                sys.executable, "-m", "mmdense_edge", "separate", str(song), "--quiet",
                "-o", str(Path(folder, "out")), "--threads", str(args.threads),
                *(["--model", args.model] if args.model else []),
            ]  # fmt: skip
            peak, seconds, _ = timed(partial(call, "benchmarks.edge:peak_memory", command=command))
        peaks.append(peak)
        rows.append([f"{minutes:g}", f"{peak / 1e6:.1f}", f"{seconds:.1f}"])
    passed = memory_passes(peaks)
    print(f"{machine_line()}\n\n{table(['minutes', 'peak memory, MB', 'seconds'], rows)}")
    print(f"\nwithin {MOST_SPREAD:.0%} of each other and under {MOST_BYTES / 1e6:g} MB: {passed}")
    return 0 if passed else 1


def peak_memory(command: Sequence[str]) -> int:
    """Run a command and return the maximum of its resident set, in bytes.

    The system keeps one maximum for all that a process has run: this one runs nothing else.
    """
    run(command)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def memory_passes(peaks: Sequence[float]) -> bool:
    """Return whether peaks, in bytes, are within 5 % of each other and all under 250 MB."""
    return max(peaks) / min(peaks) - 1 <= MOST_SPREAD and max(peaks) < MOST_BYTES


def install(args: argparse.Namespace) -> int:
    """Install the project into a fresh environment, measure it; return 1 if it is too large."""
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, "-m", "venv", folder])
        python = Path(folder, "bin", "python")
        wanted = f"{ROOT}[{args.extras}]" if args.extras else str(ROOT)
        run([str(python), "-m", "pip", "install", "--quiet", wanted])
        packages, megabytes = packages_of(python)
        interpreter = run([str(python), "-I", "-c", _RUNTIME]).strip()
        print(
            f"interpreter: {interpreter}; {time.strftime('%Y-%m-%d')}\n"
            f"size: {megabytes:.0f} MB, at most {MAX_MEGABYTES}\n"
            f"packages: {len(packages)}, at most {MAX_PACKAGES}\n"
            "  " + ", ".join(f"{name} {version}" for name, version in packages.items())
        )
        for statement in STATEMENTS:
            command = [str(python), "-I", "-c", _TIMED.format(statement)]
            times = [float(run(command).splitlines()[-1]) for _ in range(REPEATS)]
            print(f"{statement}: {statistics.median(times):.3f} CPU s")
    passed = megabytes <= MAX_MEGABYTES and len(packages) <= MAX_PACKAGES
    return 0 if passed or args.extras else 1


@exit_code
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if a limit is exceeded."""
    parser = command_parser("edge", __doc__)
    commands = parser.add_subparsers(required=True, metavar="memory|install")
    shown = argparse.ArgumentDefaultsHelpFormatter
    command = commands.add_parser("memory", formatter_class=shown)
    command.set_defaults(measure=memory)
    command.add_argument("--model", help="a name or a file; the bundled one if None")
    command.add_argument("--minutes", type=numbers(float, 0.01, 600), default="1,10,60")
    command.add_argument("--threads", type=number(int, 1, 64), default=1)
    command = commands.add_parser("install", formatter_class=shown)
    command.set_defaults(measure=install)
    command.add_argument("--extras", help="such as plot,live; without limits")
    args = parser.parse_args(argv)
    return int(args.measure(args))


if __name__ == "__main__":
    sys.exit(main())
