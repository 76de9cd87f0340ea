"""Windows that move by fewer frames, and the latency that follows."""

from __future__ import annotations

import numpy as np
import pytest
from mmdense_edge.errors import UsageError
from mmdense_edge.live.network import SlidingNetwork
from mmdense_edge.live.plan import (
    algorithmic_latency,
    make_plan,
    measured_latency,
    shortest_step,
    time_window,
)
from mmdense_edge.signal.chain import Pipeline


def separate(network, audio, rate=44100):
    """Stems of a signal through a pipeline, block by block."""
    sources = network.contract.sources
    pipeline = Pipeline(network, rate, audio.shape[1], sources, False)
    parts = [part for first in range(0, len(audio), 1000)
             for part in pipeline.push(audio[first : first + 1000])]  # fmt: skip
    parts += pipeline.finish()
    return {source: np.concatenate([part[source] for part in parts]) for source in sources}


def test_windows_that_are_left_out_are_silent_and_remembered(separators, noise):
    """What comes after a gap is as if there had been none: the past is kept."""
    separator, audio = separators["shares"], noise(60000)
    answers = iter([True, True, False] + [True] * 100)
    sliding = SlidingNetwork(separator.network, 4, 4, admit=lambda: next(answers))
    stems = separate(sliding, audio)
    whole = separator.separate(audio, 44100)
    gap = slice((2 * 4 - 1) * 1024, 3 * 4 * 1024)  # frames 8 to 11, and what they reach
    silent = slice(8 * 1024, 11 * 1024)
    for source in whole:
        assert not stems[source][silent].any()
        kept = np.delete(np.arange(len(audio)), np.r_[gap])
        assert np.abs(stems[source][kept] - whole[source][kept]).max() < 1e-4


@pytest.mark.parametrize(
    ("step", "lookahead", "match"),
    [
        (4, 3, "--lookahead must be a multiple of 4 from 0 to 4 frames; received 3"),
        (4, 8, "from 0 to 4 frames; received 8"),
        (4, -4, "from 0 to 4 frames.* -4"),
        (
            0,
            4,
            "--step-frames must be a multiple of 4 from 4 to 8 with a look-ahead of 4; received 0",
        ),
        (6, 4, "received 6"),
        (12, 4, "received 12"),
        (16, 0, "from 4 to 12 with a look-ahead of 0; received 16"),
    ],
)
def test_steps_that_cannot_be(separators, step, lookahead, match):
    network = separators["shares"].network
    with pytest.raises(UsageError, match=match):
        SlidingNetwork(network, step, lookahead)


class Recorder:
    """A network that keeps what it is given and returns it."""

    def __init__(self, contract):
        self.contract = contract
        self.windows = []

    def __call__(self, magnitude):
        self.windows.append(magnitude)
        return {source: magnitude for source in self.contract.sources}


@pytest.mark.parametrize(("step", "lookahead"), [(4, 0), (4, 4), (8, 0), (8, 4), (12, 0)])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_networks_windows_are_filled_with_the_past(separators, step, lookahead, groups):
    contract = separators["shares"].contract
    signals = np.random.default_rng(0).random((groups, 80, 1024, 2), np.float32)
    recorder, asked = Recorder(contract), []
    sliding = SlidingNetwork(
        recorder, step, lookahead, groups, lambda: asked.append(len(recorder.windows)) or True
    )
    length = step + 2 * lookahead
    for start in range(0, 80 - length + 1, step):
        for signal in signals:
            answer = sliding(signal[start : start + length])
            assert np.array_equal(answer["bass"], signal[start : start + length])
            past = np.concatenate([np.zeros((16, 1024, 2)), signal])
            assert np.array_equal(recorder.windows[-1], past[start + length :][:16])
    assert asked == list(range(0, len(recorder.windows), groups))


@pytest.mark.parametrize(
    ("model", "step", "lookahead"),
    [("shares", 4, 0), ("shares", 4, 4), ("shares", 12, 0), ("mono", 2, 2), ("mono", 4, 0)],
)
def test_the_latency_formula_is_what_is_counted(separators, model, step, lookahead):
    """The most that the input is ahead of the stems, just before they come, over a second."""
    contract = separators[model].network.contract
    counted = measured_latency(contract, contract.sample_rate, 1, 1, step, lookahead) - 1
    assert algorithmic_latency(contract, step, lookahead) == counted
    assert model == "mono" or counted == (step + lookahead + 2) * 1024


def test_a_plan_by_default(separators):
    contract = separators["shares"].contract
    plan = make_plan(contract, 44100, 2, block=1024, window_seconds=0.05)
    assert (plan.step_frames, plan.lookahead_frames) == (8, 4)  # 0.1 s are 4.3 frames
    assert plan.buffer == plan.step == 8 * 1024
    assert plan.latency == (8 + 4 + 2 + 8) * 1024 + 441
    assert plan.describe().startswith(
        "latency 0.521 s (22969 samples): step 8 + look-ahead 4 frames + transform 0.325 s, "
        "buffer 0.186 s, fade 0.010 s"
    )
    assert make_plan(contract, 44100, 2, block=64, buffer_seconds=0.5).buffer == 22050
    exact = algorithmic_latency(contract, 8, 4) * 48000 / 44100
    resampled = make_plan(contract, 48000, 2, block=1024, step_frames=8).algorithmic
    assert exact < resampled < exact + 6000
    for seconds in (-0.1, 30.1, float("nan")):
        with pytest.raises(UsageError, match="--buffer must be from 0 to 30 seconds; received"):
            make_plan(contract, 44100, 2, block=64, buffer_seconds=seconds)


def test_the_shortest_step_lasts_twice_as_long_as_a_window_takes(separators):
    contract = separators["shares"].contract
    hop_seconds = 1024 / 44100
    for frames, expected in ((0, 4), (1.9, 4), (2.1, 8), (4.1, 8), (99, 8)):
        assert shortest_step(contract, 4, frames * hop_seconds) == expected
    assert shortest_step(contract, 0, 99) == 12


def test_a_window_is_timed_by_its_median(separators):
    times = iter([0.0, 1.0, 1.0, 4.0, 4.0, 6.0])
    assert time_window(separators["shares"].network, lambda: next(times)) == 2.0
