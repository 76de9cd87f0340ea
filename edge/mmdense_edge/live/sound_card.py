"""Sound cards, through sounddevice and PortAudio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mmdense_edge.errors import AudioError, CardStopped, UsageError, printable
from mmdense_edge.signal.stft import Audio

Exchange = Callable[[Any], Audio]


def load() -> Any:
    """Returns the module sounddevice.

    Raises:
        UsageError: it is not installed, or PortAudio is missing; the text says what to install.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise UsageError(
            'a sound card needs sounddevice: pip install ".[live]" in a checkout of keras_mmdense, '
            "or choose a file, - or null for input and output"
        ) from error
    except OSError as error:
        raise UsageError(
            f"sounddevice finds no PortAudio ({error}): apt install libportaudio2 (Debian, "
            "Raspberry Pi OS), or choose a file, - or null for input and output"
        ) from error
    return sounddevice


def listing() -> str:
    """Returns the sound cards as lines; > and < mark the default input and output.

    Raises:
        UsageError: as `load`.
        AudioError: there is none.
    """
    sounddevice = load()
    with _reported(sounddevice):
        devices = sounddevice.query_devices()
    if not len(devices):
        raise AudioError("no sound card was found: is it plugged in?")
    return "\n".join(printable(line) for line in str(devices).splitlines())


class Card:
    """A sound card that records, plays, or both.

    Args:
        records: name or number of the device to record from, "" for the default, None for none.
        plays: the same of the device to play to.
        model_rate: the rate to take if nothing else decides, in Hz.
        rate: the rate wanted; None: `model_rate` if the card has it, else the card's own.
        channels: the channels wanted; None: two, or one if the card has no more.
        block: samples in a block.

    Raises:
        UsageError: as `load`.
        AudioError: no such device, or it cannot do what is wanted.
    """

    def __init__(
        self,
        records: str | None,
        plays: str | None,
        *,
        model_rate: int,
        rate: int | None,
        channels: int | None,
        block: int,
    ) -> None:
        """Asks the devices what they can do; opens none yet."""
        self._sounddevice = load()
        self.faults = 0
        self.delay_seconds = 0.0  # what the card itself adds, once it runs
        self._block = block
        self._stream: Any = None
        with _reported(self._sounddevice):
            self._sides = {
                kind: _number(self._sounddevice, name, kind)
                for kind, name in (("input", records), ("output", plays))
                if name is not None
            }
            self.channels = channels or min(2, *(self._most(kind) for kind in self._sides))
            self.sample_rate = self._rate(model_rate) if rate is None else rate
            self._check(self.sample_rate)

    def _most(self, kind: str) -> int:
        found = self._sounddevice.query_devices(self._sides[kind], kind)
        return int(found[f"max_{kind}_channels"])

    def _rate(self, model_rate: int) -> int:
        try:
            self._check(model_rate)
        except self._sounddevice.PortAudioError:
            kind = next(iter(self._sides))
            found = self._sounddevice.query_devices(self._sides[kind], kind)
            return int(found["default_samplerate"])
        return model_rate

    def _check(self, rate: int) -> None:
        for kind, device in self._sides.items():
            check = getattr(self._sounddevice, f"check_{kind}_settings")
            check(device=device, channels=self.channels, dtype="float32", samplerate=rate)

    @contextmanager
    def running(self, exchange: Exchange) -> Iterator[None]:
        """Opens the card and calls `exchange` for each block, on PortAudio's thread.

        Args:
            exchange: takes what was recorded, shape (block, channels), or None; returns what is
                to be played.
        """
        with _reported(self._sounddevice):
            stream = self._stream = self._open(exchange)
            self.delay_seconds = float(np.sum(stream.latency))
        try:
            with _reported(self._sounddevice):
                stream.start()
            yield
        finally:
            stream.close()

    def check_running(self) -> None:
        """Looks whether the card still records and plays.

        Raises:
            CardStopped: it does not.
        """
        with _reported(self._sounddevice):
            active = self._stream.active
        if not active:
            raise CardStopped("the sound card stopped: is it still plugged in?")

    def _open(self, exchange: Exchange) -> Any:
        form = {
            "samplerate": self.sample_rate,
            "channels": self.channels,
            "blocksize": self._block,
            "dtype": "float32",
        }
        sides = (self._sides.get("input"), self._sides.get("output"))

        def both(recorded: Any, played: Any, _: int, __: Any, status: Any) -> None:
            self.faults += bool(status)
            played[:] = exchange(recorded.copy())

        def record(recorded: Any, _: int, __: Any, status: Any) -> None:
            self.faults += bool(status)
            exchange(recorded.copy())

        def play(played: Any, _: int, __: Any, status: Any) -> None:
            self.faults += bool(status)
            played[:] = exchange(None)

        if len(self._sides) == 2:
            return self._sounddevice.Stream(device=sides, callback=both, **form)
        if "input" in self._sides:
            return self._sounddevice.InputStream(device=sides[0], callback=record, **form)
        return self._sounddevice.OutputStream(device=sides[1], callback=play, **form)


def _number(sounddevice: Any, name: str, kind: str) -> int:
    """Returns the number of the device of that name or number."""
    wanted = int(name) if name.isdecimal() else name or None
    found = sounddevice.query_devices(wanted, kind)
    return int(found["index"])


@contextmanager
def _reported(sounddevice: Any) -> Iterator[None]:
    try:
        yield
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(
            f"the sound card cannot be used ({printable(str(error))}): "
            "mmdense live --devices lists what there is"
        ) from error
