"""The command `mmdense`.

Exit codes: 0 success; 1 a song failed or the model cannot be used; 2 wrong usage; 129 the terminal
was closed; 130 interrupted; 143 terminated.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mmdense_edge import __version__, signals
from mmdense_edge.cli import (
    bench_command,
    live_command,
    model_commands,
    separate_command,
    serve_command,
)

_EPILOG = (
    "Exit codes: 0 success; 1 a song failed or the model cannot be used; "
    "2 wrong usage; 129 terminal closed; 130 interrupted; 143 terminated."
)
FAILED, USAGE, INTERRUPTED = 1, 2, 130
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    top = argparse.ArgumentParser(
        prog="mmdense", description="Separate music into its sources.", epilog=_EPILOG
    )
    top.add_argument("--version", action="version", version=f"mmdense {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for one in (separate_command, model_commands, live_command, bench_command, serve_command):
        one.add_parser(commands, _EPILOG)
    add_completion(top, commands)
    return top


def add_completion(top: argparse.ArgumentParser, commands: Any) -> None:
    """Add the command that prints a shell's completion script.

    Args:
        top: The program's parser. Text arguments without choices complete to files.
        commands: Its commands, from `top.add_subparsers`.
    """

    def run(arguments: argparse.Namespace) -> int:
        import shtab

        for command in commands.choices.values():
            for action in command._actions:
                if not (action.nargs == 0 or action.choices or action.type):
                    action.complete = shtab.FILE
        print(shtab.complete(top, arguments.shell))
        return 0

    one = commands.add_parser(
        "completion", help="print the shell's completion script", epilog=top.epilog,
        description=f'Prints a script. In ~/.bashrc: eval "$({top.prog} completion bash)"; in '
        f"~/.zshrc, after compinit, the same with zsh; fish: {top.prog} completion fish > "
        f"~/.config/fish/completions/{top.prog}.fish",
    )  # fmt: skip
    one.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    one.set_defaults(run=run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: The arguments; defaults to those of the process.
    """
    prepare(argv is None)
    arguments = parser().parse_args(argv)
    if argv is None:
        # By default, glibc raises this to 32 MiB when windows are freed and keeps them in a heap
        # that fragments: 6 % more memory after half an hour of music. With 1 MiB, clearing pages
        # costs 20 % more time, as it does where glibc returns the heap's end: 64 MiB of it stay.
        set_heap_thresholds(6 << 20, 64 << 20)
    return carry_out(
        "mmdense",
        lambda: arguments.run(arguments),
        getattr(arguments, "lost", ""),
        own_process=argv is None,
    )


def prepare(own_process: bool) -> None:
    """Prepare the streams of a command and, in a process of its own, the signals that end it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot print a song's name must not stop the work.
            stream.reconfigure(errors="backslashreplace")
    if own_process:
        for number in signals.wanted("SIGTERM", "SIGHUP"):
            # Unwind as an exception does, so that temporary files are removed.
            signal.signal(number, lambda received, _: sys.exit(128 + received))


def set_heap_thresholds(mmap_bytes: int, trim_bytes: int | None = None) -> bool:
    """Set the block size from which glibc returns freed memory to the system.

    It affects the whole process, so only commands call it.

    Args:
        mmap_bytes: Blocks of at least this size (32 MiB at most) are returned as soon as they are
            freed.
        trim_bytes: Smaller blocks are returned when this much is free at the end of the heap, at
            most 2**31 - 1; None leaves it to glibc.

    Returns:
        Whether it was set; False with any other C library.
    """
    import ctypes

    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return False
    done = mallopt(_M_MMAP_THRESHOLD, mmap_bytes)
    return bool(done and (trim_bytes is None or mallopt(_M_TRIM_THRESHOLD, trim_bytes)))


def carry_out(
    program: str,
    work: Callable[[], int],
    lost: str = "",
    errors: tuple[type[Exception], ...] = (),
    *,
    own_process: bool,
) -> int:
    """Run a command and return its exit code; if it fails, print why in one line.

    Args:
        program: The program's name in messages.
        work: The command, which returns its exit code.
        lost: What is lost on Ctrl-C or a signal, for the message.
        errors: Reported in the same way as this package's errors and the system's.
        own_process: True if the process ends with the command.
    """
    from mmdense_edge.errors import MMDenseError, UsageError, printable

    reported: tuple[type[Exception], ...] = (MMDenseError, OSError, *errors)
    try:
        code = work()
        sys.stdout.flush()  # here, where a closed pipe can be reported
        return code
    except BrokenPipeError:
        if own_process:
            # Python flushes once more at its end: into nothing, or it would end with code 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message, code = "the output pipe was closed", FAILED
    except UsageError as error:
        message, code = str(error), USAGE
    except reported as error:
        message, code = printable(str(error)), FAILED
    except KeyboardInterrupt:
        message, code = f"interrupted{lost}", INTERRUPTED
    except SystemExit as ending:
        message, code = f"terminated{lost}", int(ending.code or 0)
    print(f"{program}: {message}", file=sys.stderr)
    return code
