"""Keras models and `.tflite` files as estimators: both are networks of the runner's chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmdense_edge.model.contract import Contract, load_model
from mmdense_edge.model.interpreter import Magnitude, TFLiteNetwork
from mmdense_edge.separator import Separator

from keras_mmdense import build
from keras_mmdense.separation import KerasNetwork
from training.evaluation.errors import EvaluationError
from training.evaluation.songs import Samples, Song, blocks


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
        windows = {_window(contract) for contract in contracts}
        if len(windows) > 1 or len(set(sources)) < len(sources):
            raise EvaluationError(
                "models joined by + must have different sources and the same rate, transform, "
                f"bins, channels and frames; received sources {', '.join(sources)} and windows "
                f"{sorted(windows)}. Score them as rows of their own."
            )
        self._networks = tuple(networks)
        self.contract = replace(contracts[0], sources=sources)
        self.runtime, self.num_threads = networks[0].runtime, networks[0].num_threads

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimate the magnitudes of all networks' sources in one window."""
        estimates: dict[str, Magnitude] = {}
        for network in self._networks:
            estimates |= network(magnitude)
        return estimates


class ModelEstimator:
    """Separates songs with a model, through the runner's pipeline.

    Args:
        paths: As for `open_separator`.
        sources: The sources wanted.
        wiener: Iterations of the multichannel Wiener filter.
        num_threads: Threads of the TFLite interpreter.
    """

    def __init__(
        self, paths: Sequence[Path], sources: Sequence[str], wiener: int, num_threads: int
    ) -> None:
        self._separator = open_separator(paths, num_threads)
        self._sources, self._wiener = tuple(sources), wiener

    def stream(self, song: Song) -> Iterator[dict[str, Samples]]:
        """Yield the estimates, in blocks."""
        parts = (song.mixture[start : start + count] for start, count in blocks(song.num_samples))
        return self._separator.stream(
            parts, song.sample_rate, song.channels, sources=self._sources, wiener=self._wiener
        )


def open_separator(paths: Sequence[Path], num_threads: int = 1) -> Separator:
    """Open one model, or several whose sources together are separated.

    Args:
        paths: `.keras` files or `.tflite` files, not both.
        num_threads: Threads of the TFLite interpreter.

    Raises:
        EvaluationError: `.tflite` files do not fit together.
        SettingsError: `.keras` files do not fit together, or one cannot be used.
        MMDenseError: A `.tflite` file cannot be used.
    """
    if paths[0].suffix == ".keras":
        return Separator(KerasNetwork([build(weights=path) for path in paths]))
    networks = [TFLiteNetwork(load_model(path), num_threads) for path in paths]
    return Separator(networks[0] if len(networks) == 1 else JoinedNetwork(networks))


def _window(c: Contract) -> tuple[int, int, int, int, int, int, int]:
    t = c.transform
    return c.sample_rate, t.n_fft, t.hop_length, c.bins, c.channels, c.frames, c.context_frames
