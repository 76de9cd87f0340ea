"""Sound cards: a stand-in for the module sounddevice, whose callbacks the tests call."""

from __future__ import annotations

import builtins
import json
import sys
import types
from contextlib import nullcontext
from functools import partialmethod
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.live import controls, sound_card
from mmdense_edge.live.engine import LiveEngine

BLOCK = 512
STATUSES = (None, "input overflow", None, "output underflow")


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
        # a run without end fails, too
        assert (self.started, self.closed, self.position < 500_000) == (True, False, True)
        heard, played = np.full((2, BLOCK, self.form["channels"]), np.nan, np.float32)
        if "input" in self.sides:
            part = recorded[self.position :][:BLOCK]
            heard[:] = np.pad(part, ((0, BLOCK - len(part)), (0, 0)))
        buffers = {"input": [heard], "output": [played], "input output": [heard, played]}
        self.position += BLOCK
        self.form["callback"](*buffers[self.sides], BLOCK, None, status)
        heard.fill(np.nan)  # PortAudio takes its buffer back
        self.played.append(played)


class FakeSoundDevice(types.ModuleType):
    """One card with two channels at 44100 and 48000 Hz, its own rate 48000; one mono microphone."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.streams: list[FakeStream] = []
        self.cards = [("USB card", 2, 2), ("microphone", 1, 0)]

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return self.cards
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
def live(module, model_path, mmdense, monkeypatch):
    """Runs `mmdense live` with a card that hears `audio`; returns (code, report, stderr)."""

    def run(audio, *arguments, statuses=(None,) * 3):
        def sleep(_: float) -> None:
            for status in statuses:
                module.streams[-1].fire(audio, status)

        monkeypatch.setattr(sound_card, "time", types.SimpleNamespace(sleep=sleep))
        # The worker's part is done whenever its health is asked for.
        monkeypatch.setattr(LiveEngine, "worker", lambda live: nullcontext(live.work))
        options = ["--mix", "all", "--block", BLOCK, "--json", "--step-frames", 4]
        code, out, err = mmdense("live", "--model", model_path("shares"), *options, *arguments)
        return code, json.loads(out), err

    return run


@pytest.mark.native
def test_from_card_to_card(live, module, noise):
    audio = noise(40000)
    code, report, _ = live(audio, "--seconds", 30000 / 44100, statuses=STATUSES)
    (stream,) = module.streams
    form = {"device": (0, 0), "samplerate": 44100, "channels": 2, "blocksize": BLOCK,
            "dtype": "float32"}  # fmt: skip
    assert {**stream.form, **form} == stream.form
    assert (code, stream.closed, report["dropouts"]) == (0, True, 0)
    assert report["device_faults"] == stream.position // BLOCK / 2
    played, latency = np.concatenate(stream.played), report["latency"]["total"]
    assert report["latency"]["device_seconds"] == pytest.approx(0.03)
    assert not played[:latency].any()
    assert np.abs(played[latency:][:30000] - audio[:30000]).max() < 1e-5
    assert not played[latency + 30000 :].any()


def test_from_the_card_to_a_file(live, module, noise, tmp_path):
    audio, path = noise(30000, 1), tmp_path / "o.wav"
    options = ["--output", path, "--input-device", "microphone", "--seconds", 20001 / 44100]
    assert live(audio, *options)[0] == 0
    assert module.streams[0].form["device"] == 1
    written, rate = sf.read(path, always_2d=True)
    assert (written.shape, rate) == ((20001, 1), 44100)
    assert np.abs(written - audio[:20001]).max() < 1e-5


def test_the_run_ends_when_it_is_asked_to(live, module, noise, monkeypatch):
    pressed = iter([*[""] * 5, "q"])
    monkeypatch.setattr(controls, "keys", lambda _: nullcontext(lambda: next(pressed)))
    code, report, _ = live(noise(90000))
    assert (code, report["captured"], module.streams[0].closed) == (0, 5 * 3 * BLOCK, True)


def test_a_card_that_stops_ends_the_run_and_what_was_heard_is_kept(
    live, module, noise, monkeypatch, tmp_path
):
    fire = FakeStream.fire

    def until_unplugged(stream, recorded, status):
        fire(stream, recorded, status)
        stream.active = stream.position < 60 * BLOCK

    monkeypatch.setattr(FakeStream, "fire", until_unplugged)
    code, _, err = live(noise(60 * BLOCK), "--output", tmp_path / "o.wav")
    assert (code, module.streams[0].closed) == (1, True)
    assert err[-1] == "mmdense: the sound card stopped. Is it still plugged in?"
    assert sf.info(tmp_path / "o.wav").frames > 20 * BLOCK


@pytest.mark.parametrize(("calls", "faults"), [(3, 0), (70, 6)])
def test_from_a_file_to_the_card(live, module, noise, song, calls, faults):
    """More callbacks between two polls than blocks are fetched in advance are counted."""
    audio = noise(100 * BLOCK)
    code, report, _ = live(None, song(audio=audio, subtype="FLOAT"), statuses=[None] * calls)
    assert (code, report["device_faults"], report["captured"]) == (0, faults, len(audio))
    played = np.concatenate(module.streams[0].played)
    assert len(played) >= len(audio) + faults * BLOCK
    assert faults or np.abs(played[report["latency"]["total"] :][: len(audio)] - audio).max() < 1e-5


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


def test_a_list_of_cards(module, mmdense):
    assert mmdense("live", "--devices") == (0, f"{module.cards}\n", [])
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
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", Mock(side_effect=error))
    with pytest.raises(UsageError, match=words):
        sound_card.load()
