"""Sound material: folders and soundfonts, each with its license and credit."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr

from keras_mmdense.data.tracks import to_channels
from keras_mmdense.errors import SettingsError
from training.corpus.dsp import SAMPLE_RATE, Audio

CATALOGUE = Path(__file__).with_name("catalogue.toml")
SELF_DESCRIPTION = "material.toml"
MAX_BYTES = 1 << 20
USES = ("notes", "hits", "loops", "takes", "units", "songs", "bands")
SOURCES = ("bass", "drums", "other", "vocals")
SUFFIXES = (".wav", ".flac", ".ogg")
SOUNDFONTS = (Path("/usr/share/sounds/sf2"), Path("/usr/share/sounds/sf3"))


class CorpusError(SettingsError):
    """A corpus cannot be rendered."""


@dataclass(frozen=True)
class Item:
    """A folder of material.

    Args:
        name: Its name in the catalogue.
        path: The folder.
        use: "notes", "hits", "loops", "takes", "units", "songs" or "bands"; catalogue.toml
            explains them.
        source: "bass", "drums", "other" or "vocals".
        license: License of the audio.
        credit: Whom to credit.
        share_alike: Whether works that contain the audio need the same license.
        sets: Patterns of file names that belong together; for bands, of files and folders, each of
            which is a recording.
        kit: Patterns of file names by stroke.
        songs: Tempo, tonic and mode by song.
    """

    name: str
    path: Path
    use: str
    source: str
    license: str
    credit: str
    share_alike: bool = False
    sets: tuple[str, ...] = ("*",)
    kit: dict[str, list[str]] = field(default_factory=dict, hash=False)
    songs: dict[str, list[int]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check use, source, sets and songs."""
        if self.use not in USES or self.source not in SOURCES:
            raise CorpusError(
                f"material {self.name}: use must be one of {', '.join(USES)} and source one of "
                f"{', '.join(SOURCES)}; received {self.use!r}, {self.source!r}."
            )
        listed = type(self.sets) is tuple and all(type(pattern) is str for pattern in self.sets)
        if not listed or not self.sets:
            raise CorpusError(
                f"material {self.name}: sets must be a list of patterns; received {self.sets!r}."
            )
        songs = self.songs.values() if type(self.songs) is dict else [None]
        if any(type(song) is not list or len(song) != 3 for song in songs):
            raise CorpusError(
                f"material {self.name}: songs must be tables of [tempo, tonic, minor]; received "
                f"{self.songs!r}."
            )
        if self.use == "bands" and self.source != "other":
            raise CorpusError(
                f"material {self.name}: a band's source must be other, whose place it takes; "
                f"received {self.source!r}."
            )

    def files(self, pattern: str = "*") -> list[Path]:
        """Return the audio files that match a pattern, sorted by name."""
        return sorted(p for p in self.path.glob(pattern) if p.suffix.lower() in SUFFIXES)

    def some_files(self, pattern: str = "*") -> list[Path]:
        """Return the audio files that match a pattern.

        Raises:
            CorpusError: There are none.
        """
        found = self.files(pattern)
        if not found:
            raise CorpusError(f"{self.path} must have audio files for {pattern}; it has none.")
        return found

    def recordings(self) -> list[tuple[Path, ...]]:
        """Return the recordings of the sets by name: each is a file, or the files of a folder.

        Raises:
            CorpusError: One of the sets is empty.
        """
        found: dict[Path, tuple[Path, ...]] = {}
        for pattern in self.sets:
            places = sorted(self.path.glob(pattern))
            tracks = {place: [place] if place.is_file() else place.glob("*") for place in places}
            audio = {
                place: tuple(sorted(p for p in files if p.suffix.lower() in SUFFIXES))
                for place, files in tracks.items()
            }
            if not any(audio.values()):
                raise CorpusError(f"{self.path} must have audio files for {pattern}; it has none.")
            found |= {place: paths for place, paths in audio.items() if paths}
        return [found[place] for place in sorted(found)]

    def pitches(self) -> dict[str, int]:
        """Return the MIDI note of each file from index.csv.

        Raises:
            CorpusError: The table is missing, or a pitch is not a whole number.
        """
        try:
            with (self.path / "index.csv").open(newline="", encoding="utf-8") as table:
                return {row["file"]: int(row["midi"]) for row in csv.DictReader(table)}
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CorpusError(
                f"{self.path}/index.csv must give file,midi for every note; received {error!r}."
            ) from error


@dataclass(frozen=True)
class Soundfont:
    """A soundfont file of the catalogue; `kit` means that it contains only drums."""

    name: str
    path: Path
    license: str
    credit: str
    share_alike: bool = False
    kit: bool = False


