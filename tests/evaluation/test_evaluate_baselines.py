"""Ideal masks against scipy, and the laws that they keep."""

import numpy as np
import pytest
from scipy.signal import istft, stft
from signals import joined, make_song

from training.evaluate.estimators import MASKS, mask_estimates

FORM = {"window": "hann", "nperseg": 2048, "noverlap": 1024}


def masked(song, mask):
    return joined(mask_estimates(song, MASKS[mask], tuple(song.references)))


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_masks_are_those_of_their_definition(mask, rng):
    song = make_song(rng, num_samples=30011)
    estimates = masked(song, mask)
    spectra = {
        name: stft(x.T, boundary="even", padded=True, **FORM)[2]
        for name, x in {**song.references, "mixture": song.mixture}.items()
    }
    magnitudes = {name: np.abs(s) for name, s in spectra.items()}
    whole = magnitudes.pop("mixture")
    for source, own in magnitudes.items():
        values = {
            "irm": own / sum(magnitudes.values()),
            "iwf": own**2 / sum(m**2 for m in magnitudes.values()),
            "ibm": (own / whole >= 0.5).astype(float),
        }[mask]
        expected = istft(values * spectra["mixture"], boundary=True, **FORM)[1].T
        assert np.abs(estimates[source] - expected[: len(song.mixture)]).max() < 1e-5
        assert np.abs(expected).max() > 0.05


@pytest.mark.parametrize("mask", ["irm", "iwf"])
@pytest.mark.parametrize("num_samples", [1, 1023, 5000, 600000])
def test_ratio_masks_share_out_the_mixture(mask, num_samples, rng):
    song = make_song(rng, num_samples=num_samples)
    total = sum(estimate.astype(np.float64) for estimate in masked(song, mask).values())
    assert total.shape == song.mixture.shape
    assert np.abs(total - song.mixture).max() < 1e-5


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_a_source_that_is_alone_comes_back_whole(mask, rng):
    song = make_song(rng, 9000, silent=("bass", "other"))
    estimates = masked(song, mask)
    assert np.abs(estimates["vocals"] - song.references["vocals"]).max() < 1e-5
    assert not estimates["bass"].any()
    with np.errstate(all="raise"):
        silence = np.zeros((2, 3, 4), np.float32)
        assert not MASKS[mask](silence, silence[0]).any()
