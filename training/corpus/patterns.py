"""Built-in scores of rock and pop: drums, bass, accompaniment and tune for a chord chart."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training.corpus.dsp import Rng, chance, pick
from training.corpus.score import BEATS, DRUMS, Chart, Note, Part, near

STEPS = 16  # of a bar
KICK, SNARE, CLAP, CLOSED, OPEN, CRASH, RIDE = 36, 38, 39, 42, 46, 49, 51
TAMBOURINE, SHAKER = 54, 70
TOMS = (50, 48, 45, 43, 41)
BEATS_OF = (  # kick and snare; X loud, x middling, o soft
    ("X.......X.......", "....X.......X..."), ("X.......X.x.....", "....X.......X..."),
    ("X..x....X.......", "....X.......X..."), ("X.....x...X.....", "....X..o....X..o"),
    ("X...X...X...X...", "....X.......X..."), ("X...X...X...X...", "................"),
    ("X.......x.......", "........X......."), ("X.x.......x.x...", "........X......o"),
    ("X.x...X...x..x..", "....X..o.o..X..."), ("X.xxX.xxX.xxX.xx", "....X.......X..."),
    ("XxxxXxxxXxxxXxxx", "....X.......X..."), ("X..x..X...x.x...", "....X.......X.o."),
    ("X...............", "....X.......X..."), ("X...X...X...X...", "..X...X...X...X."),
    ("X......xX.......", "....X..o..o.X..."), ("X.....X.....X...", "....X.......X..."),
)  # fmt: skip
CYMBALS = (
    "X.x.X.x.X.x.X.x.", "X.o.X.o.X.o.X.o.", "XoxoXoxoXoxoXoxo", "X...X...X...X...",
    "..X...X...X...X.", "X.oxX.oxX.oxX.ox", "X..xX..xX..xX..x", "X.......X.......",
)  # fmt: skip
VELOCITIES = {"X": 112, "x": 88, "o": 52}
LINES = (  # bass: root, third, fifth, octave; - holds, . rests
    "r-r-r-r-r-r-r-r-", "r-r-r-r-r-r-r-5-", "r---------------", "r-------r-------",
    "r---r---r---r---", "r-----r-r-----5-", "r-..r-..r-..r-r-", "r-o-r-o-r-o-r-o-",
    "r-----5-----o---", "rrrrrrrrrrrrrrrr", "r--r--r-r--r--r-", "..r-..r-..r-..r-",
    "r---5---o---5---", "r---3---5---o---", "r-----r---r-5---", "r--..r..r-..5-o-",
    "r-----------5-r-",
)  # fmt: skip
STRUMS = (
    "x-x-x-x-x-x-x-x-", "x---x-x-x---x-x-", "x---x-x-..x-x-x-", "x---------------",
    "x-------x-------", "x---x---x---x---", "....x-......x-..", "..x-..x-..x-..x-",
    "x--x--x-x--x--x-", "x-..x-..x-..x-..", "xxxxxxxxxxxxxxxx", "x-xxx-xxx-xxx-xx",
    "x-----x---------",
)  # fmt: skip
GUITARS, DISTORTED, KEYS = (24, 25, 26, 27, 28, 31), (29, 30), (0, 1, 2, 3, 4, 5, 7)
PADS = (16, 17, 18, 19, 20, 48, 49, 50, 51, 52, 54, 88, 89, 90, 91, 92, 94, 95)
PLUCKS = (0, 4, 6, 8, 11, 12, 15, 24, 25, 45, 46, 81, 84, 98, 104)
LEADS = (26, 29, 30, 40, 56, 61, 64, 65, 66, 71, 73, 78, 80, 81, 84, 87)
STABS = (61, 62, 63, 55, 16, 17, 7, 3, 90)
RHYTHMS = (  # lengths in eighths, of one bar
    (1, 1, 1, 1, 2, 2), (2, 1, 1, 2, 2), (1.5, 0.5, 1, 1, 2, 2),
    (2, 2, 4), (1, 1, 2, 1, 1, 2), (3, 1, 2, 2),
    (0.5, 0.5, 1, 2, 1, 1, 2), (4, 4), (8,),
    (1, 2, 1, 2, 2), (3, 3, 2), (1, 1, 1, 1, 1, 1, 1, 1),
    (0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 2),
)  # fmt: skip
PHRASE = 4  # bars


def write_patterns(rng: Rng, chart: Chart) -> list[Part]:
    """Return the parts of a band: drums, bass, and one to four parts of accompaniment."""
    kinds: list[Callable[[Rng, Chart], Part]] = [chords, power_chords, pad, arpeggio, riff, stabs]
    chosen = rng.permutation(len(kinds))[: int(rng.integers(1, 5))]
    parts = [drums(rng, chart), bass(rng, chart)]
    steady, *others = (kinds[k](rng, chart) for k in chosen)
    parts.append(steady)
    for part in others:  # some play in one of the two sections only
        if chart.bars >= 12 and not chance(rng, 0.7):
            second = chance(rng, 0.7)
            kept = [
                note
                for note in part.notes
                if chart.second(min(chart.bars - 1, int(note.start / chart.bar + 0.01))) == second
            ]
            part = replace(part, notes=tuple(kept))
        parts.append(part)
    return parts


def drums(rng: Rng, chart: Chart) -> Part:
    """Return a drum part: a beat for each section, fills before the next, crashes after them."""
    swing = pick(rng, [0.0, 0.0, 0.0, 0.15, 0.33])
    beats = [_beat(rng), _beat(rng)]
    every = pick(rng, [4, 8, 8])
    notes: list[Note] = []
    for bar in range(chart.bars):
        fill = bar % every == every - 1 and chance(rng, 0.8)
        steps = STEPS - pick(rng, [4, 8, 8, 16]) if fill else STEPS
        for stroke, pattern in beats[chart.second(bar)]:
            for step, symbol in enumerate(pattern[:steps]):
                if symbol != ".":
                    late = 2 * (swing * (step % 4 == 2))
                    notes.append(_note(chart, bar, step + late, 1, stroke, VELOCITIES[symbol]))
        if fill:
            for step in range(steps, STEPS, pick(rng, [1, 2])):
                tom = TOMS[min(len(TOMS) - 1, (step - steps) * len(TOMS) // max(1, STEPS - steps))]
                stroke = tom if chance(rng, 0.6) else SNARE
                if chance(rng, 0.85):
                    notes.append(_note(chart, bar, step, 1, stroke, 84 + 2 * step))
            notes.append(_note(chart, bar, steps, 1, KICK, 100))
        if bar % every == 0 and chance(rng, 0.6):
            notes.append(Note(bar * chart.bar, 1.0, CRASH, 115))
    return Part("drums", DRUMS, tuple(notes))


def bass(rng: Rng, chart: Chart) -> Part:
    """Return a bass part: a line for each section on the chords' roots."""
    lines = [pick(rng, LINES), pick(rng, LINES)]
    center, hold = int(rng.integers(31, 39)), rng.uniform(0.88, 1.0)
    notes = []
    for bar in range(chart.bars):
        root = max(28, near(chart.chord(bar)[0], center))
        third = root + (chart.chord(bar)[1] - chart.chord(bar)[0]) % 12
        pitches = {"r": root, "3": third, "5": root + 7, "o": root + 12}
        for step, length, symbol in _events(lines[chart.second(bar)]):
            notes.append(_note(chart, bar, step, length * hold, pitches[symbol], 95))
    return Part("bass", int(rng.integers(32, 40)), tuple(notes))


