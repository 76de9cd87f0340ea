"""The Wiener filter beside norbert; its laws are in tests/edge."""

import warnings

import numpy as np
import pytest
from mmdense_edge.signal.wiener import filter_spectra


@pytest.fixture(scope="module")
def norbert():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # norbert imports SciPy from where it was in 2019
        import norbert
    return norbert


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 3])
def test_it_agrees_with_norbert(norbert, rng, channels, iterations):
    """Sources with levels and a place of their own; estimates with errors."""
    levels = rng.uniform(0.01, 1, (3, 60, 257, 1)) ** 3 * rng.uniform(0.2, 1, (3, 1, 1, channels))
    parts = levels * (rng.normal(size=levels.shape) + 1j * rng.normal(size=levels.shape))
    mixture, magnitudes = parts.sum(0), np.abs(parts) * rng.uniform(0.7, 1.3, parts.shape)
    expected = norbert.wiener(  # with hardly any noise of its own; it changes its mixture
        np.moveaxis(magnitudes, 0, -1), mixture.copy(), iterations, use_softmask=False, eps=1e-28
    )
    expected = np.moveaxis(expected, -1, 0)
    estimates = magnitudes * np.exp(1j * np.angle(mixture))
    assert distance(filter_spectra(mixture, estimates, iterations), expected) < 2e-5
    single = [part.astype(np.complex64) for part in (mixture, estimates)]
    assert distance(filter_spectra(*single, iterations), expected) < 2e-5
