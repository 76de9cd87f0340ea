"""Signal-to-distortion ratios of tracks: whole, where a source sounds, and whatever the scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from mmdense_edge.signal.sdr import SDR

from training.evaluation.scores import Array, Frame, SourceScore, blocks, decibels

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


def usdr(
    references: Mapping[str, Array], estimates: Mapping[str, Array], sample_rate: int
) -> dict[str, SourceScore]:
    """Score each source with the SDR of the whole track; see `USDR_TITLE`.

    Source: Mitsufuji et al., "Music Demixing Challenge 2021", eq. 1; without its epsilon, which
    only tells silent references from others.
    """
    return _whole_tracks("SDR", _sdr, references, estimates, sample_rate)


def active(
    references: Mapping[str, Array], estimates: Mapping[str, Array], sample_rate: int
) -> dict[str, SourceScore]:
    """Score each source with the SDR of the seconds in which it sounds; see `ACTIVE_TITLE`."""

    def value(reference: Array, estimate: Array) -> float | None:
        sdr = SDR()
        for start in range(0, len(reference), sample_rate):
            second = slice(start, start + sample_rate)
            power = np.mean(np.square(reference[second], dtype=np.float64))
            if power > 10 ** (ACTIVE_DB / 10):
                sdr.add(reference[second], estimate[second])
        return sdr.value()

    return _whole_tracks("SDR", value, references, estimates, sample_rate)


def sisdr(
    references: Mapping[str, Array], estimates: Mapping[str, Array], sample_rate: int
) -> dict[str, SourceScore]:
    """Score each source with the scale-invariant SDR of the whole track; see `SISDR_TITLE`.

    Source: Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", 2019, eq. 3.
    """
    return _whole_tracks("SI-SDR", _si_sdr, references, estimates, sample_rate)


def _whole_tracks(
    measure: str,
    value: Callable[[Array, Array], float | None],
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    sample_rate: int,
) -> dict[str, SourceScore]:
    scores = {}
    for name, reference in references.items():
        estimate = estimates[name]
        values = {measure: value(reference, estimate)}
        scores[name] = SourceScore(
            (Frame(0.0, len(reference) / sample_rate, values),),
            values,
            int(not any(block.any() for block, _ in _pairs(reference, estimate))),
            int(not any(block.any() for _, block in _pairs(reference, estimate))),
        )
    return scores


def _sdr(reference: Array, estimate: Array) -> float | None:
    sdr = SDR()
    for pair in _pairs(reference, estimate):
        sdr.add(*pair)
    return sdr.value()


def _si_sdr(reference: Array, estimate: Array) -> float | None:
    """Two passes: the difference of energies of one pass would lose the digits above 80 dB."""
    power = product = 0.0
    for true, guess in _pairs(reference, estimate):
        true = true.astype(np.float64)
        power += float(np.sum(true**2))
        product += float(np.sum(true * guess))
    if power == 0:
        return None
    scale = product / power
    error = sum(
        float(np.sum((guess - scale * true.astype(np.float64)) ** 2))
        for true, guess in _pairs(reference, estimate)
    )
    return decibels(scale**2 * power, error)


def _pairs(reference: Array, estimate: Array) -> Iterator[tuple[Array, Array]]:
    for part in blocks(slice(0, len(reference))):
        yield reference[part], estimate[part]
