"""Models that are named on the command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from keras_mmdense.model_settings import settings_of
from keras_mmdense.presets import PRESETS, resolve_settings
from keras_mmdense.settings import Settings
from keras_mmdense.weights import find_weights

if TYPE_CHECKING:
    import keras


def start_backend() -> None:
    """Load Keras and its backend, without what TensorFlow's start prints at any log level.

    Raises:
        ModuleNotFoundError: The backend is not installed.
    """
    sys.stderr.flush()
    shown, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras

        keras.ops.zeros(1)
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        os.close(nowhere)


def open_model(name: str, trained: bool = True) -> keras.Model:
    """Return the model of a name on the command line.

    Args:
        name: A `.keras` or `.h5` file, or a bundled model by the library's name or its file's.
        trained: Whether the weights matter; if not, it may be a preset without any.

    Raises:
        SettingsError: As `keras_mmdense.build`.
    """
    settings = form(name, trained)  # an error is reported before the backend is started
    start_backend()
    from keras_mmdense.model import build, build_from_settings

    return build_from_settings(settings) if name in PRESETS and not trained else build(weights=name)


def form(name: str, trained: bool = False) -> Settings:
    """Return the settings of a model, as `open_model`.

    Raises:
        SettingsError: Neither a preset, a bundled model nor a file of a model.
    """
    if name in PRESETS and not trained:
        return resolve_settings(name)
    return settings_of(find_weights(name))
