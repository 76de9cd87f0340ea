"""`mmdense live`: what it plays, what it prints, how it ends. The clock is simulated."""

import io
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile as sf
from command_runs import contents
from live_simulation import Simulation
from mmdense_edge.live import controls, engine
from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import make_plan


class FastClock:
    """A clock that waiting sets forward."""

    def __init__(self) -> None:
        self.time = 0.0

    def perf_counter(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def live(model_path, mmdense, monkeypatch):
    """Runs `mmdense live` with a test model; returns (code, stdout, lines of stderr).

    The worker's part is done whenever its health is asked for.
    """
    monkeypatch.setattr(engine, "time", FastClock())
    monkeypatch.setattr(LiveEngine, "worker", lambda live: nullcontext(live.work))
    return lambda *arguments: mmdense("live", "--model", model_path("shares"), *arguments)


@pytest.mark.parametrize(
    ("pace", "rate", "channels", "length"),
    [("real", 44100, 2, 20000), ("real", 48000, 1, 300), ("fast", 44100, 2, 20000)],
)
def test_a_file_live_equals_the_file_separated(
    live, separators, song, noise, tmp_path, pace, rate, channels, length
):
    audio, output = noise(length, channels), tmp_path / "o.wav"
    path = song(audio=audio, rate=rate, subtype="FLOAT")
    code, out, err = live(path, "--output", output, "--pace", pace, "--mix", "vocals=0")
    stems = separators["shares"].separate(audio, rate, residual=True)
    expected = sum(stem for name, stem in stems.items() if name != "vocals")
    written, found = sf.read(output, always_2d=True)
    assert (code, written.shape, found) == (0, audio.shape, rate)
    assert np.abs(written - expected).max() < 1e-4
    assert ("\nlatency: " in out) == (pace == "real")
    assert err[:2] == [
        "mmdense: model shares, weights: MIT",
        f"mmdense: {path}: drums=1,bass=1,vocals=0,residual=1",
    ]


def test_the_report_as_json(live, song):
    code, out, _ = live(
        song(), "--output", "null", "--json", "--buffer", "0.5", "--lookahead", "0",
        "--step-frames", "8", "--block", "256", "--seconds", "0.4",
    )  # fmt: skip
    report, latency = json.loads(out), {"algorithmic": 10 * 1024, "buffer": 22050, "fade": 220}
    known = {
        "captured": 17640, "played": 17640, "step_frames": 8, "lookahead_frames": 0, "block": 256,
        "windows": 3, "skipped_windows": 0, "dropouts": 0, "rule": "pass",
        "latency": {**report["latency"], **latency, "total": 10240 + 22270},
    }  # fmt: skip
    assert (code, {**report, **known}) == (0, report)
    assert [*report["block_seconds"]] == ["p50", "p95", "p99", "max"]


def test_from_stdin_to_stdout(model_path, noise):
    data = np.rint(noise(15000) * 32767).astype("<i2")
    command = [sys.executable, "-m", "mmdense_edge", "live", "-", "--model", model_path("shares")]
    command += ["--output", "-", "--pace", "fast", "--mix", "all", "--json", "--rate", "44100"]
    done = subprocess.run(command, input=data.tobytes(), capture_output=True, check=True)
    assert np.array_equal(np.frombuffer(done.stdout, "<i2").reshape(-1, 2), data)
    assert json.loads(done.stderr.decode().splitlines()[-1])["captured"] == 15000


def test_by_default_a_block_is_a_hop(live, song, model_path):
    for name, hop_length in {"shares": 1024, "causal": 512}.items():
        _, out, _ = live(
            song(), "--model", model_path(name), "--output", "null", "--json", "--pace", "fast"
        )
        assert json.loads(out)["block"] == hop_length


@pytest.mark.parametrize(
    ("pace", "ending", "code", "words"),
    [
        ("real", "q", 0, None),
        ("fast", "q", 0, None),
        ("real", KeyboardInterrupt(), 130, "interrupted: what was played so far is kept"),
        ("fast", SystemExit(143), 143, "terminated: what was played so far is kept"),
    ],
)
def test_keys_change_the_mix_and_an_early_end_keeps_what_was_played(
    live, song, noise, tmp_path, monkeypatch, pace, ending, code, words
):
    pressed = ["", "", "", "v", "", "1", "", "\x1b", "5", "", "3", " ", *[""] * 40, ending]
    read_key, mixes, toggled = Mock(side_effect=pressed), [], Mixer.set
    monkeypatch.setattr(controls, "keys", lambda _: nullcontext(read_key))

    def noted(self, gains):
        toggled(self, gains)
        mixes.append({name for name, gain in self.gains.items() if gain})

    monkeypatch.setattr(Mixer, "set", noted)
    path, output = song(audio=noise(100 * 1024)), tmp_path / "o.wav"
    found, out, err = live(path, "--output", output, "--mix", "all", "--pace", pace)
    assert (found, words) == (code, err[-1].removeprefix("mmdense: ") if code else None)
    everything = {"drums", "bass", "vocals", "residual"}
    expected = [everything - {"vocals"}, everything, {"vocals"}, everything - {"drums"}]
    assert mixes == expected
    assert out.count("real-time factor") == 2  # one on demand, one at the end
    assert 0 < sf.info(output).frames < 60 * 1024
    assert sorted(tmp_path.iterdir()) == [output, path]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("none.wav", 1, "none.wav: no such file"),
        ("empty.wav", 1, "audio must have at least 1 sample"),
        ("many.wav", 1, "many.wav: audio must have 1 or 2 channels; received 3"),
        ("song.wav --mix party", 2, "--mix must be one of all, karaoke"),
        ("song.wav --block 10", 2, "--block must be from 64 to 16384 samples; received 10"),
        ("song.wav --seconds 0", 2, "--seconds must be more than 0 and finite; received 0"),
        ("song.wav --seconds nan", 2, "--seconds must be more than 0 and finite; received nan"),
        ("song.wav --seconds inf", 2, "--seconds must be more than 0 and finite; received inf"),
        ("song.wav --channels 1", 2, "--channels applies to raw samples and sound cards"),
        ("song.wav --rate 44100", 2, "a file has its own"),
        ("song.wav --lookahead 3", 2, "--lookahead must be a multiple of 4 from 0 to 4"),
        ("song.wav --step-frames 0", 2, "--step-frames must be a multiple of 4"),
        ("song.wav --buffer -1", 2, "--buffer must be from 0 to 30 seconds; received -1"),
        ("song.wav --threads 0", 2, "threads must be from 1 to 256"),
        ("song.wav --output o.mp3", 2, "--output must be card, null, -, or a .wav or"),
        ("song.wav --output song.wav", 2, "is an input file and would be replaced"),
        ("song.wav --output song.wav --overwrite", 2, "is an input file and would be replaced"),
        ("song.wav --output empty.wav", 1, "empty.wav exists. Choose another --output"),
        ("song.wav --output none/o.wav", 1, "none/o.wav: cannot be written (No such file"),
        ("song.wav --output folder.wav --overwrite", 1, "folder.wav is a folder"),
        ("song.wav --output card", 2, "a sound card needs sounddevice"),
        ("card --output null", 2, "a sound card needs sounddevice"),
        ("card --output null --pace fast", 2, "cannot use a sound card"),
        ("- --output song.wav --rate 44100 --overwrite", 2, "is an input file and would be"),
        ("- --output card", 2, "stdin cannot be played on a sound card"),
        ("- --channels 1", 2, "--channels applies to raw samples, which need --rate"),
        ("- --rate 10", 2, "--rate must be from 1000 to 768000 Hz; received 10"),
    ],
)
def test_what_cannot_be_done_is_one_line(live, song, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for name, audio in (("song", None), ("empty", np.zeros((0, 2))), ("many", np.zeros((9, 3)))):
        song(f"{name}.wav", audio)
    (tmp_path / "folder.wav").mkdir()
    read = os.stat  # the standard input is this file
    monkeypatch.setattr(os, "stat", lambda at, **more: read("song.wav" if at == 0 else at, **more))
    before = contents(tmp_path)
    found, out, err = live("--output", "null", *arguments.split(), "--quiet")
    assert (found, out, len(err)) == (code, "", 1)
    assert words in err[0]
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("waits", "speed"), [(False, 1.0), (True, 1.01)])
def test_a_late_input_is_made_up_for_unless_it_takes_its_own_time(
    separators, noise, monkeypatch, waits, speed
):
    """The fifth block comes three blocks late."""
    clock, block = FastClock(), 1024 / 44100
    monkeypatch.setattr(engine, "time", clock)
    separator = separators["identity"]
    plan = make_plan(separator.contract, 44100, 2, block=1024, step_frames=4)
    run = LiveEngine(separator.network, plan, Mixer({"everything": 1.0}, 44100), True)
    times, written = [], []

    def blocks():
        for number in range(12):
            clock.time += 3.5 * block * (number == 4)
            yield noise(1024)

    def poll():
        times.append(clock.time / block)
        return run.work() or True

    engine.run_blocks(run, blocks(), written.append, poll, waits=waits)
    expected = np.arange(1, 13) / speed
    if waits:
        expected[4:] += expected[3] + 3.5 - expected[4]
    else:
        expected[4:7] = 7.5
    assert times[:12] == pytest.approx(expected.tolist())
    assert sum(map(len, written)) == 12 * 1024


