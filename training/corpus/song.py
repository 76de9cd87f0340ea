"""One song: a singer, the key and tempo that follow, a band, and the mix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from training.corpus import takes
from training.corpus.dsp import (
    SAMPLE_RATE,
    Audio,
    Rng,
    add,
    chance,
    gain,
    level,
    log_uniform,
    pan,
    pick,
)
from training.corpus.effects import NOMINAL, limiter_curve, treat
from training.corpus.material import SOURCES, Item
from training.corpus.mma import write_mma
from training.corpus.patterns import harmony, write_melody, write_patterns
from training.corpus.score import Chart, draw_chart
from training.corpus.studio import SCORES, Studio, draw, play
from training.corpus.units import VOICES, load_units, spoken_units
from training.corpus.world import Voice, revoice, sing

FULL_SCALE = 32767
LEVELS = {  # mean and spread in dB of each source, before the mix is made louder or softer
    "bass": (-22.5, 4.0),
    "drums": (-23.5, 4.0),
    "other": (-22.0, 3.0),
    "vocals": (-21.0, 2.8),
}
BAND_LEVEL = (-18.0, 3.5)  # of a whole band in the place of `other`
LOUDNESS = (-16.0, 2.5)
VOICES_OF_UNITS = (  # semitones, and the factor of the formants
    (0, 1.0), (0, 0.95), (-2, 0.93), (2, 1.06), (3, 1.1), (-5, 0.88), (-9, 0.83), (-12, 0.8),
)  # fmt: skip
Stems = dict[str, Audio]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Singing:
    """A voice, and the chart that the band follows.

    Args:
        chart: Tempo and chords.
        used: Names of what was used.
        finished: Whether it is a mixed stem, which gets no more effects.
    """

    audio: Audio
    chart: Chart
    used: list[str]
    finished: bool = False


def render_song(
    seeds: Sequence[int], studio: Studio, seconds: float, folder: Path
) -> tuple[Stems, Facts]:
    """Render a song.

    Args:
        seeds: The same seeds and studio give the same samples.
        studio: The instruments and voices.
        seconds: Length of the song.
        folder: An empty folder for the files of programs.

    Returns:
        int16 stems (num_samples, 2) whose sum fits into int16, and facts for the manifest.
    """
    rng = np.random.default_rng(seeds)
    num_samples = round(seconds * SAMPLE_RATE)
    singer, writer, band, mixer = rng.spawn(4)
    singing = sing_somehow(singer, studio, seconds)
    chart, style = singing.chart, pick(writer, [n for n in SCORES if n in studio.abilities])
    if style == "mma":
        parts, groove = write_mma(writer, chart, folder)
        style += f" {groove}"
    else:
        parts = write_patterns(writer, chart)
    stems, used = {"vocals": singing.audio}, {"vocals": singing.used}
    for source in ("bass", "drums", "other"):
        mine = [part for part in parts if part.source == source]
        stems[source], used[source] = play(band, studio, mine, num_samples, folder)
    guitars = studio.find(["takes"], "other") if "takes" in studio.abilities else []
    if guitars and chance(band, 0.3):  # over the accompaniment, or instead of it
        item = pick(band, guitars)
        audio = in_key(band, takes.excerpt, item, num_samples, chart, 3)
        loudness = level(audio)
        if loudness:
            stems["other"] *= np.float32(pick(band, [0.0, 0.3, 1.0]))
            factor = np.float32(NOMINAL / loudness * gain(band.uniform(-4, 4)))
            add(stems["other"], audio * factor, 0)
            used["other"].append(item.name)
    loops = studio.find(["loops"], "drums")
    if loops and chance(band, 0.12):  # over the drums, or instead of them
        item = pick(band, loops)
        audio = takes.loop(band, item, chart, num_samples)
        stems["drums"] *= np.float32(pick(band, [0.0, 1.0, 1.0]))
        factor = np.float32(NOMINAL / max(level(audio), 1e-9) * gain(band.uniform(-12, 3)))
        add(stems["drums"], audio * factor, 0)
        used["drums"].append(item.name)
    for source in SOURCES:
        if source != "vocals" or not singing.finished:
            stems[source] = treat(mixer, stems[source], source, chart.beat)
    facts = {"score": style, "tempo": round(chart.tempo, 2), "key": chart.key, "used": used}
    return mix(mixer, stems), facts


def render_band(seeds: Sequence[int], studio: Studio, seconds: float) -> tuple[Stems, Facts]:
    """Render a voice over the recording of a whole band, the stem `other`; two stems are silent.

    The band is played faster or slower, by at most two semitones, if this brings it into the
    singer's key.
    """
    rng = np.random.default_rng(seeds)
    num_samples = round(seconds * SAMPLE_RATE)
    singer, chooser, mixer = rng.spawn(3)
    bands = studio.find(["bands"], "other")
    minutes = [sum(takes.band_seconds(p) for p in item.recordings()) for item in bands]
    item = bands[int(chooser.choice(len(bands), p=np.array(minutes) / sum(minutes)))]
    singing = sing_somehow(singer, studio, seconds)
    audio = in_key(chooser, takes.band, item, num_samples, singing.chart, 2)
    stems = {source: np.zeros((num_samples, 2), np.float32) for source in SOURCES}
    stems |= {"vocals": singing.audio, "other": audio}
    if not singing.finished:
        stems["vocals"] = treat(mixer, singing.audio, "vocals", singing.chart.beat)
    facts = {"score": "band", "used": {"other": [item.name], "vocals": singing.used}}
    return mix(mixer, stems, LEVELS | {"other": BAND_LEVEL}), facts


def in_key(
    rng: Rng,
    play: Callable[[Rng, Item, int, float], Audio],
    item: Item,
    num_samples: int,
    chart: Chart,
    furthest: int,
) -> Audio:
    """Return a recording, played faster or slower if this brings it into the chart's key.

    Args:
        rng: Chooses the excerpt.
        play: Plays an item faster by some semitones.
        item: The material.
        num_samples: Length of the result.
        chart: Its key is used.
        furthest: Largest shift in semitones that does not harm the sound.
    """
    state = int(rng.integers(2**32))
    audio = play(np.random.default_rng(state), item, num_samples, 0)
    shift = takes.nearest_shift(audio, chart.tonic, chart.minor)
    if 0 < abs(shift) <= furthest:
        audio = play(np.random.default_rng(state), item, num_samples, shift)
    return audio


def mix(rng: Rng, stems: Stems, levels: dict[str, tuple[float, float]] = LEVELS) -> Stems:
    """Balance, limit and round stems so that they and their sum fit into 16 bits.

    The limiter's gain is computed for the sum and applied to every stem.

    Args:
        rng: Chooses the balance and the loudness.
        stems: float32 by source; silent ones stay silent.
        levels: Mean and spread of each source's level in dB.

    Returns:
        int16 by source.
    """
    balanced = {}
    for source in SOURCES:
        mean, spread = levels[source]
        decibels = mean + spread * float(np.clip(rng.standard_normal(), -2, 2))
        loudness = level(stems[source])
        factor = gain(decibels) / loudness if loudness else 0.0
        # a single high peak, for example of a bad sample, would make the whole mix quiet
        most = np.float32(10 * gain(decibels))
        balanced[source] = np.asarray(np.tanh(stems[source] * np.float32(factor) / most) * most)
    total = sum(balanced.values(), np.zeros_like(balanced["bass"]))
    wanted = LOUDNESS[0] + LOUDNESS[1] * float(np.clip(rng.standard_normal(), -2, 2))
    factor = gain(wanted) / max(level(total), 1e-9) if total.any() else 0.0
    ceiling = gain(rng.uniform(-2, -0.15))
    curve = limiter_curve(total * np.float32(factor), ceiling) * np.float32(factor)
    limited = {source: audio * curve[:, None] for source, audio in balanced.items()}
    highest = max(float(np.abs(audio).max()) for audio in limited.values())
    factor = FULL_SCALE * min(1.0, 0.99 / max(highest, 1e-9))
    return {
        source: np.rint(a * np.float32(factor)).astype(np.int16) for source, a in limited.items()
    }


def sing_somehow(rng: Rng, studio: Studio, seconds: float) -> Singing:
    """Return singing of a random available kind."""
    kind = draw(rng, studio.voices())
    makers: dict[str, Callable[[Rng, Studio, float], Singing]] = {
        "takes": sing_takes,
        "songs": sing_song,
        "units": partial(sing_tune, spoken=False),
        "espeak": partial(sing_tune, spoken=True),
    }
    singing = makers[kind](rng, studio, seconds)
    if not singing.finished and chance(rng, 0.3):
        singing = replace(singing, audio=takes.doubled(rng, singing.audio))
    return singing


def sing_takes(rng: Rng, studio: Studio, seconds: float) -> Singing:
    """Return recordings of a singer; the band plays in their key."""
    item = pick(rng, studio.find(["takes", "units"], "vocals"))
    other_voice = "units" in studio.abilities and chance(rng, 0.2)
    shift = rng.uniform(-1, 1) if other_voice else rng.uniform(-3, 3)
    rests = log_uniform(rng, 0.2, 4)
    audio = takes.performance(rng, item, round(seconds * SAMPLE_RATE), shift, rests)
    name = item.name
    if other_voice:
        semitones = float(pick(rng, [-7, -5, -4, -3, 3, 4, 5, 7]))
        audio = revoice(audio, Voice(semitones, float(rng.uniform(0.85, 1.18))))
        name += ": another voice"
    tonic, minor = takes.find_key(audio)
    return Singing(audio, draw_chart(rng, seconds, draw_tempo(rng), tonic, minor), [name])


def sing_song(rng: Rng, studio: Studio, seconds: float) -> Singing:
    """Return the singing of a mixed song, at its tempo and in its key."""
    item = pick(rng, studio.find(["songs"], "vocals"))
    name = pick(rng, sorted(item.songs))
    tempo, tonic, minor = item.songs[name]
    shift = int(rng.integers(-2, 3))
    audio = takes.song_vocals(rng, item.path / name, tempo, round(seconds * SAMPLE_RATE), shift)
    chart = draw_chart(rng, seconds, tempo * 2 ** (shift / 12), (tonic + shift) % 12, minor)
    return Singing(audio, chart, [f"{item.name}: {name}"], finished=chance(rng, 0.6))


def sing_tune(rng: Rng, studio: Studio, seconds: float, spoken: bool) -> Singing:
    """Return a tune sung with syllables of recordings, or with words spoken by espeak-ng.

    Often a second voice sings above or below it in the chorus.
    """
    chart = draw_chart(rng, seconds, draw_tempo(rng), int(rng.integers(12)), int(chance(rng, 0.45)))
    if studio.units and not spoken:
        units = load_units(studio.units)
        name = ", ".join(item.name for item in studio.items if item.use == "units")
        name += ": syllables"
        shift, formants = pick(rng, VOICES_OF_UNITS)
        low, high = 62 + shift, 78 + shift
    else:
        speaker = pick(rng, VOICES)
        units, name = spoken_units(rng, speaker), f"espeak-ng: {speaker}"
        shift, formants = 0, rng.uniform(0.94, 1.06)
        low, high = (57, 74) if "+f" in speaker else (45, 62)
    voice = Voice(shift, formants, rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.3))
    notes = write_melody(rng, chart, low, high)
    num_samples = round(seconds * SAMPLE_RATE)
    audio = np.repeat(sing(rng, units, notes, num_samples, voice)[:, None], 2, axis=1)
    second = harmony(notes, chart, pick(rng, [2, 2, -2, 4, 7])) if chance(rng, 0.4) else []
    if second:
        other = sing(rng, units, second, num_samples, voice)[:, None]
        quiet = np.float32(gain(rng.uniform(-12, -3)))
        audio += pan(np.repeat(other, 2, axis=1), rng.uniform(-0.8, 0.8)) * quiet
    return Singing(audio, chart, [name])


def draw_tempo(rng: Rng) -> float:
    """Return beats a minute, 62 to 185, mostly about 115."""
    return round(float(np.clip(rng.normal(115, 25), 62, 185)), 1)