def find_material(folders: Sequence[Path]) -> tuple[list[Item], list[str]]:
    """Find material in folders, each of which is in the catalogue or contains such folders.

    Returns:
        The items by name, and a note on each folder that is not used.

    Raises:
        CorpusError: A folder is missing, or nothing in it is known.

    Example:
        >>> find_material([])
        ([], [])
    """
    known = _read_toml(CATALOGUE)["material"]

    def entry_of(folder: Path) -> tuple[str, dict[str, Any]] | None:
        """Return the name and description of a folder; its own description comes first."""
        own = folder / SELF_DESCRIPTION
        if own.is_file():
            return folder.name, _read_toml(own)
        full = folder.absolute().as_posix()
        name = next((name for name in known if full.endswith(f"/{name}")), None)
        return (name, known[name]) if name else None

    items: dict[str, Item] = {}
    notes = []
    for folder in folders:
        if not folder.is_dir():
            raise CorpusError(f"--material must be a folder; received {folder}.")
        inside = [folder] if entry_of(folder) else sorted(filter(Path.is_dir, folder.iterdir()))
        entries = {place: entry for place in inside if (entry := entry_of(place))}
        if not entries:
            raise CorpusError(
                f"nothing in {folder} is in {CATALOGUE.name}: add a {SELF_DESCRIPTION} with use, "
                "source, license and credit to each folder."
            )
        notes += [
            f"{place} is not used: it has no entry" for place in inside if place not in entries
        ]
        for place, (name, facts) in entries.items():
            if isinstance(facts.get("sets"), list):
                facts = facts | {"sets": tuple(facts["sets"])}
            try:
                items[name] = Item(name=name, path=place, **facts)
            except TypeError as error:
                raise CorpusError(
                    f"material {name} needs use, source, license and credit; received "
                    f"{sorted(facts)}: {error}."
                ) from error
    return [items[name] for name in sorted(items)], notes


def find_soundfonts(folders: Sequence[Path] = SOUNDFONTS) -> list[Soundfont]:
    """Find the soundfonts of the catalogue; the license of others is not known."""
    known = _read_toml(CATALOGUE)["soundfonts"]
    found = {name: place / name for name in known for place in folders if (place / name).is_file()}
    if "MuseScore_General_Full.sf3" in found:  # the same instruments with longer samples
        found.pop("MuseScore_General_Lite.sf3", None)
    return [Soundfont(name=name, path=found[name], **known[name]) for name in sorted(found)]


def fingerprint(items: Sequence[Item], fonts: Sequence[Soundfont]) -> str:
    """Return a checksum of the names and sizes of all files."""
    lines = [f"{font.name}|{font.path.stat().st_size}" for font in fonts]
    for item in items:
        paths = sorted(path for path in item.path.rglob("*") if path.is_file())
        lines += [
            f"{item.name}/{p.relative_to(item.path).as_posix()}|{p.stat().st_size}" for p in paths
        ]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


@contextmanager
def open_audio(path: Path) -> Iterator[sf.SoundFile]:
    """Open a recording for reading.

    Raises:
        CorpusError: It cannot be read.
    """
    try:
        with sf.SoundFile(path) as file:
            yield file
    except (OSError, sf.SoundFileError) as error:
        raise CorpusError(f"{path} is not a readable audio file: {error}") from error


@lru_cache(maxsize=200)  # about a megabyte each
def load(path: Path) -> Audio:
    """Read a short file: (num_samples, 2), read only, 44.1 kHz."""
    audio = load_part(path, 0.0, None)
    audio.flags.writeable = False
    return audio


def load_part(path: Path, start: float, seconds: float | None) -> Audio:
    """Read a part of a recording as stereo at 44.1 kHz.

    Args:
        path: The file.
        start: First second.
        seconds: Length. None: to the end. The result is shorter if the file ends earlier.

    Raises:
        CorpusError: The file cannot be read.
    """
    with open_audio(path) as file:
        rate = file.samplerate
        file.seek(min(file.frames, round(start * rate)))
        count = -1 if seconds is None else round(seconds * rate)
        audio = file.read(count, dtype="float32", always_2d=True)
    audio = to_channels(audio[:, :2], 2)
    if rate != SAMPLE_RATE and len(audio):
        audio = soxr.resample(audio, rate, SAMPLE_RATE)
    return np.ascontiguousarray(audio, np.float32)


@lru_cache(maxsize=1000)
def seconds_of(path: Path) -> float:
    """Return the length of a recording in seconds."""
    with open_audio(path) as file:
        return float(file.frames / file.samplerate)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorpusError(f"{path} must have at most {MAX_BYTES} bytes.")
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read: {error}.") from error
