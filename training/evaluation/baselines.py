"""Baselines: the mixture itself, and ideal masks made from the true sources.

The masks are those of the SiSEC 2018 campaign, per channel, on this project's transform (periodic
Hann window of 2048, hop 1024):

    irm   ideal ratio mask |S| / sum |S|, its IRM1
    iwf   ideal single-channel Wiener filter |S|^2 / sum |S|^2, its IRM2
    ibm   ideal binary mask, 1 where |S| >= |X| / 2, its IBM1

with the sources' spectra S, the sum over all sources of the data, and the mixture's spectrum X.

Source: Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from mmdense_edge.model.contract import Transform
from mmdense_edge.signal.stft import Analysis, Spectrum, Synthesis

from training.evaluation.songs import Samples, Song, blocks

TRANSFORM = Transform(n_fft=2048, hop_length=1024)

Magnitudes = Mapping[str, npt.NDArray[np.float32]]


class MixtureEstimator:
    """Gives the mixture for every source: what a score is worth without any separation.

    Args:
        sources: Names to give it; "accompaniment" may be one.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = tuple(sources)

    def stream(self, song: Song) -> Iterator[dict[str, Samples]]:
        """Yield the mixture, in blocks."""
        for start, count in blocks(song.num_samples):
            block = song.mixture[start : start + count]
            yield dict.fromkeys(self._sources, block)


class MaskEstimator:
    """Gives the mixture through ideal masks, with the mixture's phase.

    Args:
        name: A name in `MASKS`.
        sources: All sources of the data.
    """

    def __init__(self, name: str, sources: Sequence[str]) -> None:
        self._masks = MASKS[name]
        self._sources = tuple(sources)

    def stream(self, song: Song) -> Iterator[dict[str, Samples]]:
        """Yield the estimates, in blocks."""
        signals = {source: song.references[source] for source in self._sources}
        analyses = {source: Analysis(TRANSFORM, song.channels) for source in signals}
        mixture = Analysis(TRANSFORM, song.channels)
        synthesis = {source: Synthesis(TRANSFORM, song.channels) for source in signals}
        for start, count in blocks(song.num_samples):
            part = slice(start, start + count)
            spectra = {name: a.push(signals[name][part]) for name, a in analyses.items()}
            masked = self._masked(mixture.push(song.mixture[part]), spectra)
            yield {name: synthesis[name].push(masked[name]) for name in signals}
        masked = self._masked(mixture.finish(), {n: a.finish() for n, a in analyses.items()})
        first = {name: synthesis[name].push(masked[name]) for name in signals}
        last = {name: s.finish(song.num_samples) for name, s in synthesis.items()}
        yield {name: np.concatenate([first[name], last[name]]) for name in signals}

    def _masked(self, mixture: Spectrum, spectra: dict[str, Spectrum]) -> dict[str, Spectrum]:
        magnitudes = {name: np.abs(spectrum) for name, spectrum in spectra.items()}
        return {
            name: mask * mixture for name, mask in self._masks(magnitudes, np.abs(mixture)).items()
        }


def ratio_masks(magnitudes: Magnitudes, power: int) -> Magnitudes:
    """Return |S|^power / sum |S|^power, 0 where all are silent.

    Args:
        magnitudes: |S| by source, all of one shape.
        power: 1 for the ratio mask, 2 for the Wiener filter.

    Example:
        >>> masks = ratio_masks({"a": np.float32([3, 0]), "b": np.float32([1, 0])}, 1)
        >>> masks["a"].tolist()
        [0.75, 0.0]
    """
    powers = {name: magnitude.astype(np.float64) ** power for name, magnitude in magnitudes.items()}
    whole = np.sum(list(powers.values()), axis=0)
    return {
        name: np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0).astype(np.float32)
        for name, part in powers.items()
    }


def binary_masks(magnitudes: Magnitudes, mixture: npt.NDArray[np.float32]) -> Magnitudes:
    """Return 1 where a source has at least half the mixture's magnitude, else 0.

    The masks of sources need not add up to 1: in a bin where two sources cancel, both may have
    more than the mixture.

    Args:
        magnitudes: |S| by source, all of one shape.
        mixture: |X|, of that shape.

    Example:
        >>> magnitudes = {"a": np.float32([3, 0]), "b": np.float32([1, 0])}
        >>> binary_masks(magnitudes, np.float32([4, 0]))["a"].tolist()
        [1.0, 0.0]
    """
    return {
        name: ((2 * magnitude >= mixture) & (magnitude > 0)).astype(np.float32)
        for name, magnitude in magnitudes.items()
    }


MASKS: Mapping[str, Callable[[Magnitudes, npt.NDArray[np.float32]], Magnitudes]] = {
    "irm": lambda magnitudes, _: ratio_masks(magnitudes, 1),
    "iwf": lambda magnitudes, _: ratio_masks(magnitudes, 2),
    "ibm": binary_masks,
}
BASELINES: Mapping[str, str] = {
    "mixture": "the mixture in place of every source",
    "irm": "ideal ratio mask, |S| / sum |S|",
    "ibm": "ideal binary mask, 1 where |S| >= |X| / 2",
    "iwf": "ideal single-channel Wiener filter, |S|^2 / sum |S|^2",
}
