"""The instruments and voices of a corpus, and the choice of one for each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from training.corpus import sampler, soundfonts, synth
from training.corpus.dsp import Audio, Rng, chance, gain, level, log_uniform, pan, pick
from training.corpus.effects import NOMINAL, amplifier, widen
from training.corpus.material import CorpusError, Item, Soundfont
from training.corpus.score import DRUMS, Part, humanize

SCORES = ("patterns", "mma")
INSTRUMENTS = ("soundfonts", "samples", "synth")
VOICES = ("takes", "units", "songs", "espeak")
ABILITIES = SCORES + INSTRUMENTS + VOICES
GUITAR_PROGRAMS = range(24, 32)
BASS_PROGRAMS = (*range(32, 40), 43, 33, 34, 33, 34)
SHARES = {  # how often each kind is chosen if all are available
    "bass": {"soundfonts": 0.4, "samples": 0.4, "synth": 0.2},
    "drums": {"soundfonts": 0.5, "samples": 0.35, "synth": 0.15},
    "other": {"soundfonts": 0.5, "samples": 0.35, "synth": 0.15},
}


@dataclass(frozen=True)
class Studio:
    """The instruments and voices of a corpus.

    Args:
        abilities: The names in ABILITIES that may be used.
        items: Folders of material.
        fonts: Soundfonts.
        units: The file of syllables, or None.
    """

    abilities: frozenset[str]
    items: tuple[Item, ...] = ()
    fonts: tuple[Soundfont, ...] = ()
    units: Path | None = None

    def find(self, uses: Sequence[str], source: str) -> list[Item]:
        """Return the material for a source with one of the uses."""
        return [item for item in self.items if item.use in uses and item.source == source]

    def instruments(self, source: str) -> dict[str, float]:
        """Return the kinds of instruments for a source, with their shares.

        Raises:
            CorpusError: There is none.
        """
        use = "hits" if source == "drums" else "notes"
        there = {
            "soundfonts": bool([f for f in self.fonts if source == "drums" or not f.kit]),
            "samples": bool(self.find([use], source)),
            "synth": True,
        }
        shares = {n: s for n, s in SHARES[source].items() if n in self.abilities and there[n]}
        if not shares:
            raise CorpusError(
                f"nothing plays {source}: add --material with {use} for it, or add soundfonts or "
                "synth to --use."
            )
        return shares

    def voices(self) -> dict[str, float]:
        """Return the available kinds of singing, with their shares.

        Raises:
            CorpusError: There is none.
        """
        shares = {
            "takes": 0.4 * bool(self.find(["takes", "units"], "vocals")),
            "units": 0.25 * (self.units is not None),
            "songs": 0.2 * bool(self.find(["songs"], "vocals")),
            "espeak": 0.15,
        }
        shares = {name: s for name, s in shares.items() if s and name in self.abilities}
        if not shares:
            raise CorpusError(
                "nobody sings: add --material with takes, units or songs, or add espeak to --use."
            )
        return shares


def draw(rng: Rng, shares: dict[str, float]) -> str:
    """Return a random name, with probabilities in proportion to the shares."""
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def play(
    rng: Rng, studio: Studio, parts: Sequence[Part], num_samples: int, folder: Path
) -> tuple[Audio, list[str]]:
    """Play all parts of one source, each with its own instrument and stereo position.

    Returns:
        (num_samples, 2) float32, and what was used: "NAME" or "NAME: DETAIL".
    """
    total, used = np.zeros((num_samples, 2), np.float32), []
    for part in parts:
        kind = draw(rng, studio.instruments(part.source))
        timing, dynamics = log_uniform(rng, 0.001, 0.012), rng.uniform(3, 12)
        played = replace(part, notes=humanize(rng, part.notes, timing, dynamics))
        if part.program == DRUMS:
            audio, name = play_drums(rng, studio, kind, played, num_samples, folder)
        else:
            seed = int(rng.integers(2**32))
            make = partial(play_tuned, studio, kind, num_samples, folder)
            audio, name, guitar = make(np.random.default_rng(seed), played)
            if guitar and chance(rng, 0.4):  # the same instrument recorded twice, left and right
                again = replace(part, notes=humanize(rng, part.notes, timing, dynamics))
                second, _, _ = make(np.random.default_rng(seed), again)
                side = rng.uniform(0.6, 1)
                audio = pan(widen(audio, 0), -side) + pan(widen(second, 0), side)
            if guitar and (part.program in (29, 30) or chance(rng, 0.35)):
                # the soundfonts' distorted guitars are driven already
                hot = kind == "soundfonts" and part.program in (29, 30)
                audio = amplifier(rng, audio, log_uniform(rng, 1, 4 if hot else 16))
                name += ", driven"
        loudness = level(audio)
        if not loudness:
            continue
        if part.source == "other":
            loudness /= gain(rng.uniform(-9, 0))
            audio = pan(audio, float(np.clip(rng.normal(0, 0.35), -0.95, 0.95)))
        total += audio * np.float32(NOMINAL / loudness)
        used.append(name)
    return total, used


def play_drums(
    rng: Rng, studio: Studio, kind: str, part: Part, num_samples: int, folder: Path
) -> tuple[Audio, str]:
    """Play a drum part with a kind of instrument; return its sound and name."""
    if kind == "synth":
        return synth.play_machine(rng, part, num_samples), "synth: machine"
    if kind == "samples":
        kits = studio.find(["hits"], "drums")
        first = pick(rng, [kit for kit in kits for _ in range(8 if kit.kit else 1)])
        rest = [kits[k] for k in rng.permutation(len(kits)) if kits[k] is not first]
        names = ", ".join([first.name, *(kit.name for kit in rest)])
        return sampler.play_kit(rng, part, [first, *rest], num_samples), names
    font = pick(rng, [font for font in studio.fonts for _ in range(2 if font.kit else 1)])
    return soundfonts.play(rng, part, font, num_samples, folder), font.name


def play_tuned(
    studio: Studio, kind: str, num_samples: int, folder: Path, rng: Rng, part: Part
) -> tuple[Audio, str, bool]:
    """Play any other part; return its sound, its name, and whether it is a guitar."""
    if kind == "synth":
        patch = synth.draw_patch(rng, part.source)
        return synth.play_patch(rng, part, patch, num_samples), f"synth: {patch.wave}", False
    if kind == "samples":
        item = pick(rng, studio.find(["notes"], part.source))
        audio, style = sampler.play_notes(rng, part, item, num_samples)
        return audio, f"{item.name}: {style}", "guitar" in item.name
    font = pick(rng, [font for font in studio.fonts if not font.kit])
    program, family = part.program, part.program // 8 * 8
    if part.source == "bass":
        program = pick(rng, BASS_PROGRAMS)
    elif family < 96 and not chance(rng, 0.6):  # one of its family of eight; no sound effects
        program = family + int(rng.integers(8))
    part = replace(part, program=program)
    audio = soundfonts.play(rng, part, font, num_samples, folder)
    return audio, f"{font.name}: program {program}", program in GUITAR_PROGRAMS
