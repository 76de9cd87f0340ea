"""Models that are named on the command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from keras_mmdense.errors import SettingsError
from keras_mmdense.model_settings import READ_ERRORS, settings_of
from keras_mmdense.presets import PRESETS, preset_settings
from keras_mmdense.settings import Settings
from keras_mmdense.weights import load, trained_models

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
    """Return the trained model of a `.keras` file, or one that comes with the package.

    Raises:
        SettingsError: There is no such model, or the file is no model of keras_mmdense.
    """
    if not name.endswith(".keras"):
        if name not in trained_models():
            raise SettingsError(
                f"a model is a .keras file or a trained one ({', '.join(trained_models())}); "
                f"received {name!r}."
            )
        start_backend()
        return load(name)
    settings_of(name)  # says in one line if it is no file of ours
    start_backend()
    import keras

    try:
        model: keras.Model = keras.saving.load_model(name, compile=False)
    except READ_ERRORS as error:
        raise SettingsError(
            f"a .keras file must hold a model with its weights; received {name} "
            f"({type(error).__name__}: {error}). Save it again with model.save."
        ) from error
    return model


def network(name: str) -> keras.Model:
    """Return a model of the form of a preset or a `.keras` file; its weights do not matter.

    Raises:
        SettingsError: Neither a preset nor a file of a model.
    """
    if name.endswith(".keras"):
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
    if name.endswith(".keras"):
        return settings_of(name)
    if name not in PRESETS:
        raise SettingsError(
            f"a model is a preset ({', '.join(PRESETS)}) or a .keras file; received {name!r}."
        )
    return preset_settings(name)
