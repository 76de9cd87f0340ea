"""Single keys from a terminal, without waiting for them."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

ReadKey = Callable[[], str]


def _no_key() -> str:
    return ""


@contextmanager
def keys(stream: TextIO) -> Iterator[ReadKey]:
    """Gives a function that returns the key pressed, or "" if none was.

    While it is in use, a POSIX terminal passes keys on at once and does not show them; Ctrl-C still
    interrupts. Where `stream` is no terminal, no key ever comes.

    Args:
        stream: usually sys.stdin.
    """
    if not stream.isatty():
        yield _no_key
    elif os.name == "nt":
        yield _windows_key
    else:
        with _single_keys(stream) as read:
            yield read


def _windows_key() -> str:
    from importlib import import_module

    # By name, because type checkers know this module on Windows only.
    console: Any = import_module("msvcrt")
    return str(console.getwch()) if console.kbhit() else ""


@contextmanager
def _single_keys(stream: TextIO) -> Iterator[ReadKey]:
    import termios
    import tty

    number = stream.fileno()
    before = termios.tcgetattr(number)

    def read() -> str:
        if not select.select([number], [], [], 0)[0]:
            return ""
        # Past the stream's own buffer: select knows nothing of what lies in there.
        return os.read(number, 1).decode("ascii", "ignore")

    try:
        tty.setcbreak(number, termios.TCSANOW)
        yield read
    finally:
        termios.tcsetattr(number, termios.TCSANOW, before)
