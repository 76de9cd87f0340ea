"""Plain track folders: `TRACK/SOURCE.wav`, or the same in folders train, valid and test.

A source is a WAV, FLAC or Ogg file. Its name is the file's name without the suffix; any name is
allowed, and letter case does not matter. A name is a source of the set if at least half of the
track folders have it, or if it is requested. A track without it is then faulty, as is one that has
it as another kind of audio file. Files with other names are not used, which is noted. A file called
"mixture", "mix" or similar is the mixture; without one, the mixture is the sum of the sources.
Hidden files and folders are ignored.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from keras_mmdense.data.problems import Fault
from keras_mmdense.data.readers import (
    MIXTURE,
    SOURCES,
    Candidate,
    entries,
    folded,
    open_files,
    split_folders,
    strays,
    subfolders,
)

SUFFIXES = (".wav", ".flac", ".ogg")
OTHER_AUDIO = (
    ".aac", ".aif", ".aiff", ".alac", ".ape", ".caf", ".m4a", ".mka", ".mp3", ".mp4", ".oga",
    ".opus", ".w64", ".wma", ".wv",
)  # fmt: skip
# What mixtures are called, without spaces and dashes; the first that is there is taken.
MIXTURES = (
    MIXTURE, "mix", "fullmix", "fullmixture", "stereomix", "mixdown", "fulltrack", "master",
)  # fmt: skip
FORM = "TRACK/SOURCE.{wav,flac,ogg}, or the same in folders train, valid, test"

open_streams = open_files


def recognizes(root: Path) -> bool:
    """Return whether any track folder contains an audio file of a supported kind."""
    return any(_readable(files) for _, _, files in _track_folders(root))


def find(root: Path, sources: Sequence[str]) -> list[Candidate]:
    """Return every track folder, with the sources that all of them should have.

    Args:
        root: The tree.
        sources: Names that count as sources however few tracks have them.
    """
    tracks = _track_folders(root)
    known = known_names([files for _, _, files in tracks], sources)
    return [_candidate(*track, known) for track in tracks] + strays(root, has_audio)


def known_names(tracks: Sequence[Sequence[Path]], asked: Sequence[str]) -> dict[str, str]:
    """Return the names, "mixture" among them, that every track of the set should have.

    Args:
        tracks: The audio files of each track folder.
        asked: Names that count when any track has them.

    Returns:
        Those that at least half of the folders with audio have, in alphabetical order: for each
        key (`key_of`) the name as it was asked for, else as the known data sets or most files
        spell it.

    Example:
        >>> songs = [["Bass.wav", "mix.wav"], ["bass.wav", "notes.wav", "Mix.wav"], ["bass.wav"]]
        >>> known_names([[Path(name) for name in song] for song in songs], ())
        {'bass': 'bass', 'mixture': 'mixture'}
    """
    counts: Counter[str] = Counter()
    spellings: dict[str, Counter[str]] = {}
    for files in tracks:
        counts.update({key_of(path) for path in files} - {MIXTURE})
        counts[MIXTURE] += any(key_of(path) == MIXTURE for path in _readable(files))
        for path in files:
            spellings.setdefault(key_of(path), Counter())[path.stem] += 1
    names = {key: min(own, key=lambda name: (-own[name], name)) for key, own in spellings.items()}
    names |= {name: name for name in (MIXTURE, *SOURCES)}
    names |= {folded(name): name for name in asked if folded(name) in names}
    wanted = {folded(name) for name in asked}
    num_tracks = sum(1 for files in tracks if files)
    known = [key for key, n in counts.items() if n and (key in wanted or 2 * n >= num_tracks)]
    return {key: names[key] for key in sorted(known)}


def key_of(path: Path) -> str:
    """Return the key of a file's source: its folded name, or "mixture" for any mixture.

    Example:
        >>> key_of(Path("Full Mix.flac")), key_of(Path("Vocals.wav"))
        ('mixture', 'vocals')
    """
    return MIXTURE if _plain(path) in MIXTURES else folded(path.stem)


def _plain(path: Path) -> str:
    return folded(path.stem).translate(dict.fromkeys(map(ord, " _-")))


def _candidate(
    subset: str, folder: Path, found: Sequence[Path], known: Mapping[str, str]
) -> Candidate:
    """Return a track folder's files with known names, and its faults."""
    label = f"{subset}/{folder.name}" if subset else folder.name
    files: dict[str, Path] = {}
    faults = []
    notes = [
        Fault(path, "is not used: fewer than half of the tracks have such a file", label)
        for path in found
        if key_of(path) not in known
    ]
    if not os.access(folder, os.R_OK | os.X_OK):
        faults.append(Fault(folder, "cannot be listed: permission denied", label))
    elif not found:
        faults.append(Fault(folder, f"holds no audio file ({', '.join(SUFFIXES)})", label))
    for key, name in known.items() if found else ():
        every = [path for path in found if key_of(path) == key]
        paths = _readable(every)
        if key == MIXTURE:
            paths = sorted(paths, key=lambda path: MIXTURES.index(_plain(path)))[:1]
        if len(paths) == 1:
            files[name] = paths[0]
            text = f"is not used: {paths[0].name} is"
            notes += [Fault(path, text, label) for path in every if path != paths[0]]
            continue
        if paths:
            text = f"has {name} more than once: {' and '.join(path.name for path in paths)}"
        elif every and key != MIXTURE:
            text = (
                f"has {name} as {every[0].name}, which is not read: convert it to WAV, FLAC or "
                "Ogg, or move it away if it is not a source"
            )
        else:
            text = f"has no {name} ({', '.join(name + suffix for suffix in SUFFIXES)})"
        faults.append(Fault(folder, text, label))
    return Candidate(folder.name, subset, folder, files, tuple(faults), tuple(notes))


def _track_folders(root: Path) -> list[tuple[str, Path, list[Path]]]:
    """Return the subset, folder and audio files of each track."""
    return [
        (subset, folder, _audio_files(folder))
        for subset, top in (split_folders(root) or {"": root}).items()
        for folder in subfolders(top)
    ]


def has_audio(folder: Path) -> bool:
    """Return whether a folder or one of its subfolders contains audio files."""
    return os.access(folder, os.R_OK | os.X_OK) and any(
        _audio_files(place) for place in (folder, *subfolders(folder))
    )


def _readable(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in SUFFIXES]


def _audio_files(folder: Path) -> list[Path]:
    """Return all entries named like audio files; opening reports those that are folders.

    A folder that cannot be listed has none: that is a fault of the track, not of the tree.
    """
    listed = entries(folder) if os.access(folder, os.R_OK | os.X_OK) else ()
    return [path for path in listed if path.suffix.lower() in (*SUFFIXES, *OTHER_AUDIO)]
