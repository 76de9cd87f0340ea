"""Keras models and `.tflite` files in one shape: the network that the device runner calls.

`keras_mmdense.separate` holds a whole song and all its stems. The runner's pipeline holds one
window; with a Keras network in the interpreter's place it computes the same (a test holds them to
1e-4), in memory that does not depend on the length of a song.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdense_edge.contract import Contract, Transform, load_model
from mmdense_edge.runtime import Magnitude, Network
from mmdense_edge.separator import Separator

from keras_mmdense import Settings, settings_of
from keras_mmdense.model_settings import READ_ERRORS
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.separation import any_length
from training.evaluation.errors import EvaluationError
from training.evaluation.songs import Samples, Song, blocks

if TYPE_CHECKING:
    import keras

WINDOW_FRAMES = 256  # frames that a window of a Keras network keeps


class KerasNetwork(Network):
    """A Keras model with the call and the contract of the runner's network.

    Args:
        model: A model of `keras_mmdense.build`.
        context: Frames to discard on each side of a window: the model's own, or more.
        step: Both frames and context are multiples of it: the model's own, or a multiple of that.

    Example:
        >>> import keras_mmdense
        >>> model = keras_mmdense.build("mdensenet", bins=64, layers=1, growth=2)
        >>> network = KerasNetwork(model, context=32, step=8)
        >>> network(np.zeros((320, 64, 2), np.float32))["vocals"].shape
        (320, 64, 2)
    """

    def __init__(self, model: keras.Model, context: int, step: int) -> None:
        settings = settings_of(model)
        self._model = any_length(model, settings)
        self.contract = _contract(settings, context, step)
        self.runtime = "keras"

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimate the sources' magnitudes in one window.

        Args:
            magnitude: Of the mixture, (frames, bins, channels).

        Returns:
            For each source an array of the same shape.

        Raises:
            EvaluationError: The model answered with NaN or infinity.
        """
        outputs = self._model.predict_on_batch(magnitude[None])
        estimates = {source: np.asarray(outputs[source])[0] for source in self.contract.sources}
        wrong = [source for source, e in estimates.items() if not np.isfinite(e).all()]
        if wrong:
            raise EvaluationError(
                f"the model must answer with finite values; received NaN or infinity for "
                f"{', '.join(wrong)}. Score another checkpoint."
            )
        return estimates


class JoinedNetwork(Network):
    """Several networks of different sources that read the same windows.

    Args:
        networks: With the same transform, rate, bins, channels, frames and context.

    Raises:
        EvaluationError: They differ in one of these, or share a source.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
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
        self.runtime = networks[0].runtime

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimate the magnitudes of all networks' sources in one window."""
        estimates: dict[str, Magnitude] = {}
        for network in self._networks:
            estimates |= network(magnitude)
        return estimates


class NetworkSeparator(Separator):
    """The runner's separator, round a network that is not from one file.

    Args:
        network: The network.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def contract(self) -> Contract:
        """What the network says about itself."""
        return self.network.contract


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
        EvaluationError: They do not fit together, or a `.keras` file cannot be opened.
        MMDenseError: A `.tflite` file cannot be used.
    """
    networks: list[Network]
    if paths[0].suffix == ".keras":
        networks = _keras_networks([_load(path) for path in paths])
    else:
        networks = [Network(load_model(path), num_threads) for path in paths]
    return NetworkSeparator(networks[0] if len(networks) == 1 else JoinedNetwork(networks))


def _keras_networks(models: Sequence[keras.Model]) -> list[Network]:
    """Give models the same windows: those of the one that needs the most."""
    settings = [settings_of(model) for model in models]
    step = math.lcm(*(s.frame_multiple for s in settings))
    context = _multiple(max(context_frames(s) for s in settings), step)
    return [KerasNetwork(model, context, step) for model in models]


def _multiple(frames: int, step: int) -> int:
    """Round up to a multiple."""
    return -(-frames // step) * step


def _load(path: Path) -> Any:
    import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except READ_ERRORS as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EvaluationError(
            f"a .keras file must open in Keras; received {path} ({reason[0]}). "
            "Save it again with this version."
        ) from error


def _contract(s: Settings, context: int, step: int) -> Contract:
    return Contract(
        name=s.preset,
        model_sha256="",
        sources=s.sources,
        sample_rate=s.transform.sample_rate,
        transform=Transform(s.transform.n_fft, s.transform.hop_length),
        bins=s.bins,
        channels=s.channels,
        frames=_multiple(WINDOW_FRAMES, step) + 2 * context,
        context_frames=context,
        frame_multiple=step,
        input="mixture",
        outputs={source: source for source in s.sources},
        output="magnitude",  # a mask head multiplies inside the Keras model
        precision="float32",
        licence=s.licence,
        training_data=s.training_data,
        parity={},
        settings={},
    )


def _window(c: Contract) -> tuple[int, int, int, int, int, int, int]:
    t = c.transform
    return c.sample_rate, t.n_fft, t.hop_length, c.bins, c.channels, c.frames, c.context_frames
