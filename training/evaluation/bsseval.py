"""BSSEval v4 with museval's numbers, and BSSEval v3 (images) as in SiSEC 2016.

Both split an estimate into the true source, spatial distortion, interference and artefacts with
filters of 512 taps (`projection`), and compare energies window by window. Version 4 takes one set
of filters for the whole track, version 3 one for each window. Estimates are never permuted.

A window in which any reference or estimate is silent counts for no source: so does museval. It
refuses tracks in which one is silent throughout; here such a source has no value, and the others
are scored without its estimate and, where the reference is silent, without its reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.projection import Energies, Projector
from training.evaluation.scores import Array, Frame, SourceScore, Values, blocks, decibels

MEASURES = ("SDR", "ISR", "SIR", "SAR")

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


@dataclass(frozen=True)
class _Version:
    window_seconds: int
    hop_seconds: int
    filters_per_window: bool
    over_frames: Callable[[Sequence[float]], np.floating]


def museval(
    references: Mapping[str, Array], estimates: Mapping[str, Array], sample_rate: int
) -> dict[str, SourceScore]:
    """Score sources together with BSSEval v4; see `MUSEVAL_TITLE`.

    The same numbers as `museval.evaluate(..., win=sample_rate, hop=sample_rate, mode="v4")`, to
    1e-6 dB. SDR always; the other three where a reference is mono, nearly mono or holds nothing in
    a band only as well as museval agrees with itself after zeros are appended, about 1e-5 dB,
    because the equations are then singular to double precision. Above 100 dB both hold rounding.

    Args:
        references: arrays of shape (num_samples, channels) by source.
        estimates: the same names and shapes.
        sample_rate: int, Hz.

    Returns:
        SDR, ISR, SIR and SAR by source; no SIR for one source alone.
    """
    return _score(references, estimates, sample_rate, _Version(1, 1, False, np.median))


def bsseval3(
    references: Mapping[str, Array], estimates: Mapping[str, Array], sample_rate: int
) -> dict[str, SourceScore]:
    """Score sources together with BSSEval v3 (images); see `BSSEVAL3_TITLE`.

    The same numbers as `museval.evaluate(..., win=30 * sample_rate, hop=15 * sample_rate,
    mode="v3")`. Args and result as for `museval`.

    Of windows with silence the scripts of SiSEC 2016 know nothing: they keep the SDR of 0 dB that a
    silent estimate has, where this leaves the window out.

    Source: windows and hop as in DSD100_eval_only.m of the SiSEC 2016 evaluation scripts.
    """
    return _score(references, estimates, sample_rate, _Version(30, 15, True, np.mean))


def windows(num_samples: int, window: int, hop: int) -> list[slice]:
    """Return the windows of a signal: full ones, or one as long as a shorter signal.

    Example:
        >>> windows(10, 4, 3)
        [slice(0, 4, None), slice(3, 7, None), slice(6, 10, None)]
    """
    if window >= num_samples:
        return [slice(0, num_samples)]
    return [slice(start, start + window) for start in range(0, num_samples - window + 1, hop)]


def silent(signal: Array, window: slice) -> bool:
    """Return whether the channels of a signal add up to 0 throughout a window, as museval asks."""
    sums = (signal[part].sum(axis=1, dtype=np.float64) for part in blocks(window))
    return not any(block.any() for block in sums)


@dataclass(frozen=True)
class _Silence:
    """Who is silent where.

    Args:
        references: for each source and frame, whether the reference is silent.
        estimates: the same of the estimate.
        present: the sources whose reference is not silent throughout the track.
        scored: those of them whose estimate is not, either.
    """

    references: Mapping[str, Sequence[bool]]
    estimates: Mapping[str, Sequence[bool]]
    present: Sequence[str]
    scored: Sequence[str]

    @classmethod
    def of(
        cls, references: Mapping[str, Array], estimates: Mapping[str, Array], frames: list[slice]
    ) -> _Silence:
        whole = slice(0, len(next(iter(references.values()))))
        quiet, mute = (
            {name: [silent(signal, frame) for frame in frames] for name, signal in signals.items()}
            for signals in (references, estimates)
        )
        present = [name for name in references if not silent(references[name], whole)]
        scored = [name for name in present if not silent(estimates[name], whole)]
        return cls(quiet, mute, present, scored)

    def counts(self, frame: int) -> bool:
        """Return whether the frame is scored."""
        return bool(self.scored) and not (
            any(self.references[name][frame] for name in self.present)
            or any(self.estimates[name][frame] for name in self.scored)
        )


def _score(
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    sample_rate: int,
    version: _Version,
) -> dict[str, SourceScore]:
    num_samples = len(next(iter(references.values())))
    window, hop = version.window_seconds * sample_rate, version.hop_seconds * sample_rate
    frames = windows(num_samples, window, hop)
    silence = _Silence.of(references, estimates, frames)
    values = _frame_values(references, estimates, frames, silence, version)
    return {
        name: SourceScore(
            tuple(
                Frame(frame.start / sample_rate, (frame.stop - frame.start) / sample_rate, value)
                for frame, value in zip(frames, values[name], strict=True)
            ),
            _over_frames(values[name], version),
            sum(silence.references[name]),
            sum(silence.estimates[name]),
        )
        for name in references
    }


def _frame_values(
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    frames: Sequence[slice],
    silence: _Silence,
    version: _Version,
) -> dict[str, list[Values]]:
    """Return the values of each source in each frame."""
    values: dict[str, list[Values]] = {
        name: [dict.fromkeys(MEASURES)] * len(frames) for name in references
    }
    usable = [index for index in range(len(frames)) if silence.counts(index)]
    if not usable:
        return values
    projector = Projector(
        [references[name] for name in silence.present],
        [estimates[name] for name in silence.scored],
        [silence.present.index(name) for name in silence.scored],
    )
    track = slice(0, len(next(iter(references.values()))))
    shared = None if version.filters_per_window else projector.filters(track)
    for index in usable:
        filters = shared or projector.filters(frames[index])
        parts = projector.energies(filters, frames[index])
        for name, energies in zip(silence.scored, parts, strict=True):
            values[name][index] = _values(energies, len(silence.present))
    return values


def _values(energies: Energies, num_references: int) -> dict[str, float | None]:
    pairs = (
        (energies.true, energies.error),
        (energies.true, energies.spatial),
        (energies.true_and_spatial, energies.interference),
        (energies.true_spatial_and_interference, energies.artefacts),
    )
    values = {name: decibels(*pair) for name, pair in zip(MEASURES, pairs, strict=True)}
    if num_references == 1:
        values["SIR"] = None  # nothing interferes
    return values


def _over_frames(values: Sequence[Values], version: _Version) -> Values:
    known = {
        measure: [x for value in values if (x := value[measure]) is not None]
        for measure in MEASURES
    }
    return {
        measure: float(version.over_frames(frames)) if frames else None
        for measure, frames in known.items()
    }
