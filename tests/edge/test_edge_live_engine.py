"""The live engine on a simulated clock: latency, drop-outs, recovery."""

import itertools
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from live_simulation import Simulation
from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.errors import ModelError
from mmdense_edge.live.engine import LiveEngine, run_blocks
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import make_plan
from mmdense_edge.signal import windows

BLOCK = 1024
STEP_SECONDS = 4 * 1024 / 44100
SILENT = {"everything": 0.0, "residual": 0.0}
# A sine of 200 Hz changes by 0.015 a sample at most, a fade of 5 ms by 0.5 / 220.
STEEPEST = 0.015 + 0.5 / 220


def plan_for(separator, rate=44100, channels=2, block=BLOCK, **options):
    sizes = {"step_frames": separator.contract.frame_multiple, **options}
    return make_plan(separator.contract, rate, channels, block=block, **sizes)


def tone(num_samples):
    wave = 0.5 * np.sin(2 * np.pi * 200 * np.arange(num_samples) / 44100)
    return np.repeat(wave[:, None], 2, axis=1).astype(np.float32)


def silenced(separator, audio, cost=lambda _: 0.0, **options):
    """Runs the identity model at gain 0: the output is the mixture's share, and nothing else."""
    plan = plan_for(separator, **options)
    simulation = Simulation(separator.network, plan, SILENT, audio, cost)
    return simulation, simulation.run()


@pytest.mark.parametrize(
    ("model", "rate", "channels", "block", "length", "steps"),
    [
        ("shares", 44100, 2, 1024, 30000, 1),
        ("magnitudes", 44100, 2, 1000, 30000, 2),
        ("mono", 44100, 2, 1000, 30000, 2),
        ("shares", 44100, 1, 1000, 30000, 2),
        ("shares", 16000, 1, 160, 12001, 1),
        ("magnitudes", 48000, 2, 500, 30000, 2),
        ("mono", 44100, 1, 333, 7, 1),
        ("causal", 44100, 2, 512, 9000, 1),
        ("causal", 48000, 1, 300, 9000, 1),
    ],
)
def test_live_equals_separate(separators, noise, model, rate, channels, block, length, steps):
    separator, audio = separators[model], noise(length, channels)
    gains = {source: 0.3 * n for n, source in enumerate((*separator.sources, "residual"))}
    step = steps * separator.contract.frame_multiple
    plan = plan_for(separator, rate, channels, block, step_frames=step)
    simulation = Simulation(separator.network, plan, gains, audio)
    played = simulation.run()
    stems = separator.separate(audio, rate, residual=True)
    expected = sum(gains[name] * stem.astype(np.float64) for name, stem in stems.items())
    assert np.abs(played - expected).max() < 1e-4
    counts = simulation.engine.stats
    assert (counts.dropouts, counts.unprocessed) == (0, 0)
    assert counts.captured == counts.played == length


