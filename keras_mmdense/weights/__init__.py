"""Trained models: those that come with the package, and files of one's own.

Each `NAME.keras` file next to this one is a model; its card is in docs/results. They are saved by
the oldest Keras that the package allows, so that `keras.saving.load_model` opens them in every
version.
"""

import os
from pathlib import Path

from mmdense_edge.model import bundled

from keras_mmdense.errors import require
from keras_mmdense.presets import PRESETS

FOLDER = Path(__file__).parent
SUFFIXES = (".keras", ".h5")


def find_weights(name: str | os.PathLike[str] | None) -> Path:
    """Return the file of trained weights.

    Args:
        name: A bundled model, by the library's name or by that of one of its device files, or the
            path of a `.keras` or `.h5` file.

    Raises:
        SettingsError: Neither.

    Example:
        >>> find_weights("mmdensenet-edge-int8").name
        'mmdensenet-edge.keras'
    """
    text = os.fspath(name) if isinstance(name, str | os.PathLike) else repr(name)
    known = bundled.library_name(text)
    if known is not None:
        return FOLDER / f"{known}.keras"
    untrained = ", ".join(name for name in PRESETS if name not in bundled.MODELS)
    require(
        text.endswith(SUFFIXES),
        f"trained weights are bundled ones ({', '.join(bundled.MODELS)}) or a "
        f"{' or '.join(SUFFIXES)} file",
        text,
        f"The presets {untrained} have no weights.",
    )
    return Path(text)
