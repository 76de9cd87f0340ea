"""The command `mmdense`.

Exit codes: 0 all done; 1 a song failed or the model cannot be used; 2 the command line cannot be
carried out as it stands; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from mmdense_edge import __version__, live_cli

_EPILOG = (
    "Exit codes: 0 all done; 1 a song failed or the model cannot be used; "
    "2 wrong usage; 130 interrupted; 143 terminated."
)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="mmdense", description="Separates music into its sources.", epilog=_EPILOG
    )
    top.add_argument("--version", action="version", version=f"mmdense-edge {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_separate(commands)
    commands.add_parser("models", help="list the bundled models")
    info = commands.add_parser("info", help="show what a model file says about itself")
    info.add_argument("model", metavar="FILE", help="a model file, or a bundled model's name")
    live_cli.add_parser(commands, _EPILOG)
    return top


def _add_separate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    separate = commands.add_parser(
        "separate",
        help="separate songs into files",
        description="Writes OUT/<song>/<source>.wav for each song. Stems have the song's sample "
        "rate, channels, length and bit depth (16 bits for mp3, ogg and 8-bit files); samples "
        "beyond full scale are set to full scale and counted. Memory does not depend on length.",
        epilog=_EPILOG,
    )
    add = separate.add_argument
    add("songs", nargs="+", metavar="SONG", help="wav, flac, ogg, mp3 or aiff; mono or stereo")
    add("-o", "--out", required=True, metavar="OUT", help="the folder for the results")
    add("--model", metavar="NAME|FILE", help="a bundled model or a model file")
    add("--sources", metavar="A,B", help="only these sources (default: all of the model's)")
    add("--residual", action="store_true", help="also write the mixture less these sources")
    add("--format", choices=("wav", "flac"), default="wav", help="of the stems (default: wav)")
    add("--picture", action="store_true", help="also draw spectrogram.png (needs matplotlib)")
    add("--reference", metavar="DIR", help="score against DIR/<source>.wav, .flac or .ogg (SDR)")
    add("--threads", type=int, default=1, metavar="N", help="no more than free cores (default: 1)")
    add("--overwrite", action="store_true", help="replace results that exist")
    add("--quiet", action="store_true", help="print errors only")
    add("--json", action="store_true", help="print one JSON object instead of tables")


def _terminate(number: int, _: object) -> NoReturn:
    """Ends the process as an exception does, so that temporary files go."""
    sys.exit(128 + number)


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
        signal.signal(signal.SIGTERM, _terminate)
    arguments = parser().parse_args(argv)
    # Only now: --help and usage errors need neither NumPy nor an interpreter.
    from mmdense_edge import commands
    from mmdense_edge.errors import MMDenseError, UsageError, printable

    try:
        return int(getattr(commands, arguments.command)(arguments))
    except UsageError as error:
        message, code = str(error), commands.USAGE
    except (MMDenseError, OSError) as error:
        message, code = printable(str(error)), commands.FAILED
    except KeyboardInterrupt:
        message, code = "interrupted: the song in work was not written", commands.INTERRUPTED
    print(f"mmdense: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
