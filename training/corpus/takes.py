"""Recordings of singers, guitars, bands and loops: cut, joined and repitched."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.corpus.dsp import (
    SAMPLE_RATE,
    Audio,
    Rng,
    add,
    chance,
    fade,
    fit,
    level,
    pick,
    varispeed,
)
from training.corpus.effects import NOMINAL
from training.corpus.material import CorpusError, Item, load, load_part, seconds_of
from training.corpus.score import BEATS, Chart

LONGEST = 14.0  # seconds of a phrase taken at once
# How well each pitch class fits a key, starting at its tonic. Source: C. Krumhansl, Cognitive
# Foundations of Musical Pitch, 1990.
PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
WINDOW = 8192


def performance(rng: Rng, item: Item, num_samples: int, shift: float, rests: float) -> Audio:
    """Join recordings of one performer.

    Args:
        rng: Chooses performer, recordings and rests.
        item: Material of use "takes", or "units".
        num_samples: Length of the result.
        shift: Semitones by which they are played faster.
        rests: Longest silence between two recordings in seconds.

    Returns:
        (num_samples, 2) float32; each recording at the same level.
    """
    ratio = 2 ** (shift / 12)
    files = item.some_files(pick(rng, item.sets))
    total = np.zeros((num_samples, 2), np.float32)
    place = round(rng.uniform(0, rests) * SAMPLE_RATE)
    while place < num_samples:
        path, longest = pick(rng, files), LONGEST * ratio
        start = rng.uniform(0, max(0.0, seconds_of(path) - longest))
        audio = load_part(path, start, longest)
        loud = np.flatnonzero(np.abs(audio).max(1) > 0.02 * np.abs(audio).max(initial=0))
        audio = varispeed(audio[loud[0] : loud[-1] + 1] if len(loud) else audio, ratio)
        loudness = level(audio)
        if loudness:
            add(total, fade(audio, 0.02) * np.float32(NOMINAL / loudness), place)
        place += len(audio) + round(rng.uniform(0, rests) * SAMPLE_RATE) + 1
    return total


def excerpt(rng: Rng, item: Item, num_samples: int, shift: float) -> Audio:
    """Return an excerpt of a recording, played faster by `shift` semitones."""
    ratio = 2 ** (shift / 12)
    path = pick(rng, item.some_files(pick(rng, item.sets)))
    seconds = (num_samples / SAMPLE_RATE) * ratio + 0.1
    start = rng.uniform(0, max(0.0, seconds_of(path) - seconds))
    return fade(fit(varispeed(load_part(path, start, seconds), ratio), num_samples), 0.02)


def band(rng: Rng, item: Item, num_samples: int, shift: float) -> Audio:
    """Return an excerpt of a band's recording, all tracks added, faster by `shift` semitones."""
    ratio = 2 ** (shift / 12)
    found = item.recordings()
    minutes = np.array([band_seconds(paths) for paths in found])
    paths = found[int(rng.choice(len(found), p=minutes / minutes.sum()))]
    seconds = (num_samples / SAMPLE_RATE) * ratio + 0.1
    start = rng.uniform(0, max(0.0, band_seconds(paths) - seconds))
    total = np.zeros((num_samples, 2), np.float32)
    for path in paths:
        add(total, fade(varispeed(load_part(path, start, seconds), ratio), 0.02), 0)
    return total


def band_seconds(paths: Sequence[Path]) -> float:
    """Return the length of a recording with several tracks, which is that of its shortest."""
    return min(seconds_of(path) for path in paths)


def loop(rng: Rng, item: Item, chart: Chart, num_samples: int) -> Audio:
    """Repeat a loop, at a speed at which it lasts a whole number of beats."""
    audio = load(pick(rng, item.some_files()))
    beats = len(audio) / SAMPLE_RATE / chart.beat
    whole = max(1, round(beats))
    audio = varispeed(audio, beats / whole)
    total = np.zeros((num_samples, 2), np.float32)
    for k in range(int(num_samples / SAMPLE_RATE / chart.beat / whole) + 1):
        add(total, fade(audio, 0.002), round(k * whole * chart.beat * SAMPLE_RATE))
    return total


