"""Scores: notes in their places and ranges; MIDI out and in again; soundfonts."""

from itertools import pairwise

import numpy as np
import pytest

from training.corpus import mma, patterns, soundfonts
from training.corpus.material import find_soundfonts
from training.corpus.patterns import write_melody
from training.corpus.score import DRUMS, Chart, Note, Part, draw_chart

CHART = Chart(120, 2, 0, (0, 4, 5, 3) * 6)


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


@pytest.mark.parametrize("seed", range(3))
def test_a_tune_is_in_key_in_range_and_one_voice(seed):
    tune = write_melody(np.random.default_rng(seed), CHART, 60, 74)
    assert {note.pitch % 12 for note in tune} <= CHART.scale
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
