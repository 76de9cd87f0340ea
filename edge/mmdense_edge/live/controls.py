"""Keys and messages of a live run."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
            if not select.select([number], [], [], 0)[0]:
                return ""
            # Bypass the stream's own buffer: select does not see its contents.
            return os.read(number, 1).decode("ascii", "ignore")

        try:
            tty.setcbreak(number, termios.TCSANOW)
            yield read
        finally:
            termios.tcsetattr(number, termios.TCSANOW, before)


def help_line(mixer: Mixer) -> str:
    """Return a line that explains the keys."""
    toggles = ", ".join(f"{key} {stem}" for key, stem in keys_of(mixer.stems).items())
    presets = ", ".join(f"{number} {name}" for number, name in enumerate(PRESETS, 1))
    return f"keys: {toggles}; {presets}; space report; q quit"


class Controls:
    """Read keys, update the status line, warn when the machine falls behind.

    Args:
        engine: The run.
        read_key: From `keys`.
        stream: For the status line and the warnings, usually sys.stderr.
        show_report: Prints the report when the space bar is pressed.
        check: Raises errors of the worker.
        quiet: Print no status line; warnings are still printed.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        engine: LiveEngine,
        read_key: ReadKey,
        stream: TextIO,
        *,
        show_report: Callable[[], None],
        check: Callable[[], None],
        quiet: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with nothing shown."""
        self._engine, self._read_key, self._stream = engine, read_key, stream
        self._show_report, self._check, self._now = show_report, check, now
        self._line = stream.isatty() and not quiet
        self._keys = keys_of(engine.mixer.stems)
        self._shown = self._warned = float("-inf")
        self._unprocessed = 0

    def poll(self) -> bool:
        """Do what is due; return False if the run should end."""
        self._check()
        while key := self._read_key():
            if key == "q":
                return False
            self._press(key)
        stats, plan, now = self._engine.stats, self._engine.plan, self._now()
        if self._line and now - self._shown >= TERMINAL_SECONDS:
            self._shown = now
            self._write(
                f"{clock(plan.seconds(stats.captured))} {self._engine.mixer.describe()} "
                f"RTF {stats.real_time_factor or 0:.2f} drop-outs {stats.dropouts}"
            )
        if stats.unprocessed > self._unprocessed and now - self._warned >= WARNING_SECONDS:
            self._warned, self._unprocessed = now, stats.unprocessed
            self._write(
                f"mmdense: behind: drop-outs so far: {stats.dropouts}, "
                f"{plan.seconds(stats.unprocessed):.2f} s played unprocessed; try more --threads, "
                "a longer --step-frames, a longer --buffer or a smaller model\n"
            )
        return True

    def clear(self) -> None:
        """Clear the status line."""
        self._write("")

    def _write(self, text: str) -> None:
        """Replace the status line."""
        self._stream.write(f"\r\x1b[K{text}" if self._line else text)
        self._stream.flush()

    def _press(self, key: str) -> None:
        mixer = self._engine.mixer
        if key in self._keys:
            mixer.toggle(self._keys[key])
        elif key == " ":
            self.clear()
            self._show_report()
        elif key.isdecimal() and 1 <= int(key) <= len(PRESETS):
            name, (stem, _) = list(PRESETS.items())[int(key) - 1]
            sources = mixer.stems[:-1]
            if stem in (None, *sources):  # a preset for a stem that this model has
                mixer.set(parse_mix(name, sources))