@pytest.mark.parametrize(("block", "step"), [(256, 4), (768, 4), (1024, 4), (8192, 8)])
def test_the_latency_is_enough_and_none_to_spare(separators, block, step):
    """Without any cost the buffer may be 0; a block less is too little."""
    separator, audio = separators["identity"], tone(60000)
    simulation, played = silenced(separator, audio, buffer_seconds=0, block=block, step_frames=step)
    # Of the signal's end a card tells a block later: with large blocks that is too late.
    assert not played[: len(audio) if block <= 1024 else len(audio) // 2].any()
    report = simulation.engine.stats
    assert report.as_json()["latency"]["worst_needed"] == report.plan.latency
    plan = replace(report.plan, algorithmic=report.plan.algorithmic - block)
    tight = Simulation(separator.network, plan, SILENT, audio)
    assert tight.run().any()
    assert tight.engine.stats.dropouts > 0


@pytest.mark.parametrize(
    ("model", "rate", "block"),
    [("identity", 48000, 500), ("identity", 22050, 128), ("mono_identity", 32000, 1024)],
)
def test_the_latency_is_enough_where_the_rate_differs(separators, model, rate, block):
    """The resampler gives its samples unevenly."""
    simulation, played = silenced(
        separators[model], tone(2 * rate), rate=rate, buffer_seconds=0, block=block
    )
    assert not played.any()
    assert simulation.engine.stats.dropouts == 0


def test_what_the_buffer_holds_is_no_drop_out(separators):
    """Every window takes as long as its step: the default buffer is made for that."""
    cost = 0.98 * STEP_SECONDS
    simulation, played = silenced(separators["identity"], tone(100000), lambda _: cost)
    assert not played.any()
    counts = simulation.engine.stats
    assert (counts.skipped, counts.dropouts) == (0, 0)
    report = counts.as_json()
    assert report["block_seconds"]["p50"] == pytest.approx(cost)
    assert report["real_time_factor"] == pytest.approx(
        cost * counts.windows / (100000 / 44100), rel=1e-6
    )


def test_a_late_window_is_played_unprocessed_with_cross_fades(separators):
    """One window comes 2.5 steps late: once the mixture is heard, from its own place."""
    audio = tone(120000)
    simulation, played = silenced(
        separators["identity"], audio, lambda window: 3.5 * STEP_SECONDS * (window == 6)
    )
    stats = simulation.engine.stats
    assert (stats.dropouts, stats.skipped) == (1, 1)  # one would have come too late
    assert 2 * 4096 < stats.unprocessed < 3 * 4096
    heard = np.flatnonzero(played.any(axis=1))
    assert len(heard) <= stats.unprocessed
    assert heard[-1] - heard[0] < 3 * 4096
    full = played[heard] == audio[heard]  # all but the fades
    assert full.all(axis=1).sum() > stats.unprocessed - 3 * 220
    assert np.abs(np.diff(played[:, 0])).max() < STEEPEST  # no click


@pytest.mark.parametrize("factor", [1.2, 2.5, 40.0])
def test_a_machine_that_is_too_slow_stays_in_time(separators, factor):
    """For its first 40 windows; then the stems come back."""
    audio = tone(300000)
    cost = lambda window: factor * STEP_SECONDS * (window < 40 / factor)  # noqa: E731
    simulation, played = silenced(separators["identity"], audio, cost)
    stats = simulation.engine.stats
    assert min(stats.dropouts, stats.skipped) > 0
    assert stats.worst_needed > stats.plan.latency
    assert stats.played == len(audio) == stats.captured
    assert np.abs(np.diff(played[:, 0])).max() < STEEPEST
    # The worker is behind by what it works on, and never by more and more.
    assert simulation.backlog < stats.plan.latency + (factor + 2) * 4096
    share = np.abs(played[: 40 * 4096]).mean() / np.abs(audio).mean()
    assert share > 0.9 if factor > 20 else share < 0.75 or factor > 2
    assert not played[60 * 4096 :].any()


def test_samples_that_are_none_are_repaired_and_counted(separators, noise):
    separator, audio = separators["shares"], noise(30000)
    audio[100, 0], audio[2000, 1], audio[2001] = np.nan, -np.inf, 1e30
    gains = {source: 1.0 for source in (*separator.sources, "residual")}
    simulation = Simulation(separator.network, plan_for(separator), gains, audio)
    played = simulation.run()
    assert simulation.engine.stats.repaired == 4
    assert np.abs(played - np.where(np.abs(audio) <= 1e4, audio, 0)).max() < 1e-4


@pytest.mark.parametrize(
    ("model", "residual", "steps"),
    [("magnitudes", 1.0, 0.5), ("identity", 0.0, 3), ("causal", 0.0, 1)],
)
def test_stems_that_are_the_mixture_hide_every_drop_out(separators, noise, model, residual, steps):
    """Of the windows that are left out nothing is heard, at their edges neither."""
    separator, audio = separators[model], noise(80000)
    plan = plan_for(separator, buffer_seconds=steps * STEP_SECONDS)
    gains = {**dict.fromkeys(separator.sources, 1.0), "residual": residual}
    cost = lambda window: 5.1 * STEP_SECONDS * (window % 7 == 3)  # noqa: E731
    simulation = Simulation(separator.network, plan, gains, audio, cost)
    assert np.abs(simulation.run() - audio).max() < 1e-5
    assert simulation.engine.stats.skipped > 0


def test_without_pace_nothing_is_left_out_and_every_window_is_timed(separators, noise, monkeypatch):
    """Each comes in parts, and takes ten times as long as its samples last, or longer."""
    monkeypatch.setattr(windows, "GROUP_FRAMES", 1)
    separator, audio, ticks = separators["shares"], noise(60000), itertools.count()
    gains = {**dict.fromkeys((*separator.sources, "residual"), 0.5), "bass": 0.0}
    slow = lambda: 10 * next(ticks)  # noqa: E731
    engine = LiveEngine(separator.network, plan_for(separator), Mixer(gains, 44100), False, slow)
    output, stats = [], engine.stats
    run_blocks(engine, even([audio], BLOCK), output.append, lambda: True)
    expected = 0.5 * (audio - separator.separate(audio, 44100)["bass"])
    assert np.abs(np.concatenate(output) - expected).max() < 1e-4
    assert (stats.skipped, stats.windows, len(stats.block_seconds)) == (0, 15, 15)
    assert sum(stats.block_seconds) == stats.busy_seconds - engine._carried


def test_the_worker_runs_on_a_thread_and_reports_its_errors(separators, noise):
    contract = separators["identity"].contract
    estimate = np.zeros((contract.frames, contract.bins, contract.channels), np.float32)
    answers = [*[{"everything": estimate}] * 3, ModelError("broken")]
    network = Mock(contract=contract, side_effect=answers)
    plan = plan_for(separators["identity"])
    engine = LiveEngine(network, plan, Mixer({"everything": 1.0}, 44100), False)
    for block in [*even([noise(20000)], BLOCK), noise(0)]:
        engine.capture(block)
    with pytest.raises(ModelError, match="broken"), engine.worker() as check:
        any(iter(check, True))  # until it raises
    assert engine.player.delivered > 0


def test_with_patience_a_block_waits_for_its_stems(separators, noise):
    """Without a buffer none is in time otherwise: each takes longer than a block."""
    separator, audio, ticks = separators["causal"], noise(40000), itertools.count()
    gains = dict.fromkeys((*separator.sources, "residual"), 0.5)
    plan = plan_for(separator, buffer_seconds=0.0)
    engine = LiveEngine(
        separator.network, plan, Mixer(gains, 44100), True, lambda: next(ticks) / 10
    )
    played = []
    with engine.worker():
        for block in even([np.pad(audio, ((0, plan.latency), (0, 0)))], plan.block):
            played.append(engine.exchange(block, 600.0)[0])
    assert engine.stats.dropouts == 0
    heard = np.concatenate(played)[plan.latency :][: len(audio)]
    assert np.abs(heard - audio / 2)[: len(heard)].max() < 1e-4