def song_vocals(rng: Rng, folder: Path, tempo: float, num_samples: int, shift: float) -> Audio:
    """Return the singing of a song from the beginning of one of its bars.

    Args:
        rng: Chooses a bar that is followed by much singing.
        folder: The song, with vocals.wav, .flac or .ogg.
        tempo: Its beats per minute.
        num_samples: Length of the result.
        shift: Semitones by which it is played faster; its tempo rises too.
    """
    path = next((p for p in sorted(folder.glob("vocals.*"))), None)
    if path is None:
        raise CorpusError(f"{folder} has no vocals.wav, .flac or .ogg.")
    bar, ratio = 60 / tempo * BEATS, 2 ** (shift / 12)
    seconds = num_samples / SAMPLE_RATE * ratio
    audio, size = load_part(path, 0, None), round(bar * SAMPLE_RATE)
    bars = [np.abs(audio[k : k + size]).max() > 1e-2 for k in range(0, len(audio), size)]
    need = max(1, min(len(bars), int(np.ceil(seconds / bar))))
    busy = np.convolve(bars, np.ones(need), "valid")
    first = int(pick(rng, np.flatnonzero(busy >= busy.max() * 0.7).tolist()))
    return fit(varispeed(load_part(path, first * bar, seconds + 0.1), ratio), num_samples)


def find_key(audio: Audio) -> tuple[int, int]:
    """Return the most likely key of a recording: tonic 0 to 11, and 1 for minor.

    Example:
        >>> time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
        >>> tones = sum(np.sin(2 * np.pi * 440 * 2 ** (k / 12) * time) for k in (0, 3, 7))
        >>> find_key(np.repeat(tones[:, None], 2, axis=1))
        (9, 1)
    """
    mono = audio.mean(1)
    frames = mono[: len(mono) // WINDOW * WINDOW].reshape(-1, WINDOW) * np.hanning(WINDOW)
    powers = (np.abs(np.fft.rfft(frames)) ** 2).sum(0)
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    heard = (hertz > 80) & (hertz < 1500)
    classes = np.rint(69 + 12 * np.log2(hertz[heard] / 440)).astype(int) % 12
    chroma = np.sqrt(np.bincount(classes, powers[heard], 12))
    fits = np.array([[np.roll(p, k) @ chroma / np.sum(p) for p in PROFILES] for k in range(12)])
    tonic, minor = np.unravel_index(int(fits.argmax()), fits.shape)
    return int(tonic), int(minor)


def nearest_shift(audio: Audio, tonic: int, minor: int) -> int:
    """Return the semitones, -6 to 5, from a recording's key to another key or its relative."""
    own, own_minor = find_key(audio)
    relative = (3 if own_minor else 0) - (3 if minor else 0)
    return (tonic - own - relative + 6) % 12 - 6


def doubled(rng: Rng, audio: Audio) -> Audio:
    """Double a voice: add copies left and right, delayed and slightly out of tune."""
    total = audio.copy()
    spread, quiet = rng.uniform(0.3, 1), rng.uniform(0.3, 0.9)
    for side in (-1, 1):
        delay = round(rng.uniform(0.012, 0.035) * SAMPLE_RATE)
        wander = np.cumsum(rng.standard_normal(len(audio) // SAMPLE_RATE + 3))
        time = np.arange(len(audio))
        late = delay + 120 * np.sin(np.interp(time / SAMPLE_RATE, np.arange(len(wander)), wander))
        copy = np.interp(time - late, time, audio.mean(1)).astype(np.float32)
        sides = np.array([1 - side * spread, 1 + side * spread]) * quiet / 2
        total += (copy[:, None] * sides).astype(np.float32)
        if chance(rng, 0.2):
            break
    return total
