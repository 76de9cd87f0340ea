"""Starts commands as different shells do, and tells what they said and left."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

_START = """
import os, signal, sys
ignored = sys.argv[1].split(",")
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN if name in ignored else signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""


def started(command: Sequence[str], ignored: Sequence[str] = ()) -> list[str]:
    """Returns the command that starts another one with its signals as in a terminal.

    What the shell ignores that runs the tests (`nohup`, a script's background) would be ignored in
    all that they start, too.

    Args:
        command: the program's path and its arguments.
        ignored: the signals among SIGINT, SIGTERM and SIGHUP that it starts with ignored.
    """
    return [sys.executable, "-c", _START, ",".join(ignored), *command]


def said(stderr: str) -> list[str]:
    """Returns a command's lines, without the notes that interpreters and decoders write from C."""
    own = re.sub(r"INFO: |Created TensorFlow Lite XNNPACK delegate for CPU\.", "", stderr)
    return [line for line in own.split("\n") if line and not line.startswith("Warning: Xing")]


def everything(folder: Path) -> list[str]:
    """Returns the names of all files and folders below a folder, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def contents(folder: Path) -> dict[str, bytes | None]:
    """Returns the contents of all files below a folder, None for what is no file, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
