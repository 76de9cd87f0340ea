"""The streaming projection against dense least squares written out in NumPy."""

import numpy as np
import pytest

from training.evaluation import projection
from training.evaluation.projection import Projector

TAPS = 24


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Short filters, so that dense equations stay small; signals take many blocks and chunks."""
    sizes = {"TAPS": TAPS, "N_FFT": 128, "STEP": 128 - TAPS + 1, "BLOCKS": 3}
    for name, size in sizes.items():
        monkeypatch.setattr(projection, name, size)


def delayed(signals, num_samples):
    """Columns: every channel of every signal at delays 0 to TAPS - 1, over its whole tail."""
    columns = []
    for channel in np.concatenate([signal.T for signal in signals]):
        for delay in range(TAPS):
            columns.append(np.pad(channel, (delay, TAPS - 1 - delay)))
    return np.array(columns).T


def project(signals, estimate):
    """The part of an estimate that filters of the signals can make; dense least squares."""
    basis = delayed(signals, len(estimate))
    tail = np.pad(estimate, ((0, TAPS - 1), (0, 0)))
    return basis @ np.linalg.lstsq(basis, tail, rcond=None)[0]


@pytest.mark.parametrize("channels", [1, 2])
def test_parts_equal_dense_least_squares(rng, channels):
    num_samples = 28 * projection.STEP  # the tail begins a block of its own
    references = list(rng.standard_normal((2, num_samples, channels)))
    estimate = references[1] + 0.4 * np.roll(references[0], 3, 0)
    estimate += 0.1 * rng.standard_normal((num_samples, channels))
    window = slice(0, num_samples)
    projector = Projector(references, [estimate], [1])
    (parts,) = projector.energies(projector.filters(window), window)
    true = np.pad(references[1], ((0, TAPS - 1), (0, 0)))
    spatial, joint = project([references[1]], estimate), project(references, estimate)
    rest = np.pad(estimate, ((0, TAPS - 1), (0, 0))) - joint
    expected = {
        "true": true, "true_and_spatial": spatial, "true_spatial_and_interference": joint,
        "spatial": spatial - true, "interference": joint - spatial, "artefacts": rest,
        "error": estimate - references[1],
    }  # fmt: skip
    for name, part in expected.items():
        assert getattr(parts, name) == pytest.approx(np.sum(part**2), rel=1e-9), name


def test_the_parts_of_orthogonal_projections_add_up(rng):
    num_samples = 700
    references = list(rng.standard_normal((2, num_samples, 1)).astype(np.float32))
    estimates = [references[0] + rng.standard_normal((num_samples, 1)) for _ in range(2)]
    window = slice(0, num_samples)
    projector = Projector(references, estimates, [0, 1])
    for parts, estimate in zip(
        projector.energies(projector.filters(window), window), estimates, strict=True
    ):
        joint = parts.true_and_spatial + parts.interference
        assert parts.true_spatial_and_interference == pytest.approx(joint, rel=1e-9)
        assert joint + parts.artefacts == pytest.approx(np.sum(estimate**2), rel=1e-9)


def test_filters_are_found_again(rng):
    references = list(rng.standard_normal((2, 4000, 2)))
    taps = rng.standard_normal((TAPS, 2, 2)) * np.exp(-np.arange(TAPS) / 5)[:, None, None]
    estimate = np.stack(
        [
            sum(np.convolve(references[0][:, i], taps[:, i, o]) for i in range(2))
            for o in range(2)
        ],
        axis=1,
    )  # fmt: skip
    projector = Projector([np.pad(r, ((0, TAPS - 1), (0, 0))) for r in references], [estimate], [0])
    filters = projector.filters(slice(0, len(estimate)))
    found = np.fft.irfft(filters.own[0])[..., :TAPS]
    np.testing.assert_allclose(found, taps.transpose(1, 2, 0), atol=1e-10)
    joint = np.fft.irfft(filters.joint)[..., :TAPS]
    np.testing.assert_allclose(joint[:2], taps.transpose(1, 2, 0), atol=1e-10)
    np.testing.assert_allclose(joint[2:], 0, atol=1e-10)


def test_a_window_stands_alone(rng):
    references = list(rng.standard_normal((2, 9000, 1)))
    estimates = list(rng.standard_normal((2, 9000, 1)))
    window = slice(2500, 6000)
    inside = Projector([r[window] for r in references], [e[window] for e in estimates], [0, 1])
    around = Projector(references, estimates, [0, 1])
    expected = inside.energies(inside.filters(slice(0, 3500)), slice(0, 3500))
    assert around.energies(around.filters(window), window) == expected


@pytest.mark.parametrize("gain", [1.0, 0.3, -1.0, 0.0])
def test_dependent_channels_change_nothing(rng, gain):
    """A mono source, one out of phase and one with an empty channel have the parts of the mono."""
    mono, other = rng.standard_normal((2, 6000, 1))
    estimate = mono + 0.3 * other + 0.1 * rng.standard_normal((6000, 1))
    window = slice(0, 6000)
    one = Projector([mono, other], [estimate], [0])
    stereo = Projector(
        [np.hstack([mono, gain * mono]), np.hstack([other, 0 * other])],
        [np.hstack([estimate, 0 * estimate])],
        [0],
    )
    expected = one.energies(one.filters(window), window)[0]
    found = stereo.energies(stereo.filters(window), window)[0]
    for name in ("true_spatial_and_interference", "interference", "artefacts"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-7), name


@pytest.mark.parametrize("gain", [1.0, -0.3, 0.0])
def test_dependent_channels_are_left_out_of_the_equations(rng, monkeypatch, gain):
    sizes = []
    solve = np.linalg.solve
    monkeypatch.setattr(np.linalg, "solve", lambda a, b: sizes.append(len(a)) or solve(a, b))
    mono, stereo = rng.standard_normal((4000, 1)), rng.standard_normal((4000, 2))
    references = [np.hstack([mono, gain * mono]), stereo]
    Projector(references, references, [0, 1]).filters(slice(0, 4000))
    assert sizes == [TAPS, 2 * TAPS, 3 * TAPS]


def test_least_squares_where_the_solver_finds_nothing(rng, monkeypatch):
    references = list(rng.standard_normal((2, 3000, 1)))
    estimates = [references[0] + 0.1 * references[1]]
    window = slice(0, 3000)
    projector = Projector(references, estimates, [0])
    expected = projector.energies(projector.filters(window), window)[0]

    def fail(matrix, right):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(projection.np.linalg, "solve", fail)
    found = projector.energies(projector.filters(window), window)[0]
    assert found.interference == pytest.approx(expected.interference, rel=1e-9)
    assert found.true_and_spatial == pytest.approx(expected.true_and_spatial, rel=1e-9)


def test_an_empty_first_channel_needs_no_least_squares(rng, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("least squares takes a minute on four stereo sources")

    monkeypatch.setattr(projection.np.linalg, "lstsq", fail)
    right = rng.standard_normal((3000, 1))
    stereo = np.hstack([0 * right, right])
    window = slice(0, 3000)
    for signal in (right, stereo):
        projector = Projector([signal], [signal + 0.1 * rng.standard_normal(signal.shape)], [0])
        (parts,) = projector.energies(projector.filters(window), window)
        assert parts.true_and_spatial > 30 * parts.artefacts
