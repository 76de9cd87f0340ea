"""Effects and the mix: levels, lengths, the limiter's law, nothing changed in place."""

import numpy as np
import pytest
from corpus_material import RATE, loudest_hertz, tone

from training.corpus import dsp, effects
from training.corpus.song import LEVELS, mix

SOURCES = ("bass", "drums", "other", "vocals")


def stereo(mono):
    return np.repeat(np.asarray(mono, np.float32)[:, None], 2, axis=1)


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


def test_a_peak_raises_its_band_alone(noise):
    raised = dsp.peak(noise, 1000, 9, 2)
    gained = [decibels(raised, *b) - decibels(noise, *b) for b in ((980, 1020), (50, 100))]
    assert gained == pytest.approx([9, 0], abs=0.3)


def test_filters_cut_their_side(noise):
    low = dsp.pass_filter(noise, 500, high=False, order=4)
    high = dsp.pass_filter(noise, 500, high=True, order=4)
    assert decibels(low, 4000, 8000) < decibels(noise, 4000, 8000) - 40
    assert decibels(high, 20, 60) < decibels(noise, 20, 60) - 40


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(6))
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
    for source in SOURCES:
        assert not effects.treat(np.random.default_rng(0), silence, source, 0.5).any()


def test_settings_differ_from_seed_to_seed(noise):
    stems = [effects.treat(np.random.default_rng(s), noise, "other", 0.5) for s in range(4)]
    balance = [decibels(s, 50, 500) - decibels(s, 2000, 9000) for s in stems]
    assert np.ptp(balance) > 1


def test_a_bass_that_growls_has_a_middle_as_loud_as_its_lows_and_moves():
    bass = stereo(tone(60, 4, decay=0))
    bass *= np.float32(effects.NOMINAL / dsp.level(bass))
    ratios, moves = [], []
    for seed in range(12):
        made = effects.growl(np.random.default_rng(seed), bass, 0.5)
        assert made.shape == bass.shape
        assert dsp.level(made) == pytest.approx(dsp.level(bass), rel=0.02)
        ratios.append(decibels(made, 300, 3000) - decibels(made, 20, 150))
        parts = [decibels(part, 300, 3000) for part in np.array_split(made, 32)]
        moves.append(max(parts) - min(parts))
    assert decibels(bass, 300, 3000) - decibels(bass, 20, 150) < -40
    assert max(ratios) > -3
    assert np.median(ratios) > -15
    assert max(moves) > 4


def test_a_compressor_narrows_the_range(rng):
    quiet, loud = 0.02 * tone(440, 1, decay=0), 0.6 * tone(440, 1, decay=0)
    audio = stereo(np.concatenate([quiet, loud]))
    pressed = effects.compress(rng, audio)
    half = len(quiet)

    def ratio(x):
        return np.abs(x[half + 22050 :]).max() / np.abs(x[22050:half]).max()

    assert ratio(pressed) < 0.8 * ratio(audio)


@pytest.mark.parametrize("seed", range(5))
def test_drive_adds_harmonics_and_keeps_the_level(seed):
    audio = stereo(0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE))
    driven = effects.drive(np.random.default_rng(seed), audio, 8)
    assert decibels(driven, 1200, 1500) > decibels(driven, 400, 500) - 50
    assert decibels(audio, 1200, 1500) < decibels(audio, 400, 500) - 90
    assert dsp.level(driven) == pytest.approx(dsp.level(audio), rel=0.35)


def test_an_amplifier_is_dull_and_keeps_the_level(noise, rng):
    played = effects.amplifier(rng, noise, 5)
    assert dsp.level(played) == pytest.approx(dsp.level(noise), rel=1e-3)
    assert decibels(played, 12000, 20000) < decibels(played, 500, 2000) - 30


def test_an_echo_comes_in_time_and_softer():
    click = np.zeros((3 * RATE, 2), np.float32)
    click[100] = 1
    for seed in range(5):
        echoed = effects.echo(np.random.default_rng(seed), click, 0.5)
        np.testing.assert_allclose(echoed[100], 1)
        rest = np.abs(echoed[101:]).max()
        assert 0.001 < rest < 0.5
        first = 101 + int(np.abs(echoed[101:, :]).max(1).argmax()) - 100
        assert first >= 0.04 * RATE


@pytest.mark.parametrize("decay", [0.2, 1.0, 3.0])
def test_a_room_has_unit_energy_and_dies_away(rng, decay):
    response = effects.room(rng, decay)
    assert (response**2).sum() == pytest.approx(2, rel=1e-3)
    tenth = len(response) // 10
    assert (response[-tenth:] ** 2).sum() < 1e-3
    assert len(response) >= decay * RATE


def test_reverb_sounds_on_after_the_sound_ends(rng):
    audio = np.concatenate([stereo(tone(800, 0.2)), np.zeros((RATE, 2), np.float32)])
    wet = effects.reverb(rng, audio, 0.3)
    assert np.abs(wet[int(0.22 * RATE) : int(0.26 * RATE)]).max() > 1e-4


def test_chorus_makes_left_and_right_differ(rng):
    audio = stereo(tone(500, 1, decay=0))
    wet = effects.chorus(rng, audio)
    assert np.abs(wet[:, 0] - wet[:, 1]).max() > 0.01
    assert np.isfinite(wet).all()


