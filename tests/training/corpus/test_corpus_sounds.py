"""Scores; the right pitch at the right time, whoever plays or sings it; the mix, its limiter."""

import sys
import tomllib
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from corpus_material import RATE, describe, hertz_of, loudest_hertz, make_hits, make_notes, tone

from training.corpus import dsp, effects, mma, patterns, sampler, soundfonts, synth, takes, world
from training.corpus.material import (
    CATALOGUE,
    CorpusError,
    find_material,
    find_soundfonts,
    load,
    load_part,
)
from training.corpus.score import DRUMS, Chart, Note, Part, draw_chart
from training.corpus.song import mix

NUM_SAMPLES = 2 * RATE


def one(folder):
    (item,), notes = find_material([folder])
    assert not notes
    return item


@pytest.mark.parametrize(("pitch", "played"), [(36, 36), (47, 47), (58, 58), (83, 59)])
def test_a_note_has_its_pitch_and_is_moved_by_octaves_if_no_recording_is_near(
    tmp_path, rng, pitch, played
):
    part = Part("bass", 33, (Note(0.0, 0.5, pitch, 100),))
    audio, _ = sampler.play_notes(rng, part, one(make_notes(tmp_path / "notes")), NUM_SAMPLES)
    assert abs(12 * np.log2(loudest_hertz(audio[:22050, 0]) / hertz_of(played))) < 0.5


def test_a_note_sounds_from_its_start_until_after_its_end(tmp_path, rng):
    part = Part("bass", 33, (Note(0.5, 0.1, 40, 100),))
    audio, _ = sampler.play_notes(rng, part, one(make_notes(tmp_path / "notes")), NUM_SAMPLES)
    heard = np.flatnonzero(audio.any(1)) / RATE
    assert (0.499 < heard[0] < 0.52, 0.6 < heard[-1] < 0.8) == (True, True)


@pytest.mark.parametrize("player", ["samples", "machine"])
def test_strokes_sound_at_their_times(tmp_path, player):
    kit = one(make_hits(tmp_path / "kit"))
    for pitch in (36, 38, 42, 46, 45, 49, 51, 70, 64):
        part = Part("drums", DRUMS, (Note(0.5, 0.1, pitch, 110), Note(1.0, 0.1, pitch, 110)))
        rng = np.random.default_rng(pitch)
        if player == "samples":
            audio = sampler.play_kit(rng, part, [kit], NUM_SAMPLES)
        else:
            audio = synth.play_machine(rng, part, NUM_SAMPLES)
        assert not audio[: round(0.499 * RATE)].any()
        for start in (0.5, 1.0):
            assert np.abs(audio[round(start * RATE) :][:1500]).max() > 0.01
        assert np.isfinite(audio).all()


@pytest.mark.parametrize("semitones", [-2, 0, 1])
def test_the_nearest_shift_brings_a_recording_into_a_key(semitones):
    chord = sum(tone(hertz_of(pitch), 3.0, decay=0.0) for pitch in (57, 60, 64))
    chord = np.repeat(chord[:, None], 2, axis=1)
    assert takes.find_key(chord) == (9, 1)
    assert takes.nearest_shift(chord, (9 + semitones) % 12, 1) == semitones
    moved = dsp.varispeed(chord, 2 ** (semitones / 12))
    assert takes.find_key(moved) == ((9 + semitones) % 12, 1)
    assert takes.nearest_shift(chord, 0, 0) == 0  # C, the relative major


def test_shifted_takes_are_higher(tmp_path, rng):
    folder = describe(tmp_path / "singer", "takes", "vocals")
    sf.write(folder / "a.wav", tone(440, 4, decay=0, harmonics=1), RATE)
    audio = takes.performance(rng, one(folder), RATE, 2, 0.0)
    assert loudest_hertz(audio[:, 0]) == pytest.approx(440 * 2 ** (2 / 12), abs=3)
    audio = takes.excerpt(rng, one(folder), RATE, -2)
    assert loudest_hertz(audio[:, 0]) == pytest.approx(440 * 2 ** (-2 / 12), abs=3)


