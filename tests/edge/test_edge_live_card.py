"""Sound cards: a stand-in for the module sounddevice, whose callbacks the tests call."""

from __future__ import annotations

import builtins
import sys
import types
from functools import partialmethod

import numpy as np
import pytest
from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.errors import AudioError, CardStopped, UsageError
from mmdense_edge.live import drivers, sound_card
from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import make_plan

BLOCK = 512
STATS = types.SimpleNamespace()


class PortAudioError(Exception):
    pass


class FakeStream:
    """What the card was opened with; `fire` is one callback."""

    active, started, closed, position = True, False, False, 0

    def __init__(self, sides: str, latency: object, form: dict[str, object]) -> None:
        self.sides, self.latency, self.form = sides, latency, form
        self.played: list[np.ndarray] = []

    def start(self) -> None:
        self.started = True

    def close(self) -> None:
        self.closed = True

    def fire(self, recorded: np.ndarray, status: object = None) -> None:
        assert (self.started, self.closed) == (True, False)
        buffers = []
        if "input" in self.sides:
            block = recorded[self.position :][:BLOCK].copy()
            buffers.append(np.pad(block, ((0, BLOCK - len(block)), (0, 0))))
        if "output" in self.sides:
            buffers.append(np.full((BLOCK, self.form["channels"]), np.nan, np.float32))
            self.played.append(buffers[-1])
        self.position += BLOCK
        self.form["callback"](*buffers, BLOCK, None, status)
        if "input" in self.sides:
            buffers[0].fill(np.nan)  # PortAudio takes its buffer back