def chords(rng: Rng, chart: Chart) -> Part:
    """Return strummed or struck chords."""
    program = pick(rng, GUITARS + KEYS)
    delay = rng.uniform(0.006, 0.025) if program in GUITARS else 0.002
    rhythm, center, size = pick(rng, STRUMS), int(rng.integers(52, 68)), pick(rng, [3, 3, 4])
    notes = []
    for bar in range(chart.bars):
        voices = _voicing(chart, bar, center, size)
        for step, length, _ in _events(rhythm):
            down = step % 4 == 0
            ordered = voices if down else voices[::-1]
            for k, pitch in enumerate(ordered):
                note = _note(chart, bar, step, length * 0.98, pitch, 92 if down else 76)
                notes.append(Note(note.start + k * delay, note.duration, pitch, note.velocity))
    return Part("other", program, tuple(notes))


def power_chords(rng: Rng, chart: Chart) -> Part:
    """Return low fifths of a distorted guitar, muted or ringing."""
    rhythm, hold, center = pick(rng, STRUMS), pick(rng, [0.4, 0.9, 1.0]), int(rng.integers(42, 52))
    notes = []
    for bar in range(chart.bars):
        root = near(chart.chord(bar)[0], center)
        for step, length, _ in _events(rhythm):
            for pitch in (root, root + 7, root + 12):
                notes.append(_note(chart, bar, step, length * hold, pitch, 100))
    return Part("other", pick(rng, DISTORTED), tuple(notes))


def pad(rng: Rng, chart: Chart) -> Part:
    """Return held chords."""
    center = int(rng.integers(52, 70))
    notes = [
        _note(chart, bar, 0, STEPS, pitch, 80)
        for bar in range(chart.bars)
        for pitch in _voicing(chart, bar, center, pick(rng, [3, 4]))
    ]
    return Part("other", pick(rng, PADS), tuple(notes))


