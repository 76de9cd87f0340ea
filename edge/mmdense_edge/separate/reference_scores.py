"""The signal-to-distortion ratio (SDR) of stems against reference files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdense_edge.audio import OnDamage, refuse
from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError
from mmdense_edge.signal.sdr import SDR

REFERENCE_SUFFIXES = (".wav", ".flac", ".ogg")


@dataclass(frozen=True)
class Score:
    """SDR of a stem, and of the mixture taken for the stem, in dB; None: silent reference."""

    sdr_db: float | None
    mixture_sdr_db: float | None


def find_references(folder: Path, sources: tuple[str, ...]) -> dict[str, Path]:
    """Returns the references that a folder holds: <source>.wav, .flac or .ogg.

    Args:
        folder: the folder.
        sources: the sources to look for.

    Raises:
        AudioError: not a folder, or it holds none of them.
    """
    candidates = {
        source: [folder / f"{source}{suffix}" for suffix in REFERENCE_SUFFIXES]
        for source in sources
    }
    found = {
        source: next(path for path in paths if path.is_file())
        for source, paths in candidates.items()
        if any(path.is_file() for path in paths)
    }
    if not found:
        raise AudioError(
            f"{folder} holds no reference: it needs {sources[0]}.wav (or .flac, .ogg) and so on"
        )
    return found


def score_files(
    reference: Path, estimate: Path, mixture: Path, damaged: OnDamage = refuse
) -> Score:
    """Scores one stem, in fixed memory.

    Args:
        reference: the true source, an audio file.
        estimate: the stem, of the same sample rate, channels and length.
        mixture: the song, of the same sample rate, channels and length.
        damaged: as for `read_blocks`, for the song.

    Raises:
        AudioError: a file cannot be read, or they differ in rate, channels or length.
    """
    paths = (reference, estimate, mixture)
    forms = [(info.sample_rate, info.channels) for info in map(audio_info, paths)]
    if len(set(forms)) > 1:
        raise AudioError(
            f"{reference}: a reference needs the mixture's sample rate and channels "
            f"{forms[2]}, got {forms[0]}"
        )
    done, nothing = SDR(), SDR()
    empty = np.zeros((0, forms[0][1]), np.float32)
    files = even(read_blocks(reference)), even(read_blocks(estimate))
    song = even(read_blocks(mixture, damaged=damaged))
    for blocks in itertools.zip_longest(*files, song, fillvalue=empty):
        if len({len(block) for block in blocks}) > 1:
            raise AudioError(f"{reference}: a reference needs the mixture's length")
        done.add(blocks[0], blocks[1])
        nothing.add(blocks[0], blocks[2])
    return Score(done.value(), nothing.value())
