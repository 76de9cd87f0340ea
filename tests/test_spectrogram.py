"""The transform: against SciPy, against itself in TensorFlow, and back."""

import numpy as np
import numpy_reference
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mmdense import AudioError, Transform
from keras_mmdense.spectrogram import (
    analyse,
    hann,
    istft,
    magnitude_tf,
    num_frames,
    overlap_add,
    pad,
    stft,
    window_power,
)

SMALL = Transform(44100, 64, 32)


def test_equals_scipy(rng):
    audio = rng.standard_normal((30011, 2)).astype(np.float32)
    _, _, expected = scipy.signal.stft(
        audio.T.astype(float),
        window="hann",
        nperseg=2048,
        noverlap=1024,
        boundary="even",
        padded=True,
    )
    expected = expected.transpose(2, 1, 0) * scipy.signal.get_window("hann", 2048).sum()
    found = stft(audio)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("length", [1, 1000, 2048, 44100])
def test_the_runner_has_the_same_transform(length, rng):
    import mmdense_edge.contract
    import mmdense_edge.transform as runner

    audio = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
    expected = stft(audio)
    found = runner.stft(audio, mmdense_edge.contract.Transform())
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_window_is_scipy_s():
    np.testing.assert_allclose(hann(2048), scipy.signal.get_window("hann", 2048), atol=1e-7)


def test_tensorflow_and_numpy_are_one(rng):
    audio = rng.standard_normal((3, 9000, 2)).astype(np.float32)
    transform = Transform()
    padded = np.stack([pad(one, transform) for one in audio])
    found = magnitude_tf(padded, transform, 1024).numpy()
    expected = np.stack([np.abs(stft(one)[:, :1024]) for one in audio])
    assert found.shape == (3, num_frames(9000, transform), 1024, 2)
    assert np.abs(found - expected).max() < 1e-5 * expected.max()


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(1, 400),
    channels=st.integers(1, 2),
    hop=st.sampled_from([8, 16, 20, 32]),
    seed=st.integers(0, 9),
)
def test_round_trip_at_any_length(length, channels, hop, seed):
    transform = Transform(44100, 64, hop)
    audio = np.random.default_rng(seed).uniform(-1, 1, (length, channels)).astype(np.float32)
    before = audio.copy()
    spectrum = stft(audio, transform)
    assert spectrum.shape == (num_frames(length, transform), 33, channels)
    expected = numpy_reference.stft(audio.astype(float), 64, hop)
    np.testing.assert_allclose(spectrum, expected, atol=1e-4)
    np.testing.assert_allclose(istft(spectrum, length, transform), audio, atol=2e-6)
    assert (audio == before).all()


@pytest.mark.parametrize("length", [1, 2, 1023, 1024, 1025, 44100, 100_003])
def test_round_trip_of_the_default(length, rng):
    audio = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
    assert np.abs(istft(stft(audio), length) - audio).max() < 1e-6


def test_pieces_add_up(rng):
    """Analysis of a slice gives the same frames; overlap-add of two halves gives the whole."""
    audio = rng.standard_normal((1000, 1)).astype(np.float32)
    padded, whole = pad(audio, SMALL), stft(audio, SMALL)
    np.testing.assert_allclose(analyse(padded[5 * 32 : 9 * 32 + 64], SMALL), whole[5:10], atol=1e-5)
    first, second = whole.copy(), whole.copy()
    first[10:], second[:10] = 0, 0
    np.testing.assert_allclose(
        overlap_add(first, SMALL) + overlap_add(second, SMALL), overlap_add(whole, SMALL), atol=1e-6
    )
    inner = slice(32, 32 + 1000)
    assert window_power(len(whole), SMALL)[inner].min() > 0.4


def test_a_sine_stands_in_its_bin():
    rate, bin_ = 44100, 100
    time = np.arange(rate)[:, None] / rate
    audio = np.sin(2 * np.pi * bin_ * rate / 2048 * time).astype(np.float32)
    middle = np.abs(stft(audio))[20, :, 0]
    assert middle.argmax() == bin_
    assert middle[bin_] == pytest.approx(512, rel=1e-3)  # half the window's sum


def test_no_samples_are_refused():
    with pytest.raises(AudioError, match="at least one sample"):
        stft(np.zeros((0, 2), np.float32))
