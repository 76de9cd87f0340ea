"""Scores: notes in their places and ranges; MMA's grooves; MIDI out and in again."""

from itertools import pairwise

import numpy as np
import pytest
from corpus_material import program

from training.corpus import mma, patterns, soundfonts
from training.corpus.material import CorpusError, Soundfont, find_soundfonts
from training.corpus.patterns import harmony, write_melody
from training.corpus.score import DRUMS, Chart, Note, Part, draw_chart

CHART = Chart(120, 2, 0, (0, 4, 5, 3) * 6)
FAKE_MMA = """
import sys, mido
if "-v" in sys.argv: print("Warning: no plugins"); print("21.09"); sys.exit()
text = open(sys.argv[3]).read()
if "Broken" in text: print("Groove 'Broken' not found"); sys.exit(1)
file = mido.MidiFile(ticks_per_beat=192)
file.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500000)]))
parts = (("Drum", 9, 0, 36), ("Bass", 1, 33, 40), ("Chord", 2, 25, 60))
for name, channel, number, note in parts[:2 if "Dull" in text else 3]:
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    track.append(mido.Message("program_change", channel=channel, program=number))
    track.append(mido.Message("note_on", channel=channel, note=note, velocity=90, time=192))
    track.append(mido.Message("note_on", channel=channel, note=note, velocity=0, time=96))
    file.tracks.append(track)
file.save(sys.argv[2])
"""
FAKE_FLUIDSYNTH = """
import sys, mido, numpy, soundfile
wav, midi = sys.argv[sys.argv.index("-F") + 1], sys.argv[-1]
if "broken" in sys.argv[-2]: sys.exit(1)
audio, time = numpy.zeros((44100, 2)), 0
for message in mido.MidiFile(midi):
    time += message.time
    if message.type == "note_on" and message.velocity:
        audio[round(time * 44100)] = [message.channel + 1, message.velocity]
soundfile.write(wav, audio / 200, 44100, subtype="FLOAT")
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    program(tmp_path / "bin", "mma", FAKE_MMA)
    program(tmp_path / "bin", "fluidsynth", FAKE_FLUIDSYNTH)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def make_library(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.mma").write_text(text, "latin-1")
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_every_pattern_is_playable(seed):
    rng = np.random.default_rng(seed)
    chart = draw_chart(rng, 30, rng.uniform(60, 180), int(rng.integers(12)), seed % 2)
    parts = patterns.write_patterns(rng, chart)
    assert {part.source for part in parts} == {"drums", "bass", "other"}
    for part in parts:
        assert part.notes
        assert (part.program == DRUMS) == (part.source == "drums")
        for note in part.notes:
            assert 0 <= note.start < chart.bars * chart.bar + 0.2
            assert 0 < note.duration <= 4 * chart.bar
            assert 1 <= note.velocity <= 127
            assert 20 <= note.pitch <= 108
    ends = [max(note.start for note in part.notes) for part in parts if part.source == "other"]
    assert max(ends) > (chart.bars - 1.5) * chart.bar
    (bass,) = (part for part in parts if part.source == "bass")
    assert max(note.pitch for note in bass.notes) <= 60


def test_accompaniment_stays_in_the_key():
    for seed in range(6):
        for kind in (patterns.chords, patterns.pad, patterns.arpeggio, patterns.stabs):
            notes = kind(np.random.default_rng(seed), CHART).notes
            assert {note.pitch % 12 for note in notes} <= CHART.scale


@pytest.mark.parametrize("seed", range(3))
def test_a_tune_is_in_key_in_range_and_one_voice(seed):
    tune = write_melody(np.random.default_rng(seed), CHART, 60, 74)
    assert {note.pitch % 12 for note in tune} <= CHART.scale
    assert all(60 <= note.pitch <= 74 for note in tune)
    pairs = list(pairwise(tune))
    assert all(a.start + a.duration <= b.start + 1e-9 for a, b in pairs)
    assert max(b.start - a.start - a.duration for a, b in pairs) > 0.3  # phrases end


def test_grooves_are_those_of_the_library_in_four(tmp_path):
    library = make_library(
        tmp_path / "lib",
        rb="TimeSig 4 4\nDefGroove R&B  Basic\nDefGroove R&BFill fill\nDefGroove R&BIntro x",
        waltzy="TimeSig 3 4\nDefGroove Waltzy text",
        metronome="TimeSig 4 4\nDefGroove Metronome text",
        odd="DefGroove Odd text",
        both="TimeSig 4 4\nDefGroove Both x\nTimeSig 3 4\nDefGroove Both3 x",
        pop="  timesig 4/4\n  DEFGROOVE Pop\nDefGroove Pop1End",
    )
    assert mma.grooves(library) == {"pop": ("Pop",), "rb": ("R&B",)}
    with pytest.raises(CorpusError, match="install Debian's package mma"):
        mma.grooves(tmp_path)


def test_parts_come_back_from_mma(programs, monkeypatch, rng):
    monkeypatch.setattr(mma, "grooves", lambda: {"pop": ("Pop", "Pop1")})
    parts, groove = mma.write_mma(rng, CHART, programs)
    assert groove in ("Pop", "Pop1")
    assert {(part.source, part.program) for part in parts} == {
        ("drums", DRUMS), ("bass", 33), ("other", 25),
    }  # fmt: skip
    assert {part.notes[0] for part in parts} == {
        Note(0.5, 0.25, pitch, 90) for pitch in (36, 40, 60)
    }
    text = (programs / "song.mma").read_text()
    assert "Tempo 120" in text
    assert [line.split()[1][:2] for line in text.splitlines() if line.startswith("2 ")] == [
        "A"
    ] or ("\n2 A7\n" in text)


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


@pytest.mark.parametrize(
    ("number", "kit", "channel"), [(25, False, 1), (DRUMS, False, 10), (DRUMS, True, 1)]
)
def test_fluidsynth_gets_the_channel_of_the_font(programs, rng, number, kit, channel):
    part = Part("other", number, (Note(0.25, 0.1, 60, 100),))
    font = Soundfont("a.sf2", programs / "a.sf2", "MIT", "x", kit=kit)
    audio = soundfonts.play(rng, part, font, 22050, programs)
    assert audio.shape == (22050, 2)
    place = np.flatnonzero(audio[:, 0])
    assert place == pytest.approx([0.25 * 44100], abs=5)
    assert audio[place[0]] == pytest.approx([channel / 200, 0.5])


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


def test_the_bass_plays_the_chords():
    part = patterns.bass(np.random.default_rng(0), CHART)
    for note in part.notes:
        bar = int(note.start / CHART.bar + 0.01)
        root = CHART.chord(bar)[0]
        assert note.pitch % 12 in {*CHART.chord(bar), (root + 7) % 12}


def test_harmony_is_a_third_above_in_the_chorus():
    tune = [Note(0, 1, 62, 100), Note(8.5 * CHART.bar, 1, 62, 100)]
    (note,) = harmony(tune, CHART)
    assert (note.start, note.pitch) == (8.5 * CHART.bar, 66)  # D: F sharp
    assert harmony(tune, CHART, -2)[0].pitch == 59