def arpeggio(rng: Rng, chart: Chart) -> Part:
    """Return broken chords in eighths or sixteenths."""
    step, center = pick(rng, [1, 2, 2, 2]), int(rng.integers(52, 74))
    order = [int(k) for k in rng.integers(0, 4, 8)]
    notes = []
    for bar in range(chart.bars):
        voices = _voicing(chart, bar, center, 3)
        voices.append(voices[0] + 12)
        for k in range(0, STEPS, step):
            pitch = voices[order[k // step % len(order)]]
            notes.append(_note(chart, bar, k, step * rng.uniform(0.8, 3), pitch, 84))
    return Part("other", pick(rng, PLUCKS), tuple(notes))


def riff(rng: Rng, chart: Chart) -> Part:
    """Return a line of one or two bars that is repeated on each chord."""
    center, length = int(rng.integers(50, 78)), pick(rng, [1, 2])
    rhythms = [pick(rng, STRUMS + LINES) for _ in range(length)]
    moves = [[int(k) for k in rng.choice([-3, 0, 0, 2, 3, 5, 7, 10, 12], STEPS)] for _ in rhythms]
    notes = []
    for bar in range(chart.bars):
        root = near(chart.chord(bar)[0], center)
        for step, steps, _ in _events(rhythms[bar % length]):
            pitch = root + moves[bar % length][step]
            pitch += 0 if pitch % 12 in chart.scale else -1
            notes.append(_note(chart, bar, step, steps * 0.95, pitch, 98))
    return Part("other", pick(rng, LEADS + GUITARS + DISTORTED), tuple(notes))


def stabs(rng: Rng, chart: Chart) -> Part:
    """Return short chords at a few places of each bar."""
    places = sorted(int(k) for k in rng.choice(STEPS, pick(rng, [1, 2, 3, 4]), replace=False))
    center = int(rng.integers(58, 72))
    notes = [
        _note(chart, bar, step, rng.uniform(0.8, 2.5), pitch, 104)
        for bar in range(chart.bars)
        for step in places
        for pitch in _voicing(chart, bar, center, 3)
    ]
    return Part("other", pick(rng, STABS), tuple(notes))


def write_melody(rng: Rng, chart: Chart, low: int, high: int) -> list[Note]:
    """Return a tune for a singer on the chart's chords, in phrases with rests between them.

    Each section has a rhythm of its own.

    Args:
        rng: Chooses rhythms, steps and rests.
        chart: Tempo and chords.
        low: Lowest pitch.
        high: Highest pitch, at least an octave above.
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
            # a note of the scale near the last one; of the chord where the beat is strong
            allowed = set(chart.chord(bar)) if beat % 1 == 0 else chart.scale
            around = range(max(low, current - 7), min(high, current + 7) + 1)
            pitches = np.array([pitch for pitch in around if pitch % 12 in allowed])
            if len(pitches):
                far = ((pitches - (low + high) / 2) / 9) ** 2
                weights = np.exp(-np.abs(pitches - current) / 2.5 - far)
                weights[pitches == current] *= 0.5
                current = int(rng.choice(pitches, p=weights / weights.sum()))
            duration = eighths / 2 * chart.beat
            start = (bar * BEATS + beat) * chart.beat
            notes.append(Note(start, duration * rng.uniform(0.86, 0.99), current, 100))
            beat += eighths / 2
    return notes


def harmony(notes: list[Note], chart: Chart, steps: int = 2) -> list[Note]:
    """Return a second voice, `steps` of the scale above the first, in the second section only."""
    scale = [pitch for pitch in range(24, 108) if pitch % 12 in chart.scale]
    voice = []
    for note in notes:
        if chart.second(min(chart.bars - 1, int(note.start / chart.bar))):
            nearest = int(np.argmin(np.abs(np.array(scale) - note.pitch)))
            pitch = scale[min(len(scale) - 1, nearest + steps)]
            voice.append(Note(note.start, note.duration, pitch, note.velocity))
    return voice


def _beat(rng: Rng) -> list[tuple[int, str]]:
    kick, snare = pick(rng, BEATS_OF)
    cymbal = pick(rng, [CLOSED, CLOSED, CLOSED, OPEN, RIDE, CRASH, SHAKER])
    voices = [(KICK, kick), (pick(rng, [SNARE, SNARE, SNARE, CLAP, 37, 40]), snare)]
    voices.append((cymbal, pick(rng, CYMBALS[3:4] if cymbal == CRASH else CYMBALS)))
    if chance(rng, 0.25):
        voices.append((pick(rng, [TAMBOURINE, SHAKER, 56, 63, 64]), pick(rng, CYMBALS)))
    return voices


def _events(pattern: str) -> list[tuple[int, int, str]]:
    """Return step, length in steps and symbol of each note of a pattern."""
    found: list[tuple[int, int, str]] = []
    for step, symbol in enumerate(pattern):
        if symbol == "-" and found:
            begin, length, name = found[-1]
            found[-1] = (begin, length + 1, name)
        elif symbol not in "-.":
            found.append((step, 1, symbol))
    return found


def _note(chart: Chart, bar: int, step: float, steps: float, pitch: int, velocity: int) -> Note:
    length = chart.beat * BEATS / STEPS
    return Note(bar * chart.bar + step * length, steps * length, pitch, velocity)


def _voicing(chart: Chart, bar: int, center: int, size: int) -> list[int]:
    return sorted(near(pitch_class, center) for pitch_class in chart.chord(bar, size))
