"""How a model keeps its Settings, so that one `.keras` file holds everything.

Keras stores no free text with a functional model. A layer or model class of our own would hold the
settings in its `get_config`, as a Keras user expects, but then a file opens only where this package
is installed; an attribute of the model, or one more file in the `.keras` archive, is lost by
`clone_model`, `from_config` and the next `save`. What survives all of them, in plain Keras, is the
configuration of a standard layer. So a layer that multiplies by a constant 1 carries the settings
as JSON: in an initializer that is never called, because the layer has no bias.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from keras_mmdense.errors import SettingsError, require
from keras_mmdense.settings import Settings

if TYPE_CHECKING:
    import keras

LAYER_NAME = "settings"
MAX_CONFIG_BYTES = 64 << 20
# What zipfile, zlib and json raise on files that are none of ours.
READ_ERRORS = (
    zipfile.BadZipFile, zlib.error, OSError, KeyError, TypeError, ValueError, RecursionError,
    NotImplementedError, RuntimeError, EOFError,
)  # fmt: skip


def settings_layer(settings: Settings) -> keras.layers.Layer:
    """Return the layer that carries the settings; it passes its input on unchanged."""
    import keras

    return keras.layers.DepthwiseConv2D(
        1,
        use_bias=False,
        depthwise_initializer="ones",
        bias_initializer=keras.initializers.Constant(settings.to_json()),
        trainable=False,
        data_format="channels_last",
        dtype="float32",
        name=LAYER_NAME,
    )


def settings_of(model: keras.Model | str | PathLike[str]) -> Settings:
    """Return the settings of a model, or of a `.keras` file without opening it in Keras.

    Args:
        model: A model made by `keras_mmdense.build`, also when it was loaded by
            `keras.saving.load_model`, or the path of a `.keras` file.

    Raises:
        SettingsError: The model or file carries no settings of keras_mmdense.

    Example:
        >>> import keras_mmdense
        >>> keras_mmdense.settings_of(keras_mmdense.build("mdensenet")).sources
        ('vocals',)
    """
    if isinstance(model, str | PathLike):
        return _settings_of_file(Path(model))
    try:
        value = model.get_layer(LAYER_NAME).bias_initializer.value
    except (ValueError, AttributeError) as error:
        raise SettingsError(
            f"a model of keras_mmdense.build() has a layer {LAYER_NAME!r}; received {model!r}. "
            "Build one with keras_mmdense."
        ) from error
    return Settings.from_json(str(value))


def annotate(
    model: keras.Model, *, training_data: str | None = None, license: str | None = None
) -> Settings:
    """Write what the weights were trained on, and their license, into the model.

    Args:
        model: A model made by `keras_mmdense.build`; changed in place.
        training_data: Data sets and their credits. None leaves it as it is.
        license: License of the weights. None leaves it as it is.

    Returns:
        The new settings.

    Example:
        >>> import keras_mmdense
        >>> keras_mmdense.annotate(keras_mmdense.build("mdensenet"), license="CC0-1.0").license
        'CC0-1.0'
    """
    old = settings_of(model)
    new = replace(
        old,
        training_data=old.training_data if training_data is None else training_data,
        license=old.license if license is None else license,
    )
    model.get_layer(LAYER_NAME).bias_initializer.value = new.to_json()
    return new


def _settings_of_file(path: Path) -> Settings:
    text: str | bytes
    try:
        if path.suffix in (".h5", ".hdf5"):
            import h5py  # comes with Keras

            with h5py.File(path, "r") as file:
                text = file.attrs["model_config"]
        else:
            with zipfile.ZipFile(path) as archive, archive.open("config.json") as member:
                text = member.read(MAX_CONFIG_BYTES + 1)
        require(
            len(text) <= MAX_CONFIG_BYTES,
            f"the configuration in {path} must have at most {MAX_CONFIG_BYTES} bytes",
            len(text),
            "It is not a file of keras_mmdense.",
        )
        for layer in json.loads(text)["config"]["layers"]:
            if layer["config"]["name"] == LAYER_NAME:
                return Settings.from_json(layer["config"]["bias_initializer"]["config"]["value"])
    except SettingsError:
        raise
    except FileNotFoundError:
        raise SettingsError(
            f"the model file must exist; received {path}. Check the path."
        ) from None
    except READ_ERRORS as error:
        raise SettingsError(
            f"a .keras file must be a ZIP archive with a functional model; received {path} "
            f"({error}). Save it with model.save('NAME.keras')."
        ) from error
    raise SettingsError(
        f"a model of keras_mmdense.build() has a layer {LAYER_NAME!r}; received {path} without it. "
        "Build one with keras_mmdense."
    )
