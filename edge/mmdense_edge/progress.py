"""Shows how far a song is, how fast it goes and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from mmdense_edge.errors import printable
from mmdense_edge.report import clock

TERMINAL_SECONDS = 0.2
PLAIN_SECONDS = 10.0


class Progress:
    """A line that is rewritten on a terminal, and a plain line now and then elsewhere.

    Args:
        label: what is being worked on; may change.
        num_samples: its length, 0 if unknown; may change, as `total`.
        sample_rate: in Hz.
        stream: where to write.
        now: the clock, in seconds.
    """

    def __init__(
        self,
        label: str,
        num_samples: int,
        sample_rate: int,
        stream: TextIO,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock."""
        self.label = label
        self.total = num_samples
        self._sample_rate = sample_rate
        self._stream = stream
        self._now = now
        self._terminal = stream.isatty()
        self._start = self._last = now()

    def __call__(self, done: int) -> None:
        """Takes the number of samples done, and writes a line when it is time."""
        now = self._now()
        if now - self._last < (TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS) or not done:
            return
        self._last = now
        taken = now - self._start
        factor = f"real-time factor {taken * self._sample_rate / done:.3f}"
        if self.total:
            left = max(0.0, taken * (self.total - done) / done)
            line = f"{min(1.0, done / self.total):4.0%}, {factor}, {clock(left)} left"
        else:
            line = f"{clock(done / self._sample_rate)} done, {factor}"
        line = f"{printable(self.label)}: {line}"
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Clears the line on a terminal."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
