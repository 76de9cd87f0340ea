"""Signals of tracks, and estimators of their sources: models, files, ideal masks, the mixture.

An estimator takes the signals of a track and yields the next samples of each source, in blocks of
any length.

The ideal masks are those of the SiSEC 2018 campaign, per channel, on this project's transform
(periodic Hann window of 2048, hop 1024):

    irm   ideal ratio mask |S| / sum |S|, SiSEC's IRM1
    iwf   ideal single-channel Wiener filter |S|^2 / sum |S|^2, SiSEC's IRM2
    ibm   ideal binary mask, 1 where |S| >= |X| / 2, SiSEC's IBM1

S is the spectrum of a source, the sum is over all sources of the data set, and X is the spectrum of
the mixture.

Source: Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from mmdense_edge.model.contract import Transform
from mmdense_edge.model.interpreter import Magnitude, Network, TFLiteNetwork, for_signal
from mmdense_edge.model.model_file import load_model
from mmdense_edge.separator import Separator
from mmdense_edge.signal.stft import Analysis, Audio, Spectrum, Synthesis

from keras_mmdense.data import Track
from keras_mmdense.data.audio_files import open_audio_file
from keras_mmdense.data.readers import MIXTURE
from keras_mmdense.errors import require
from training.evaluate.metrics.source_score import ACCOMPANIMENT, VOCALS, blocks
from training.evaluate.rows import REST, SUM, Row, find_estimates

TRANSFORM = Transform(n_fft=2048, hop_length=1024)

# Of a track: "mixture", its sources, the accompaniment if scored.
Signals = Mapping[str, Audio]
Estimates = Iterator[dict[str, Audio]]
Estimator = Callable[[Track, Signals], Estimates]


def open_signals(track: Track, accompaniment: bool, folder: Path) -> dict[str, Audio]:
    """Copy the mixture and the sources of a track into memory maps, (num_samples, channels).

    Args:
        track: The track.
        accompaniment: Add the sum of all sources except the vocals.
        folder: Folder for the raw files: 4 bytes per sample, channel and signal.

    Raises:
        TrackError: A file cannot be read to its end, or contains NaN.
    """

    def signals() -> Estimates:
        for part in blocks(0, track.num_samples):
            block = {
                name: track.read(name, part.start, part.stop - part.start)
                for name in (MIXTURE, *track.sources)
            }
            if accompaniment:
                block[ACCOMPANIMENT] = total(block[s] for s in track.sources if s != VOCALS)
            yield block

    return stored(signals(), folder)


def stored(signals: Iterable[Mapping[str, Audio]], folder: Path) -> dict[str, Audio]:
    """Write signals block by block and return them as memory maps.

    The files have no names, so nothing is left of them, however the process ends.

    Args:
        signals: Blocks, each with all signals by name.
        folder: A folder on a disk with enough free space.

    Raises:
        OSError: The disk is full.

    Example:
        >>> halves = ({"bass": np.zeros((50, 2), np.float32)} for _ in range(2))
        >>> stored(halves, Path(tempfile.gettempdir()))["bass"].shape
        (100, 2)
    """
    with ExitStack() as stack:
        files: Any = defaultdict(lambda: stack.enter_context(tempfile.TemporaryFile(dir=folder)))
        for block in signals:
            for name, samples in block.items():
                files[name].write(np.ascontiguousarray(samples, np.float32).data)
        return {
            name: np.memmap(file, np.float32, "r").reshape(-1, block[name].shape[1])
            for name, file in files.items()
        }


def total(signals: Iterable[Audio]) -> Audio:
    """Return the sum of signals of one length, computed in double precision."""
    return np.asarray(np.sum(list(signals), axis=0, dtype=np.float64), np.float32)


@cache  # models stay open from one track to the next
def open_estimator(row: Row, num_threads: int = 1) -> Estimator:
    """Return the function that estimates a row's sources, the accompaniment included.

    Args:
        row: The row.
        num_threads: Threads of a TFLite interpreter.

    Raises:
        SettingsError: Files do not fit together, or a `.keras` file cannot be used.
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

    def estimates(track: Track, signals: Signals) -> Estimates:
        sources, done = row.estimated, 0
        parts = (signals[MIXTURE][part] for part in blocks(0, track.num_samples))
        stream: Estimates = (dict.fromkeys(sources, part) for part in parts)
        if model:
            stream = model.stream(
                parts, track.sample_rate, track.channels, sources=sources, wiener=row.wiener
            )
        elif row.kind == "folder":
            stream = read_estimates(track, row.paths[0], sources)
        elif row.name in MASKS:
            stream = mask_estimates(signals, MASKS[row.name], sources)
        for block in stream:
            start, done = done, done + len(next(iter(block.values())))
            if row.accompaniment == SUM:
                block = {**block, ACCOMPANIMENT: total(block[s] for s in sources if s != VOCALS)}
            elif row.accompaniment == REST:
                block = {**block, ACCOMPANIMENT: signals[MIXTURE][start:done] - block[VOCALS]}
            yield {source: block[source] for source in row.sources}

    return estimates


