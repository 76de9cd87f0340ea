"""Sampler, synthesizer, takes: the right pitch at the right time, with the right recording."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
from corpus_material import (
    RATE,
    describe,
    hertz_of,
    loudest_hertz,
    make_bands,
    make_hits,
    make_notes,
    make_song,
    tone,
)

from training.corpus import sampler, synth, takes
from training.corpus.dsp import varispeed
from training.corpus.material import (
    CATALOGUE,
    CorpusError,
    Item,
    find_material,
    load,
    load_part,
)
from training.corpus.score import DRUMS, Chart, Note, Part

NUM_SAMPLES = 2 * RATE


def one(folder):
    (item,), notes = find_material([folder])
    assert not notes
    return item


def play(rng, item, *notes):
    return sampler.play_notes(rng, Part("bass", 33, notes), item, NUM_SAMPLES)[0]


@pytest.mark.parametrize(("pitch", "played"), [(36, 36), (43, 43), (47, 47), (58, 58), (83, 59)])
def test_a_note_has_its_pitch_and_is_moved_by_octaves_if_no_recording_is_near(
    tmp_path, pitch, played
):
    item = one(make_notes(tmp_path / "notes"))
    audio = play(np.random.default_rng(1), item, Note(0.0, 0.5, pitch, 100))
    heard = loudest_hertz(audio[:22050, 0])
    assert abs(12 * np.log2(heard / hertz_of(played))) < 0.5


def test_a_note_sounds_from_its_start_until_after_its_end(tmp_path, rng):
    item = one(make_notes(tmp_path / "notes"))
    audio = np.abs(play(rng, item, Note(0.5, 0.1, 40, 100))).max(1)
    assert not audio[: round(0.499 * RATE)].any()
    assert audio[round(0.5 * RATE) : round(0.52 * RATE)].max() > 0.01
    assert not audio[round(0.8 * RATE) :].any()


def test_named_strokes_come_first_and_others_fill_the_gaps(tmp_path):
    named = one(make_hits(tmp_path / "named"))
    named = Item(**{**vars(named), "kit": {"snare": ["hit_3*"], "ride": ["none*"]}})
    other = one(make_hits(tmp_path / "other"))
    assert sampler.strokes_of([named, other], "snare") == (named.path / "hit_3.wav",)
    assert sampler.strokes_of([named, other], "kick")[0].parent == other.path
    assert len(sampler.strokes_of([named, other], "open_hat")) == 14
    with pytest.raises(CorpusError, match="no audio files"):
        sampler.strokes_of([one(describe(tmp_path / "empty", "hits", "drums"))], "kick")


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
        assert audio.shape == (NUM_SAMPLES, 2)
        assert not audio[: round(0.499 * RATE)].any()
        for start in (0.5, 1.0):
            place = round(start * RATE)
            assert np.abs(audio[place : place + 1500]).max() > 0.01
        assert np.isfinite(audio).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_patch_has_the_pitch_of_the_note(seed):
    rng = np.random.default_rng(seed)
    patch = synth.draw_patch(rng, "other")
    patch = synth.Patch(**{**vars(patch), "ratio": 1, "index": 0.5, "detune": 0.0})
    part = Part("other", 81, (Note(0.5, 1.0, 57, 100),))
    audio = synth.play_patch(rng, part, patch, NUM_SAMPLES)
    assert not audio[: round(0.499 * RATE)].any()
    assert not audio[round(1.7 * RATE) :, 0].any() or np.abs(audio[-2000:]).max() < 1e-3
    heard = loudest_hertz(audio[RATE // 2 : RATE, 0])
    assert abs(12 * np.log2(heard / 220)) < 0.5


@pytest.mark.parametrize("semitones", [-2, 0, 1])
def test_the_nearest_shift_brings_a_recording_into_a_key(semitones):
    chord = sum(tone(hertz_of(pitch), 3.0, decay=0.0) for pitch in (57, 60, 64))
    chord = np.repeat(chord[:, None], 2, axis=1)
    assert takes.find_key(chord) == (9, 1)
    assert takes.nearest_shift(chord, (9 + semitones) % 12, 1) == semitones
    moved = varispeed(chord, 2 ** (semitones / 12))
    assert takes.find_key(moved) == ((9 + semitones) % 12, 1)
    assert takes.nearest_shift(chord, 0, 0) == 0  # C, the relative major


def test_a_recording_of_a_band_is_a_file_or_a_folder_of_tracks(tmp_path):
    item = one(make_bands(tmp_path / "bands"))
    assert [[path.name for path in paths] for paths in item.recordings()] == [
        ["drums.wav", "guitar.wav"], ["whole.wav"],
    ]  # fmt: skip
    parts = takes.band(np.random.default_rng(0), replace(item, sets=("tracks",)), 44100, 0)
    whole = takes.band(np.random.default_rng(0), replace(item, sets=("*.wav",)), 44100, 0)
    np.testing.assert_allclose(parts, whole, atol=2**-14)


def test_shifted_takes_are_higher(tmp_path):
    folder = describe(tmp_path / "singer", "takes", "vocals")
    sf.write(folder / "a.wav", tone(440, 4, decay=0, harmonics=1), RATE)
    audio = takes.performance(np.random.default_rng(0), one(folder), RATE, 2, 0.0)
    assert loudest_hertz(audio[:, 0]) == pytest.approx(440 * 2 ** (2 / 12), abs=3)
    audio = takes.excerpt(np.random.default_rng(0), one(folder), RATE, -2)
    assert loudest_hertz(audio[:, 0]) == pytest.approx(440 * 2 ** (-2 / 12), abs=3)


@pytest.mark.parametrize("tempo", [80, 123.4])
def test_loops_fall_on_the_beat(tmp_path, rng, tempo):
    folder = describe(tmp_path / "loops", "loops", "drums")
    click = np.zeros(2 * RATE)
    click[20:300] = click[RATE + 20 : RATE + 300] = 0.8
    sf.write(folder / "loop.wav", click, RATE)
    chart = Chart(tempo, 0, 0, (0,) * 4)
    audio = takes.loop(rng, one(folder), chart, 8 * RATE)
    onsets = np.flatnonzero(np.diff((np.abs(audio[:, 0]) > 0.4).astype(int)) == 1) / RATE
    beats = np.diff(onsets) / chart.beat
    assert len(beats) >= 4  # two clicks a loop: each half of a whole number of beats apart
    np.testing.assert_allclose(2 * beats, round(2 * beats[0]), atol=0.02)


def test_songs_begin_where_there_is_singing(tmp_path):
    make_song(tmp_path / "songs", tempo=120)  # two bars of silence
    for seed in range(8):
        rng = np.random.default_rng(seed)
        audio = takes.song_vocals(rng, tmp_path / "songs" / "1.Song", 120, 2 * RATE, 0)
        assert audio.shape == (2 * RATE, 2)
        assert np.abs(audio[RATE:]).max() > 0.1
    with pytest.raises(CorpusError, match="has no vocals"):
        takes.song_vocals(rng, tmp_path, 120, RATE, 0)


def test_folders_of_the_catalogue_need_no_description(tmp_path):
    catalogue = tomllib.loads(CATALOGUE.read_text("utf-8"))
    for entry in [*catalogue["material"].values(), *catalogue["soundfonts"].values()]:
        assert entry["credit"]
        assert entry.get("share_alike", False) == ("-SA-" in entry["license"])
    (tmp_path / "everything_is_remixed" / "train").mkdir(parents=True)
    (tmp_path / "everything_is_remixed" / "valid").mkdir()
    (tmp_path / "bass_pasta").mkdir()
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
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match="not a readable audio file"):
        load_part(tmp_path / "b.wav", 0, None)
