"""PulseAudio: a stand-in for its library, with a server whose clock the callers set forward."""

from __future__ import annotations

import ctypes
import json
import types

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.live import pulse, sound_card
from mmdense_edge.live.engine import LiveEngine

RATE, BLOCK, PLAY, RECORD = 44100, 512, 1, 2
FRAME = 8  # bytes: two floats
RESERVE = round(pulse.RESERVE_SECONDS * RATE)
SPARE = RESERVE - BLOCK  # a block comes when its recording has ended
CHUNK = 882  # samples that the server takes at a time
NUM_SAMPLES = 90 * BLOCK  # of a run


class FakeFunction:
    """A function of a library: its last argument receives an error."""

    restype = None

    def __init__(self, call, broken):
        self._call, self._broken = call, broken

    def __call__(self, *arguments):
        if self._broken:
            arguments[-1]._obj.value = 6
            return 0
        return self._call(*arguments[:-1])


class FakePulse:
    """A server; it counts in samples. What is written for the past is not heard.

    Before the n-th read of the run, the client is `late[n]` samples late, the source loses
    `lost[n]` samples, and its clock gains `gained[n]` on the sink's.
    """

    def __init__(self, audio, *, late=(), lost=(), gained=(), broken=""):
        self.audio, self.heard = audio, np.zeros_like(audio)
        self.late, self.lost, self.gained = dict(late), dict(lost), dict(gained)
        self.time = self.recorded = self.written = self.ahead = 0
        # The run's first sample, and its reads so far.
        self.first, self.reads = None, -(10**6)
        self.opened, self.freed = {}, []
        self.pa_simple_free = lambda stream: self.freed.append(stream.value)
        self.pa_strerror = FakeFunction(lambda: b"Connection refused", False)
        for name in ("new", "read", "write", "get_latency"):
            function = FakeFunction(getattr(self, name), name == broken)
            setattr(self, f"pa_simple_{name}", function)

    def new(self, server, name, side, device, stream, form, channels, lengths):
        assert (server, device, channels) == (None, None, None)
        self.opened[side] = lengths
        return side

    def read(self, stream, address, size):
        assert stream.value == RECORD
        count = size.value // FRAME
        lost = self.lost.get(self.reads, 0)
        self.time += self.late.get(self.reads, 0) + lost
        self.recorded += lost
        self.ahead += self.gained.get(self.reads, 0)
        self.reads += 1
        self.time = max(self.time, self.recorded + count - self.ahead)
        part = self.audio[self.recorded :][:count]
        part = np.pad(part, ((0, count - len(part)), (0, 0)))
        ctypes.memmove(address, part.ctypes.data, part.nbytes)
        self.recorded += count

    def write(self, stream, data, size):
        assert stream.value == PLAY
        samples = np.frombuffer(data, np.float32).reshape(-1, 2)
        assert len(samples) == size.value // FRAME
        end = self.written + len(samples)
        left_over = end - self.opened[PLAY][1] // FRAME
        self.time = max(self.time, -(-left_over // CHUNK) * CHUNK)
        first = min(max(0, self.time - self.written), len(samples))
        kept = samples[first:][: max(0, len(self.heard) - self.written - first)]
        self.heard[self.written + first :][: len(kept)] = kept
        self.written = end

    def get_latency(self, stream):
        recorded = self.time + self.ahead - self.recorded
        samples = self.written - self.time if stream.value == PLAY else recorded
        return round(max(0, samples) * 1e6 / RATE)


@pytest.fixture
def live(model_path, mmdense, monkeypatch):
    """Runs `mmdense live` on a server, with a worker that is waited for; (code, report, stderr)."""
    exchange = LiveEngine.exchange
    monkeypatch.setattr(sound_card, "time", types.SimpleNamespace(sleep=lambda _: None))

    def run(server, *arguments):
        def patient(engine, block, _):
            if server.first is None:
                server.first, server.reads = server.recorded - BLOCK, 1
            return exchange(engine, block, 600.0)

        monkeypatch.setattr(LiveEngine, "exchange", patient)
        library = {**vars(ctypes), "CDLL": lambda _: server}
        monkeypatch.setattr(pulse, "ctypes", types.SimpleNamespace(**library))
        clock = types.SimpleNamespace(perf_counter=lambda: server.time / RATE)
        monkeypatch.setattr(pulse, "time", clock)
        options = ["--mix", "all", "--block", BLOCK, "--json", "--step-frames", 4]
        code, out, err = mmdense("live", "--model", model_path("shares"), *options, *arguments)
        return code, json.loads(out) if out else None, err

    return run


DEVICES = ("--input-device", "pulse", "--output-device", "pulse")
DUPLEX = (*DEVICES, "--seconds", NUM_SAMPLES / RATE)


def in_time(server, report):
    """Which samples are heard when they should be, and which are silent, from the run's first."""
    found = server.heard[server.first + RESERVE + report["latency"]["total"] :]
    wanted = server.audio[server.first :][: len(found)]
    silent = ~found.any(axis=1)
    return ~silent & (np.abs(found - wanted) < 1e-5).all(axis=1), silent


@pytest.mark.parametrize("late", [0, SPARE - 1, SPARE + 2 * BLOCK])
def test_the_latency_stays_the_same_whatever_is_late(live, noise, late):
    """What comes too late is silent, and counted; all else is heard, each sample at its time."""
    server = FakePulse(noise(700_000), late={60: late + BLOCK})
    code, report, _ = live(server, *DUPLEX)
    assert (code, report["dropouts"], sorted(server.freed)) == (0, 0, [PLAY, RECORD])
    heard, silent = in_time(server, report)
    assert heard.sum() == NUM_SAMPLES - max(0, late - SPARE)
    assert (heard | silent).all()
    assert report["device_faults"] == 3 * (late > SPARE)
    assert server.opened[PLAY][2] == 0  # a server that waits for more would be late for ever


def test_what_the_source_loses_is_no_delay(live, noise):
    server = FakePulse(noise(700_000), lost={30: 9000})
    _, report, _ = live(server, *DUPLEX)
    assert in_time(server, report)[0].sum() >= 55 * BLOCK
    assert report["device_faults"] > 0


def test_a_source_that_is_faster_than_the_sink_makes_no_delay(live, noise):
    server = FakePulse(noise(700_000), gained=dict.fromkeys(range(10, 300), 400))
    _, report, _ = live(server, *DUPLEX)
    assert report["latency"]["device_seconds"] < pulse.MOST_SECONDS + (BLOCK + 400) / RATE


def test_from_a_file_to_the_server_and_from_the_server_to_a_file(live, noise, song, tmp_path):
    audio, path = noise(20 * BLOCK), tmp_path / "o.wav"
    server = FakePulse(np.pad(audio, ((0, 100_000), (0, 0))))
    code, report, _ = live(server, song(audio=audio, subtype="FLOAT"), *DEVICES)
    assert (code, [*server.opened], report["device_faults"]) == (0, [PLAY], 0)
    found = server.heard[report["latency"]["total"] :][: len(audio)]
    assert np.abs(found - audio).max() < 1e-5
    server = FakePulse(audio)
    options = ["--output", path, "--channels", 2, "--seconds", len(audio) / RATE]
    assert live(server, *DEVICES, *options)[0] == 0
    assert [*server.opened] == [RECORD]
    assert np.abs(sf.read(path)[0] - audio).max() < 1e-5


@pytest.mark.parametrize("broken", ["new", "read", "write", "get_latency"])
def test_a_server_that_fails_ends_the_run_with_one_line(live, noise, broken):
    code, _, err = live(FakePulse(noise(9), broken=broken), *DEVICES, "--quiet")
    assert (code, err) == (
        1,
        ["mmdense: PulseAudio cannot be used (Connection refused). Is it running, or PipeWire in "
         "its place?"],
    )  # fmt: skip


def test_without_its_library(monkeypatch, model_path, mmdense):
    monkeypatch.setattr(pulse, "LIBRARY", "libnone.so")
    code, _, err = mmdense("live", "--model", model_path("shares"), *DEVICES)
    assert (code, len(err)) == (2, 1)
    assert "PulseAudio's library is missing (libnone.so: " in err[0]
    assert "apt install libpulse0" in err[0]


def test_a_block_that_the_reserve_does_not_hold_is_refused(mmdense, model_path):
    options = ["--rate", 48000, "--block", 2304]
    code, _, err = mmdense("live", "--model", model_path("shares"), *DEVICES, *options)
    assert (code, len(err)) == (2, 1)
    assert "shorter than 0.048 s; received 2304 samples at 48000 Hz" in err[0]


def test_both_sides_go_through_the_server_or_none(mmdense, model_path):
    options = ["--input-device", "pulse", "--output-device", "USB"]
    code, _, err = mmdense("live", "--model", model_path("shares"), *options)
    assert (code, len(err)) == (2, 1)
    assert "records and plays; received USB" in err[0]
