"""What the device does to excerpts, against NumPy and against tones."""

import numpy as np
import pytest
from mmdense_edge.signal.stft import analyze, stft

import keras_mmdense
from keras_mmdense.data.augmentation import POINTS, SPEED_STEPS, equalize, respeed, spectrum

RATE = 44100


def sine(frequency, num_samples=RATE):
    return np.sin(2 * np.pi * frequency * np.arange(num_samples) / RATE).astype(np.float32)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(2048, 1024), (64, 20)])
def test_the_transform_is_the_runner_s(rng, n_fft, hop_length):
    transform = keras_mmdense.Transform(n_fft, hop_length)
    audio = rng.standard_normal((3, 9000, 2)).astype(np.float32)
    real, imag = spectrum(audio.swapaxes(1, 2), transform, n_fft // 2)
    found = np.asarray(real) + 1j * np.asarray(imag)
    expected = np.stack([analyze(one, transform)[:, : n_fft // 2] for one in audio])
    assert found.shape == (3, 1 + (9000 - n_fft) // hop_length, n_fft // 2, 2)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    if n_fft // 2 % hop_length == 0:  # then the frames of a song lie at the same samples
        first = n_fft // 2 // hop_length
        whole = stft(audio[0], transform)[first : first + len(found[0]), : n_fft // 2]
        assert np.abs(found[0] - whole).max() < 1e-5 * np.abs(expected).max()


def test_the_equalizer_reaches_its_gains_at_its_frequencies_and_no_delay():
    decibels = np.array([-6, 3, 0, 6, -3, 1, 2], np.float32)
    tones = [sine(round(frequency)) for frequency in np.geomspace(40, 16000, POINTS)]
    found = np.asarray(equalize(np.stack(tones)[None, :, None], np.tile(decibels, (1, 7, 1)), RATE))
    for tone, filtered, gain in zip(tones, found[0, :, 0], decibels, strict=True):
        # in phase with the tone, so least squares gives the gain
        factor = (filtered * tone).sum() / (tone * tone).sum()
        assert 20 * np.log10(factor) == pytest.approx(gain, abs=0.3)


@pytest.mark.parametrize("length", [1, 4096, 4099, 20011])
def test_a_flat_curve_scales_stems_of_any_length(length, rng):
    stems = rng.standard_normal((2, 1, 2, length)).astype(np.float32)
    flat = np.full((2, 1, POINTS), 20 * np.log10(0.5), np.float32)
    np.testing.assert_allclose(equalize(stems, flat, RATE), stems / 2, atol=1e-6)


@pytest.mark.parametrize("speed", [0.7, 0.8, 1.0, 1.1, 1.3])
def test_a_tone_played_faster_is_a_higher_tone(speed):
    """Within 60 dB, in every channel of every stem at its own speed; what would alias is gone."""
    steps = round(speed * SPEED_STEPS)
    written = np.array([100, 5000, 16000, 19000])
    stems = np.stack([sine(f, round(1.3 * RATE) + 2) for f in written])[:, None, :, None]
    stems = np.concatenate([stems, -0.5 * stems], 3)  # (4, 1, samples, 2)
    speeds = np.array([[steps], [SPEED_STEPS], [steps], [steps]], np.int32)
    played = np.asarray(respeed(stems, speeds, RATE))
    assert played.shape == (4, 1, RATE, 2)
    for frequency, k, found in zip(written, speeds[:, 0], played[:, 0], strict=True):
        heard = frequency * k / SPEED_STEPS
        # the filter has no samples before the first, and rolls off from 0.42 of the lower rate
        inner = found[64:-64]
        if heard < RATE / 2 and frequency < 0.42 * RATE / max(1, k / SPEED_STEPS):
            np.testing.assert_allclose(
                inner, np.stack([sine(heard), -0.5 * sine(heard)], 1)[64:-64], atol=1e-3
            )
        elif heard > RATE / 2:
            assert np.abs(inner).max() < 1e-3


def test_what_is_missing_of_a_short_stem_is_silence():
    played = np.asarray(respeed(np.ones((1, 1, 500, 1), np.float32), [[160]], 1000))
    assert played.shape == (1, 1, 1000, 1)
    assert np.abs(played[0, 0, 500:]).max() < 1e-6
    np.testing.assert_allclose(played[0, 0, 50:350], 1, atol=2e-3)
