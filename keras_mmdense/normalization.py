"""adapt(): compute the per-bin normalization of a model's input from data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import require
from keras_mmdense.model_settings import settings_of

if TYPE_CHECKING:
    import keras

    from keras_mmdense.settings import Settings

# Bins that are almost empty in the training data must not blow up on a song that fills them.
STD_FLOOR = 1e-3


def adapt(model: keras.Model, data: Iterable[Any], max_batches: int = 200) -> None:
    """Set the per-bin offset and scale of the input to the data's mean and standard deviation.

    With a compression they are those of the compressed magnitude.

    A magnitude head undoes the same scale, so both are set. Standard deviations below a
    thousandth of the largest bin's are raised to it. Call it before `fit`.

    Args:
        model: A model made by `keras_mmdense.build`; changed in place.
        data: Batches of mixture magnitudes (batch, frames, bins, channels), or of
            (mixture, targets) as `keras_mmdense.data.training_set` yields them.
        max_batches: Read at most this many batches.

    Raises:
        SettingsError: No batch, a wrong shape, or values that are not finite.

    Example:
        >>> import keras_mmdense, numpy as np
        >>> model = keras_mmdense.build("mdensenet", bins=64, frames=8)
        >>> keras_mmdense.adapt(model, [np.ones((1, 8, 64, 2), "float32")])

    Source: offset and scale from the data set as in the authors' later code (D3Net).
    """
    from keras_mmdense.model import compress

    settings = ready(model)
    count, total, squares = 0, np.zeros(settings.bins), np.zeros(settings.bins)
    for index, batch in enumerate(data):
        if index == max_batches:
            break
        mixture = batch[0] if isinstance(batch, tuple | list) else batch
        mixture = _to_numpy(mixture).astype(np.float64)
        require(
            mixture.ndim == 4 and mixture.shape[2:] == (settings.bins, settings.channels),
            f"adapt() needs magnitudes (batch, frames, {settings.bins}, {settings.channels})",
            mixture.shape,
            "Use the model's own pipeline.",
        )
        mixture = _to_numpy(compress(mixture, settings)).astype(np.float64)
        count += mixture[:, :, 0].size
        total += np.einsum("tfbc->b", mixture)
        squares += np.einsum("tfbc,tfbc->b", mixture, mixture)
    require(
        count > 0 and bool(np.isfinite(squares).all()),
        "adapt() needs finite values",
        {"values per bin": count, "sum of squares": float(squares.sum())},
        "Check the data set.",
    )
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std = np.maximum(std, max(STD_FLOOR * std.max(), 1e-6))
    for layer in _normalizations(model):
        layer.adapt_mean.assign(mean.astype(np.float32))
        layer.adapt_variance.assign((std**2).astype(np.float32))
    _refresh(model)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Give a model the weights of another of the same settings but frames and compression_gain.

    Raises:
        SettingsError: The other model has layers that its settings do not describe.
    """
    kinds, own = (
        {x.name: type(x).__name__ for x in m.layers if x.name != "gain"} for m in (source, target)
    )
    require(  # the target would leave them out, and nobody would notice
        kinds == own,
        "a model must have the layers of its settings, nothing added or replaced",
        sorted(set(kinds.items()) ^ set(own.items()))[:4],
        "Use the options of keras_mmdense.build instead.",
    )
    target.set_weights(source.get_weights())
    _refresh(target)


def ready(model: keras.Model) -> Settings:
    """Return the settings of a model after updating its normalization from its weights.

    Keras derives the constants of a `Normalization` layer when it adapts or loads. After
    `set_weights`, on a clone or a newly built model, the layer would still use those from before.

    Raises:
        SettingsError: The model was not built by `keras_mmdense.build`, or lacks an output.
    """
    settings = settings_of(model)
    outputs = getattr(model, "output", None)
    require(
        isinstance(outputs, dict) and set(settings.sources) <= set(outputs),
        f"a model must have an output for each of its sources, {settings.sources}",
        list(outputs) if isinstance(outputs, dict) else outputs,
        "Use the whole model.",
    )
    if any(
        not np.array_equal(np.ravel(_to_numpy(used)), np.ravel(_to_numpy(stored)))
        for layer in _normalizations(model)
        for used, stored in ((layer.mean, layer.adapt_mean), (layer.variance, layer.adapt_variance))
    ):
        _refresh(model)
    return settings


def _to_numpy(value: Any) -> Any:
    """Return a tensor's or a variable's value as an array, also from PyTorch's devices."""
    value = getattr(value, "value", value)
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _refresh(model: keras.Model) -> None:
    """Let the layers derive their constants; compiled functions hold the old ones."""
    for layer in _normalizations(model):
        layer.finalize_state()
    model.train_function = model.test_function = model.predict_function = None


def _normalizations(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if layer.__class__.__name__ == "Normalization"]
