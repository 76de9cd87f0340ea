"""Sound cards, through sounddevice and PortAudio."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mmdense_edge.errors import AudioError, CardStopped, UsageError, printable, refuse_if
from mmdense_edge.live.engine import LiveEngine, Poll
from mmdense_edge.live.stats import LiveStats
from mmdense_edge.live.streams import LiveInput, Write
from mmdense_edge.signal.stft import Audio

POLL_SECONDS = 0.02
PREFETCHED = 64

Exchange = Callable[[Any], Audio]


def load() -> Any:
    """Return the module sounddevice.

    Raises:
        UsageError: It is not installed, or PortAudio is missing; the message says what to install.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise UsageError(
            'a sound card needs sounddevice. Run pip install ".[live]" in a checkout of '
            "keras_mmdense, or choose a file, - or null for input and output."
        ) from error
    except OSError as error:
        raise UsageError(
            f"sounddevice cannot find PortAudio ({error}). Run apt install libportaudio2 (Debian, "
            "Raspberry Pi OS), or choose a file, - or null for input and output."
        ) from error
    return sounddevice


def listing() -> str:
    """Return the sound cards as lines; > and < mark the default input and output.

    Raises:
        UsageError: As `load`.
        AudioError: No sound card was found.
    """
    sounddevice = load()
    with _reported(sounddevice):
        devices = sounddevice.query_devices()
    refuse_if(not len(devices), "no sound card was found. Is it plugged in?", AudioError)
    return "\n".join(printable(line) for line in str(devices).splitlines())


class Card:
    """A sound card that records, plays, or both.

    Args:
        records: Name or number of the device to record from, "" for the default, None for none.
        plays: The same for the device to play on.
        model_rate: The preferred rate if `rate` is None, in Hz.
        rate: The rate wanted; None for `model_rate` if the card supports it, otherwise the card's
            default.
        channels: The channels wanted; None for two, or one if the card has only one.
        block: Samples in a block.

    Raises:
        UsageError: As `load`.
        AudioError: No such device, or it does not support what is wanted.
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
        self._sounddevice = load()
        self._block, self.patience = block, block / model_rate
        with _reported(self._sounddevice):
            self._sides: dict[str, Any] = {
                kind: self._sounddevice.query_devices(
                    int(name) if name.isdecimal() else name or None, kind
                )
                for kind, name in {"input": records, "output": plays}.items()
                if name is not None
            }
            most = [int(side[f"max_{kind}_channels"]) for kind, side in self._sides.items()]
            self.channels = channels or min(2, *most)
            self.sample_rate = rate or model_rate
            try:
                self._check()
            except self._sounddevice.PortAudioError:
                if rate is not None:
                    raise
                self.sample_rate = int(next(iter(self._sides.values()))["default_samplerate"])
                self._check()

    def _check(self) -> None:
        for kind, side in self._sides.items():
            getattr(self._sounddevice, f"check_{kind}_settings")(
                device=side["index"],
                channels=self.channels,
                dtype="float32",
                samplerate=self.sample_rate,
            )

    @contextmanager
    def running(self, exchange: Exchange, stats: LiveStats) -> Iterator[Callable[[], object]]:
        """Open the card and call `exchange` for each block, on PortAudio's thread.

        Args:
            exchange: Takes what was recorded, shape (block, channels), or None; returns what is
                to be played.
            stats: Counts the card's faults, and takes the latency that it adds.

        Yields:
            A function that raises CardStopped if the card does not record and play any more.
        """

        def callback(*arguments: Any) -> None:
            *buffers, _, _, status = arguments
            stats.device_faults += bool(status)
            recorded = buffers.pop(0).copy() if "input" in self._sides else None
            block = exchange(recorded)
            if buffers:
                buffers[0][:] = block

        def check() -> None:
            with _reported(self._sounddevice):
                active = stream.active
            if not active:
                raise CardStopped("the sound card stopped. Is it still plugged in?")

        kinds = [*self._sides]
        devices = tuple(side["index"] for side in self._sides.values())
        name = "Stream" if len(kinds) == 2 else f"{kinds[0].capitalize()}Stream"
        with _reported(self._sounddevice):
            stream = getattr(self._sounddevice, name)(
                device=devices if len(kinds) == 2 else devices[0],
                samplerate=self.sample_rate,
                channels=self.channels,
                blocksize=self._block,
                dtype="float32",
                callback=callback,
            )
            stats.device_seconds = float(np.sum(stream.latency))
        try:
            with _reported(self._sounddevice):
                stream.start()
            yield check
        finally:
            stream.close()


@contextmanager
def _reported(sounddevice: Any) -> Iterator[None]:
    try:
        yield
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(
            f"the sound card cannot be used ({printable(str(error))}). "
            "mmdense live --devices lists the sound cards."
        ) from error


def run_card(engine: LiveEngine, card: Card, source: LiveInput, write: Write, poll: Poll) -> None:
    """Run by a sound card's clock; its callback captures and plays.

    Args:
        engine: Paced; its worker runs elsewhere.
        card: The sound card, which records, plays or both.
        source: The mixture; if the card records it, only its length counts.
        write: Takes the output, whether the card plays it or not.
        poll: Called regularly; False ends the run.

    Raises:
        CardStopped: The card stopped.
    """
    plan, stats, end = engine.plan, engine.stats, np.zeros((0, engine.plan.channels), np.float32)
    # Read ahead and write later: the callback must not wait for a file.
    waiting: deque[Audio] = deque()
    done: deque[Audio] = deque()

    def exchange(recorded: Audio | None) -> Audio:
        """Take a block of the mixture and return one of the output, on the card's thread."""
        if recorded is not None:
            block = recorded[: max(0, source.num_samples - stats.captured)]
        elif waiting:
            block = end if waiting[0] is end else waiting.popleft()
        else:
            # The file was not read in time: play silence, as for a late card.
            stats.device_faults += 1
            return np.zeros((plan.block, plan.channels), np.float32)
        # The card has blocks in reserve: a late stem may be in time yet.
        played, signal = engine.exchange(block, card.patience)
        done.append(signal)
        return played

    def feed() -> None:
        while len(waiting) < PREFETCHED:
            waiting.append(next(source.blocks, end))
        while done:
            write(done.popleft())

    feed()
    with card.running(exchange, stats) as check_running:
        while poll() and not engine.player.finished:
            time.sleep(POLL_SECONDS)
            feed()
            check_running()
    feed()
