"""A synthesizer for tuned parts and drums, without recordings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.corpus.dsp import SAMPLE_RATE, Audio, Rng, add, log_uniform, pass_filter, pick
from training.corpus.sampler import STROKE_OF
from training.corpus.score import Part

WAVES = ("saw", "pulse", "sine", "fm")
TABLE = 2048
RELEASE = 0.15


@dataclass(frozen=True)
class Patch:
    """The settings of one sound.

    Args:
        wave: "saw", "pulse", "sine" or "fm".
        detune: Distance of the outer of three oscillators in semitones.
        dark: Cutoff of the filter in Hz at the end of a note.
        bright: Cutoff in Hz at its start.
        attack: Seconds to full level.
        decay: Seconds in which the filter closes.
        sustain: Level of a held note.
        index: Depth of frequency modulation.
        ratio: Its frequency, in multiples of the note's.
    """

    wave: str
    detune: float
    dark: float
    bright: float
    attack: float
    decay: float
    sustain: float
    index: float
    ratio: float


def draw_patch(rng: Rng, source: str) -> Patch:
    """Return a random sound for "bass" or "other"."""
    low = source == "bass"
    return Patch(
        wave=pick(rng, WAVES),
        detune=pick(rng, [0.0, 0.03 if low else 0.08, 0.06 if low else 0.2]),
        dark=log_uniform(rng, 150, 600) if low else log_uniform(rng, 400, 4000),
        bright=log_uniform(rng, 400, 4000) if low else log_uniform(rng, 1500, 14000),
        attack=log_uniform(rng, 0.002, 0.02) if low else log_uniform(rng, 0.002, 0.2),
        decay=log_uniform(rng, 0.05, 1.5),
        sustain=rng.uniform(0.3, 1.0),
        index=log_uniform(rng, 0.5, 5),
        ratio=pick(rng, [1, 1, 2, 3, 0.5, 3.5]),
    )


def play_patch(rng: Rng, part: Part, patch: Patch, num_samples: int) -> Audio:
    """Play a part with a patch; returns (num_samples, 2) float32."""
    bright = np.zeros((num_samples, 2), np.float32)
    dark = np.zeros((num_samples, 2), np.float32)
    offsets = (0.0,) if patch.detune == 0 else (-1.0, 0.0, 1.0)
    for note in part.notes:
        count = round((min(note.duration, 8.0) + RELEASE) * SAMPLE_RATE)
        time = np.arange(count) / SAMPLE_RATE
        wave = np.zeros((count, 2), np.float32)
        for offset in offsets:  # oscillators spread over the two channels
            hertz = 440 * 2 ** ((note.pitch + offset * patch.detune - 69) / 12)
            phase = hertz * time + rng.random()
            if patch.wave == "fm":
                turn = 2 * np.pi * phase
                turn += patch.index * np.sin(patch.ratio * turn)
                sound = np.sin(turn).astype(np.float32)
            else:
                table = wave_table(patch.wave, max(1, min(200, int(16000 / hertz))))
                sound = table[(phase * TABLE).astype(np.int64) % TABLE]
            wave += sound[:, None] * np.array([1 - 0.6 * offset, 1 + 0.6 * offset], np.float32)
        wave *= np.float32(0.2 / len(offsets))
        time = np.arange(count, dtype=np.float32) / SAMPLE_RATE
        share = np.exp(-time / patch.decay)
        held = patch.sustain + (1 - patch.sustain) * share
        loud = held * np.minimum(1, time / patch.attack) * (note.velocity / 100)
        loud *= np.clip((note.duration + RELEASE - time) / RELEASE, 0, 1)
        start = round(note.start * SAMPLE_RATE)
        # a filter that closes on every note, for the cost of two: a blend of two fixed ones
        add(bright, wave * (loud * share)[:, None], start)
        add(dark, wave * (loud * (1 - share))[:, None], start)
    return pass_filter(bright, patch.bright, high=False) + pass_filter(dark, patch.dark, high=False)


@lru_cache(maxsize=1000)
def wave_table(wave: str, harmonics: int) -> Audio:
    """Return one period with a limited number of harmonics."""
    numbers = np.arange(1, harmonics + 1)
    levels = {"saw": 1 / numbers, "pulse": (numbers % 2) / numbers, "sine": (numbers == 1) * 1.0}
    turns = 2 * np.pi * np.arange(TABLE)[:, None] / TABLE * numbers
    return np.asarray((np.sin(turns) * levels[wave]).sum(1), np.float32)


def play_machine(rng: Rng, part: Part, num_samples: int) -> Audio:
    """Play a drum part with the strokes of a drum machine; (num_samples, 2) float32."""
    total = np.zeros((num_samples, 2), np.float32)
    strokes: dict[int, tuple[Audio, float]] = {}
    for note in part.notes:
        if note.pitch not in strokes:
            strokes[note.pitch] = machine_stroke(rng, note.pitch), rng.normal(0, 0.15)
        wave, side = strokes[note.pitch]
        sides = np.array([1 - side, 1 + side]) * (note.velocity / 100) ** 1.5
        add(total, (wave[:, None] * sides).astype(np.float32), round(note.start * SAMPLE_RATE))
    return total


def machine_stroke(rng: Rng, number: int) -> Audio:
    """Return one stroke of General MIDI's drum map, mono."""
    stroke = STROKE_OF.get(number, "percussion")
    if stroke == "kick":
        swept = _sweep(rng, log_uniform(rng, 40, 65), log_uniform(rng, 120, 600), (0.1, 0.7))
        return _sum(swept, 0.3 * _noise(rng, 0.01, 2000, 16000))
    if stroke == "snare":
        tone = _sweep(rng, log_uniform(rng, 140, 260), log_uniform(rng, 260, 500), (0.06, 0.2))
        high = log_uniform(rng, 6000, 16000)
        return _sum(0.6 * tone, _noise(rng, log_uniform(rng, 0.06, 0.3), 900, high))
    if stroke == "tom":
        return _sweep(rng, 70 + 6 * (number - 40), 160 + 10 * (number - 40), (0.15, 0.5))
    if stroke == "percussion":
        return _sweep(rng, log_uniform(rng, 200, 900), log_uniform(rng, 300, 1500), (0.03, 0.2))
    decay = {"closed_hat": 0.05, "open_hat": 0.3, "ride": 0.6, "crash": 1.2}[stroke]
    low = log_uniform(rng, 2500, 8000)
    return 0.5 * _noise(rng, decay * log_uniform(rng, 0.5, 2), low, log_uniform(rng, 9e3, 18e3))


def _sweep(rng: Rng, low: float, high: float, decays: tuple[float, float]) -> Audio:
    """Return a sine that falls in pitch and fades away."""
    decay = log_uniform(rng, *decays)
    time = np.arange(round(5 * decay * SAMPLE_RATE)) / SAMPLE_RATE
    hertz = low + (high - low) * np.exp(-time / log_uniform(rng, 0.005, 0.06))
    turns = np.cumsum(hertz) / SAMPLE_RATE
    return np.asarray(np.sin(2 * np.pi * turns) * np.exp(-time / decay))


def _noise(rng: Rng, decay: float, low: float, high: float) -> Audio:
    count = max(64, round(5 * decay * SAMPLE_RATE))
    fall = np.exp(-np.arange(count) / SAMPLE_RATE / decay)
    noise = (rng.standard_normal(count) * fall)[:, None]
    noise = pass_filter(pass_filter(noise, low, high=True), high, high=False)
    return noise[:, 0] / max(float(np.abs(noise).max()), 1e-9)


def _sum(first: Audio, second: Audio) -> Audio:
    total = np.zeros(max(len(first), len(second)))
    total[: len(first)] += first
    total[: len(second)] += second
    return total
