"""BSSEval v4 with museval's numbers, and BSSEval v3 (images) as in SiSEC 2016.

Both use filters of 512 taps (`projection`) to split an estimate into the true source, spatial
distortion, interference and artifacts, and compare energies window by window. Version 4 uses one
set of filters for the whole track, version 3 one for each window. Estimates are never permuted.

As in museval, a window in which any reference or estimate is silent is left out for all sources.
museval refuses tracks in which a source is silent throughout. Here such a source has no value, and
the others are scored without its estimate and, if the reference is silent, without its reference.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from keras_mmdense.errors import SettingsError
from training.evaluate.metrics.projection import distortion_filters, energies
from training.evaluate.metrics.source_score import (
    Array,
    Signals,
    SourceScore,
    Values,
    blocks,
    decibels,
    frame_scores,
)

vars(np.linalg).setdefault("linalg", np.linalg)  # museval 0.4.1 takes LinAlgError from there

MEASURES = ("SDR", "ISR", "SIR", "SAR")
SECONDS = {"museval": (1, 1), "bsseval3": (30, 15)}  # window and hop

_SILENCE = (
    "a track shorter than a window is one frame; a frame in which any reference or estimate is "
    "silent counts for no source; a source silent throughout has no value and hides no frame"
)
MUSEVAL_TITLE = (
    "BSSEval v4, the numbers of museval 0.4.1: full windows of 1 s, hop 1 s, distortion filters of "
    "512 taps for the whole track, no permutation; median over frames, median over tracks; "
    + _SILENCE
)
BSSEVAL3_TITLE = (
    "BSSEval v3 (images), as in SiSEC 2016: full windows of 30 s, hop 15 s, distortion filters of "
    "512 taps for each window, no permutation; mean over frames, median over tracks; " + _SILENCE
)
PACKAGE_TITLE = (
    "%s by the package museval itself: full windows of %d s, hop %d s, no permutation; %s over "
    "frames, median over tracks; a frame in which any reference or estimate is silent counts for "
    "no source"
)


def museval(references: Signals, estimates: Signals, sample_rate: int) -> dict[str, SourceScore]:
    """Score sources together with BSSEval v4; see `MUSEVAL_TITLE`.

    The values are those of `museval.evaluate(..., win=sample_rate, hop=sample_rate, mode="v4")`, to
    1e-6 dB. If a reference is mono, nearly mono or empty in a frequency band, the equations are
    singular in double precision; ISR, SIR and SAR then agree to about 1e-5 dB, as museval's own
    values do after zeros are appended. Above 100 dB, both are rounding errors.

    Args:
        references: Arrays of shape (num_samples, channels) by source.
        estimates: The same names and shapes.
        sample_rate: In Hz.

    Returns:
        SDR, ISR, SIR and SAR by source; a single source has no SIR.
    """
    return _score("museval", references, estimates, sample_rate)


def bsseval3(references: Signals, estimates: Signals, sample_rate: int) -> dict[str, SourceScore]:
    """Score sources together with BSSEval v3 (images); see `BSSEVAL3_TITLE`.

    The values are those of `museval.evaluate(..., win=30 * sample_rate, hop=15 * sample_rate,
    mode="v3")`. Arguments and result as for `museval`.

    The scripts of SiSEC 2016 do not treat silence specially: where they keep the SDR of 0 dB of a
    silent estimate, this function leaves the window out.

    Source: windows and hop as in DSD100_eval_only.m of the SiSEC 2016 evaluation scripts.
    """
    return _score("bsseval3", references, estimates, sample_rate)


def by_package(
    metric: str, references: Signals, estimates: Signals, sample_rate: int
) -> dict[str, SourceScore]:
    """Score sources together with the package museval, which holds them all in memory.

    Args:
        metric: "museval" or "bsseval3".
        references: Arrays of shape (num_samples, channels) by source.
        estimates: The same names and shapes.
        sample_rate: In Hz.

    Raises:
        SettingsError: museval cannot be imported, or refuses a signal that is silent throughout.
    """
    return _score(metric, references, estimates, sample_rate, museval_package())


def museval_package() -> Any:
    """Import museval, which asks for ffmpeg.

    Raises:
        SettingsError: It cannot be imported.
    """
    try:
        import museval
    except (ImportError, RuntimeError) as error:
        raise SettingsError(
            f"--engine museval needs museval and ffmpeg; received {error}. Install ffmpeg, and "
            "pip install -e '.[musdb]' in a checkout of keras_mmdense."
        ) from error
    return museval


def windows(num_samples: int, window: int, hop: int) -> list[slice]:
    """Return the full windows of a signal, or one window if the signal is shorter.

    Example:
        >>> windows(10, 4, 3)
        [slice(0, 4, None), slice(3, 7, None), slice(6, 10, None)]
    """
    if window >= num_samples:
        return [slice(0, num_samples)]
    return [slice(start, start + window) for start in range(0, num_samples - window + 1, hop)]


def silent(signal: Array, window: slice) -> bool:
    """Return whether the channels of a signal add up to 0 throughout a window, as in museval."""
    sums = (signal[part].sum(axis=1, dtype=float) for part in blocks(window.start, window.stop))
    return not any(block.any() for block in sums)


def _score(
    metric: str,
    references: Signals,
    estimates: Signals,
    sample_rate: int,
    package: Any = None,
) -> dict[str, SourceScore]:
    """Score sources together, with museval if the package is given."""
    window, hop = (seconds * sample_rate for seconds in SECONDS[metric])
    frames = windows(len(next(iter(references.values()))), window, hop)
    quiet, mute = (
        {name: [silent(signal, frame) for frame in frames] for name, signal in side.items()}
        for side in (references, estimates)
    )
    if package is None:
        values = _values(metric, references, estimates, frames, quiet, mute)
    else:
        sides = ([side[name] for name in references] for side in (references, estimates))
        mode = {"museval": "v4", "bsseval3": "v3"}[metric]
        try:
            measured = np.stack(package.evaluate(*sides, window, hop, mode), axis=-1)
        except ValueError as error:
            raise SettingsError(
                f"museval refuses the signals: {error}. Score this track with --engine own."
            ) from error
        if len(references) == 1:
            measured[..., MEASURES.index("SIR")] = np.nan  # nothing interferes
        values = {
            name: [
                {
                    m: float(x) if np.isfinite(x) else None
                    for m, x in zip(MEASURES, row, strict=True)
                }
                for row in of_frames
            ]
            for name, of_frames in zip(references, measured, strict=True)
        }
    average = np.median if metric == "museval" else np.mean
    scores = {}
    for name, of_frames in values.items():
        known = {m: [x for v in of_frames if (x := v[m]) is not None] for m in MEASURES}
        scores[name] = SourceScore(
            {m: float(average(x)) if x else None for m, x in known.items()},
            sum(quiet[name]),
            sum(mute[name]),
            tuple(map(frame_scores, frames, repeat(sample_rate), of_frames)),
        )
    return scores


def _values(
    metric: str,
    references: Signals,
    estimates: Signals,
    frames: list[slice],
    quiet: Mapping[str, Sequence[bool]],
    mute: Mapping[str, Sequence[bool]],
) -> dict[str, list[Values]]:
    """Return the values of each frame by source, None where they are not defined.

    Args:
        metric: "museval" or "bsseval3".
        references: The true sources.
        estimates: Their estimates.
        frames: The windows.
        quiet: Whether a reference is silent in each window.
        mute: Whether an estimate is.
    """
    whole = slice(0, len(next(iter(references.values()))))
    present = [name for name in references if not silent(references[name], whole)]
    scored = [name for name in present if not silent(estimates[name], whole)]
    hidden = np.any([quiet[name] for name in present] + [mute[name] for name in scored], axis=0)
    values: dict[str, list[Values]] = {
        name: [dict.fromkeys(MEASURES)] * len(frames) for name in references
    }
    signals = (
        [references[name] for name in present],
        [estimates[name] for name in scored],
        [present.index(name) for name in scored],
    )
    by_window = metric == "bsseval3"  # one set of filters for each
    filters = None
    for index in map(int, np.flatnonzero(~hidden)) if scored else ():
        if by_window or filters is None:
            filters = distortion_filters(*signals, frames[index] if by_window else whole)
        for name, part in zip(scored, energies(*signals, filters, frames[index]), strict=True):
            sir = decibels(part["spatial"], part["interference"])
            values[name][index] = {
                "SDR": decibels(part["true"], part["error"]),
                "ISR": decibels(part["true"], part["distortion"]),
                "SIR": sir if len(present) > 1 else None,  # nothing interferes
                "SAR": decibels(part["joint"], part["artifacts"]),
            }
    return values
