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
from collections.abc import Sequence
from typing import NoReturn

from mmdense_edge import __version__, bench_cli, live_cli, separate_cli, serve_cli

_EPILOG = (
    "Exit codes: 0 all done; 1 a song failed or the model cannot be used; "
    "2 wrong usage; 129 terminal closed; 130 interrupted; 143 terminated."
)


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
    return top


def _terminate(number: int, _: object) -> NoReturn:
    """Ends the process as an exception does, so that temporary files go."""
    sys.exit(128 + number)


def _take_signals() -> None:
    """Makes what would kill the process end it cleanly; what is ignored (nohup) stays so."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code.

    Args:
        argv: the arguments; default those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a song's letters shall not stop the work.
            stream.reconfigure(errors="backslashreplace")
    if argv is None:
        _take_signals()
    arguments = parser().parse_args(argv)
    # Only now: --help and usage errors need neither NumPy nor an interpreter.
    from mmdense_edge import commands, heap
    from mmdense_edge.errors import MMDenseError, UsageError, printable

    if argv is None:
        heap.return_large_blocks()
    # What `mmdense live` has played it keeps, and says so itself.
    lost = ": the song in work was not written" if arguments.command == "separate" else ""
    try:
        code = int(getattr(commands, arguments.command)(arguments))
        sys.stdout.flush()  # here, where it can be told that nobody reads any more
        return code
    except BrokenPipeError:
        if argv is None:
            # Python flushes once more at its end: into nothing, or it would end with code 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message, code = "what reads the standard output has ended", commands.FAILED
    except UsageError as error:
        message, code = str(error), commands.USAGE
    except (MMDenseError, OSError) as error:
        message, code = printable(str(error)), commands.FAILED
    except KeyboardInterrupt:
        message, code = f"interrupted{lost}", commands.INTERRUPTED
    except SystemExit as ending:
        message, code = f"terminated{lost}", int(ending.code or 0)
    print(f"mmdense: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
