"""Singing: syllables, tunes, other voices. A small vocoder stands in for WORLD."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from corpus_material import RATE, describe, loudest_hertz, program, tone

from training.corpus import render, units, world
from training.corpus.material import CorpusError, find_material
from training.corpus.score import Note
from training.corpus.world import FRAMES, Unit, Voice

BINS = world.FFT // 2 + 1
BANDS = 5


def dio(audio, rate, f0_floor, f0_ceil):
    """Pitch by the strongest frequency of 20 ms, 0 in silence."""
    hop, width = rate // FRAMES, rate // 50
    count = len(audio) // hop + 1
    padded = np.pad(audio, (width, width))
    frames = np.stack([padded[k * hop + width // 2 :][:width] for k in range(count)])
    powers = np.abs(np.fft.rfft(frames * np.hanning(width), 16384))
    hertz = np.fft.rfftfreq(16384, 1 / rate)
    heard = (hertz >= f0_floor) & (hertz <= f0_ceil)
    pitch = hertz[heard][powers[:, heard].argmax(1)]
    return np.where(np.abs(frames).max(1) > 0.01, pitch, 0.0), np.arange(count) / FRAMES


def synthesize(pitch, envelope, noise, rate, period):
    """A sine at the pitch; the level is that of the envelope."""
    count = int(len(pitch) * rate * period / 1000)
    place = np.arange(count) / (rate * period / 1000)
    hertz = pitch[np.minimum(place.astype(int), len(pitch) - 1)]
    level = np.sqrt(np.interp(place, np.arange(len(pitch)), envelope.mean(1)))
    return np.sin(2 * np.pi * np.cumsum(hertz) / rate) * level * (hertz > 0)


@pytest.fixture
def vocoder(monkeypatch):
    fake = SimpleNamespace(
        dio=dio,
        stonemask=lambda audio, pitch, times, rate: pitch,
        cheaptrick=lambda audio, pitch, times, rate, fft_size: np.full((len(pitch), BINS), 0.01),
        d4c=lambda audio, pitch, times, rate, fft_size: np.zeros((len(pitch), BINS)),
        code_spectral_envelope=lambda e, rate, n: np.log(e[:, :n]),
        decode_spectral_envelope=lambda c, rate, size: np.exp(np.repeat(c[:, :1], BINS, 1)),
        code_aperiodicity=lambda noise, rate: noise[:, :BANDS],
        decode_aperiodicity=lambda bands, rate, size: np.zeros((len(bands), BINS)),
        synthesize=synthesize,
    )
    monkeypatch.setitem(sys.modules, "pyworld", fake)
    return fake


def unit(pitch=60.0, frames=60, onset=6):
    envelope = np.full((frames, 4), np.log(0.01), np.float32)
    curve = np.full(frames, 260.0, np.float32)
    curve[:onset] = 0
    return Unit(envelope, np.zeros((frames, BANDS), np.float32), curve, onset, pitch)


def sung(tmp_path, labels):
    folder = describe(tmp_path / "sung", "units", "vocals")
    (folder / "mono").mkdir(exist_ok=True)
    audio = np.concatenate([np.zeros(24000), tone(300, 1.0, rate=48000, decay=0, harmonics=1)])
    sf.write(folder / "a.flac", audio, 48000)
    (folder / "mono" / "a.lab").write_text(labels, "utf-8")
    (item,), _ = find_material([folder])
    return item


def test_a_tune_is_sung_at_its_pitches_and_times(vocoder, rng):
    notes = [Note(0.5, 0.6, 60, 100), Note(1.5, 0.6, 64, 100)]
    voice = Voice(vibrato=0, unsteady=0)
    audio = world.sing(rng, [unit()], notes, 3 * RATE, voice)
    assert audio.shape == (3 * RATE,)
    assert audio.dtype == np.float32
    assert np.abs(audio[: int(0.4 * RATE)]).max() < 1e-4
    assert np.abs(audio[int(1.2 * RATE) : int(1.4 * RATE)]).max() < 1e-3
    assert np.abs(audio[int(2.3 * RATE) :]).max() < 1e-4
    for note in notes:
        begin = int((note.start + 0.2) * RATE)
        heard = loudest_hertz(audio[begin : begin + RATE // 4])
        assert abs(69 + 12 * np.log2(heard / 440) - note.pitch) < 0.3


def test_formants_are_moved_by_their_factor():
    bins = np.arange(BINS)
    envelope = np.exp(-(((bins - 200) / 30.0) ** 2))[None] + 1e-6
    for factor in (0.8, 1.25):
        assert int(world.warp(envelope, factor).argmax()) == pytest.approx(200 * factor, abs=1)
    assert world.warp(envelope, 1) is envelope


def test_vowels_are_stretched_and_consonants_are_not():
    places = world.stretched(unit(frames=60, onset=6), 100)
    np.testing.assert_array_equal(places[:6], np.arange(6))
    assert len(places) == 106
    assert places[-1] == 59
    assert (np.diff(places) >= 0).all()
    np.testing.assert_allclose(np.diff(places[6:16]), 1)


def test_labelled_recordings_give_their_syllables(vocoder, tmp_path):
    labels = "0 5000000 sil\n5000000 6000000 k\n6000000 10000000 a\n10000000 14000000 i\n"
    item = sung(tmp_path, labels + "14000000 14500000 u\n14500000 15000000 sil\n")
    first, second = units.labelled_units(item)
    assert (first.onset, len(first.pitch_curve)) == (20, 100)
    assert (second.onset, len(second.pitch_curve)) == (0, 80)
    assert first.pitch == pytest.approx(69 + 12 * np.log2(300 / 440), abs=0.5)


def test_words_are_spoken_by_espeak(vocoder, tmp_path, monkeypatch, rng):
    code = """
import sys, numpy, soundfile
assert sys.argv[1:6] == ["-v", "en-us+f2", "-s", "120", "--stdout"], sys.argv
time = numpy.arange(12000) / 22050
soundfile.write(sys.stdout.buffer, 0.4 * numpy.sin(2 * numpy.pi * 200 * time), 22050, format="WAV")
"""
    program(tmp_path, "espeak-ng", code)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = units.spoken_units(rng, "en-us+f2", 2)
    assert [word.pitch for word in words] == pytest.approx([55.3, 55.3], abs=0.5)
    program(tmp_path, "espeak-ng", code.replace("0.4 *", "0 *"))
    with pytest.raises(CorpusError, match="speaks nothing"):
        units.spoken_units(rng, "en-us+f2", 2)
    program(tmp_path, "espeak-ng", "raise SystemExit(1)")
    with pytest.raises(CorpusError, match="espeak-ng fails"):
        units.spoken_units(rng, "en-us+f2", 2)


def test_a_corpus_sung_with_syllables_analyzes_them_once(vocoder, tmp_path, monkeypatch):
    monkeypatch.setattr(render.importlib.util, "find_spec", lambda name: True)
    item = sung(tmp_path, "0 5000000 sil\n5000000 15000000 a\n")
    told = []
    order = dict(out=tmp_path / "out", seconds=4, material=(item.path,))
    order["use"] = ("patterns", "synth", "units")
    render.render(render.Order(songs=1, **order), told.append, lambda *args: None)
    manifest = render.render(render.Order(songs=2, **order), told.append, lambda *args: None)
    assert sum("analyzing" in line for line in told) == 1
    assert manifest["num_songs"] == 2
    assert [source["name"] for source in manifest["sources"]] == ["sung"]
    for song in manifest["songs"].values():
        assert song["used"]["vocals"] == ["sung: syllables"]
