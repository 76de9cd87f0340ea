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
from mmdense_edge.live import sound_card
from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import make_plan
from mmdense_edge.live.streams import LiveInput, limited

BLOCK = 512


class PortAudioError(Exception):
    pass


class FakeStream:
    """What the card was opened with; `fire` is one callback."""

    active, started, closed, position = True, False, False, 0

    def __init__(self, sides: str, latency: object, form: dict[str, object]) -> None:
        self.sides, self.latency, self.form = sides, latency, form
        self.played: list[np.ndarray] = []

    def start(self) -> None:
        if self.form["channels"] > 2:
            raise PortAudioError("Device unavailable")
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


class Listing(list):
    def __str__(self) -> str:
        return "\n".join(f"> {n} {card[0]}" for n, card in enumerate(self))


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
        for number, (name, inputs, outputs) in enumerate(self.cards):
            if device in (None, number) or (isinstance(device, str) and device in name):
                return {"index": number, "default_samplerate": 48000.0,
                        "max_input_channels": inputs, "max_output_channels": outputs}  # fmt: skip
        raise (ValueError if isinstance(device, str) else PortAudioError)(f"No {kind} {device!r}")

    def _check(self, side, device, channels, dtype, samplerate):
        if channels > self.cards[device][side] or samplerate not in (44100, 48000):
            raise PortAudioError("Invalid sample rate or number of channels")

    def _open(self, sides, latency, **form):
        self.streams.append(FakeStream(sides, latency, form))
        return self.streams[-1]

    check_input_settings = partialmethod(_check, 1)
    check_output_settings = partialmethod(_check, 2)
    Stream = partialmethod(_open, "input output", (0.01, 0.02))
    InputStream = partialmethod(_open, "input", 0.01)
    OutputStream = partialmethod(_open, "output", 0.02)


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

    def run(card, audio, blocks=(), seconds=None, stop_after=10**6, per_poll=3):
        separator, rate, channels = separators["shares"], card.sample_rate, card.channels
        plan = make_plan(separator.contract, rate, channels, block=BLOCK, step_frames=4)
        gains = dict.fromkeys((*separator.sources, "residual"), 1.0)
        engine = LiveEngine(separator.network, plan, Mixer(gains, rate), True)
        polls = iter(range(stop_after))
        engine.written = []

        def sleep(_: float) -> None:
            for _ in range(per_poll):
                module.streams[-1].fire(audio)
            engine.work()

        monkeypatch.setattr(sound_card, "time", types.SimpleNamespace(sleep=sleep))
        source = limited(LiveInput("card", rate, channels, iter(blocks)), seconds)
        poll = lambda: next(polls, None) is not None  # noqa: E731
        sound_card.run_card(engine, card, source, engine.written.append, poll)
        return engine

    return run


@pytest.mark.native
def test_from_card_to_card(through, module, noise):
    audio = noise(40000)
    engine = through(open_card(), audio, seconds=30000 / 44100)
    (stream,) = module.streams
    form = {"device": (0, 0), "samplerate": 44100, "channels": 2, "blocksize": BLOCK,
            "dtype": "float32"}  # fmt: skip
    assert {**stream.form, **form} == stream.form
    assert stream.closed
    assert engine.stats.device_seconds == pytest.approx(0.03)
    played, latency = np.concatenate(stream.played), engine.plan.latency
    assert not played[:latency].any()
    assert np.abs(played[latency:][:30000] - audio[:30000]).max() < 1e-5
    assert not played[latency + 30000 :].any()
    assert engine.stats.dropouts == 0


def test_from_the_card_to_a_file(through, module, noise):
    audio, card = noise(30000, 1), open_card(records="microphone", plays=None)
    engine = through(card, audio, seconds=20001 / 44100)
    assert module.streams[0].form["device"] == 1
    written = np.concatenate(engine.written)
    assert written.shape == (20001, card.channels) == (20001, 1)
    assert np.abs(written - audio[:20001]).max() < 1e-5
    assert engine.player.finished


def test_the_run_ends_when_it_is_asked_to(through, module, noise):
    engine = through(open_card(), noise(90000), stop_after=5)
    assert engine.stats.captured == 5 * 3 * BLOCK
    assert module.streams[0].closed


def test_a_card_that_stops_ends_the_run(through, module, noise, monkeypatch):
    fire = FakeStream.fire

    def until_unplugged(stream, recorded):
        fire(stream, recorded)
        stream.active = stream.position < 60 * BLOCK

    monkeypatch.setattr(FakeStream, "fire", until_unplugged)
    with pytest.raises(CardStopped, match=r"the sound card stopped\. Is it still plugged in"):
        through(open_card(plays=None), noise(60 * BLOCK))
    assert module.streams[0].closed


def test_a_file_that_is_read_too_slowly_is_counted(through, module, noise):
    """More callbacks between two polls than blocks are fetched in advance."""
    audio = noise(100 * BLOCK)
    card = open_card(records=None, rate=44100, channels=2)
    engine = through(card, None, blocks=even([audio], BLOCK), per_poll=70)
    assert engine.stats.device_faults == 6
    assert engine.stats.captured == len(audio)
    assert sum(map(len, module.streams[0].played)) >= len(audio) + 6 * BLOCK


def test_faults_that_the_card_reports_are_counted(module, noise):
    stats = types.SimpleNamespace(device_faults=0)
    with open_card().running(lambda recorded: np.zeros((BLOCK, 2)), stats):
        for status in (None, "input overflow", None, "output underflow"):
            module.streams[0].fire(noise(BLOCK * 9), status)
    assert stats.device_faults == 2


@pytest.mark.parametrize(
    ("options", "rate"), [({}, 44100), ({"model_rate": 16000}, 48000), ({"rate": 48000}, 48000)]
)
def test_the_rate_is_the_models_or_the_cards_own(module, options, rate):
    assert open_card(**options).sample_rate == rate


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rate": 96000}, "Invalid sample rate"),
        ({"records": "9"}, "No input 9"),
        ({"plays": "no such"}, "No output 'no such'"),
        ({"records": "microphone", "channels": 2, "plays": None}, "number of channels"),
    ],
)
def test_cards_that_cannot_be(module, options, match):
    with pytest.raises(AudioError, match=rf"the sound card cannot be used \(.*{match}") as caught:
        open_card(**options)
    assert "--devices lists the sound cards" in str(caught.value)


def test_a_card_that_breaks_is_closed_and_other_errors_are_not_its_fault(module):
    card, stats = open_card(), types.SimpleNamespace()
    with pytest.raises(ValueError, match=r"^mine$"), card.running(print, stats):
        raise ValueError("mine")
    card.channels = 3
    with pytest.raises(AudioError, match="Device unavailable"), card.running(print, stats):
        pass
    assert [stream.closed for stream in module.streams] == [True, True]


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
