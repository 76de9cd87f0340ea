"""Shows how far the work is and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from keras_mmdense.data.faults import printable

TERMINAL_SECONDS = 0.2
PLAIN_SECONDS = 10.0


class Progress:
    """A line that is rewritten on a terminal, and a plain line now and then elsewhere.

    Args:
        label: What is being worked on.
        stream: Where to write.
        now: The clock, in seconds.
    """

    def __init__(
        self, label: str, stream: TextIO, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the clock."""
        self._label, self._stream, self._now = printable(label), stream, now
        self._terminal = stream.isatty()
        self._start = self._last = now()

    def __call__(self, share: float) -> None:
        """Take the share done, and write a line when it is time."""
        now = self._now()
        if not share or now - self._last < (TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS):
            return
        self._last = now
        left = round((now - self._start) * (1 - share) / share)
        line = f"{self._label}: {share:4.0%}, {left // 60}:{left % 60:02d} left"
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