def test_width_keeps_the_middle(noise):
    for factor in (0.0, 0.5, 2.0):
        wide = effects.widen(noise, factor)
        np.testing.assert_allclose(wide.mean(1), noise.mean(1), atol=1e-6)
        side = np.ptp(wide, axis=1)
        np.testing.assert_allclose(side, factor * np.ptp(noise, axis=1), atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ceiling", [0.1, 0.5, 0.98])
def test_the_limiter_never_lets_a_peak_through(seed, ceiling):
    rng = np.random.default_rng(seed)
    audio = 0.2 * rng.standard_normal((20000 + seed * 7, 2))
    audio[rng.integers(0, len(audio), 20)] *= 20
    curve = effects.limiter_curve(audio, ceiling)
    assert curve.shape == (len(audio),)
    assert (curve > 0).all()
    assert (curve <= 1).all()
    assert np.abs(audio * curve[:, None]).max() <= ceiling * (1 + 1e-5)


def test_the_limiter_leaves_soft_music_alone(noise):
    np.testing.assert_array_equal(effects.limiter_curve(noise, 0.9), 1)


@pytest.mark.parametrize("seed", range(10))
def test_the_mix_fits_into_16_bits(seed):
    rng = np.random.default_rng(seed)
    stems = {s: (rng.standard_normal((RATE, 2)) ** 3).astype(np.float32) for s in SOURCES}
    mixed = mix(rng, stems)
    total = sum(audio.astype(int) for audio in mixed.values())
    assert np.abs(total).max() <= 32767
    for source in SOURCES:
        assert mixed[source].dtype == np.int16
        assert np.abs(mixed[source].astype(int)).max() < 32767
        assert np.abs(mixed[source].astype(int)).max() > 100


def test_all_stems_get_the_same_gain_over_time(rng):
    """Equal stems stay in proportion in every sample, also where the limiter works."""
    wave = (0.1 * rng.standard_normal((RATE, 2))).astype(np.float32)
    wave[RATE // 2 : RATE // 2 + 4000] *= 6
    mixed = mix(np.random.default_rng(1), dict.fromkeys(SOURCES, wave))
    loud = np.abs(mixed["bass"][:, 0].astype(float)) > 100
    ratio = mixed["vocals"][loud, 0] / mixed["bass"][loud, 0]
    # peaks are rounded before: the same in each stem, as all have the same crest
    assert np.ptp(ratio) < 0.02 * np.median(ratio)


def test_levels_follow_the_balance_and_silence_stays(rng):
    stems = {s: (rng.standard_normal((RATE, 2))).astype(np.float32) for s in SOURCES}
    stems["vocals"] = np.zeros((RATE, 2), np.float32)
    ratios = []
    for seed in range(40):
        mixed = mix(np.random.default_rng(seed), stems)
        assert not mixed["vocals"].any()
        levels = [dsp.level(mixed[source].astype(float)) for source in ("other", "drums")]
        ratios.append(20 * np.log10(levels[0] / levels[1]))
    assert np.mean(ratios) == pytest.approx(LEVELS["other"][0] - LEVELS["drums"][0], abs=2.5)
    assert np.std(ratios) > 2


def test_silence_alone_is_mixed_to_silence(rng):
    mixed = mix(rng, {source: np.zeros((1000, 2), np.float32) for source in SOURCES})
    assert not any(audio.any() for audio in mixed.values())


def test_varispeed_moves_pitch_and_length():
    audio = stereo(tone(440, 1, harmonics=1, decay=0))
    fast = dsp.varispeed(audio, 2 ** (3 / 12))
    assert len(fast) == pytest.approx(RATE / 2 ** (3 / 12), abs=2)
    assert loudest_hertz(fast[:, 0]) == pytest.approx(440 * 2 ** (3 / 12), abs=2)
    assert dsp.varispeed(audio, 1.0) is audio


def test_level_is_the_rms_of_what_sounds():
    audio = np.concatenate([np.full((RATE, 2), 0.5), np.zeros((3 * RATE, 2))])
    assert dsp.level(audio) == pytest.approx(0.5)
    assert dsp.level(np.zeros((RATE, 2))) == 0
    assert dsp.level(np.full((100, 2), 0.25)) == pytest.approx(0.25)


def test_pan_keeps_the_power():
    audio = np.ones((10, 2), np.float32)
    for position in (-1, -0.4, 0, 0.7, 1):
        panned = dsp.pan(audio, position)
        assert (panned**2).sum() == pytest.approx(20, rel=1e-5)
    np.testing.assert_allclose(dsp.pan(audio, 0), 1, rtol=1e-6)
    assert dsp.pan(audio, -1)[:, 1].max() < 1e-6


@pytest.mark.parametrize(("start", "kept"), [(-3, [3, 4]), (0, [0, 1, 2, 3, 4]), (8, [0, 1])])
def test_adding_cuts_at_both_ends(start, kept):
    total = np.zeros((10, 2))
    dsp.add(total, np.repeat(np.arange(5.0)[:, None] + 1, 2, 1), start)
    there = total[max(0, start) : start + 5, 0]
    np.testing.assert_array_equal(there, np.array(kept) + 1)
    assert total.sum() == 2 * (np.array(kept) + 1).sum()


def test_fit_and_fade(noise):
    assert dsp.fit(noise, 100).shape == (100, 2)
    longer = dsp.fit(noise, RATE + 5)
    np.testing.assert_array_equal(longer[:RATE], noise)
    assert not longer[RATE:].any()
    faded = dsp.fade(noise, 0.01)
    assert not faded[0].any()
    assert not faded[-1].any()
    np.testing.assert_array_equal(faded[1000:-1000], noise[1000:-1000])
