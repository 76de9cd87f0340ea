"""The corpus on disk: songs, which appear when they are complete, and the manifest."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from training.corpus.dsp import SAMPLE_RATE, Audio
from training.corpus.material import SOURCES, CorpusError, Item, Soundfont
from training.train.run_folder import write_json

MANIFEST = "manifest.json"
SONG = "song.json"
PARTIAL = ".partial-"
PROGRAM_CREDITS = {
    "espeak-ng": "voices of eSpeak NG (the program is GPL-3.0-or-later; its output is not)"
}


def write_song(
    place: Path, stems: Mapping[str, Audio], facts: Mapping[str, Any], ending: str
) -> None:
    """Write stems, their exact sum and facts to a hidden folder, then rename it.

    Args:
        place: The song's folder, which does not exist.
        stems: int16, (num_samples, 2), by source; the sum fits into int16.
        facts: Written as song.json.
        ending: "wav" or "flac".
    """
    hidden = place.with_name(f"{PARTIAL}{os.getpid()}-{place.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    try:
        total = np.sum([stems[source].astype(np.int32) for source in SOURCES], axis=0)
        if np.abs(total).max() > np.iinfo(np.int16).max:
            raise CorpusError(f"{place.name}: the mixture does not fit into 16 bits.")
        for name, audio in {**stems, "mixture": total.astype(np.int16)}.items():
            sf.write(hidden / f"{name}.{ending}", audio, SAMPLE_RATE, subtype="PCM_16")
        write_json(hidden / SONG, facts)
        hidden.rename(place)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def start(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder of a corpus, or check that it contains one with the same settings.

    Raises:
        CorpusError: It contains something else, or a corpus with other settings.
    """
    manifest = out / MANIFEST
    if manifest.is_file():
        stored = _read(manifest).get("settings")
        if not isinstance(stored, dict):
            raise CorpusError(f"{manifest} must have settings; received {stored!r}.")
        # a missing setting is off
        have, want = ({k: of.get(k, False) for k in stored | settings} for of in (stored, settings))
        wrong = [key for key in have if have[key] != want[key]]
        if wrong:
            raise CorpusError(
                f"{out} holds a corpus with other settings ({ {key: have[key] for key in wrong} } "
                f"there, { {key: want[key] for key in wrong} } asked for): choose another --out."
            )
    elif out.exists() and any(out.iterdir()):
        raise CorpusError(f"{out} holds something that is no corpus: choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    if not manifest.is_file():
        write_json(manifest, {"settings": settings})


def clean(out: Path) -> None:
    """Remove the unfinished files of a run that was stopped or killed."""
    for leftover in [*out.glob(f"{PARTIAL}*"), *out.glob(f"*/{PARTIAL}*")]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def write_manifest(
    out: Path, settings: Mapping[str, Any], sources: Sequence[Item | Soundfont]
) -> dict[str, Any]:
    """Write the settings, the songs, and the sources used with their credits.

    Args:
        out: The corpus.
        settings: The settings of the corpus.
        sources: All sources that could be used.

    Returns:
        The manifest. `share_alike` lists the sources whose license also applies to the songs.
    """
    songs = {path.parent.name: _read(path) for path in sorted(out.glob(f"*/*/{SONG}"))}
    names = {name for song in songs.values() for used in song["used"].values() for name in used}
    told = ("name", "license", "credit", "share_alike")
    credits = [
        {key: getattr(source, key) for key in told}
        for source in sources
        if any(source.name in name for name in names)
    ]
    manifest = {
        "settings": settings,
        "num_songs": len(songs),
        "sources": credits,
        "programs": [
            text for key, text in PROGRAM_CREDITS.items() if any(n.startswith(key) for n in names)
        ],
        "share_alike": [credit["name"] for credit in credits if credit["share_alike"]],
        "songs": songs,
    }
    write_json(out / MANIFEST, manifest)
    return manifest


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CorpusError(f"{path} must hold a JSON object.")
    return value
