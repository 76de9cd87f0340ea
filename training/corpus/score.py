"""Scores: a chord chart, notes in seconds, and parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from training.corpus.dsp import Rng, chance, pick

BEATS = 4
SECTION_BARS = 8
DRUMS = -1  # the program of a part whose pitches are strokes of General MIDI's drum map
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
QUALITIES = (("", "m", "m", "", "", "m", "dim"), ("m", "dim", "", "m", "m", "", ""))
NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
PROGRESSIONS = (
    "1564 1645 4156 1415 6415 1345 1251 1544 4536 2516 1114 1155 6541 1466 4161",
    "1637 1451 1765 1473 6711 1374 1563 1645 1111 1671 1177 1476 1165",
)


@dataclass(frozen=True)
class Note:
    """A note: start and duration in seconds, MIDI pitch, velocity 1 to 127."""

    start: float
    duration: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """The notes of one player.

    Args:
        source: The stem it belongs to.
        program: General MIDI program, 0 to 127, or DRUMS.
        notes: In any order.
    """

    source: str
    program: int
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Chart:
    """Tempo, key and the chord of each bar.

    Args:
        tempo: Beats per minute, four to a bar.
        tonic: 0 (C) to 11 (B).
        minor: 0 for major, 1 for natural minor.
        degrees: Scale degree of each bar's chord, 0 to 6.

    Example:
        >>> Chart(120, 9, 1, (0, 5)).chord(1)
        (5, 9, 0)
    """

    tempo: float
    tonic: int
    minor: int
    degrees: tuple[int, ...]

    @property
    def beat(self) -> float:
        """Seconds of a beat."""
        return 60 / self.tempo

    @property
    def bar(self) -> float:
        """Seconds of a bar."""
        return BEATS * self.beat

    @property
    def bars(self) -> int:
        """Number of bars."""
        return len(self.degrees)

    @property
    def scale(self) -> frozenset[int]:
        """Pitch classes of the key."""
        return frozenset((self.tonic + step) % 12 for step in SCALES[self.minor])

    @property
    def key(self) -> str:
        """Name of the key: "Am"."""
        return NAMES[self.tonic] + ("m" if self.minor else "")

    def chord(self, bar: int, size: int = 3) -> tuple[int, ...]:
        """Return the pitch classes of a bar's chord, root first, stacked in thirds of the scale."""
        steps = SCALES[self.minor]
        return tuple(
            (self.tonic + steps[(self.degrees[bar] + 2 * k) % 7]) % 12 for k in range(size)
        )

    def second(self, bar: int) -> bool:
        """Return whether a bar is in the second of two sections, the chorus."""
        return bar // SECTION_BARS % 2 == 1


def draw_chart(rng: Rng, seconds: float, tempo: float, tonic: int, minor: int) -> Chart:
    """Return a chart of at least `seconds` in which two sections of eight bars alternate."""
    bars = int(np.ceil(seconds / (60 / tempo * BEATS)))
    choices = PROGRESSIONS[minor].split()
    verse, chorus = (pick(rng, choices) for _ in range(2))
    slow = 2 if chance(rng, 0.2) else 1  # two bars a chord
    degrees = []
    for bar in range(bars):
        progression = chorus if bar // SECTION_BARS % 2 else verse
        degrees.append(int(progression[bar // slow % len(progression)]) - 1)
    return Chart(tempo, tonic, minor, tuple(degrees))


def humanize(rng: Rng, notes: Iterable[Note], timing: float, dynamics: float) -> tuple[Note, ...]:
    """Return notes with small deviations in time and velocity.

    Args:
        rng: Source of the deviations.
        notes: The notes as written.
        timing: Standard deviation of the starts in seconds.
        dynamics: Standard deviation of the velocities.
    """
    played = []
    for note in notes:
        start = max(0.0, note.start + rng.normal(0, timing))
        velocity = int(np.clip(round(note.velocity + rng.normal(0, dynamics)), 8, 127))
        played.append(replace(note, start=start, velocity=velocity))
    return tuple(played)


def near(pitch_class: int, center: int) -> int:
    """Return the pitch of a pitch class that is nearest to a center.

    Example:
        >>> near(0, 62)
        60
    """
    return center - 6 + (pitch_class - center + 6) % 12
