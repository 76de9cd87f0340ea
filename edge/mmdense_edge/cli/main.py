"""The command `mmdense`.

Exit codes: 0 all done; 1 a song failed or the model cannot be used; 2 the command line cannot be
carried out as it stands; 129 the terminal was closed; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mmdense_edge import __version__, signals
from mmdense_edge.cli import bench_cli, live_cli, separate_cli, serve_cli

_EPILOG = (
    "Exit codes: 0 all done; 1 a song failed or the model cannot be used; "
    "2 wrong usage; 129 terminal closed; 130 interrupted; 143 terminated."
)


FAILED, USAGE, INTERRUPTED = 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="mmdense", description="Separates music into its sources.", epilog=_EPILOG
    )
    top.add_argument("--version", action="version", version=f"mmdense {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    separate_cli.add_parser(commands, _EPILOG)
    commands.add_parser("models", help="list the bundled models")
    info = commands.add_parser("info", help="show what a model file says about itself")
    info.add_argument("model", metavar="FILE", help="a model file, or a bundled model's name")
    live_cli.add_parser(commands, _EPILOG)
    bench_cli.add_parser(commands, _EPILOG)
    serve_cli.add_parser(commands, _EPILOG)
    add_completion(commands, "mmdense", _EPILOG)
    return top


def add_completion(commands: Any, program: str, epilog: str) -> None:
    """Adds the command that prints a shell's completion script to a program's commands."""
    one = commands.add_parser(
        "completion", help="print the shell's completion script", epilog=epilog,
        description=f'Prints a script. In ~/.bashrc: eval "$({program} completion bash)"; in '
        f"~/.zshrc, after compinit, the same with zsh; fish: {program} completion fish > "
        f"~/.config/fish/completions/{program}.fish",
    )  # fmt: skip
    one.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


def print_completion(top: argparse.ArgumentParser, shell: str) -> int:
    """Prints the completion script of a program and returns the exit code.

    Args:
        top: the program's parser. Its commands' arguments that are text without choices complete
            to files.
        shell: "bash", "zsh" or "fish".

    Raises:
        MMDenseError: shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        from mmdense_edge.errors import MMDenseError

        raise MMDenseError("completion needs shtab, found none: pip install shtab") from error
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            if not (action.nargs == 0 or action.choices or action.type):
                action.complete = shtab.FILE
    print(shtab.complete(top, shell))
    return 0


def _terminate(number: int, _: object) -> NoReturn:
    """Ends the process as an exception does, so that temporary files go."""
    sys.exit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code.

    Args:
        argv: the arguments; default those of the process.
    """
    prepare(argv is None)
    arguments = parser().parse_args(argv)
    # Only now: --help and usage errors need neither NumPy nor an interpreter.
    from mmdense_edge.cli import commands, heap

    if argv is None:
        # glibc alone raises this to 32 MiB when windows are freed, and keeps them in a heap that
        # falls to pieces: 6 % more memory after half an hour of music. With 1 MiB, clearing pages
        # costs 20 % more time.
        heap.set_thresholds(6 << 20)
    command = getattr(commands, arguments.command)
    # What `mmdense live` has played it keeps, and says so itself.
    lost = ": the song in work was not written" if arguments.command == "separate" else ""
    return carry_out("mmdense", lambda: command(arguments), lost, own_process=argv is None)


def prepare(own_process: bool) -> None:
    """Prepares the streams of a command and, in a process of its own, the signals that end it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a song's letters shall not stop the work.
            stream.reconfigure(errors="backslashreplace")
    if own_process:
        for number in signals.wanted("SIGTERM", "SIGHUP"):
            signal.signal(number, _terminate)


def carry_out(
    program: str,
    work: Callable[[], int],
    lost: str = "",
    errors: tuple[type[Exception], ...] = (),
    *,
    own_process: bool,
) -> int:
    """Carries out a command; returns its exit code, or prints in one line why it failed.

    Args:
        program: its name in messages.
        work: the command, which returns its exit code.
        lost: what Ctrl-C or a signal costs, for the message.
        errors: what else, besides this package's errors and the system's, is the user's to know.
        own_process: the process ends with the command.
    """
    from mmdense_edge.errors import MMDenseError, UsageError, printable

    told: tuple[type[Exception], ...] = (MMDenseError, OSError, *errors)
    try:
        code = work()
        sys.stdout.flush()  # here, where it can be told that nobody reads any more
        return code
    except BrokenPipeError:
        if own_process:
            # Python flushes once more at its end: into nothing, or it would end with code 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message, code = "what reads the standard output has ended", FAILED
    except UsageError as error:
        message, code = str(error), USAGE
    except told as error:
        message, code = printable(str(error)), FAILED
    except KeyboardInterrupt:
        message, code = f"interrupted{lost}", INTERRUPTED
    except SystemExit as ending:
        message, code = f"terminated{lost}", int(ending.code or 0)
    print(f"{program}: {message}", file=sys.stderr)
    return code
