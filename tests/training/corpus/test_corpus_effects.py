"""Effects and the mix: levels, lengths, the limiter's law, nothing changed in place."""

import numpy as np
import pytest
from corpus_material import RATE

from training.corpus import dsp, effects
from training.corpus.song import mix

SOURCES = ("bass", "drums", "other", "vocals")


@pytest.fixture
def noise(rng):
    return (0.1 * rng.standard_normal((RATE, 2))).astype(np.float32)


def decibels(audio, low, high):
    powers = np.abs(np.fft.rfft(audio[:, 0])) ** 2
    hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
    return 10 * np.log10(powers[(hertz >= low) & (hertz < high)].sum())


@pytest.mark.parametrize(("high", "band"), [(False, (20, 60)), (True, (12000, 20000))])
def test_a_shelf_raises_its_side_by_its_decibels(noise, high, band):
    raised = dsp.shelf(noise, 1000, 6, high)
    other = (12000, 20000) if not high else (20, 60)
    assert decibels(raised, *band) - decibels(noise, *band) == pytest.approx(6, abs=0.3)
    assert decibels(raised, *other) - decibels(noise, *other) == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(2))
def test_treated_stems_keep_length_and_are_finite(noise, source, seed):
    before = noise.copy()
    treated = effects.treat(np.random.default_rng(seed), noise, source, 0.5)
    np.testing.assert_array_equal(noise, before)
    assert treated.shape == noise.shape
    assert treated.dtype == np.float32
    assert np.isfinite(treated).all()
    assert dsp.level(treated) > 1e-3
    assert not np.allclose(treated, noise, atol=1e-3)


def test_silence_stays_silent():
    silence = np.zeros((RATE, 2), np.float32)
    assert not effects.treat(np.random.default_rng(0), silence, "bass", 0.5).any()
    mixed = mix(np.random.default_rng(0), dict.fromkeys(SOURCES, silence))
    assert not any(audio.any() for audio in mixed.values())


@pytest.mark.parametrize("decay", [0.2, 1.0, 3.0])
def test_a_room_has_unit_energy_and_dies_away(rng, decay):
    response = effects.room(rng, decay)
    assert (response**2).sum() == pytest.approx(2, rel=1e-3)
    tenth = len(response) // 10
    assert (response[-tenth:] ** 2).sum() < 1e-3
    assert len(response) >= decay * RATE


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("ceiling", [0.1, 0.98])
def test_the_limiter_never_lets_a_peak_through(seed, ceiling):
    rng = np.random.default_rng(seed)
    audio = 0.2 * rng.standard_normal((20000 + seed * 7, 2))
    audio[rng.integers(0, len(audio), 20)] *= 20
    curve = effects.limiter_curve(audio, ceiling)
    assert curve.shape == (len(audio),)
    assert (curve > 0).all()
    assert (curve <= 1).all()
    assert np.abs(audio * curve[:, None]).max() <= ceiling * (1 + 1e-5)
    soft = audio * (0.9 * ceiling / np.abs(audio).max())
    np.testing.assert_array_equal(effects.limiter_curve(soft, ceiling), 1)


def test_all_stems_get_the_same_gain_over_time(rng):
    """Equal stems stay in proportion in every sample, also where the limiter works."""
    wave = (0.1 * rng.standard_normal((RATE, 2))).astype(np.float32)
    wave[RATE // 2 : RATE // 2 + 4000] *= 6
    mixed = mix(np.random.default_rng(1), dict.fromkeys(SOURCES, wave))
    total = sum(audio.astype(int) for audio in mixed.values())
    assert 10000 < np.abs(total).max() <= 32767
    loud = np.abs(mixed["bass"][:, 0].astype(float)) > 100
    ratio = mixed["vocals"][loud, 0] / mixed["bass"][loud, 0]
    # peaks are rounded before: the same in each stem, as all have the same crest
    assert np.ptp(ratio) < 0.02 * np.median(ratio)


@pytest.mark.parametrize(("start", "kept"), [(-3, [3, 4]), (0, [0, 1, 2, 3, 4]), (8, [0, 1])])
def test_adding_cuts_at_both_ends(start, kept):
    total = np.zeros((10, 2))
    dsp.add(total, np.repeat(np.arange(5.0)[:, None] + 1, 2, 1), start)
    there = total[max(0, start) : start + 5, 0]
    np.testing.assert_array_equal(there, np.array(kept) + 1)
    assert total.sum() == 2 * (np.array(kept) + 1).sum()
