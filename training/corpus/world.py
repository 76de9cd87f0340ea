"""Singing with the WORLD vocoder: syllables put to a tune, and recordings in another voice.

Source: M. Morise, F. Yokomori, K. Ozawa, WORLD: a vocoder-based high-quality speech synthesis
system, IEICE Transactions E99-D, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from training.corpus.dsp import SAMPLE_RATE, Audio, Rng
from training.corpus.score import Note

RATE = 48000
FRAMES = 200  # a second
FFT = 2048
COEFFICIENTS = 64
NEAREST = 25  # syllables near in pitch, of which one is drawn
SILENT = 1e-16
EDGE = 8  # frames of a fade


@dataclass(frozen=True)
class Unit:
    """A sung syllable.

    Args:
        envelope: Coded spectral envelope, (frames, 64).
        aperiodicity: Coded aperiodicity, (frames, bands).
        pitch_curve: Fundamental in Hz, 0 where unvoiced, (frames,).
        onset: Frames of the consonant, before the vowel.
        pitch: Pitch of the vowel as a MIDI note.
    """

    envelope: Audio
    aperiodicity: Audio
    pitch_curve: Audio
    onset: int
    pitch: float


@dataclass(frozen=True)
class Voice:
    """The differences between a voice and the recorded one.

    Args:
        shift: Semitones by which it sings higher.
        formants: Factor of the formants' frequencies; above 1 means a shorter vocal tract.
        vibrato: Depth in semitones.
        unsteady: Standard deviation of slow changes of the pitch in semitones.
    """

    shift: float = 0.0
    formants: float = 1.0
    vibrato: float = 0.3
    unsteady: float = 0.25


def analyze(mono: Audio) -> tuple[Audio, Audio, Audio]:
    """Return fundamental in Hz, spectral envelope and aperiodicity, 200 frames per second.

    Args:
        mono: (num_samples,) at 48 kHz.
    """
    import pyworld

    mono = np.ascontiguousarray(mono, np.float64)
    pitch, times = fundamental(mono)
    envelope = pyworld.cheaptrick(mono, pitch, times, RATE, fft_size=FFT)
    return pitch, envelope, pyworld.d4c(mono, pitch, times, RATE, fft_size=FFT)


def fundamental(mono: Audio) -> tuple[Audio, Audio]:
    """Return the fundamental, 70 to 900 Hz, 0 where unvoiced, and the frames' times in seconds."""
    import pyworld

    mono = np.ascontiguousarray(mono, np.float64)
    rough, times = pyworld.dio(mono, RATE, f0_floor=70, f0_ceil=900)
    return pyworld.stonemask(mono, rough, times, RATE), times


def make_units(mono: Audio, spans: Sequence[tuple[float, float, float]]) -> list[Unit]:
    """Cut a recording into syllables.

    Args:
        mono: (num_samples,) at 48 kHz.
        spans: Start of each syllable, start of its vowel, and end, in seconds.

    Returns:
        The syllables whose vowel is voiced throughout.
    """
    import pyworld

    pitch, envelope, noise = analyze(mono)
    coded = pyworld.code_spectral_envelope(envelope, RATE, COEFFICIENTS).astype(np.float32)
    bands = pyworld.code_aperiodicity(noise, RATE).astype(np.float32)
    units = []
    for begin, vowel, end in spans:
        first, middle, last = (min(len(pitch), round(t * FRAMES)) for t in (begin, vowel, end))
        voiced = pitch[middle:last] > 0
        if last - middle < 12 or voiced.mean() < 0.85:
            continue
        note = 69 + 12 * np.log2(np.median(pitch[middle:last][voiced]) / 440)
        whole = slice(first, last)
        curve = pitch[whole].astype(np.float32)
        units.append(Unit(coded[whole], bands[whole], curve, middle - first, float(note)))
    return units


