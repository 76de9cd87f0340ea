"""The trained weights that come with the package: `keras_mmdense.load`.

Each `NAME.keras` file beside this one is a model; docs/models holds its card.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keras_mmdense.errors import SettingsError

if TYPE_CHECKING:
    import keras

FOLDER = Path(__file__).parent


def trained_models() -> dict[str, Path]:
    """Return the files of the trained models by their names."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.keras"))}


def load(name: str = "mmdensenet-edge") -> keras.Model:
    """Open a trained model that comes with the package, to separate with or to train on.

    Args:
        name: "mmdensenet-edge" (default) or "mmdensenet-micro", the float32 weights of the runner's
            files of the same name, or "mmdensenet-vocals", the paper's form for one source.

    Returns:
        An uncompiled `keras.Model` as `keras_mmdense.build` makes, for any number of frames.

    Raises:
        SettingsError: No model of that name comes with the package.

    Example:
        >>> model = load()
        >>> sorted(model.output)
        ['bass', 'drums', 'other', 'vocals']
    """
    known = trained_models()
    if name not in known:
        raise SettingsError(
            f"the trained models are {', '.join(known)}; received {name!r}. "
            "keras.saving.load_model opens a file of your own."
        )
    import keras

    model: keras.Model = keras.saving.load_model(known[name], compile=False)
    return model
