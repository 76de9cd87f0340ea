"""Models that are named on the command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from keras_mmdense.errors import SettingsError
from keras_mmdense.model_settings import settings_of
from keras_mmdense.presets import PRESETS, preset_settings
from keras_mmdense.settings import Settings
from keras_mmdense.weights import SUFFIXES, load, trained_models

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


def open_model(name: str) -> keras.Model:
    """Return the trained model of a file, or one that comes with the package.

    Raises:
        SettingsError: As `keras_mmdense.load`.
    """
    if name.endswith(SUFFIXES):
        settings_of(name)  # an error is told before the backend is started
        start_backend()
    elif name in trained_models():
        start_backend()
    return load(name)


def network(name: str) -> keras.Model:
    """Return a model of the form of a preset or a `.keras` file; its weights do not matter.

    Raises:
        SettingsError: Neither a preset nor a file of a model.
    """
    if name.endswith(SUFFIXES):
        return open_model(name)
    form(name)
    start_backend()
    from keras_mmdense.model import build

    return build(name)


def form(name: str) -> Settings:
    """Return the settings of a preset or a `.keras` file.

    Raises:
        SettingsError: Neither a preset nor a file of a model.
    """
    if name.endswith(SUFFIXES):
        return settings_of(name)
    if name not in PRESETS:
        raise SettingsError(
            f"a model is a preset ({', '.join(PRESETS)}) or a .keras file; received {name!r}."
        )
    return preset_settings(name)
