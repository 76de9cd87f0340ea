"""The networks that the paper's table 3 is about: FNN, BLSTM and their BLEND, in Keras.

They read and return what a model of `keras_mmdense.build` does, for one source, to compare sizes
and times. docs/results/reproduction/table3.md says what is known about them, and what was chosen.
"""

import keras
from keras import layers

from keras_mmdense.band import Band
from keras_mmdense.model_settings import settings_layer
from keras_mmdense.settings import Settings, Transform

NETWORKS = {"fnn": ("fnn",), "blstm": ("blstm",), "blend": ("fnn", "blstm")}
LAYERS = 3  # of BLSTM cells: Uhlich et al., ICASSP 2017; of rectified linear units: chosen
SHARES = {"fnn": 0.25, "blstm": 0.75}  # in BLEND


def build_network(
    network: str,
    source: str = "vocals",
    *,
    bins: int = 1024,
    cells: int = 250,
    hidden: int = 128,
    reduced: int = 64,
    context: int = 8,
) -> keras.Model:
    """Build an FNN, a BLSTM or their BLEND, which is both and the weighted sum of their estimates.

    Args:
        network: A key of `NETWORKS`.
        source: What it estimates.
        bins: Frequency bins, from bin 0; a multiple of 8.
        cells: LSTM cells per direction and layer.
        hidden: Rectified linear units per layer of the FNN.
        reduced: Values that a frame is reduced to before the FNN reads it with others.
        context: Frames on either side that the FNN reads.

    Returns:
        An uncompiled `keras.Model`: (batch, frames, bins, 2) of any number of frames to {source:
        magnitude} of the same shape.

    Example:
        >>> model = build_network("fnn", bins=64, hidden=8, reduced=8)
        >>> model.output["vocals"].shape
        (None, None, 64, 2)

    Source: S. Uhlich et al., "Improving music source separation based on deep neural networks
    through data augmentation and network blending", ICASSP 2017.
    """
    settings = Settings(
        (source,), (Band("full"),), preset=network, bins=bins, transform=Transform(2 * bins, bins)
    )
    size = bins * settings.channels
    mixture = keras.Input((None, bins, settings.channels), name="mixture")
    x = layers.Normalization(axis=2, name="normalization")(mixture)
    frames = layers.Reshape((-1, size), name="frames")(settings_layer(settings)(x))
    estimates = {}
    for name in NETWORKS[network]:
        x = frames
        if name == "fnn":  # a frame and its neighbors: a convolution over frames
            x = layers.Dense(reduced)(x)
            x = layers.Conv1D(hidden, 2 * context + 1, padding="same", activation="relu")(x)
            for _ in range(1, LAYERS):
                x = layers.Dense(hidden, activation="relu")(x)
        else:
            for _ in range(LAYERS):
                x = layers.Bidirectional(layers.LSTM(cells, return_sequences=True))(x)
        x = layers.Reshape((-1, bins, settings.channels))(layers.Dense(size)(x))
        x = layers.Normalization(axis=2, invert=True, name=f"{name}_denormalization")(x)
        estimates[name] = layers.ReLU(name=f"{name}_estimate")(x)
    (estimate, *_) = estimates.values()
    if network == "blend":
        estimate = layers.Add(name="blend")(
            [layers.Rescaling(SHARES[name])(each) for name, each in estimates.items()]
        )
    return keras.Model(mixture, {source: estimate}, name=network)
