"""Signals that end a program: handled, unless they were ignored when it was started."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDS = ("SIGINT", "SIGTERM", "SIGHUP")

Handler = Callable[[int, FrameType | None], Any]


def wanted(*names: str) -> list[signal.Signals]:
    """Return the signals that this process does not ignore.

    `nohup` makes a program ignore SIGHUP, and a shell without job control makes background programs
    ignore SIGINT. A program that handled such a signal anyway would end with the terminal, or on a
    Ctrl-C meant for another program.

    Args:
        names: Of the signals, by default those of `ENDS`; one that the system does not have (on
            Windows SIGHUP) is left out.
    """
    known = [getattr(signal, name) for name in names or ENDS if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def taken(handler: Handler | signal.Handlers, *names: str) -> Iterator[None]:
    """Handle signals while the block runs, except those that this process ignores.

    Args:
        handler: Called with the signal's number and the frame; or what `signal.signal` takes.
        names: As for `wanted`. Outside the main thread, where Python has no handlers, none is
            taken.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in wanted(*names) if main}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
