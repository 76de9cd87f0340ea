"""Parts played with recorded notes and strokes."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from training.corpus.dsp import SAMPLE_RATE, Audio, Rng, add, chance, fade, level, pick, varispeed
from training.corpus.material import CorpusError, Item, load
from training.corpus.score import Note, Part

RELEASE = 0.08  # seconds
MAX_SHIFT = 7  # semitones; notes further away are moved by octaves
STROKES = {  # General MIDI's drum map
    "kick": (35, 36),
    "snare": (37, 38, 39, 40),
    "closed_hat": (42, 44, 69, 70, 82),
    "open_hat": (46,),
    "tom": (41, 43, 45, 47, 48, 50),
    "ride": (51, 53, 59),
    "crash": (49, 52, 55, 57),
    "percussion": (),
}
STROKE_OF = {number: stroke for stroke, numbers in STROKES.items() for number in numbers}
DARK_TO_BRIGHT = ("kick", "tom", "percussion", "snare", "ride", "closed_hat")
Notes = Mapping[int, tuple[Path, ...]]
Kit = Mapping[str, tuple[Path, ...]]


def play_notes(rng: Rng, part: Part, item: Item, num_samples: int) -> tuple[Audio, str]:
    """Play a part with single notes.

    Args:
        rng: Chooses the playing style, and one of several recordings.
        part: What to play.
        item: Material of use "notes".
        num_samples: Length of the result.

    Returns:
        (num_samples, 2) float32, and the pattern of the style's files.
    """
    style = pick(rng, item.sets)
    notes = _notes(item, style)
    tune = rng.normal(0, 0.08)  # semitones, of the whole instrument
    sustain = rng.uniform(0.9, 1.6)
    total = np.zeros((num_samples, 2), np.float32)
    for note in part.notes:
        pitch = reachable(note.pitch, notes)
        nearest = min(notes, key=lambda stored: (abs(stored - pitch), stored))
        path = layer(rng, notes[nearest], note.velocity)
        shift = round(pitch - nearest + tune, 2)
        length = round(min(note.duration * sustain, 6.0) * SAMPLE_RATE)
        add(total, _note(path, shift, length, note), round(note.start * SAMPLE_RATE))
    return total, style


def play_kit(rng: Rng, part: Part, kits: Sequence[Item], num_samples: int) -> Audio:
    """Play a drum part with single strokes.

    Args:
        rng: Chooses tuning, damping and, for each stroke, a recording.
        part: What to play, in General MIDI's drum map.
        kits: Material of use "hits"; the others supply strokes that the first lacks.
        num_samples: Length of the result.

    Returns:
        (num_samples, 2) float32.
    """
    total = np.zeros((num_samples, 2), np.float32)
    places: dict[str, tuple[tuple[Path, ...], float, float, float]] = {}
    for note in part.notes:
        stroke = STROKE_OF.get(note.pitch, "percussion")
        key = f"{stroke}{note.pitch}" if stroke in ("tom", "percussion") else stroke
        if key not in places:
            shift = rng.uniform(-4, 4) + (0.8 * (note.pitch - 45) if stroke == "tom" else 0)
            damping = rng.uniform(0.1, 0.5) if chance(rng, 0.3) else 9.0
            files = strokes_of(kits, stroke)
            if stroke == "percussion":  # one instrument, not all of them
                files = tuple(pick(rng, files) for _ in range(3))
            places[key] = files, round(shift, 1), damping, rng.normal(0, 0.2)
        files, shift, damping, side = places[key]
        path = layer(rng, files, note.velocity)
        hit = Note(note.start, damping, note.pitch, note.velocity)
        audio = _note(path, shift, round(damping * SAMPLE_RATE), hit)
        sides = np.array([1 - side, 1 + side], np.float32)
        add(total, audio * sides, round(note.start * SAMPLE_RATE))
    return total


def reachable(pitch: int, stored: Mapping[int, object]) -> int:
    """Move a pitch by octaves until a stored note is near enough.

    Example:
        >>> reachable(30, {60: None})
        54
    """
    while pitch < min(stored) - MAX_SHIFT:
        pitch += 12
    while pitch > max(stored) + MAX_SHIFT:
        pitch -= 12
    return pitch


def layer(rng: Rng, files: Sequence[Path], velocity: int) -> Path:
    """Choose a recording whose rank in loudness is near that of the velocity."""
    ranked = sorted(files, key=lambda path: (_loudness(path), path.name))
    place = velocity / 128 * len(ranked) + rng.normal(0, 0.25 * len(ranked))
    return ranked[int(np.clip(place, 0, len(ranked) - 1))]


def strokes_of(kits: Sequence[Item], stroke: str) -> tuple[Path, ...]:
    """Return the recordings of a stroke from the first kit that has it."""
    for kit in kits:
        files = _kit(kit).get(stroke)
        if files:
            return files
    every = tuple(path for kit in kits for path in kit.files())
    if not every:
        raise CorpusError(f"no audio files in {', '.join(str(kit.path) for kit in kits)}.")
    return every


@lru_cache(maxsize=100)
def _notes(item: Item, style: str) -> Notes:
    pitches = item.pitches()
    notes: dict[int, list[Path]] = {}
    for path in item.files(style):
        if path.name in pitches:
            notes.setdefault(pitches[path.name], []).append(path)
    if not notes:
        raise CorpusError(f"{item.path} has no notes {style} with a pitch in index.csv.")
    return {pitch: tuple(paths) for pitch, paths in notes.items()}


@lru_cache(maxsize=100)
def _kit(item: Item) -> Kit:
    """Return files by stroke, as in the catalogue or sorted from dark to bright."""
    if item.kit:
        named = {s: tuple(p for g in globs for p in item.files(g)) for s, globs in item.kit.items()}
        return {stroke: files for stroke, files in named.items() if files}

    def brightness(path: Path) -> float:
        """Return the mean log frequency of the spectrum."""
        audio = load(path)[: SAMPLE_RATE // 2]
        powers = np.abs(np.fft.rfft(audio.mean(1))) ** 2
        hertz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
        total = powers[1:].sum()
        return float((np.log(hertz[1:]) * powers[1:]).sum() / total) if total else 0.0

    files = sorted(item.files(), key=lambda path: (brightness(path), path.name))
    shares = np.array_split(np.arange(len(files)), len(DARK_TO_BRIGHT))
    pairs = zip(DARK_TO_BRIGHT, shares, strict=True)
    return {stroke: tuple(files[k] for k in share) for stroke, share in pairs if len(share)}


@lru_cache(maxsize=3000)
def _loudness(path: Path) -> float:
    return level(load(path)[: SAMPLE_RATE // 2])


@lru_cache(maxsize=200)
def _shifted(path: Path, shift: float) -> Audio:
    """Return a recording at another pitch, without the silence before it."""
    audio = load(path)
    loud = np.flatnonzero(np.abs(audio).max(1) > 0.03 * np.abs(audio).max(initial=0))
    audio = audio[max(0, loud[0] - 64) :] if len(loud) else audio
    return varispeed(audio, 2 ** (shift / 12))


def _note(path: Path, shift: float, length: int, note: Note) -> Audio:
    """Return one note at its loudness, with a release at its end."""
    audio = _shifted(path, shift)
    release = round(RELEASE * SAMPLE_RATE)
    audio = audio[: length + release]
    # recordings keep part of their differences in loudness: velocity is not loudness
    factor = (note.velocity / 100) ** 1.5 * (0.1 / max(_loudness(path), 1e-4)) ** 0.7
    audio = audio * np.float32(factor)
    if len(audio) < length:
        return fade(audio, 0.001)
    ramp = np.linspace(1, 0, len(audio) - length, dtype=np.float32)[:, None] if length else 0
    audio[length:] *= ramp
    return audio
