"""The estimators of a song's sources: models, folders of files, ideal masks, the mixture.

An estimator takes a song and yields for each source its next samples, in blocks of any length.

The ideal masks are those of the SiSEC 2018 campaign, per channel, on this project's transform
(periodic Hann window of 2048, hop 1024):

    irm   ideal ratio mask |S| / sum |S|, its IRM1
    iwf   ideal single-channel Wiener filter |S|^2 / sum |S|^2, its IRM2
    ibm   ideal binary mask, 1 where |S| >= |X| / 2, its IBM1

with the sources' spectra S, the sum over all sources of the data, and the mixture's spectrum X.

Source: Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mmdense_edge.model.contract import Transform, load_model
from mmdense_edge.model.interpreter import Magnitude, TFLiteNetwork
from mmdense_edge.separator import Separator
from mmdense_edge.signal.stft import Analysis, Spectrum, Synthesis

from keras_mmdense.data.audio_files import open_audio_file
from training.evaluate import EvaluationError
from training.evaluate.metrics.source_score import ACCOMPANIMENT, VOCALS, blocks
from training.evaluate.rows import REST, SUM, Row, find_estimates
from training.evaluate.songs import Samples, Song, total

TRANSFORM = Transform(n_fft=2048, hop_length=1024)

Estimates = Iterator[dict[str, Samples]]
Array = npt.NDArray[np.float32]


@cache  # models stay open from one song to the next
def open_estimator(row: Row, num_threads: int = 1) -> Callable[[Song], Estimates]:
    """Return the function that makes a row's estimates, the accompaniment included.

    Args:
        row: The row.
        num_threads: Threads of a TFLite interpreter.

    Raises:
        EvaluationError: `.tflite` files do not fit together.
        SettingsError: `.keras` files do not fit together, or one cannot be used.
        MMDenseError: A `.tflite` file cannot be used.
    """
    model = None
    if row.kind == "keras":
        from keras_mmdense import build
        from keras_mmdense.separation import KerasNetwork

        model = Separator(KerasNetwork([build(weights=path) for path in row.paths]))
    elif row.kind == "tflite":
        networks = [TFLiteNetwork(load_model(path), num_threads) for path in row.paths]
        model = Separator(networks[0] if len(networks) == 1 else JoinedNetwork(networks))

    def estimates(song: Song) -> Estimates:
        track, sources, done = song.track, row.estimated, 0
        parts = (song.mixture[part] for part in blocks(0, track.num_samples))
        stream: Estimates = (dict.fromkeys(sources, part) for part in parts)
        if model:
            stream = model.stream(
                parts, track.sample_rate, track.channels, sources=sources, wiener=row.wiener
            )
        elif row.kind == "folder":
            stream = read_estimates(song, row.paths[0], sources)
        elif row.name in MASKS:
            stream = mask_estimates(song, MASKS[row.name], sources)
        for block in stream:
            start, done = done, done + len(next(iter(block.values())))
            if row.accompaniment == SUM:
                others = total(block[source] for source in sources if source != VOCALS)
                block = {**block, ACCOMPANIMENT: others}
            elif row.accompaniment == REST:
                block = {**block, ACCOMPANIMENT: song.mixture[start:done] - block[VOCALS]}
            yield {source: block[source] for source in row.sources}

    return estimates


def mask_estimates(
    song: Song, mask: Callable[[Array, Array], Array], sources: Sequence[str]
) -> Estimates:
    """Yield the mixture through ideal masks, with the mixture's phase.

    Args:
        song: The song.
        mask: One of `MASKS`.
        sources: All sources of the data.
    """
    channels, count = song.track.channels, len(sources)
    signals = [song.mixture, *(song.references[source] for source in sources)]
    analysis = Analysis(TRANSFORM, channels * (count + 1))
    synthesis = Synthesis(TRANSFORM, channels * count)

    def masked(spectra: Spectrum) -> Spectrum:
        mixture, *true = np.split(spectra, count + 1, axis=-1)
        masks = mask(np.abs(true), np.abs(mixture))
        return np.concatenate(list(masks * mixture), axis=-1)

    def by_source(samples: Samples) -> dict[str, Samples]:
        return dict(zip(sources, np.split(samples, count, axis=1), strict=True))

    for part in blocks(0, song.track.num_samples):
        spectra = analysis.push(np.hstack([signal[part] for signal in signals]))
        yield by_source(synthesis.push(masked(spectra)))
    yield by_source(synthesis.push(masked(analysis.finish())))
    yield by_source(synthesis.finish(song.track.num_samples))


def ratio_masks(magnitudes: Array, power: int) -> Array:
    """Return |S|^power / sum |S|^power, 0 where all are silent.

    Args:
        magnitudes: |S|, the sources on the first axis.
        power: 1 for the ratio mask, 2 for the Wiener filter.

    Example:
        >>> ratio_masks(np.float32([[3, 0], [1, 0]]), 1).tolist()
        [[0.75, 0.0], [0.25, 0.0]]
    """
    powers = magnitudes.astype(np.float64) ** power
    whole = np.broadcast_to(powers.sum(axis=0), powers.shape)
    masks: Array = np.divide(powers, whole, out=np.zeros_like(magnitudes), where=whole > 0)
    return masks


def binary_masks(magnitudes: Array, mixture: Array) -> Array:
    """Return 1 where a source has at least half the mixture's magnitude, else 0.

    The masks of sources need not add up to 1: in a bin where two sources cancel, both may have
    more than the mixture.

    Args:
        magnitudes: |S|, the sources on the first axis.
        mixture: |X|, of one source's shape.

    Example:
        >>> binary_masks(np.float32([[3, 0], [1, 0]]), np.float32([4, 0])).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    loud: npt.NDArray[np.bool_] = (2 * magnitudes >= mixture) & (magnitudes > 0)
    return loud.astype(np.float32)


