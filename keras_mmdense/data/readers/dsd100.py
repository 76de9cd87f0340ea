"""DSD100: `Mixtures/{Dev,Test}/NNN - Artist - Title/mixture.wav` and `Sources/` alike.

Dev holds tracks 051 to 100, Test 001 to 050. DSD100 itself names no validation tracks. Here those
of Dev whose number is divisible by 7 are the subset "valid" (056, 063, ..., 098: 7 of 50, the
share of MUSDB18's 14 of 100); the others are "train". Ask for both to train on all of Dev.

"Actions - One Minute Smile" is in Test here and in MUSDB18's train folder: a model trained on
MUSDB18 has heard it.

Source: A. Liutkus et al., The 2016 Signal Separation Evaluation Campaign, LVA/ICA 2017.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from keras_mmdense.data.readers import MIXTURE, SOURCES, Candidate, open_files, subfolders

FORM = (
    "Mixtures/{Dev,Test}/TRACK/mixture.wav with "
    "Sources/{Dev,Test}/TRACK/{bass,drums,other,vocals}.wav"
)
TOPS, SPLITS = ("Mixtures", "Sources"), ("Dev", "Test")
VALID_DIVISOR = 7

open_streams = open_files


def recognizes(root: Path) -> bool:
    """Return whether `root` has Mixtures and Sources, with Dev or Test in one of them."""
    return all((root / top).is_dir() for top in TOPS) and any(
        (root / top / split).is_dir() for top in TOPS for split in SPLITS
    )


def find(root: Path, sources: Sequence[str]) -> list[Candidate]:
    """Return the tracks named in Mixtures or in Sources; a track must be in both."""
    return [
        Candidate(
            name,
            subset_of(split, name),
            root / "Sources" / split / name,
            {source: root / "Sources" / split / name / f"{source}.wav" for source in SOURCES}
            | {MIXTURE: root / "Mixtures" / split / name / "mixture.wav"},
        )
        for split in SPLITS
        for name in sorted({p.name for top in TOPS for p in subfolders(root / top / split)})
    ]


def subset_of(split: str, name: str) -> str:
    """Return the subset of a DSD100 track.

    Args:
        split: "Dev" or "Test".
        name: The track folder's name; its leading number decides. Without one: "train".

    Example:
        >>> [subset_of("Dev", name) for name in ("055 - A - B", "056 - C - D")]
        ['train', 'valid']
    """
    if split == "Test":
        return "test"
    number = re.match(r"[0-9]+", name)
    return "valid" if number and int(number[0]) % VALID_DIVISOR == 0 else "train"