def mask_estimates(
    signals: Signals, mask: Callable[[Audio, Audio], Audio], sources: Sequence[str]
) -> Estimates:
    """Yield the mixture through ideal masks, with the mixture's phase.

    Args:
        signals: The mixture and all sources of the data set.
        mask: One of `MASKS`.
        sources: The names of these sources.
    """
    (num_samples, channels), count = signals[MIXTURE].shape, len(sources)
    analysis = Analysis(TRANSFORM, channels * (count + 1))
    synthesis = Synthesis(TRANSFORM, channels * count)

    def masked(spectra: Spectrum) -> Audio:
        mixture, *true = np.split(spectra, count + 1, axis=-1)
        masks = mask(np.abs(true), np.abs(mixture))
        return synthesis.push(np.concatenate(list(masks * mixture), axis=-1))

    def samples() -> Iterator[Audio]:
        for part in blocks(0, num_samples):
            yield masked(analysis.push(np.hstack([signals[s][part] for s in (MIXTURE, *sources)])))
        yield masked(analysis.finish())
        yield synthesis.finish(num_samples)

    for block in samples():
        yield dict(zip(sources, np.split(block, count, axis=1), strict=True))


def ratio_masks(magnitudes: Audio, power: int) -> Audio:
    """Return |S|^power / sum |S|^power, or 0 where all sources are silent.

    Args:
        magnitudes: |S|, the sources on the first axis.
        power: 1 for the ratio mask, 2 for the Wiener filter.

    Example:
        >>> ratio_masks(np.float32([[3, 0], [1, 0]]), 1).tolist()
        [[0.75, 0.0], [0.25, 0.0]]
    """
    powers = magnitudes.astype(np.float64) ** power
    whole = np.broadcast_to(powers.sum(axis=0), powers.shape)
    masks: Audio = np.divide(powers, whole, out=np.zeros_like(magnitudes), where=whole > 0)
    return masks


MASKS: Mapping[str, Callable[[Audio, Audio], Audio]] = {  # of |S|, sources first, and |X|
    "irm": lambda s, x: ratio_masks(s, 1),
    "iwf": lambda s, x: ratio_masks(s, 2),
    # the masks of a bin need not add up to 1: where two sources cancel, both may exceed the mixture
    "ibm": lambda s, x: ((2 * s >= x) & (s > 0)).astype(np.float32),
}


def read_estimates(track: Track, folder: Path, sources: Sequence[str]) -> Estimates:
    """Yield the estimates of a track in a folder, in blocks; cut or padded to the track's length.

    Raises:
        TrackError: A file has changed, ends early or contains NaN.
    """
    files = {
        source: open_audio_file(path)
        for source, path in find_estimates(folder, track, sources).items()
    }
    for part in blocks(0, track.num_samples):
        block = {}
        for source, file in files.items():
            there = max(0, min(part.stop, file.num_samples) - part.start)
            audio = file.read(part.start, there) if there else np.zeros((0, file.channels))
            block[source] = np.pad(audio, ((0, part.stop - part.start - there), (0, 0)))
        yield block


class JoinedNetwork:
    """The networks of several files with different sources, which read the same windows.

    Args:
        networks: With the same transform, rate, bins, channels, frames and context.

    Raises:
        SettingsError: They differ in one of these, or two have the same source.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        contracts = [network.contract for network in networks]
        sources = tuple(source for contract in contracts for source in contract.sources)
        windows = {
            (c.sample_rate, *astuple(c.transform), c.bins, c.channels, c.frames, c.context_frames)
            for c in contracts
        }
        require(
            len(windows) == 1 and len(set(sources)) == len(sources),
            "models joined by + must have different sources and the same rate, transform, bins, "
            "channels and frames",
            (sources, sorted(windows)),
            "Score them as rows of their own.",
        )
        self._networks = networks
        self.contract = replace(contracts[0], sources=sources, output="magnitude")
        self.runtime, self.num_threads = networks[0].runtime, networks[0].num_threads

    def for_signal(self) -> Self:
        """Return networks with memories of their own, for one signal."""
        return type(self)([for_signal(network) for network in self._networks])

    def __call__(self, magnitude: Magnitude) -> dict[str, Magnitude]:
        """Estimate the magnitudes of all networks' sources in one window."""
        return {
            source: answer * magnitude if network.contract.output == "mask" else answer
            for network in self._networks
            for source, answer in network(magnitude).items()
        }
