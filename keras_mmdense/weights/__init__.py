"""Trained models: those that come with the package, and files of one's own.

Each `NAME.keras` file beside this one is a model; docs/results holds its card. They are saved by
the oldest Keras that the package allows, so that `keras.saving.load_model` opens them in every
version.
"""

from __future__ import annotations

import os
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from keras_mmdense.errors import SettingsError
from keras_mmdense.model_settings import READ_ERRORS, settings_of
from keras_mmdense.presets import PRESETS

if TYPE_CHECKING:
    import keras

FOLDER = Path(__file__).parent
SUFFIXES = (".keras", ".h5")


def trained_models() -> dict[str, Path]:
    """Return the files of the trained models by their names."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.keras"))}


def load(name: str | PathLike[str] = "mmdensenet-edge") -> keras.Model:
    """Open a trained model, to separate with or to train on.

    The network is built from the file's settings and given its weights, so a file opens in any
    version of Keras that the package allows, whichever saved it.

    Args:
        name: "mmdensenet-edge" (default) or "mmdensenet-micro", the float32 weights of the runner's
            files of the same name, "mmdensenet-vocals", the paper's form for one source, or the
            path of a `.keras` or `.h5` file of a model of `keras_mmdense.build`.

    Returns:
        An uncompiled float32 `keras.Model` as `keras_mmdense.build` makes.

    Raises:
        SettingsError: There is no such model, or the file holds none or another network.

    Example:
        >>> model = load()
        >>> sorted(model.output)
        ['bass', 'drums', 'other', 'vocals']
    """
    known = trained_models()
    text = os.fspath(name)
    if text not in known and not text.endswith(SUFFIXES):
        raise SettingsError(
            f"a model is a trained one ({', '.join(known)}) or a {' or '.join(SUFFIXES)} file; "
            f"received {text!r}. Check the name."
        )
    path = known.get(text, Path(text))
    settings = settings_of(path)
    import keras

    from keras_mmdense.model import build_from_settings
    from keras_mmdense.normalization import ready

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        if settings.preset not in (
            *PRESETS,
            "custom",
        ):  # of training.paper.baseline_networks
            return keras.saving.load_model(path, compile=False)
        model = build_from_settings(settings)
        with warnings.catch_warnings():  # Keras would keep the first weights of what is not there
            warnings.filterwarnings("error", message="Skipping nested container")
            model.load_weights(path)
    except (*READ_ERRORS, UserWarning) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SettingsError(
            f"a model file must hold the weights of its settings' network; received {path} "
            f"({reason}). Save it again with model.save('NAME.keras')."
        ) from error
    finally:
        keras.config.set_dtype_policy(policy)
    ready(model)
    return model