class FakeSoundDevice(types.ModuleType):
    """One card with two channels at 44100 and 48000 Hz, its own rate 48000; one mono microphone."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.streams: list[FakeStream] = []
        self.cards = [("USB card", 2, 2), ("microphone", 1, 0)]

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return Listing(self.cards)
        matches = [n for n, card in enumerate(self.cards) if device in (None, n) or (
            isinstance(device, str) and device in card[0])]  # fmt: skip
        if not matches and isinstance(device, str):
            raise ValueError(f"No {kind} device matching {device!r}")
        if not matches:
            raise PortAudioError(f"Error querying device {device}")
        name, inputs, outputs = self.cards[matches[0]]
        return {"name": name, "index": matches[0], "default_samplerate": 48000.0,
                "max_input_channels": inputs, "max_output_channels": outputs}  # fmt: skip

    def _check(self, side, device, channels, dtype, samplerate):
        if channels > self.cards[device][side]:
            raise PortAudioError("Invalid number of channels [PaErrorCode -9998]")
        if samplerate not in (44100, 48000):
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def _open(self, sides, latency, **form):
        self.streams.append(FakeStream(sides, latency, form))
        return self.streams[-1]

    check_input_settings = partialmethod(_check, 1)
    check_output_settings = partialmethod(_check, 2)
    Stream = partialmethod(_open, "input output", (0.01, 0.02))
    InputStream = partialmethod(_open, "input", 0.01)
    OutputStream = partialmethod(_open, "output", 0.02)


class Listing(list):
    def __str__(self) -> str:
        return "\n".join(f"> {n} {card[0]}" for n, card in enumerate(self))


@pytest.fixture
def module(monkeypatch):
    fake = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def open_card(records="", plays="", **options):
    form = {"model_rate": 44100, "rate": None, "channels": None, "block": BLOCK, **options}
    return sound_card.Card(records, plays, **form)


@pytest.fixture
def through(module, separators, monkeypatch):
    """Runs audio through a card; all gains are 1, so that the output is the mixture."""

    def run(card, audio, blocks=(), write=len, stop_after=None, per_poll=3, **options):
        separator = separators["shares"]
        plan = make_plan(
            separator.contract, card.sample_rate, card.channels, block=BLOCK, step_frames=4
        )
        gains = dict.fromkeys((*separator.sources, "residual"), 1.0)
        engine = LiveEngine(separator.network, plan, Mixer(gains, card.sample_rate), True)
        polls = iter(range(stop_after) if stop_after is not None else range(10**6))

        def sleep(_: float) -> None:
            for _ in range(per_poll):
                module.streams[-1].fire(audio)
            engine.work()

        monkeypatch.setattr(drivers, "time", types.SimpleNamespace(sleep=sleep))
        poll = lambda: next(polls, None) is not None  # noqa: E731
        drivers.run_card(engine, card, iter(blocks), write, poll, **options)
        return engine

    return run


@pytest.mark.native
def test_from_card_to_card(through, module, noise):
    audio = noise(40000)
    card = open_card()
    engine = through(card, audio, limit=30000)
    (stream,) = module.streams
    assert stream.form["device"] == (0, 0)
    assert (stream.form["samplerate"], stream.form["channels"]) == (44100, 2)
    assert (stream.form["blocksize"], stream.form["dtype"]) == (BLOCK, "float32")
    assert stream.closed
    assert engine.stats.device_seconds == pytest.approx(0.03)
    played = np.concatenate(stream.played)
    latency = engine.plan.latency
    assert not played[:latency].any()
    assert np.abs(played[latency:][:30000] - audio[:30000]).max() < 1e-5
    assert not played[latency + 30000 :].any()
    assert engine.stats.dropouts == 0


def test_from_the_card_to_a_file(through, module, noise):
    audio, written = noise(30000, 1), []
    card = open_card(records="microphone", plays=None)
    assert card.channels == 1
    engine = through(card, audio, write=written.append, limit=20001)
    assert module.streams[0].form["device"] == 1
    assert np.concatenate(written).shape == (20001, 1)
    assert np.abs(np.concatenate(written) - audio[:20001]).max() < 1e-5
    assert engine.player.finished


def test_the_run_ends_when_it_is_asked_to(through, module, noise):
    engine = through(open_card(), noise(90000), stop_after=5)
    assert engine.stats.captured == 5 * 3 * BLOCK
    assert module.streams[0].closed


def test_a_card_that_stops_ends_the_run(through, module, noise, monkeypatch):
    fire, written = FakeStream.fire, []

    def until_unplugged(stream, recorded, status=None):
        fire(stream, recorded, status)
        stream.active = stream.position < 60 * BLOCK

    monkeypatch.setattr(FakeStream, "fire", until_unplugged)
    with pytest.raises(CardStopped, match=r"the sound card stopped\. Is it still plugged in"):
        through(open_card(plays=None), noise(60 * BLOCK), write=written.append)
    assert module.streams[0].closed
    assert sum(map(len, written)) > 20 * BLOCK


def test_a_file_that_is_read_too_slowly_is_counted(through, module, noise):
    """More callbacks between two polls than blocks are fetched in advance."""
    audio = noise(100 * BLOCK)
    card = open_card(records=None, rate=44100, channels=2)
    engine = through(card, None, blocks=even([audio], BLOCK), per_poll=70)
    assert engine.stats.device_faults == 6
    played = np.concatenate(module.streams[0].played)
    assert engine.stats.captured == len(audio)
    assert len(played) >= len(audio) + 6 * BLOCK


def test_faults_that_the_card_reports_are_counted(module, noise):
    stats = types.SimpleNamespace(device_faults=0)
    with open_card().running(lambda recorded: np.zeros((BLOCK, 2)), stats):
        for status in (None, "input overflow", None, "output underflow"):
            module.streams[0].fire(noise(BLOCK * 9), status)
    assert stats.device_faults == 2


def test_the_rate_is_the_models_or_the_cards_own(module):
    assert open_card().sample_rate == 44100
    assert open_card(model_rate=16000).sample_rate == 48000
    assert open_card(rate=48000).sample_rate == 48000


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rate": 96000}, "Invalid sample rate"),
        ({"records": "9"}, "Error querying device 9"),
        ({"plays": "no such"}, "No output device matching 'no such'"),
        ({"records": "microphone", "channels": 2, "plays": None}, "Invalid number of channels"),
    ],
)
def test_cards_that_cannot_be(module, options, match):
    with pytest.raises(AudioError, match=match) as caught:
        open_card(**options)
    assert str(caught.value).startswith("the sound card cannot be used (")
    assert "--devices lists the sound cards" in str(caught.value)


def test_a_card_that_breaks_while_it_opens(module, monkeypatch):
    def broken(self: FakeStream) -> None:
        raise PortAudioError("Device unavailable")

    monkeypatch.setattr(FakeStream, "start", broken)
    with pytest.raises(AudioError, match="Device unavailable"), open_card().running(print, STATS):
        pass
    assert module.streams[0].closed


def test_what_goes_wrong_elsewhere_is_not_the_cards_fault(module):
    with pytest.raises(ValueError, match=r"^mine$"), open_card().running(print, STATS):
        raise ValueError("mine")
    assert module.streams[0].closed


def test_a_list_of_cards(module):
    assert sound_card.listing() == "> 0 USB card\n> 1 microphone"
    module.cards.clear()
    with pytest.raises(AudioError, match="no sound card was found"):
        sound_card.listing()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("none"), r'pip install "\.\[live\]"'),
        (OSError("PortAudio library not found"), r"PortAudio library not found.*libportaudio2"),
    ],
)
def test_without_sounddevice_or_portaudio(monkeypatch, error, words):
    def missing(*_: object) -> None:
        raise error

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match=words):
        sound_card.load()