def test_a_tune_is_sung_at_its_pitches_and_times(monkeypatch, rng):
    """A sine that is silent where WORLD would be stands in for the vocoder."""

    def synthesize(pitch, envelope, noise, rate, period):
        places = np.arange(int(len(pitch) * rate * period / 1000)) // (rate * period / 1000)
        hertz, level = (values[places.astype(int)] for values in (pitch, envelope.mean(1) ** 0.5))
        return np.sin(2 * np.pi * np.cumsum(hertz) / rate) * level * (hertz > 0)

    bins = world.FFT // 2 + 1
    vocoder = SimpleNamespace(
        code_spectral_envelope=lambda e, rate, n: np.log(e[:, :n]),
        decode_spectral_envelope=lambda c, rate, size: np.exp(np.repeat(c[:, :1], bins, 1)),
        decode_aperiodicity=lambda bands, rate, size: np.zeros((len(bands), bins)),
        synthesize=synthesize,
    )
    monkeypatch.setitem(sys.modules, "pyworld", vocoder)
    notes = [Note(0.5, 0.6, 60, 100), Note(1.5, 0.6, 64, 100)]
    voice = world.Voice(vibrato=0, unsteady=0)
    curve = np.repeat([0.0, 260.0], [6, 54])
    unit = world.Unit(np.full((60, 4), np.log(0.01)), np.zeros((60, 5)), curve, 6, 60.0)
    audio = world.sing(rng, [unit], notes, 3 * RATE, voice)
    assert audio.shape == (3 * RATE,)
    for start, end in ((0, 0.4), (1.2, 1.4), (2.3, 3)):
        assert np.abs(audio[int(start * RATE) : int(end * RATE)]).max() < 1e-3
    for note in notes:
        heard = loudest_hertz(audio[int((note.start + 0.2) * RATE) :][: RATE // 4])
        assert abs(69 + 12 * np.log2(heard / 440) - note.pitch) < 0.3
    places = world.stretched(unit, 100)  # the vowel alone
    np.testing.assert_array_equal(places[:6], np.arange(6))
    assert (len(places), places[-1], np.diff(places).min() >= 0) == (106, 59, True)


def test_folders_of_the_catalogue_need_no_description(tmp_path):
    catalogue = tomllib.loads(CATALOGUE.read_text("utf-8"))
    for entry in [*catalogue["material"].values(), *catalogue["soundfonts"].values()]:
        assert entry["credit"]
        assert entry.get("share_alike", False) == ("-SA-" in entry["license"])
    for name in ("everything_is_remixed/train", "everything_is_remixed/valid", "bass_pasta"):
        (tmp_path / name).mkdir(parents=True)
    items, _ = find_material([tmp_path / "everything_is_remixed" / "train", tmp_path])
    assert [item.name for item in items] == ["bass_pasta", "everything_is_remixed/train"]
    assert items[1].songs["2.Lithium"] == [124, 7, 1]
    with pytest.raises(CorpusError, match="nothing in"):  # never to be trained on
        find_material([tmp_path / "everything_is_remixed" / "valid"])


def test_recordings_are_stereo_at_one_rate(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, tone(1000, 1.0, rate=48000, harmonics=1, decay=0), 48000)
    audio = load(path)
    assert audio.shape == pytest.approx((RATE, 2), abs=2)
    assert loudest_hertz(audio[:, 0]) == pytest.approx(1000, abs=2)
    assert not audio.flags.writeable
    assert len(load_part(path, 0.5, 0.25)) == pytest.approx(RATE / 4, abs=2)
    path.write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match="not a readable audio file"):
        load_part(path, 0, None)


@pytest.mark.parametrize("ceiling", [0.1, 0.98])
def test_the_limiter_never_lets_a_peak_through(rng, ceiling):
    audio = 0.2 * rng.standard_normal((20007, 2))
    audio[rng.integers(0, len(audio), 20)] *= 20
    curve = effects.limiter_curve(audio, ceiling)
    assert (curve.min() > 0, curve.max() <= 1, curve.shape) == (True, True, (len(audio),))
    assert np.abs(audio * curve[:, None]).max() <= ceiling * (1 + 1e-5)
    soft = audio * (0.9 * ceiling / np.abs(audio).max())
    np.testing.assert_array_equal(effects.limiter_curve(soft, ceiling), 1)


def test_all_stems_get_the_same_gain_over_time(rng):
    """Equal stems stay in proportion in every sample, also where the limiter works."""
    wave = (0.1 * rng.standard_normal((RATE, 2))).astype(np.float32)
    wave[RATE // 2 : RATE // 2 + 4000] *= 6
    mixed = mix(rng, dict.fromkeys(("bass", "drums", "other", "vocals"), wave))
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
    np.testing.assert_array_equal(total[max(0, start) : start + 5, 0], np.array(kept) + 1)
    assert total.sum() == 2 * (np.array(kept) + 1).sum()


@pytest.mark.parametrize("seed", range(4))
def test_every_pattern_is_playable(seed):
    rng = np.random.default_rng(seed)
    chart = draw_chart(rng, 30, rng.uniform(60, 180), int(rng.integers(12)), seed % 2)
    parts = patterns.write_patterns(rng, chart)
    assert {part.source for part in parts} == {"drums", "bass", "other"}
    for part in parts:
        assert (part.program == DRUMS) == (part.source == "drums")
        for note in part.notes:
            assert 0 <= note.start < chart.bars * chart.bar + 0.2
            assert 0 < note.duration <= 4 * chart.bar
            assert 20 <= note.pitch <= (60 if part.source == "bass" else 108)
    last = max(note.start for part in parts if part.source == "other" for note in part.notes)
    assert last > (chart.bars - 1.5) * chart.bar


@pytest.mark.parametrize("seed", range(3))
def test_a_tune_is_in_key_in_range_and_one_voice(seed):
    chart = Chart(120, 2, 0, (0, 4, 5, 3) * 6)
    tune = patterns.write_melody(np.random.default_rng(seed), chart, 60, 74)
    assert {note.pitch % 12 for note in tune} <= chart.scale
    assert all(60 <= note.pitch <= 74 for note in tune)
    pairs = list(pairwise(tune))
    assert all(a.start + a.duration <= b.start + 1e-9 for a, b in pairs)
    assert max(b.start - a.start - a.duration for a, b in pairs) > 0.3  # phrases end


def test_midi_comes_back_as_it_was_written(tmp_path, rng):
    notes = tuple(
        Note(float(start), 0.25, int(rng.integers(40, 80)), int(rng.integers(1, 128)))
        for start in np.cumsum(rng.uniform(0.25, 0.5, 30))
    )
    soundfonts.write_midi(tmp_path / "a.mid", Part("other", 25, notes), 3, 25)
    (part,) = mma.read_midi(tmp_path / "a.mid")
    assert (part.source, part.program) == ("other", 25)
    for note, written in zip(part.notes, notes, strict=True):
        assert (note.pitch, note.velocity) == (written.pitch, written.velocity)
        assert note.start == pytest.approx(written.start, abs=1e-4)
        assert note.duration == pytest.approx(0.25, abs=2e-4)  # notes that touch are not cut


def test_only_soundfonts_with_a_known_license_are_found(tmp_path):
    for name in ("FluidR3_GM.sf2", "unknown.sf2", "Black_Pearl_4_LV2.sf2"):
        (tmp_path / name).write_bytes(b"x")
    fonts = find_soundfonts([tmp_path, tmp_path / "missing"])
    assert [(font.name, font.kit, font.share_alike) for font in fonts] == [
        ("Black_Pearl_4_LV2.sf2", True, True),
        ("FluidR3_GM.sf2", False, False),
    ]
    assert all(font.license and font.credit for font in fonts)
    for name in ("MuseScore_General_Full.sf3", "MuseScore_General_Lite.sf3"):
        (tmp_path / name).write_bytes(b"x")
    assert [font.name[:14] for font in find_soundfonts([tmp_path])].count("MuseScore_Gene") == 1