@pytest.mark.parametrize("terminal", [True, False])
def test_warnings_are_few_and_the_line_is_on_a_terminal_only(separators, noise, terminal):
    """The network is far too slow: one drop-out of 25 s. The model has none of the mixes' stems."""
    separator, stream, counts = separators["identity"], io.StringIO(), []
    stream.isatty = lambda: terminal
    plan = make_plan(separator.contract, 44100, 2, block=4096, step_frames=4)
    gains = dict.fromkeys((*separator.sources, "residual"), 1.0)
    simulation = Simulation(separator.network, plan, gains, noise(1200 * 1024), lambda _: 1.0)
    calls = {"show_report": print, "check": print, "now": lambda: len(counts)}
    with controls.controls(simulation.engine, str, stream, **calls) as poll:
        for second in range(26):
            simulation.advance(second)
            assert poll()
            counts.append(stream.getvalue().count("mmdense: behind: drop-outs so far: 1, "))
    assert counts == [0] + [1] * 10 + [2] * 10 + [3] * 5
    *lines, last = stream.getvalue().split("\r\x1b[K")
    assert ", 20." in "".join(lines) + last
    stems = "everything=1,residual=1 RTF 0.00 drop-outs"
    shown = [line for line in lines if line.startswith("0:0")][:2]
    assert shown == ([f"0:00 {stems} 0", f"0:01 {stems} 1"] if terminal else [])
    assert (last == "") is terminal
