"""The output side: where the mixture takes over, and how smoothly."""

import numpy as np
import pytest
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import Plan
from mmdense_edge.live.player import Player
from mmdense_edge.live.stats import LiveStats

FADE = 5


def make_player(latency: int = 0, capacity: int = 400) -> Player:
    """A mono player of one stem; without a latency it is not paced."""
    plan = Plan(1000, 1, 10, 1, 0, step=20, algorithmic=latency - FADE, fade=FADE, buffer=0)
    return Player(LiveStats(plan, latency > 0), Mixer({"a": 1.0}, 1000), capacity)


def deliver(player: Player, *valid: bool) -> None:
    """Delivers zeros: the output then is the mixture's share."""
    player.deliver(np.zeros((len(valid), 1, 1), np.float32), np.array(valid, np.bool_))


def slow_shares(usable: list[bool], steps: list[tuple[int, int]]) -> list[int]:
    """The rule, sample by sample: `steps` are (samples played, samples known by then)."""
    wet, shares = FADE, []
    for count, known in steps:
        end = len(shares) + count + FADE
        for place in range(len(shares), len(shares) + count):
            gaps = (n - place for n in range(place, end) if n >= known or not usable[n])
            wet = min(wet + 1, FADE, next(gaps, FADE))
            shares.append(wet)
    return shares


@pytest.mark.parametrize("seed", range(15))
def test_shares_follow_the_rule(seed):
    """In a ring of half the signal's length."""
    generator, total = np.random.default_rng(seed), 300
    usable = np.repeat(generator.random(30) < 0.7, 10)
    player, signal = make_player(capacity=total // 2), np.linspace(1, 2, total)[:, None]
    steps, output, known, first = [], [], 0, 0
    player.capture(signal[:110])
    while first < total - FADE:
        count = int(min(generator.integers(1, 25), total - FADE - first))
        more = int(min(generator.integers(0, 40), total - known, first + 100 - known))
        deliver(player, *usable[known : known + more])
        known += more
        steps.append((count, known))
        output.append(player.play(count))
        player.capture(signal[first + 110 : first + count + 110])
        first += count
    expected = np.array(slow_shares(usable.tolist(), steps))
    heard = np.concatenate(output)[:, 0] / signal[:first, 0]
    assert np.allclose(heard, 1 - expected / FADE, atol=1e-6)
    dry = expected < FADE
    assert player._stats.unprocessed == dry.sum()
    assert player._stats.dropouts == np.count_nonzero(np.diff(dry, prepend=False) & dry)


def test_silence_before_and_after_the_signal():
    player = make_player(latency=7)
    player.capture(np.ones((10, 1)))
    deliver(player, *[False] * 10)
    player.capture(np.ones((0, 1)))
    assert not player.finished
    assert player.play(20)[:, 0].tolist() == [0] * 7 + [1] * 10 + [0] * 3
    assert player.finished


def test_late_stems_are_not_heard():
    player = make_player()
    player.capture(np.ones((100, 1)))
    assert player.play(30)[:, 0].tolist() == [1] * 30
    deliver(player, *[True] * 20)
    assert player.play(10)[:, 0].tolist() == [1] * 10
    deliver(player, *[True] * 60)
    fade = (1 - np.arange(1, FADE + 1) / FADE).tolist()
    assert player.play(20)[:, 0].tolist() == pytest.approx(fade + [0] * 15)
    stats = player._stats
    assert (stats.dropouts, stats.unprocessed, stats.worst_delay) == (1, 40 + FADE - 1, 100)
