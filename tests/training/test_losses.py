"""The losses against plain NumPy, finite on silence, lowest at the target; the schedule."""

import numpy as np
import pytest

from training.train.losses import EXCERPT_FLOOR, LOSSES
from training.train.recipe import Recipe
from training.train.schedule import Plan, plan


def reference(name, y, z):
    if name == "mse":
        return ((z - y) ** 2).mean((2, 3))
    if name == "l1":
        return np.abs(z - y).mean((2, 3))
    signal, error = (y**2).mean((1, 2, 3)), ((z - y) ** 2).mean((1, 2, 3))
    ratio = -10 * np.log10((signal + EXCERPT_FLOOR) / (error + EXCERPT_FLOOR))
    return np.repeat(ratio[:, None], y.shape[1], axis=1)


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name, rng):
    y, z = (rng.rayleigh(size=(2, 3, 5, 2)).astype(np.float32) for _ in range(2))
    found = np.asarray(LOSSES[name](y, z))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, reference(name, y.astype(float), z.astype(float)), rtol=1e-4)
    assert (np.asarray(LOSSES[name](y, y)) < found).all()


@pytest.mark.parametrize("name", LOSSES)
def test_silence_gives_finite_values_and_gradients(name):
    import tensorflow as tf

    silent = tf.zeros((1, 2, 4, 1))
    for target in (silent, silent + 1):
        with tf.GradientTape() as tape:
            tape.watch(silent)
            value = tf.reduce_sum(LOSSES[name](target, silent))
        assert np.isfinite(value)
        assert np.isfinite(tape.gradient(value, silent)).all()


def steps(losses, **changes):
    rule = {"learning_rate": 0.5, "patience": 2, "drop": 0.1, "lowest_rate": 0.005}
    return plan(losses, Recipe("r", **rule | changes))


def test_the_rate_follows_a_cosine_over_all_epochs():
    found = [steps([1] * n, schedule="cosine", epochs=4).learning_rate for n in range(6)]
    middle, half = (0.5 + 0.005) / 2, (0.5 - 0.005) / 2
    expected = [middle + half * np.cos(np.pi * done) for done in (0, 0.25, 0.5, 0.75, 1, 1)]
    np.testing.assert_allclose(found, expected)


def test_the_rate_drops_after_patience_and_not_below_the_lowest():
    assert steps([]) == Plan(0.5, -1, False)
    assert steps([3, 2, 2]).learning_rate == 0.5
    assert steps([3, 2, 2, 2]) == Plan(0.05, 1, False)
    assert steps([3, 2, 2, 2, 2, 2]).learning_rate == pytest.approx(0.005)
    assert steps([3] + [3] * 20).learning_rate == 0.005
    assert steps([3, 4, 2, 4, 1]) == Plan(0.5, 4, False)


def test_it_stops_when_nothing_gets_better():
    assert not steps([3, 2, 2, 2], stop_after=3).stop
    assert steps([3, 2, 2, 2, 2], stop_after=3).stop
    assert steps([3, float("nan"), float("nan")], stop_after=2).stop
