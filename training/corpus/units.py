"""Syllables to sing with, from labelled recordings and espeak-ng's voices."""

import io
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr

from training.corpus.dsp import Rng
from training.corpus.material import CorpusError, Item, open_audio
from training.corpus.world import FRAMES, RATE, Unit, fundamental, make_units

VOWELS = frozenset("aiueo")
NO_CONSONANT = VOWELS | {"pau", "sil", "br", "cl", "N"}
TICK = 1e-7  # seconds, of a label
SECONDS = 30
WORDS = (
    "love you me now day night rain sun home way light time down blue heart road sea high low "
    "free sing fall stay gone new old long know feel dream run wind fire star moon baby never "
    "again away tonight forever waiting hold break shine burn cold world alone maybe crazy summer "
    "river money dance higher over tell show leave cry mind eyes soul hand stand believe wonder"
)
VOICES = tuple(
    f"{accent}+{variant}"
    for accent in ("en-us", "en-gb", "en-gb-scotland")
    for variant in ("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7")
)


def labelled_units(item: Item) -> list[Unit]:
    """Return the syllables of recordings with phoneme labels in `mono/NAME.lab`.

    Each line of a label file has begin, end (in units of 100 ns) and phoneme.

    Raises:
        CorpusError: A recording has no labels, or there is no syllable.
    """
    units = []
    for path in item.files():
        with open_audio(path) as file:
            mono = soxr.resample(file.read(always_2d=True).mean(1), file.samplerate, RATE)
        labels = item.path / "mono" / f"{path.stem}.lab"
        try:
            rows = [row.split() for row in labels.read_text("utf-8").splitlines() if row.strip()]
            phones = [(int(a) * TICK, int(b) * TICK, name) for a, b, name in rows]
        except (OSError, ValueError) as error:
            raise CorpusError(
                f"{labels} must have lines of begin, end, phoneme: {error}"
            ) from error
        spans, before = [], ("sil", 0.0)
        for begin, end, name in phones:
            if name in VOWELS and end - begin >= 0.09:
                spans.append((begin if before[0] in NO_CONSONANT else before[1], begin, end))
            before = (name, begin)
        units += make_units(mono, spans)
    if not units:
        raise CorpusError(f"{item.path} has no sung syllables: FLAC files and mono/NAME.lab.")
    return units


def spoken_units(rng: Rng, voice: str, count: int = 24) -> list[Unit]:
    """Return words spoken by espeak-ng as units.

    The part of a word before its first voiced frame is the consonant; the voiced part is stretched.

    Raises:
        CorpusError: espeak-ng fails.
    """
    units: list[Unit] = []
    words = WORDS.split()
    for k in rng.choice(len(words), count, replace=False):
        command = ["espeak-ng", "-v", voice, "-s", "120", "--stdout", words[k]]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
            audio, rate = sf.read(io.BytesIO(done.stdout))
        except (OSError, subprocess.SubprocessError, sf.SoundFileError) as error:
            raise CorpusError(f"espeak-ng fails with voice {voice}: {error}") from error
        mono = soxr.resample(audio, rate, RATE)
        loud = np.flatnonzero(np.abs(mono) > 0.01)
        if not len(loud):
            continue
        margin = RATE // 100
        mono = mono[max(0, loud[0] - margin) : loud[-1] + margin]
        voiced = np.flatnonzero(fundamental(mono)[0] > 0)
        if len(voiced) > 12:
            onset, end = voiced[0] / FRAMES, (voiced[-1] + 1) / FRAMES
            units += make_units(mono, [(0.0, onset, end)])
    if not units:
        raise CorpusError(f"espeak-ng speaks nothing with voice {voice}.")
    return units


def save_units(units: Sequence[Unit], path: Path) -> None:
    """Write units to an .npz file."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(unit, name) for unit in units])
        for name in ("envelope", "aperiodicity", "pitch_curve")
    }
    columns["onset"] = [unit.onset for unit in units]
    columns["pitch"] = [unit.pitch for unit in units]
    np.savez(path, lengths=[len(unit.pitch_curve) for unit in units], **columns)


@lru_cache(maxsize=1)
def load_units(path: Path) -> list[Unit]:
    """Read units that `save_units` wrote."""
    with np.load(path, allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    ends = np.cumsum(stored["lengths"])[:-1]
    frames = (np.split(stored[n], ends) for n in ("envelope", "aperiodicity", "pitch_curve"))
    rest = stored["onset"].tolist(), stored["pitch"].tolist()
    return [Unit(*row) for row in zip(*frames, *rest, strict=True)]
