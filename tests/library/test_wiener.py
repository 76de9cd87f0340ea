"""The Wiener filter beside norbert; its laws are in tests/edge."""

import warnings

import numpy as np
import pytest
from mmdense_edge.model.contract import Transform
from mmdense_edge.signal.stft import stft
from mmdense_edge.signal.wiener import WienerFilter, filter_spectra


@pytest.fixture(scope="module")
def norbert():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # norbert imports SciPy from where it was in 2019
        import norbert
    return norbert


def music_spectra(channels, sources):
    """Decaying tones, each source with notes and a place of its own; estimates with errors."""
    rng = np.random.default_rng(5)
    time = np.arange(60000) / 44100
    songs = np.zeros((sources, len(time), channels), np.float32)
    for song in songs:
        place = rng.uniform(0.2, 1, channels)
        for onset in np.arange(0, time[-1], 0.17):
            hertz = 110 * 2 ** (rng.integers(0, 36) / 12)
            after = np.clip(time - onset, 0, None)
            note = np.exp(-8 * after) * (time > onset)
            wave = sum(np.sin(2 * np.pi * hertz * k * after) / k for k in (1, 2, 3, 4))
            song += 0.1 * (note * wave)[:, None] * place + 1e-4 * rng.standard_normal(song.shape)
    parts = np.stack([stft(song, Transform()) for song in songs]).astype(np.complex128)
    mixture = parts.sum(axis=0)
    return mixture, np.abs(parts) * rng.uniform(0.7, 1.3, parts.shape)


def with_phase(magnitudes, mixture):
    return magnitudes * np.exp(1j * np.angle(mixture))


def reference(norbert, mixture, magnitudes, iterations):
    """Norbert with hardly any noise of its own; it changes the mixture that it is given."""
    result = norbert.wiener(
        np.moveaxis(magnitudes, 0, -1), mixture.copy(), iterations, use_softmask=False, eps=1e-28
    )
    return np.moveaxis(result, -1, 0)


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 3])
def test_it_agrees_with_norbert(norbert, channels, iterations):
    mixture, magnitudes = music_spectra(channels, 3)
    expected = reference(norbert, mixture, magnitudes, iterations)
    estimates = with_phase(magnitudes, mixture)
    assert distance(filter_spectra(mixture, estimates, iterations), expected) < 2e-5
    single = [part.astype(np.complex64) for part in (mixture, estimates)]
    assert distance(filter_spectra(*single, iterations), expected) < 2e-5
    assert distance(estimates, expected) > 0.05


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_it_agrees_with_norbert_where_a_rest_enters(norbert, channels, iterations):
    mixture, magnitudes = music_spectra(channels, 3)
    rest = np.maximum(np.abs(mixture) - magnitudes[0], 0)
    expected = reference(norbert, mixture, np.stack([magnitudes[0], rest]), iterations)[0]
    estimate = with_phase(magnitudes[0], mixture).astype(np.complex64)
    stage = WienerFilter(iterations)
    blocks = [
        *stage.push(mixture.astype(np.complex64), {"vocals": estimate}),
        *stage.finish(),
    ]
    assert [list(block) for block in blocks] == [["vocals"]]
    assert distance(blocks[0]["vocals"], expected) < 2e-5
