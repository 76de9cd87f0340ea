"""Plain track folders: `TRACK/SOURCE.wav`, or `{train,valid,test}/TRACK/SOURCE.wav`.

A source is a WAV, FLAC or Ogg file. Its name is the file's name without the ending; any names do.
A name is a source of the set when at least half of the track folders have it (or when it is asked
for): then a track without it is faulty. Files of other names are left unused, and noted. A file
called "mixture" is the mixture; where there is none, the mixture is the sum of the sources.
Hidden files and folders are ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_mmdense.data.candidates import Candidate, entries, open_files, subfolders
from keras_mmdense.data.faults import Fault
from keras_mmdense.data.tracks import SUBSETS

SUFFIXES = (".wav", ".flac", ".ogg")
FORM = "TRACK/SOURCE.{wav,flac,ogg}, or the same in folders train, valid, test"

open_streams = open_files
AudioFiles = Mapping[str, Sequence[Path]]


def recognises(root: Path) -> bool:
    """Tell whether any track folder holds an audio file."""
    return any(_audio_files(folder) for _, folder in _track_folders(root))


def find(root: Path, sources: Sequence[str] | None) -> list[Candidate]:
    """Return every track folder, with the sources that all of them should have.

    Args:
        root: the tree.
        sources: names that count as sources however few tracks have them; or None.
    """
    tracks = [(subset, folder, _audio_files(folder)) for subset, folder in _track_folders(root)]
    known = known_names([files for _, _, files in tracks], sources or ())
    candidates = [_candidate(*track, known) for track in tracks]
    return candidates + _strays(root)


def known_names(tracks: Sequence[AudioFiles], asked: Sequence[str]) -> tuple[str, ...]:
    """Return the names, "mixture" among them, that every track of the set should have.

    Args:
        tracks: the audio files of each track folder, by name.
        asked: names that count when any track has them.

    Returns:
        Names in alphabetical order: those that at least half of the folders with audio have.

    Example:
        >>> known_names([{"bass": []}, {"bass": [], "notes": []}, {"bass": []}], ())
        ('bass',)
    """
    counts = Counter(name for files in tracks for name in files)
    num_tracks = sum(1 for files in tracks if files)
    return tuple(sorted(n for n, count in counts.items() if n in asked or 2 * count >= num_tracks))


def _candidate(subset: str, folder: Path, found: AudioFiles, known: Sequence[str]) -> Candidate:
    label = f"{subset}/{folder.name}" if subset else folder.name
    faults, notes = [], []
    if not os.access(folder, os.R_OK | os.X_OK):
        faults.append(Fault(folder, "cannot be listed: permission denied", label))
    elif not found:
        faults.append(Fault(folder, f"holds no audio file ({', '.join(SUFFIXES)})", label))
    for name in known if found else ():
        paths = found.get(name, ())
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            faults.append(Fault(folder, f"has {name} more than once: {names}", label))
        elif not paths:
            looked = ", ".join(name + suffix for suffix in SUFFIXES)
            faults.append(Fault(folder, f"has no {name} ({looked})", label))
    for path in (path for name in found if name not in known for path in found[name]):
        text = "is not used: fewer than half of the tracks have such a file"
        notes.append(Fault(path, text, label))
    files = {name: found[name][0] for name in known if len(found.get(name, ())) == 1}
    return Candidate(folder.name, subset, folder, files, tuple(faults), tuple(notes))


def _strays(root: Path) -> list[Candidate]:
    """Track folders beside train, valid and test: nobody can tell which subset they are in."""
    if not _subset_folders(root):
        return []
    strays = [path for path in subfolders(root) if path.name not in SUBSETS and _audio_files(path)]
    reason = "lies beside the folders train, valid, test: move it into one of them"
    return [Candidate(p.name, "", p, {}, (Fault(p, reason, p.name),)) for p in strays]


def _track_folders(root: Path) -> list[tuple[str, Path]]:
    subsets = _subset_folders(root)
    if subsets:
        return [(top.name, folder) for top in subsets for folder in subfolders(top)]
    return [("", folder) for folder in subfolders(root)]


def _subset_folders(root: Path) -> list[Path]:
    return [root / subset for subset in SUBSETS if (root / subset).is_dir()]


def _audio_files(folder: Path) -> dict[str, list[Path]]:
    """Whatever is named like an audio file, by source name; folders too, which is a fault later.

    Nothing of a folder that may not be listed: that is a fault of the track, not of the tree.
    """
    found: dict[str, list[Path]] = {}
    for path in entries(folder) if os.access(folder, os.R_OK | os.X_OK) else ():
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.stem, []).append(path)
    return found
