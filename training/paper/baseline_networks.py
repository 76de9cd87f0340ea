"""The networks that the paper is compared with: FNN, BLSTM and their BLEND, in Keras.

They take and give what a model of `keras_mmdense.build` does, and carry settings as it does: the
same pipeline, trainer, `adapt` and `separate` work with them. A recipe names one in [model]:
`network = "blstm"`. docs/results/reproduction.md says what is known about their sizes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import layers

import keras_mmdense
from keras_mmdense.errors import SettingsError
from keras_mmdense.model_settings import settings_layer, settings_of
from keras_mmdense.normalization import copy_weights
from keras_mmdense.presets import sequence
from keras_mmdense.settings import Band, Settings, Transform, require

NETWORKS = {"fnn": ("fnn",), "blstm": ("blstm",), "blend": ("fnn", "blstm")}
LAYERS = 3  # of BLSTM cells: Uhlich et al., ICASSP 2017; of rectified linear units: chosen


def build_model(arguments: Mapping[str, Any]) -> keras.Model:
    """Build the model of a recipe: one of these networks if it has the key "network".

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
        return build_network(**arguments)
    except TypeError as error:
        raise SettingsError(
            f"a model with a network takes the arguments of build_network; received "
            f"{sorted(arguments)} ({error}). See training/paper/baseline_networks.py."
        ) from error


def float32_copy(model: keras.Model) -> keras.Model:
    """Return a recipe's model with the same weights, in float32 whatever it has, not compiled.

    Args:
        model: Of `build_model`; further outputs are left out.

    Example:
        >>> copy = float32_copy(build_network("fnn", bins=8, hidden=3))
        >>> copy.get_layer("fnn_layer2").units
        3
    """
    settings = settings_of(model)
    outputs = {source: model.output[source] for source in settings.sources}
    whole = keras.Model(model.input, outputs, name=model.name)
    baseline = settings.preset in NETWORKS
    copy = (
        keras.models.clone_model(whole) if baseline else keras_mmdense.build_from_settings(settings)
    )
    copy_weights(whole, copy)
    return copy


def build_network(
    network: str,
    sources: str | Iterable[str] = "vocals",
    *,
    bins: int = 1024,
    channels: int = 2,
    sample_rate: int = 44100,
    n_fft: int | None = None,
    hop_length: int | None = None,
    cells: int = 250,
    hidden: int = 128,
    reduced: int = 64,
    context: int = 8,
    fnn_share: float = 0.25,
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
        cells: LSTM cells per direction and layer, 1 to 4096. Why these sizes: table3.py.
        hidden: Rectified linear units per layer of the FNN, 1 to 4096.
        reduced: Values that a frame is reduced to before the FNN reads it with others, 1 to 4096.
        context: Frames on either side that the FNN reads, 0 to 4096.
        fnn_share: Weight of the FNN's estimate in BLEND, 0 to 1; the BLSTM has the rest.

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
    require(type(bins) is int and bins > 0, "bins must be 1 or more", bins, "Pass 1024.")
    n_fft = 2 * bins if n_fft is None else n_fft
    require(type(n_fft) is int, "n_fft must be an int", n_fft, "Pass 2 * bins.")
    sizes = {"cells": cells, "hidden": hidden, "reduced": reduced, "context": context}
    for name, size in sizes.items():
        low = 0 if name == "context" else 1
        fits = type(size) is int and low <= size <= 4096
        require(fits, f"{name} must be {low} to 4096", size, "Pass a whole number in that range.")
    share = isinstance(fnn_share, int | float) and 0 <= fnn_share <= 1
    require(share, "fnn_share must be 0 to 1", fnn_share, "Pass 0.25.")
    settings = Settings(
        (sources,) if isinstance(sources, str) else sequence("sources", sources, str),
        (Band("full"),),  # gives windows their context and their multiple of frames
        preset=network,
        bins=bins,
        channels=channels,
        sample_rate=sample_rate,
        transform=Transform(n_fft, n_fft // 2 if hop_length is None else hop_length),
    )
    mixture = keras.Input((None, bins, channels), name="mixture", dtype="float32")
    x = layers.Normalization(axis=2, name="normalization", dtype="float32")(mixture)
    x = settings_layer(settings)(x)
    frames = layers.Reshape((-1, bins * channels), name="frames")(x)
    outputs = {}
    for source in settings.sources:
        prefix = f"{source}_" if len(settings.sources) > 1 else ""
        estimates = []
        for name in NETWORKS[network]:
            if name == "fnn":
                x = _fnn(frames, f"{prefix}fnn", hidden, reduced, context)
            else:
                x = frames
                for index in range(1, LAYERS + 1):
                    lstm = layers.LSTM(cells, return_sequences=True)
                    x = layers.Bidirectional(lstm, name=f"{prefix}blstm_layer{index}")(x)
            # a linear layer to all bins, and the estimate in the mixture's scale
            x = layers.Dense(bins * channels, name=f"{prefix}{name}_bins")(x)
            x = layers.Reshape((-1, bins, channels), name=f"{prefix}{name}_spectrum")(x)
            scale = {"axis": 2, "invert": True, "dtype": "float32"}
            x = layers.Normalization(**scale, name=f"{prefix}{name}_denormalization")(x)
            output = f"{prefix}{name}_estimate" if network == "blend" else source
            estimates.append(layers.ReLU(name=output, dtype="float32")(x))
        if network == "blend":
            shares = [
                layers.Rescaling(share, name=f"{prefix}{name}_share", dtype="float32")(estimate)
                for name, share, estimate in zip(
                    NETWORKS[network], (fnn_share, 1 - fnn_share), estimates, strict=True
                )
            ]
            estimates = [layers.Add(name=source, dtype="float32")(shares)]
        (outputs[source],) = estimates
    return keras.Model(mixture, outputs, name=network)


def _fnn(frames: Any, name: str, hidden: int, reduced: int, context: int) -> Any:
    """Rectified linear units on a frame and its neighbors: a convolution over frames."""
    x = layers.Dense(reduced, name=f"{name}_reduced")(frames)
    x = layers.Conv1D(
        hidden,
        2 * context + 1,
        padding="same",
        activation="relu",
        data_format="channels_last",
        name=f"{name}_layer1",
    )(x)
    for index in range(2, LAYERS + 1):
        x = layers.Dense(hidden, activation="relu", name=f"{name}_layer{index}")(x)
    return x
