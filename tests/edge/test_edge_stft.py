"""The transform against plain NumPy, and streams against the whole signal."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdense_edge.model.contract import Transform
from mmdense_edge.signal.stft import Analysis, Synthesis, istft, stft

SMALL = [Transform(16, 8), Transform(16, 4), Transform(32, 5), Transform(18, 9), Transform(16, 1)]


def plain_stft(audio: np.ndarray, transform: Transform) -> np.ndarray:
    """The definition, frame by frame."""
    n_fft, hop = transform.n_fft, transform.hop_length
    count = 1 + int(np.ceil(len(audio) / hop))
    padded = np.pad(audio, ((n_fft // 2, n_fft // 2), (0, 0)), mode="reflect")
    padded = np.pad(padded, ((0, (count - 1) * hop + n_fft - len(padded)), (0, 0)))
    window = scipy.signal.get_window("hann", n_fft)[:, None]
    return np.stack([np.fft.rfft(padded[i * hop :][:n_fft] * window, axis=0) for i in range(count)])


def uniform(num_samples: int, channels: int = 2) -> np.ndarray:
    generator = np.random.default_rng(num_samples)
    return generator.uniform(-1, 1, (num_samples, channels)).astype(np.float32)


def split(total: int, cuts: list[int]) -> list[slice]:
    edges = [0, *sorted(cut % (total + 1) for cut in cuts), total]
    return [slice(first, last) for first, last in pairwise(edges)]


@pytest.mark.parametrize("transform", [Transform(), *SMALL])
@pytest.mark.parametrize("num_samples", [1, 2, 8, 9, 17, 1024, 1025, 5001])
def test_stft_equals_the_definition_at_any_length(transform, num_samples):
    audio = uniform(num_samples)
    expected = plain_stft(audio, transform)
    actual = stft(audio, transform)
    assert actual.dtype == np.complex64
    assert len(actual) == transform.num_frames(num_samples)
    np.testing.assert_allclose(actual, expected, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("transform", [Transform(), Transform(2048, 512), *SMALL])
@pytest.mark.parametrize("num_samples", [1, 2, 16, 17, 1025, 5001])
def test_round_trip(transform, num_samples):
    audio = uniform(num_samples)
    kept = audio.copy()
    result = istft(stft(audio, transform), transform, num_samples)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, audio, atol=1e-6)
    np.testing.assert_array_equal(audio, kept)


@settings(max_examples=80, deadline=None)
@given(
    transform=st.sampled_from(SMALL),
    num_samples=st.integers(1, 300),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_blocks_equal_the_signal_at_once(transform, num_samples, cuts):
    audio = uniform(num_samples, 1)
    analysis, synthesis = Analysis(transform, 1), Synthesis(transform, 1)
    parts = [analysis.push(audio[part]) for part in split(num_samples, cuts)]
    spectra = np.concatenate([*parts, analysis.finish()])
    assert spectra.shape == (transform.num_frames(num_samples), transform.num_bins, 1)
    # NumPy transforms several frames at once, and on Arm one frame rounds otherwise than several.
    np.testing.assert_allclose(spectra, stft(audio, transform), atol=2e-6, rtol=0)
    blocks = [synthesis.push(spectra[part]) for part in split(len(spectra), cuts)]
    assert sum(map(len, blocks)) <= num_samples
    result = np.concatenate([*blocks, synthesis.finish(num_samples)])
    np.testing.assert_allclose(result, istft(spectra, transform, num_samples), atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_samples", [0, 8, 32])
def test_frames_of_another_length_are_refused(num_samples):
    transform = Transform(16, 8)
    spectra = stft(uniform(20, 1), transform)
    with pytest.raises(ValueError, match=f"{num_samples} samples have . frames; received 4"):
        istft(spectra, transform, num_samples)
