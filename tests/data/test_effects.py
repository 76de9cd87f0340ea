"""Effects on the sources of training examples: their laws, and how examples use them."""

import numpy as np
import pytest
import soundfile as sf

from keras_mmdense.data import DatasetError, open_dataset
from keras_mmdense.data.mixing import POINTS, ExcerptReader, Mixing, equalize, respeed, widen

RATE = 44100
PLAIN = {"gain": (1.0, 1.0), "swap": False, "silent_share": 1.0}


def sine(frequency, num_samples=RATE):
    wave = np.sin(2 * np.pi * frequency * np.arange(num_samples) / RATE)
    return np.stack([wave, 0.5 * wave], 1).astype(np.float32)


def pitch(stem):
    spectrum = np.abs(np.fft.rfft(stem[:, 0] * np.hanning(len(stem))))
    return spectrum.argmax() * RATE / len(stem)


def test_equalizer_reaches_its_gains_at_its_frequencies_and_no_delay():
    decibels = np.array([-6, 3, 0, 6, -3, 1, 2], float)
    for frequency, gain in zip(np.geomspace(40, 16000, POINTS), decibels, strict=True):
        tone = sine(round(frequency))
        found = equalize(tone, decibels, RATE)
        assert found.dtype == np.float32
        # in phase with the tone, so least squares gives the gain
        factor = (found * tone).sum() / (tone * tone).sum()
        assert 20 * np.log10(factor) == pytest.approx(gain, abs=0.3)


@pytest.mark.parametrize("length", [1, 4096, 4099, 20011])
def test_a_flat_curve_scales_stems_of_any_length(length):
    stem = np.random.default_rng(length).standard_normal((length, 2)).astype(np.float32)
    before = stem.copy()
    flat = np.full(POINTS, 20 * np.log10(0.5))
    np.testing.assert_allclose(equalize(stem, flat, RATE), stem / 2, atol=1e-6)
    np.testing.assert_array_equal(stem, before)


def test_speed_moves_pitch_and_keeps_the_length():
    tone = sine(1000, 2 * RATE)
    for factor in (0.8, 1.0, 1.3):
        played = respeed(tone, factor, RATE)
        assert played.shape == (RATE, 2)
        assert pitch(played) == pytest.approx(1000 * factor, abs=2)
    np.testing.assert_allclose(respeed(tone, 1.0, RATE), tone[:RATE], atol=1e-6)


def test_speed_fills_up_what_the_track_lacks_with_silence():
    played = respeed(np.ones((500, 1), np.float32), 1.25, 1000)
    assert played.shape == (1000, 1)
    assert np.abs(played[500:]).max() == 0


def test_width_keeps_the_middle_and_scales_the_side():
    stem = np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32)
    wide = widen(stem, 1.5)
    np.testing.assert_allclose(wide.mean(1), stem.mean(1), atol=1e-6)
    np.testing.assert_allclose(np.diff(wide), 1.5 * np.diff(stem), atol=1e-6)
    np.testing.assert_array_equal(widen(stem[:, :1], 0.3), stem[:, :1])


@pytest.fixture
def tracks(tmp_path):
    for song in range(2):
        for number, source in enumerate(("bass", "vocals")):
            path = tmp_path / f"song{song}" / f"{source}.wav"
            path.parent.mkdir(exist_ok=True)
            sf.write(path, 0.5 * sine(300 + 200 * (2 * song + number), 2 * RATE), RATE)
    return list(open_dataset(tmp_path))


def test_examples_are_made_of_the_same_places_with_and_without_effects(tracks):
    plain = ExcerptReader(tracks, 20000, mixing=Mixing(**PLAIN))
    effects = ExcerptReader(tracks, 20000, mixing=Mixing(equalizer=6, width=0.5, **PLAIN))
    for index in range(5):
        assert plain.draw(index)[0].places == effects.draw(index)[0].places
        assert not np.allclose(plain(index), effects(index))
        np.testing.assert_array_equal(effects(index), effects(index))


def test_sources_of_one_place_change_their_speed_together(tracks):
    together = ExcerptReader(tracks, RATE, mixing=Mixing(real_share=1.0, speed=0.2, **PLAIN))
    apart = ExcerptReader(tracks, RATE, mixing=Mixing(real_share=0.0, speed=0.2, **PLAIN))

    def factors(reader, index):
        example, stems = reader.draw(index)[0], reader(index)
        songs = [int(track.name[-1]) for track, _ in example.places]
        tones = [300 + 200 * (2 * song + number) for number, song in enumerate(songs)]
        return [pitch(stem) / tone for stem, tone in zip(stems, tones, strict=True)]

    found = np.array([factors(together, index) for index in range(6)])
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=0.01)
    assert np.ptp(found[:, 0]) > 0.05
    assert np.abs(found - 1).max() < 0.21
    assert any(abs(np.subtract(*factors(apart, index))) > 0.03 for index in range(6))


def test_effects_out_of_range_are_refused():
    for wrong in ({"equalizer": -1}, {"speed": 0.5}, {"width": 2}):
        with pytest.raises(DatasetError, match=f"{next(iter(wrong))} must be 0 to"):
            Mixing(**wrong)