MASKS: Mapping[str, Callable[[Array, Array], Array]] = {
    "irm": lambda magnitudes, _: ratio_masks(magnitudes, 1),
    "iwf": lambda magnitudes, _: ratio_masks(magnitudes, 2),
    "ibm": binary_masks,
}


def read_estimates(song: Song, folder: Path, sources: Sequence[str]) -> Estimates:
    """Yield the estimates of a song that a folder holds, in blocks.

    Raises:
        TrackError: A file has changed, ends early or holds NaN.
    """
    places = find_estimates(folder, song.track, sources)
    files = {source: open_audio_file(path) for source, path in places.items()}
    for part in blocks(0, song.track.num_samples):
        block = {}
        for source, file in files.items():
            there = max(0, min(part.stop, file.num_samples) - part.start)
            audio = file.read(part.start, there) if there else np.zeros((0, file.channels))
            block[source] = np.pad(audio, ((0, part.stop - part.start - there), (0, 0)))
        yield block


class JoinedNetwork:
    """The networks of several files, with different sources, that read the same windows.

    Args:
        networks: With the same transform, rate, bins, channels, frames and context.

    Raises:
        EvaluationError: They differ in one of these, or share a source.
    """

    def __init__(self, networks: Sequence[TFLiteNetwork]) -> None:
        contracts = [network.contract for network in networks]
        sources = tuple(source for contract in contracts for source in contract.sources)
        windows = {
            (c.sample_rate, *astuple(c.transform), c.bins, c.channels, c.frames, c.context_frames)
            for c in contracts
        }
        if len(windows) > 1 or len(set(sources)) < len(sources):
            raise EvaluationError(
                "models joined by + must have different sources and the same rate, transform, "
                f"bins, channels and frames; received sources {', '.join(sources)} and windows "
                f"{sorted(windows)}. Score them as rows of their own."
            )
        self._networks = tuple(networks)
        self.contract = replace(contracts[0], sources=sources)
        self.runtime, self.num_threads = networks[0].runtime, networks[0].num_threads

    def __call__(self, magnitude: Magnitude) -> dict[str, Magnitude]:
        """Estimate the magnitudes of all networks' sources in one window."""
        return {s: x for network in self._networks for s, x in network(magnitude).items()}
