"""The streaming projection against dense least squares written out in NumPy."""

from unittest.mock import Mock

import numpy as np
import pytest

from training.evaluate.metrics import projection
from training.evaluate.metrics.projection import distortion_filters, energies

pytestmark = pytest.mark.usefixtures("short_filters")


def parts_of(references, estimates, own, window=None):
    signals = references, estimates, own
    window = window or slice(0, len(references[0]))
    return energies(*signals, distortion_filters(*signals, window), window)


def project(signals, estimate):
    """The part of an estimate that filters of the signals can make; dense least squares."""
    taps = projection.TAPS
    # columns: every channel of every signal at delays 0 to taps - 1, over its whole tail
    basis = np.array(
        [
            np.pad(channel, (delay, taps - 1 - delay))
            for channel in np.concatenate([signal.T for signal in signals])
            for delay in range(taps)
        ]
    ).T
    tail = np.pad(estimate, ((0, taps - 1), (0, 0)))
    return basis @ np.linalg.lstsq(basis, tail, rcond=None)[0]


@pytest.mark.parametrize("channels", [1, 2])
def test_parts_equal_dense_least_squares(rng, channels):
    num_samples = 28 * projection.STEP  # the tail begins a block of its own
    references = list(rng.standard_normal((2, num_samples, channels)))
    estimate = references[1] + 0.4 * np.roll(references[0], 3, 0)
    estimate += 0.1 * rng.standard_normal((num_samples, channels))
    (parts,) = parts_of(references, [estimate], [1])
    tail = ((0, projection.TAPS - 1), (0, 0))
    true = np.pad(references[1], tail)
    spatial, joint = project([references[1]], estimate), project(references, estimate)
    rest = np.pad(estimate, tail) - joint
    expected = {
        "true": true, "spatial": spatial, "joint": joint, "distortion": spatial - true,
        "interference": joint - spatial, "artifacts": rest, "error": estimate - references[1],
    }  # fmt: skip
    expected = {name: np.sum(part**2) for name, part in expected.items()}
    assert parts == pytest.approx(expected, rel=1e-9)


def test_a_window_stands_alone(rng):
    references, estimates = rng.standard_normal((2, 2, 9000, 1))
    window = slice(2500, 6000)
    expected = parts_of(references[:, window], estimates[:, window], [0, 1])
    assert parts_of(references, estimates, [0, 1], window) == expected


@pytest.mark.parametrize("gain", [1.0, 0.3, -1.0, 0.0])
def test_dependent_channels_change_nothing(rng, monkeypatch, gain):
    """A mono source, one out of phase and one with an empty channel have the parts of the mono.

    The dependent channels are left out of the equations, and need no least squares, which would
    take a minute on four stereo sources.
    """
    sizes = []
    solve = np.linalg.solve
    monkeypatch.setattr(np.linalg, "solve", lambda a, b: sizes.append(len(a)) or solve(a, b))
    monkeypatch.setattr(np.linalg, "lstsq", None)
    mono, other = rng.standard_normal((2, 6000, 1))
    estimate = mono + 0.3 * other + 0.1 * rng.standard_normal((6000, 1))
    (expected,) = parts_of([mono, other], [estimate], [0])
    stereo = [np.hstack([gain * mono, mono]), np.hstack([other, 0 * other])]
    (found,) = parts_of(stereo, [np.hstack([0 * estimate, estimate])], [0])
    assert [size / projection.TAPS for size in sizes] == [1, 2, *((1, 2) if gain else (2, 3))]
    for name in ("joint", "interference", "artifacts"):
        assert found[name] == pytest.approx(expected[name], rel=1e-7), name


def test_least_squares_where_the_solver_finds_nothing(rng, monkeypatch):
    references = list(rng.standard_normal((2, 3000, 1)))
    estimates = [references[0] + 0.1 * references[1]]
    (expected,) = parts_of(references, estimates, [0])

    monkeypatch.setattr(np.linalg, "solve", Mock(side_effect=np.linalg.LinAlgError))
    (found,) = parts_of(references, estimates, [0])
    for name in ("interference", "spatial"):
        assert found[name] == pytest.approx(expected[name], rel=1e-9)
