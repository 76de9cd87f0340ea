"""Windows that move by fewer frames, and the latency that follows."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from mmdense_edge.errors import UsageError
from mmdense_edge.live.plan import (
    SlidingNetwork,
    algorithmic_latency,
    check_steps,
    make_plan,
    measured_latency,
    time_window,
)
from mmdense_edge.signal.chain import Pipeline


def test_windows_that_are_left_out_are_silent_and_remembered(separators, noise):
    """What comes after a gap is as if there had been none: the past is kept."""
    separator, audio = separators["shares"], noise(60000)
    answers = iter([True, True, False] + [True] * 100)
    sliding = SlidingNetwork(separator.network, 4, 4, admit=lambda: next(answers))
    pipeline = Pipeline(sliding, 44100, 2, separator.sources, False)
    parts = [*pipeline.push(audio), *pipeline.finish()]
    gap = slice((2 * 4 - 1) * 1024, 3 * 4 * 1024)  # frames 8 to 11, and what they reach
    for source, whole in separator.separate(audio, 44100).items():
        stem = np.concatenate([part[source] for part in parts])
        assert not stem[8 * 1024 : 11 * 1024].any()
        whole[gap] = stem[gap] = 0
        assert np.abs(stem - whole).max() < 1e-4


@pytest.mark.parametrize(
    ("step", "lookahead", "match"),
    [
        (4, 3, "--lookahead must be a multiple of 4 from 0 to 4 frames; received 3"),
        (4, 8, "from 0 to 4 frames; received 8"),
        (4, -4, "from 0 to 4 frames.* -4"),
        (0, 4, "--step-frames must be a multiple of 4 from 4 to 8 with a look-ahead of 4; rec"),
        (6, 4, "received 6"),
        (12, 4, "received 12"),
        (16, 0, "from 4 to 12 with a look-ahead of 0; received 16"),
    ],
)
def test_steps_that_cannot_be(separators, step, lookahead, match):
    with pytest.raises(UsageError, match=match):
        SlidingNetwork(separators["shares"].network, step, lookahead)


def test_windows_that_remember_need_the_full_lookahead(separators):
    states = separators["causal"].contract.states
    contract = replace(separators["shares"].contract, states=states)
    check_steps(contract, 4, 4)
    with pytest.raises(UsageError, match="full look-ahead of 4 frames; received 0"):
        check_steps(contract, 4, 0)


@pytest.mark.parametrize(
    ("step", "lookahead", "groups"), [(4, 0, 1), (4, 4, 2), (8, 0, 2), (8, 4, 1), (12, 0, 1)]
)
def test_the_networks_windows_are_filled_with_the_past(separators, step, lookahead, groups):
    contract = separators["shares"].contract
    signals = np.random.default_rng(0).random((groups, 40, 1024, 2), np.float32)
    network = Mock(contract=contract, side_effect=lambda window: {"bass": window})
    admit, length = Mock(return_value=True), step + 2 * lookahead
    sliding = SlidingNetwork(network, step, lookahead, 2 * groups, admit)
    for start in range(0, 40 - length + 1, step):
        for signal in signals:
            window = signal[start : start + length]
            assert np.array_equal(sliding(window)["bass"], window)
            past = np.concatenate([np.zeros((16, 1024, 2)), signal])
            assert np.array_equal(network.call_args.args[0], past[start + length :][:16])
    assert admit.call_count * groups == network.call_count


@pytest.mark.parametrize(
    ("model", "step", "lookahead", "block"),
    [("shares", 4, 4, 64), ("shares", 12, 0, 1024), ("mono", 2, 2, 48), ("mono", 4, 0, 200)],
)
def test_the_latency_formula_is_what_is_counted(separators, model, step, lookahead, block):
    """The most that the input is ahead of the stems, just before they come, over a second."""
    contract = separators[model].contract
    counted = measured_latency(contract, contract.sample_rate, 1, block, step, lookahead) - block
    assert algorithmic_latency(contract, step, lookahead, block) == counted
    sample_by_sample = (step + lookahead + 2) * 1024
    assert model == "mono" or algorithmic_latency(contract, step, lookahead) == sample_by_sample


def test_a_plan_by_default(separators):
    contract = separators["shares"].contract
    plan = make_plan(contract, 44100, 2, block=1024, window_seconds=0.05)
    assert (plan.step_frames, plan.lookahead_frames) == (8, 4)  # 0.1 s are 4.3 frames
    assert plan.buffer == plan.step == 8 * 1024
    assert plan.latency == (8 + 4 + 2 + 8) * 1024 + 220
    assert plan.describe().startswith("latency 0.516 s (22748 samples): step 8 + look-ahead 4 ")
    assert make_plan(contract, 44100, 2, block=64, buffer_seconds=0.5).buffer == 22050
    exact = algorithmic_latency(contract, 8, 4) * 48000 / 44100
    resampled = make_plan(contract, 48000, 2, block=1024, step_frames=8).algorithmic
    assert exact < resampled < exact + 6000
    for seconds in (-0.1, 30.1, float("nan")):
        with pytest.raises(UsageError, match="--buffer must be from 0 to 30 seconds; received"):
            make_plan(contract, 44100, 2, block=64, buffer_seconds=seconds)


@pytest.mark.parametrize(
    ("frames", "lookahead", "expected"),
    [(0, 4, 4), (1.9, 4, 4), (2.1, 4, 8), (4.1, 4, 8), (99, 4, 8), (99, 0, 12)],
)
def test_the_shortest_step_lasts_twice_as_long_as_a_window_takes(
    separators, frames, lookahead, expected
):
    plan = make_plan(
        separators["shares"].contract, 44100, 2,
        block=64, lookahead_frames=lookahead, window_seconds=frames * 1024 / 44100,
    )  # fmt: skip
    assert plan.step_frames == expected


def test_a_window_is_timed_by_its_median(separators):
    times = iter([0.0, 1.0, 1.0, 4.0, 4.0, 6.0])
    assert time_window(separators["shares"].network, lambda: next(times)) == 2.0


def test_each_run_has_states_of_its_own(separators, noise):
    network = separators["causal"].network
    frames = np.abs(noise(5 * 64)).reshape(5, 1, 64, 2)
    runs = [SlidingNetwork(network, 1, 0) for _ in range(2)]
    first, second = ([run(frame)["drums"] for frame in frames] for run in runs)
    np.testing.assert_array_equal(first, second)
