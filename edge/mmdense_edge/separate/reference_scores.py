"""The signal-to-distortion ratio (SDR) of stems against reference files."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from mmdense_edge.audio import OnDamage, refuse
from mmdense_edge.audio.mixture_sum import together
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.signal.sdr import SDR

REFERENCE_SUFFIXES = (".wav", ".flac", ".ogg")


def find_references(folder: Path, sources: Iterable[str]) -> dict[str, Path]:
    """Return the reference files in a folder: <source>.wav, .flac or .ogg.

    Args:
        folder: The folder.
        sources: The sources to look for.

    Raises:
        UsageError: The folder does not exist or contains no reference.
    """
    names = list(sources)
    found: dict[str, Path] = {}
    for source, suffix in itertools.product(names, REFERENCE_SUFFIXES):
        path = folder / f"{source}{suffix}"
        if path.is_file():
            found.setdefault(source, path)
    if not found:
        raise UsageError(
            f"{folder} contains no reference. It needs files such as {names[0]}.wav, .flac or .ogg"
        )
    return found


def score_files(
    reference: Path, estimate: Path, mixture: Path, damaged: OnDamage = refuse
) -> tuple[float | None, float | None]:
    """Score one stem, using memory that does not depend on its length.

    Args:
        reference: The true source, an audio file.
        estimate: The stem, with the same sample rate, channels and length.
        mixture: The song, with the same sample rate, channels and length.
        damaged: As for `read_blocks`, for the song.

    Returns:
        The SDR of the stem, and of the unprocessed mixture (baseline), in dB; None if the
        reference is silent.

    Raises:
        AudioError: A file cannot be read, or they differ in rate, channels or length.
    """
    forms = [(info.sample_rate, info.channels) for info in map(audio_info, (reference, mixture))]
    if forms[0] != forms[1]:
        raise AudioError(
            f"{reference}: a reference must have the mixture's sample rate and channels, "
            f"{forms[1]}; received {forms[0]}"
        )
    stem, baseline = SDR(), SDR()
    files = (read_blocks(reference), read_blocks(estimate), read_blocks(mixture, damaged=damaged))
    otherwise = f"{reference}: a reference must have the mixture's length"
    for true, estimated, mixed in together(otherwise, *files):
        stem.add(true, estimated)
        baseline.add(true, mixed)
    return stem.value(), baseline.value()
