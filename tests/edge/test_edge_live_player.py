"""The output side: where the mixture takes over, and how smoothly."""

from __future__ import annotations

import numpy as np
import pytest
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import Plan
from mmdense_edge.live.player import Player, Ring
from mmdense_edge.live.stats import LiveStats

FADE = 5


def make_player(latency: int = 0, capacity: int = 400) -> Player:
    """A mono player of one stem; without a latency it is not paced."""
    plan = Plan(1000, 1, 10, 1, 0, step=20, algorithmic=latency - FADE, fade=FADE, buffer=0)
    return Player(LiveStats(plan, latency > 0), Mixer({"a": 1.0}, 1000), capacity)


def feed(player: Player, stems: int, valid: bool = True) -> None:
    """Delivers zeros: the output then is the mixture's share."""
    player.deliver(np.zeros((stems, 1, 1), np.float32), np.full(stems, valid))


def ones(count: int) -> np.ndarray:
    return np.ones((count, 1), np.float32)


def slow_shares(usable: list[bool], steps: list[tuple[int, int]]) -> list[int]:
    """The rule, sample by sample: `steps` are (samples played, samples known by then)."""
    wet, shares, first = FADE, [], 0
    for count, known in steps:
        for place in range(first, first + count):
            gap = next(
                (n for n in range(place, first + count + FADE) if n >= known or not usable[n]), None
            )
            wet = min(wet + 1, FADE, FADE if gap is None else gap - place)
            shares.append(wet)
        first += count
    return shares


@pytest.mark.parametrize("seed", range(30))
def test_shares_follow_the_rule(seed):
    generator = np.random.default_rng(seed)
    total = 300
    usable = np.repeat(generator.random(30) < 0.7, 10)
    player = make_player(capacity=total)
    player.capture(ones(total))
    steps, output, known, first = [], [], 0, 0
    while first < total - FADE:
        count = int(min(generator.integers(1, 25), total - FADE - first))
        more = int(min(generator.integers(0, 40), total - known))
        player.deliver(np.zeros((more, 1, 1), np.float32), usable[known : known + more])
        known += more
        steps.append((count, known))
        output.append(player.play(count))
        first += count
    expected = np.array(slow_shares(usable.tolist(), steps))
    assert np.allclose(np.concatenate(output)[:, 0], 1 - expected / FADE, atol=1e-6)
    dry = expected < FADE
    assert player._stats.unprocessed == dry.sum()
    assert player._stats.dropouts == np.count_nonzero(np.diff(np.concatenate([[False], dry])) & dry)


def test_silence_before_and_after_the_signal():
    player = make_player(latency=7)
    player.capture(ones(10))
    feed(player, 10, valid=False)
    player.ended = True
    assert not player.finished
    assert player.play(20)[:, 0].tolist() == [0] * 7 + [1] * 10 + [0] * 3
    assert player.finished


def test_late_stems_are_not_heard():
    player = make_player()
    player.capture(ones(100))
    assert player.play(30)[:, 0].tolist() == [1] * 30
    feed(player, 20)
    assert player.play(10)[:, 0].tolist() == [1] * 10
    feed(player, 60)
    after = player.play(20)[:, 0]
    assert np.allclose(after[:FADE], 1 - np.arange(1, FADE + 1) / FADE, atol=1e-6)
    assert not after[FADE:].any()
    assert (player._stats.dropouts, player._stats.unprocessed) == (1, 40 + FADE - 1)
    assert player._stats.worst_delay == 100


def test_a_ring_is_a_window_on_an_endless_signal():
    signal, ring, end = np.arange(200.0).reshape(100, 2), Ring(16, (2,), np.float32), 0
    for length in (3, 16, 0, 7, 12, 1, 15):
        ring.write(end, signal[end : end + length])
        end += length
        for count in range(min(end, 16)):
            assert np.array_equal(ring.read(end - count, count), signal[end - count : end])
    for call in (lambda: ring.read(0, 17), lambda: ring.write(0, np.zeros((17, 2)))):
        with pytest.raises(ValueError, match="holds 16 rows; received 17"):
            call()
