"""A tune for a singer: phrases with rests between them, on the chart's chords."""

from __future__ import annotations

import numpy as np

from training.corpus.dsp import Rng, chance, pick
from training.corpus.score import BEATS, Chart, Note

RHYTHMS = (  # lengths in eighths, of one bar
    (1, 1, 1, 1, 2, 2),
    (2, 1, 1, 2, 2),
    (1.5, 0.5, 1, 1, 2, 2),
    (2, 2, 4),
    (1, 1, 2, 1, 1, 2),
    (3, 1, 2, 2),
    (0.5, 0.5, 1, 2, 1, 1, 2),
    (4, 4),
    (8,),
    (1, 2, 1, 2, 2),
    (3, 3, 2),
    (1, 1, 1, 1, 1, 1, 1, 1),
    (0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 2),
)
PHRASE = 4  # bars


def write_melody(rng: Rng, chart: Chart, low: int, high: int) -> list[Note]:
    """Return a tune for the whole chart, with a rhythm of its own in each section.

    Args:
        rng: Chooses rhythms, steps and rests.
        chart: Tempo and chords.
        low: Lowest pitch.
        high: Highest pitch; an octave or more above.
    """
    rhythms = [[pick(rng, RHYTHMS) for _ in range(2)] for _ in range(2)]
    rests = rng.uniform(0, 0.25)
    current, notes = (low + high) // 2, []
    silent = False
    for bar in range(chart.bars):
        if bar % PHRASE == 0:
            silent = chance(rng, rests)
        if silent:
            continue
        rhythm = rhythms[chart.second(bar)][bar % 2]
        if bar % PHRASE == PHRASE - 1:  # the phrase ends early
            rhythm = rhythm[: max(1, len(rhythm) // 2)]
        beat = 0.0
        for eighths in rhythm:
            current = _next(rng, chart, bar, beat, current, (low, high))
            duration = eighths / 2 * chart.beat
            start = (bar * BEATS + beat) * chart.beat
            notes.append(Note(start, duration * rng.uniform(0.86, 0.99), current, 100))
            beat += eighths / 2
    return notes


def harmony(notes: list[Note], chart: Chart, steps: int = 2) -> list[Note]:
    """Return a second voice `steps` of the scale above, in the second section only."""
    scale = [pitch for pitch in range(24, 108) if pitch % 12 in chart.scale]
    voice = []
    for note in notes:
        if chart.second(min(chart.bars - 1, int(note.start / chart.bar))):
            nearest = int(np.argmin(np.abs(np.array(scale) - note.pitch)))
            pitch = scale[min(len(scale) - 1, nearest + steps)]
            voice.append(Note(note.start, note.duration, pitch, note.velocity))
    return voice


def _next(
    rng: Rng, chart: Chart, bar: int, beat: float, current: int, limits: tuple[int, int]
) -> int:
    """A note of the scale near the last one; of the chord where the beat is strong."""
    low, high = limits
    allowed = set(chart.chord(bar)) if beat % 1 == 0 else chart.scale
    near = [p for p in range(current - 7, current + 8) if p % 12 in allowed and low <= p <= high]
    if not near:
        return min(max(current, low), high)
    pitches = np.array(near)
    weights = np.exp(-np.abs(pitches - current) / 2.5 - ((pitches - (low + high) / 2) / 9) ** 2)
    weights[pitches == current] *= 0.5
    return int(rng.choice(pitches, p=weights / weights.sum()))
