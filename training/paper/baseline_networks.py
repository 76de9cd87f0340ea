"""The networks that the paper is compared with: FNN, BLSTM and their BLEND, in Keras.

They take and give what a model of `keras_mmdense.build` does, and carry settings as it does: the
same pipeline, trainer, `adapt` and `separate` work with them. A recipe names one in [model]:
`network = "blstm"`. What is known of their sizes stands in docs/results/reproduction.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

import keras_mmdense
from keras_mmdense.errors import SettingsError
from keras_mmdense.model_settings import settings_layer
from keras_mmdense.presets import sequence
from keras_mmdense.settings import Band, Settings, Transform, is_int, require

NETWORKS = ("fnn", "blstm", "blend")
LAYERS = 3  # of BLSTM cells: Uhlich et al., ICASSP 2017; of rectified linear units: chosen


@dataclass(frozen=True)
class Sizes:
    """Sizes of the networks; the defaults are those that table3 explains.

    Args:
        cells: LSTM cells per direction and layer, >= 1.
        hidden: Rectified linear units per layer of the FNN, >= 1.
        reduced: Values that a frame is reduced to before the FNN reads it with others, >= 1.
        context: Frames on either side that the FNN reads, >= 0.
        fnn_share: Weight of the FNN's estimate in BLEND, 0 to 1; the BLSTM has the rest.
    """

    cells: int = 250
    hidden: int = 128
    reduced: int = 64
    context: int = 8
    fnn_share: float = 0.25

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low in (("cells", 1), ("hidden", 1), ("reduced", 1), ("context", 0)):
            value = getattr(self, name)
            require(
                is_int(value) and low <= value <= 4096,
                f"{name} must be {low} to 4096",
                value,
                "Pass a whole number in that range.",
            )
        share = self.fnn_share
        require(
            isinstance(share, int | float) and 0 <= share <= 1,
            "fnn_share must be 0 to 1",
            share,
            "Pass 0.25.",
        )


def build_model(arguments: Mapping[str, Any]) -> keras.Model:
    """Build the model of a recipe: one of these networks where it has the key "network".

    Args:
        arguments: Of `keras_mmdense.build` or, with "network", of `build_network`.

    Raises:
        SettingsError: Unknown keys or wrong values.

    Example:
        >>> build_model({"network": "blstm", "cells": 4, "bins": 8}).name
        'blstm'
    """
    if "network" not in arguments:
        return keras_mmdense.build(**arguments)
    try:
        inspect.signature(build_network).bind(**arguments)
        return build_network(**arguments)
    except TypeError as error:
        raise SettingsError(
            f"a model with a network takes the arguments of build_network; received "
            f"{sorted(arguments)} ({error}). See training/paper/baseline_networks.py."
        ) from error


def rebuild(model: keras.Model) -> keras.Model:
    """Build a model of the same architecture with fresh weights.

    Args:
        model: Of `build_model`; one of these networks must be in float32 itself.

    Example:
        >>> rebuild(build_network("fnn", bins=8, hidden=3)).get_layer("fnn_layer2").units
        3
    """
    settings = keras_mmdense.settings_of(model)
    if settings.preset in NETWORKS:
        outputs = {source: model.output[source] for source in settings.sources}
        return keras.models.clone_model(keras.Model(model.input, outputs, name=model.name))
    return keras_mmdense.build_from_settings(settings)


def build_network(
    network: str,
    sources: str | Iterable[str] = "vocals",
    *,
    bins: int = 1024,
    channels: int = 2,
    sample_rate: int = 44100,
    n_fft: int | None = None,
    hop_length: int | None = None,
    **sizes: Any,
) -> keras.Model:
    """Build an FNN, a BLSTM or their BLEND, with a network of its own for each source.

    BLEND is one graph: both networks, and the weighted sum of their estimates.

    Args:
        network: "fnn", "blstm" or "blend".
        sources: One name or several.
        bins: Frequency bins, from bin 0; a multiple of 8.
        channels: 1 or 2; all channels of a frame are read together.
        sample_rate: Rate in Hz of the audio that the model is for.
        n_fft: Window length in samples; default 2 * bins.
        hop_length: Hop in samples; default n_fft // 2.
        **sizes: Fields of `Sizes`.

    Returns:
        An uncompiled `keras.Model`: (batch, frames, bins, channels) of any number of frames to
        {source: magnitude} of the same shape. `separate` gives its windows 104 frames of context
        on either side, as a model of `build` has: a BLSTM that wants more takes
        `window_frames=None`, the whole song at once.

    Raises:
        SettingsError: A wrong argument.

    Example:
        >>> model = build_network("fnn", bins=64, hidden=8, reduced=8)
        >>> model.output["vocals"].shape
        (None, None, 64, 2)

    Source: S. Uhlich et al., "Improving music source separation based on deep neural networks
    through data augmentation and network blending", ICASSP 2017.
    """
    require(network in NETWORKS, f"network must be one of {', '.join(NETWORKS)}", network, "")
    require(is_int(bins) and bins > 0, "bins must be 1 or more", bins, "Pass 1024.")
    unknown = sorted(set(sizes) - set(Sizes.__dataclass_fields__))
    require(not unknown, f"sizes are {', '.join(Sizes.__dataclass_fields__)}", unknown, "")
    n_fft = 2 * bins if n_fft is None else n_fft
    require(is_int(n_fft), "n_fft must be an int", n_fft, "Pass 2 * bins.")
    settings = Settings(
        (sources,) if isinstance(sources, str) else sequence("sources", sources, str),
        (Band("full"),),  # gives windows their context and their multiple of frames
        preset=network,
        bins=bins,
        channels=channels,
        sample_rate=sample_rate,
        transform=Transform(n_fft, n_fft // 2 if hop_length is None else hop_length),
    )
    return _build(settings, Sizes(**sizes))


def _build(s: Settings, sizes: Sizes) -> keras.Model:
    mixture = keras.Input((None, s.bins, s.channels), name="mixture", dtype="float32")
    x = layers.Normalization(axis=2, name="normalization", dtype="float32")(mixture)
    x = settings_layer(s)(x)
    frames = layers.Reshape((-1, s.bins * s.channels), name="frames")(x)
    outputs = {}
    for source in s.sources:
        prefix = f"{source}_" if len(s.sources) > 1 else ""
        outputs[source] = _network(frames, source, prefix, s, sizes)
    return keras.Model(mixture, outputs, name=s.preset)


def _network(frames: Any, source: str, prefix: str, s: Settings, sizes: Sizes) -> Any:
    """Return the estimate of one source."""
    if s.preset == "fnn":
        return _estimate(_fnn(frames, prefix, sizes), f"{prefix}fnn", source, s)
    if s.preset == "blstm":
        return _estimate(_blstm(frames, prefix, sizes), f"{prefix}blstm", source, s)
    parts = []
    for name, make, share in (
        ("fnn", _fnn, sizes.fnn_share),
        ("blstm", _blstm, 1 - sizes.fnn_share),
    ):
        name = f"{prefix}{name}"
        x = _estimate(make(frames, prefix, sizes), name, f"{name}_estimate", s)
        parts.append(layers.Rescaling(share, name=f"{name}_share", dtype="float32")(x))
    return layers.Add(name=source, dtype="float32")(parts)


def _fnn(frames: Any, prefix: str, sizes: Sizes) -> Any:
    """Rectified linear units on a frame and its neighbours: a convolution over frames."""
    x = layers.Dense(sizes.reduced, name=f"{prefix}fnn_reduced")(frames)
    x = layers.Conv1D(
        sizes.hidden,
        2 * sizes.context + 1,
        padding="same",
        activation="relu",
        data_format="channels_last",
        name=f"{prefix}fnn_layer1",
    )(x)
    for index in range(2, LAYERS + 1):
        x = layers.Dense(sizes.hidden, activation="relu", name=f"{prefix}fnn_layer{index}")(x)
    return x


def _blstm(frames: Any, prefix: str, sizes: Sizes) -> Any:
    x = frames
    for index in range(1, LAYERS + 1):
        cells = layers.LSTM(sizes.cells, return_sequences=True)
        x = layers.Bidirectional(cells, name=f"{prefix}blstm_layer{index}")(x)
    return x


def _estimate(x: Any, name: str, output: str, s: Settings) -> Any:
    """A linear layer to all bins, and the estimate in the mixture's scale."""
    x = layers.Dense(s.bins * s.channels, name=f"{name}_bins")(x)
    x = layers.Reshape((-1, s.bins, s.channels), name=f"{name}_spectrum")(x)
    x = layers.Normalization(axis=2, invert=True, name=f"{name}_denormalization", dtype="float32")(
        x
    )
    return layers.ReLU(name=output, dtype="float32")(x)
