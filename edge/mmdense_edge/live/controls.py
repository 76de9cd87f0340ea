"""Keys and messages of a live run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.keys import ReadKey
from mmdense_edge.live.mixer import PRESETS, Mixer, keys_of, parse_mix
from mmdense_edge.live.stats import LiveReport
from mmdense_edge.separate.song_report import clock

TERMINAL_SECONDS = 0.2
WARNING_SECONDS = 10.0


def help_line(mixer: Mixer) -> str:
    """Returns what each key does."""
    toggles = ", ".join(f"{key} {stem}" for key, stem in keys_of(mixer.stems).items())
    presets = ", ".join(f"{number} {name}" for number, name in enumerate(PRESETS, 1))
    return f"keys: {toggles}; {presets}; space report; q quit"


class Controls:
    """Reads keys, keeps the line on the terminal, says when the machine falls behind.

    Args:
        engine: the run.
        read_key: from `live_keys.keys`.
        stream: for the line and the warnings, usually sys.stderr.
        report: returns the figures up to now.
        show_report: prints them, when the space bar asks for them.
        check: raises what went wrong elsewhere.
        quiet: no line; warnings stay.
        now: the clock, in seconds.
    """

    def __init__(
        self,
        engine: LiveEngine,
        read_key: ReadKey,
        stream: TextIO,
        *,
        report: Callable[[], LiveReport],
        show_report: Callable[[LiveReport], None],
        check: Callable[[], None],
        quiet: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with nothing shown."""
        self._engine, self._read_key, self._stream = engine, read_key, stream
        self._report, self._show_report, self._check = report, show_report, check
        self._line = stream.isatty() and not quiet
        self._now = now
        self._keys = keys_of(engine.mixer.stems)
        self._shown = self._warned = float("-inf")
        self._unprocessed = 0

    def poll(self) -> bool:
        """Does what is due; returns False when the run is to end."""
        self._check()
        key = self._read_key()
        while key:
            if key == "q":
                return False
            self._press(key)
            key = self._read_key()
        now = self._now()
        if self._line and now - self._shown >= TERMINAL_SECONDS:
            self._shown = now
            self._stream.write(f"\r\x1b[K{self._status()}")
            self._stream.flush()
        self._warn(now)
        return True

    def clear(self) -> None:
        """Takes the line away."""
        if self._line:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _press(self, key: str) -> None:
        mixer = self._engine.mixer
        if key in self._keys:
            mixer.toggle(self._keys[key])
        elif key == " ":
            self.clear()
            self._show_report(self._report())
        elif key.isdecimal() and 1 <= int(key) <= len(PRESETS):
            sources = mixer.stems[:-1]
            preset = PRESETS[int(key) - 1]
            # A preset for a stem that this model does not have is no preset of its own.
            if preset in available_presets(sources):
                mixer.set(parse_mix(preset, sources))

    def _status(self) -> str:
        report = self._report()
        plan, player = report.plan, report.player
        return (
            f"{clock(plan.seconds(player.captured))} {self._engine.mixer.describe()} "
            f"RTF {report.real_time_factor or 0:.2f} drop-outs {player.dropouts}"
        )

    def _warn(self, now: float) -> None:
        counts, plan = self._engine.player.counts, self._engine.plan
        if counts.unprocessed > self._unprocessed and now - self._warned >= WARNING_SECONDS:
            self.clear()
            self._stream.write(
                f"mmdense: behind: drop-outs so far: {counts.dropouts}, "
                f"{plan.seconds(counts.unprocessed):.2f} s played unprocessed; try more --threads, "
                "a longer --step-frames, a longer --buffer or a smaller model\n"
            )
            self._stream.flush()
            self._warned, self._unprocessed = now, counts.unprocessed


def available_presets(sources: tuple[str, ...]) -> list[str]:
    """Returns the presets whose stems a model has.

    Example:
        >>> available_presets(("vocals",))
        ['all', 'karaoke', 'acapella']
    """
    needs = {"karaoke": "vocals", "drumless": "drums", "bassless": "bass", "acapella": "vocals"}
    needs.update({"drums-only": "drums", "bass-only": "bass"})
    return [name for name in PRESETS if name not in needs or needs[name] in sources]