def sing(
    rng: Rng, units: Sequence[Unit], notes: Sequence[Note], num_samples: int, voice: Voice
) -> Audio:
    """Sing a tune.

    Args:
        rng: Chooses syllables and how each note is approached.
        units: Syllables to choose from.
        notes: The tune, one voice in order of time.
        num_samples: Length of the result at 44.1 kHz.
        voice: The voice.

    Returns:
        (num_samples,) float32 at 44.1 kHz.
    """
    import pyworld

    frames = int(num_samples / SAMPLE_RATE * FRAMES) + 2
    coefficients = units[0].envelope.shape[1]
    # the change of the first coefficient for a factor e of power
    flat = np.exp(np.array([[0.0], [1.0]]) * np.ones((2, FFT // 2 + 1)))
    coded = pyworld.code_spectral_envelope(flat, RATE, coefficients)
    sheet = Sheet(
        np.zeros((frames, coefficients)),
        np.zeros((frames, units[0].aperiodicity.shape[1])),
        np.zeros(frames),
        np.zeros(frames, bool),
        float(np.diff(coded[:, 0])[0]),
    )
    for note in notes:
        near = sorted(units, key=lambda unit: abs(unit.pitch - (note.pitch - voice.shift)))
        sheet.write(rng, near[int(rng.integers(min(NEAREST, len(near))))], note, voice)
    # envelopes are averaged over three frames, except at the edges of phrases
    before, after = np.roll(sheet.envelope, 1, 0), np.roll(sheet.envelope, -1, 0)
    inner = sheet.active & np.roll(sheet.active, 1) & np.roll(sheet.active, -1)
    smooth = np.where(inner[:, None], (before + sheet.envelope + after) / 3, sheet.envelope)
    envelope = pyworld.decode_spectral_envelope(np.ascontiguousarray(smooth), RATE, FFT)
    envelope = warp(envelope, voice.formants)
    envelope[~sheet.active] = SILENT
    noise = pyworld.decode_aperiodicity(np.ascontiguousarray(sheet.noise), RATE, FFT)
    return synthesize(sheet.hertz, envelope, noise, num_samples)


def revoice(stereo: Audio, voice: Voice) -> Audio:
    """Give a recording of one voice another pitch and other formants; (num_samples, 2)."""
    mono = soxr.resample(stereo.mean(1), SAMPLE_RATE, RATE)
    pitch, envelope, noise = analyze(mono)
    wave = synthesize(
        pitch * 2 ** (voice.shift / 12), warp(envelope, voice.formants), noise, len(stereo)
    )
    return np.repeat(wave[:, None], 2, axis=1)


def synthesize(hertz: Audio, envelope: Audio, noise: Audio, num_samples: int) -> Audio:
    """Synthesize sound from WORLD's three parameters: (num_samples,) float32 at 44.1 kHz."""
    import pyworld

    wave = pyworld.synthesize(
        np.ascontiguousarray(hertz, np.float64), np.ascontiguousarray(envelope), noise, RATE, 5.0
    )
    wave = soxr.resample(wave, RATE, SAMPLE_RATE).astype(np.float32)[:num_samples]
    return np.pad(wave, (0, num_samples - len(wave)))


def warp(envelope: Audio, factor: float) -> Audio:
    """Stretch spectral envelopes along frequency, (frames, bins)."""
    if factor == 1:
        return envelope
    bins = envelope.shape[1]
    places = np.minimum(np.arange(bins) / factor, bins - 1)
    below = np.minimum(places.astype(int), bins - 2)
    share = places - below
    logs = np.log(np.maximum(envelope, SILENT))
    warped = np.exp(logs[:, below] * (1 - share) + logs[:, below + 1] * share)
    return np.ascontiguousarray(warped)


@dataclass
class Sheet:
    """WORLD's parameters of a whole song, filled in note by note.

    Args:
        envelope: Coded spectral envelope, (frames, coefficients).
        noise: Coded aperiodicity, (frames, bands).
        hertz: Fundamental, (frames,).
        active: Whether there is singing, (frames,).
        neper: Change of the first coefficient for a factor e of power.
    """

    envelope: Audio
    noise: Audio
    hertz: Audio
    active: Audio
    neper: float
    last_end: int = -100
    last_pitch: int = 0

    def write(self, rng: Rng, unit: Unit, note: Note, voice: Voice) -> None:
        """Fill in a note sung with a syllable; without a gap before, it is tied to the last."""
        start, length = int(note.start * FRAMES), max(12, int(note.duration * FRAMES))
        begin = start - unit.onset
        legato = begin - self.last_end < 20 and self.last_end > 0
        places = stretched(unit, length)
        pitch = self._pitch_curve(rng, len(places), unit.onset, note.pitch, legato, voice)
        low, high = max(0, begin), min(len(self.hertz), begin + len(places))
        if high <= low:
            return
        cut, there = slice(low - begin, high - begin), slice(low, high)
        below = np.minimum(places.astype(int), len(unit.envelope) - 2)[cut]
        share = np.clip(places[cut] - below, 0, 1)[:, None]
        self.envelope[there] = unit.envelope[below] * (1 - share) + unit.envelope[below + 1] * share
        gains = np.zeros(high - low)  # in nepers of power, at the edges of the note
        if not legato:
            gains[: EDGE // 2] -= np.linspace(6, 0, EDGE // 2)[: len(gains[: EDGE // 2])]
        gains[-EDGE:] -= np.linspace(0, 5, EDGE)[-len(gains[-EDGE:]) :]
        self.envelope[there, 0] += gains * self.neper
        self.noise[there] = unit.aperiodicity[below]
        voiced = (unit.pitch_curve[below] > 0) | (np.arange(len(places))[cut] >= unit.onset)
        self.hertz[there] = np.where(voiced, 440 * 2 ** ((pitch[cut] - 69) / 12), 0)
        self.active[there] = True
        self.active[high:], self.hertz[high:] = False, 0
        self.last_end, self.last_pitch = start + length, note.pitch

    def _pitch_curve(
        self, rng: Rng, frames: int, onset: int, pitch: int, legato: bool, voice: Voice
    ) -> Audio:
        """Return the pitch over time: a slide to the note, vibrato, slow changes."""
        from scipy import signal

        curve = np.full(frames, float(pitch))
        if legato:
            count = min(frames, onset + 12)
            rise = 1 / (1 + np.exp(-(np.arange(count) - onset * 0.8) / 2.2))
            curve[:count] = self.last_pitch + (pitch - self.last_pitch) * rise
        else:
            count = min(frames, onset + 10)
            curve[:count] -= rng.uniform(0.3, 1.2) * np.linspace(1, 0, count)
        grown = np.clip((np.arange(frames) - onset - 50) / 40, 0, 1)
        rate = rng.uniform(4.5, 6.5)
        curve += grown * voice.vibrato * np.sin(2 * np.pi * rate * np.arange(frames) / FRAMES)
        wander = signal.lfilter([0.05], [1, -0.95], rng.standard_normal(frames))
        return np.asarray(curve + wander * voice.unsteady)


def stretched(unit: Unit, length: int) -> Audio:
    """Return the frames of a unit to read: only the middle of the vowel is stretched."""
    have = len(unit.envelope) - unit.onset
    goal = [0, min(10, length // 3), max(length - 10, 2 * length // 3), length - 1]
    source = [0, min(10, have // 3), max(have - 10, 2 * have // 3), have - 1]
    vowel = np.interp(np.arange(length), goal, source)
    return np.concatenate([np.arange(unit.onset), unit.onset + vowel])
