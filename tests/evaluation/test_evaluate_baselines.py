"""Ideal masks against scipy, and the laws that they keep."""

import numpy as np
import pytest
from scipy.signal import istft, stft
from signals import joined, make_song

from training.evaluation.baselines import (
    MASKS,
    MaskEstimator,
    MixtureEstimator,
    binary_masks,
    ratio_masks,
)

FORM = {"window": "hann", "nperseg": 2048, "noverlap": 1024}


def reference(song, source, mask):
    """The estimate by scipy, whole song at once."""
    spectra = {
        name: stft(x.T, boundary="even", padded=True, **FORM)[2]
        for name, x in {**song.references, "mixture": song.mixture}.items()
    }
    magnitudes = {name: np.abs(s) for name, s in spectra.items()}
    whole = magnitudes.pop("mixture")
    values = {
        "irm": lambda: magnitudes[source] / sum(magnitudes.values()),
        "iwf": lambda: magnitudes[source] ** 2 / sum(m**2 for m in magnitudes.values()),
        "ibm": lambda: (magnitudes[source] / whole >= 0.5).astype(float),
    }[mask]()
    estimate = istft(values * spectra["mixture"], boundary=True, **FORM)[1]
    return estimate.T[: song.num_samples]


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_masks_are_those_of_their_definition(mask, rng):
    song = make_song(rng, num_samples=30011)
    estimates = joined(MaskEstimator(mask, tuple(song.references)).stream(song))
    for source in song.references:
        expected = reference(song, source, mask)
        assert np.abs(estimates[source] - expected).max() < 1e-5
        assert np.abs(expected).max() > 0.05


@pytest.mark.parametrize("mask", ["irm", "iwf"])
@pytest.mark.parametrize("num_samples", [1, 1023, 5000, 600000])
def test_ratio_masks_share_out_the_mixture(mask, num_samples, rng):
    song = make_song(rng, num_samples=num_samples)
    estimates = joined(MaskEstimator(mask, tuple(song.references)).stream(song))
    total = sum(estimate.astype(np.float64) for estimate in estimates.values())
    assert total.shape == song.mixture.shape
    assert np.abs(total - song.mixture).max() < 1e-5


def test_masks_of_silence_are_finite_and_zero():
    silence = {"a": np.zeros((3, 4), np.float32), "b": np.zeros((3, 4), np.float32)}
    with np.errstate(all="raise"):
        masks = [ratio_masks(silence, 1), ratio_masks(silence, 2)]
        masks.append(binary_masks(silence, np.zeros((3, 4), np.float32)))
    assert all(not mask.any() for by_source in masks for mask in by_source.values())


def test_a_source_that_is_alone_comes_back_whole(rng):
    song = make_song(rng, num_samples=9000, silent=("bass", "other"))
    for mask in MASKS:
        estimates = joined(MaskEstimator(mask, tuple(song.references)).stream(song))
        assert np.abs(estimates["vocals"] - song.references["vocals"]).max() < 1e-5
        assert not estimates["bass"].any()


def test_the_mixture_stands_for_every_source(rng):
    song = make_song(rng, num_samples=300000)
    estimates = joined(MixtureEstimator(("vocals", "accompaniment")).stream(song))
    assert set(estimates) == {"vocals", "accompaniment"}
    assert all(np.array_equal(estimate, song.mixture) for estimate in estimates.values())
