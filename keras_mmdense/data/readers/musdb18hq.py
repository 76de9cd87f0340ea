"""MUSDB18-HQ: `{train,test}/Artist - Title/{mixture,bass,drums,other,vocals}.wav`.

The validation tracks are the 14 that musdb names; they lie in the train folder.

Source: https://doi.org/10.5281/zenodo.3338373; the list: musdb 0.4.3, configs/mus.yaml.
"""

from collections.abc import Sequence
from pathlib import Path

from keras_mmdense.data.readers import (
    MIXTURE,
    SOURCES,
    Candidate,
    open_files,
    split_folders,
    strays,
    subfolders,
)
from keras_mmdense.data.readers.folder import has_audio

FORM = "{train,test}/TRACK/{mixture,bass,drums,other,vocals}.wav"
VALIDATION_TRACKS = frozenset(
    (
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    )
)

open_streams = open_files


def recognizes(root: Path) -> bool:
    """Return whether a track in train or test has the five files, and there is no valid folder."""
    return "valid" not in split_folders(root) and any(
        candidate.files and all(path.exists() for path in candidate.files.values())
        for candidate in find(root, ())
    )


def find(root: Path, sources: Sequence[str]) -> list[Candidate]:
    """Return every folder in train, valid and test as a track."""
    return [
        Candidate(
            folder.name,
            subset_of(split, folder.name),
            folder,
            {name: folder / f"{name}.wav" for name in (*SOURCES, MIXTURE)},
        )
        for split, top in split_folders(root).items()
        for folder in subfolders(top)
    ] + strays(root, has_audio)


def subset_of(split: str, name: str) -> str:
    """Return the subset of a MUSDB18 track.

    Args:
        split: The track's folder: "train", "valid" or "test".
        name: The track's name.

    Example:
        >>> subset_of("train", "Leaf - Summerghost")
        'valid'
    """
    return "valid" if split == "train" and name in VALIDATION_TRACKS else split
