"""Keys and messages of a live run."""

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO

from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.mixer import PRESETS, Mixer, keys_of, parse_mix
from mmdense_edge.separate.song_report import clock

TERMINAL_SECONDS = 0.2
WARNING_SECONDS = 10.0

ReadKey = Callable[[], str]


@contextmanager
def keys(stream: TextIO) -> Iterator[ReadKey]:
    """Yield a function that returns the pressed key, or "" if there is none.

    Meanwhile, a POSIX terminal passes keys on immediately and does not echo them; Ctrl-C still
    interrupts. If `stream` is not a terminal, the function always returns "".

    Args:
        stream: Usually sys.stdin.
    """
    if not stream.isatty():
        yield str
    elif os.name == "nt":
        from importlib import import_module

        # By name, because type checkers know this module on Windows only.
        console: Any = import_module("msvcrt")
        yield lambda: str(console.getwch()) if console.kbhit() else ""
    else:
        import termios
        import tty

        number = stream.fileno()
        before = termios.tcgetattr(number)

        def read() -> str:
            # Bypass the stream's own buffer: select does not see its contents.
            pressed = select.select([number], [], [], 0)[0]
            return os.read(number, 1).decode("ascii", "ignore") if pressed else ""

        try:
            tty.setcbreak(number, termios.TCSANOW)
            yield read
        finally:
            termios.tcsetattr(number, termios.TCSANOW, before)


def help_line(mixer: Mixer) -> str:
    """Return a line that explains the keys."""
    toggles = ", ".join(f"{key} {stem}" for key, stem in keys_of(mixer.stems).items())
    presets = ", ".join(f"{key} {name}" for key, name in _presets(mixer).items())
    return f"keys: {toggles}; {presets}; space report; q quit"


def _presets(mixer: Mixer) -> dict[str, str]:
    """Return the key of each preset, but those for a stem that the model does not have."""
    return {
        str(number): name
        for number, (name, (about, _)) in enumerate(PRESETS.items(), 1)
        if about in (None, *mixer.stems)
    }


@contextmanager
def controls(
    engine: LiveEngine,
    read_key: ReadKey,
    stream: TextIO,
    *,
    show_report: Callable[[], None],
    check: Callable[[], object],
    quiet: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[], bool]]:
    """Read keys, update the status line, warn when the machine falls behind.

    Args:
        engine: The run.
        read_key: From `keys`.
        stream: For the status line and the warnings, usually sys.stderr.
        show_report: Prints the report when the space bar is pressed.
        check: Raises errors of the worker.
        quiet: Print no status line; warnings are still printed.
        now: The clock, in seconds.

    Yields:
        A function that does what is due and returns False if the run should end.
    """
    mixer, stats, plan = engine.mixer, engine.stats, engine.plan
    line = stream.isatty() and not quiet
    shown = warned = float("-inf")
    unprocessed = 0

    def write(text: str) -> None:
        """Replace the status line."""
        stream.write(f"\r\x1b[K{text}" if line else text)
        stream.flush()

    sources = mixer.stems[:-1]
    actions: dict[str, Callable[[], object]] = {
        " ": show_report,
        **{key: partial(mixer.toggle, stem) for key, stem in keys_of(mixer.stems).items()},
        **{
            key: partial(mixer.set, parse_mix(name, sources))
            for key, name in _presets(mixer).items()
        },
    }

    def poll() -> bool:
        nonlocal shown, warned, unprocessed
        check()
        while key := read_key():
            if key == "q":
                return False
            if key in actions:
                write("")
                actions[key]()
        seconds = now()
        if line and seconds - shown >= TERMINAL_SECONDS:
            shown = seconds
            write(
                f"{clock(plan.seconds(stats.captured))} {mixer.describe()} "
                f"RTF {stats.real_time_factor or 0:.2f} drop-outs {stats.dropouts}"
            )
        if stats.unprocessed > unprocessed and seconds - warned >= WARNING_SECONDS:
            warned, unprocessed = seconds, stats.unprocessed
            write(
                f"mmdense: behind: drop-outs so far: {stats.dropouts}, "
                f"{plan.seconds(unprocessed):.2f} s played unprocessed; try more --threads, "
                "a longer --step-frames, a longer --buffer or a smaller model\n"
            )
        return True

    try:
        yield poll
    finally:
        write("")
