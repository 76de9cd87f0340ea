"""Signal-to-distortion ratios of whole tracks: uSDR, active SDR, SI-SDR."""

from collections.abc import Callable, Iterable

import numpy as np
from mmdense_edge.signal.sdr import SDR

from training.evaluate.metrics.source_score import (
    Array,
    Signals,
    SourceScore,
    blocks,
    decibels,
    frame_scores,
)

USDR_TITLE = (
    "SDR of the whole track, 10 log10(|reference|^2 / |reference - estimate|^2) over all samples "
    "and channels, no window and no epsilon (Music Demixing Challenge 2021); mean over tracks; "
    "200 dB at most; a silent reference has no value, a silent estimate has 0 dB"
)
ACTIVE_DB = -60.0
ACTIVE_TITLE = (
    "SDR, as usdr, over those seconds alone in which the source sounds: windows of 1 s, from the "
    f"start on, whose mean power is above {ACTIVE_DB:g} dB of full scale; what leaks into its "
    "rests does not count; mean over tracks; 200 dB at most; a source without such a second has no "
    "value"
)
SISDR_TITLE = (
    "SI-SDR of the whole track over all samples and channels, one scale for all channels, mean not "
    "removed, no window (Le Roux et al. 2019); mean over tracks; -200 to 200 dB; a silent "
    "reference or estimate has no value"
)


def usdr(reference: Array, estimate: Array, sample_rate: int) -> float | None:
    """Return the SDR of a source over the whole track; see `USDR_TITLE`.

    Source: Mitsufuji et al., "Music Demixing Challenge 2021", eq. 1, without its epsilon, which
    only matters for silent references.
    """
    return _sdr(reference, estimate, blocks(0, len(reference)))


def active(reference: Array, estimate: Array, sample_rate: int) -> float | None:
    """Return the SDR over the seconds in which the source is heard; see `ACTIVE_TITLE`."""
    sounding = (
        second
        for second in blocks(0, len(reference), sample_rate)
        if np.mean(np.square(reference[second], dtype=np.float64)) > 10 ** (ACTIVE_DB / 10)
    )
    return _sdr(reference, estimate, sounding)


def sisdr(reference: Array, estimate: Array, sample_rate: int) -> float | None:
    """Return the scale-invariant SDR over the whole track; see `SISDR_TITLE`.

    Source: Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", 2019, eq. 3.
    """
    # Two passes: a difference of energies in one pass would lose precision above 80 dB.
    power = product = error = 0.0
    for part in blocks(0, len(reference)):
        true = reference[part].astype(np.float64)
        power += float(np.sum(true**2))
        product += float(np.sum(true * estimate[part]))
    if power == 0:
        return None
    scale = product / power
    for part in blocks(0, len(reference)):
        error += float(np.sum((estimate[part] - scale * reference[part].astype(np.float64)) ** 2))
    return decibels(scale**2 * power, error)


def score_each(
    measure: str,
    value: Callable[[Array, Array, int], float | None],
    references: Signals,
    estimates: Signals,
    sample_rate: int,
) -> dict[str, SourceScore]:
    """Score every source separately, in one frame as long as the track.

    Args:
        measure: Name of the value.
        value: `usdr`, `active` or `sisdr`.
        references: Arrays of shape (num_samples, channels) by source.
        estimates: The same names and shapes.
        sample_rate: In Hz.
    """
    scores = {}
    for name, reference in references.items():
        values = {measure: value(reference, estimates[name], sample_rate)}
        silent, mute = (
            int(not any(signal[part].any() for part in blocks(0, len(signal))))
            for signal in (reference, estimates[name])
        )
        whole = frame_scores(slice(0, len(reference)), sample_rate, values)
        scores[name] = SourceScore(values, silent, mute, (whole,))
    return scores


def _sdr(reference: Array, estimate: Array, parts: Iterable[slice]) -> float | None:
    sdr = SDR()
    for part in parts:
        sdr.add(reference[part], estimate[part])
    return sdr.value()
