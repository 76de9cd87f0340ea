"""MMDenseNet music source separation in Keras.

Everything public is loaded on first use: importing this package imports neither Keras nor a
backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mmdense_edge import __version__

from keras_mmdense.errors import what_to_install

_EXPORTS = {
    "AudioError": "errors",
    "Band": "band",
    "ExportError": "errors",
    "PlotError": "errors",
    "Settings": "settings",
    "SettingsError": "errors",
    "TrainingModel": "training_model",
    "Transform": "settings",
    "adapt": "normalization",
    "annotate": "model_settings",
    "build": "model",
    "build_from_settings": "model",
    "export": "tflite.export",
    "separate": "separation",
    "settings_of": "model_settings",
    "summarize": "inspection",
}
__all__ = [
    "AudioError",
    "Band",
    "ExportError",
    "PlotError",
    "Settings",
    "SettingsError",
    "TrainingModel",
    "Transform",
    "__version__",
    "adapt",
    "annotate",
    "build",
    "build_from_settings",
    "data",
    "export",
    "plot",
    "separate",
    "settings_of",
    "summarize",
]

if TYPE_CHECKING:
    from keras_mmdense import data, plot
    from keras_mmdense.band import Band
    from keras_mmdense.errors import AudioError, ExportError, PlotError, SettingsError
    from keras_mmdense.inspection import summarize
    from keras_mmdense.model import build, build_from_settings
    from keras_mmdense.model_settings import annotate, settings_of
    from keras_mmdense.normalization import adapt
    from keras_mmdense.separation import separate
    from keras_mmdense.settings import Settings, Transform
    from keras_mmdense.tflite.export import export
    from keras_mmdense.training_model import TrainingModel


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'keras_mmdense' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"keras_mmdense.{_EXPORTS.get(name, name)}")
    except ModuleNotFoundError as error:  # Keras or its backend
        raise ImportError(what_to_install(error)) from None
    value = globals()[name] = getattr(module, name) if name in _EXPORTS else module
    return value


def __dir__() -> list[str]:
    return __all__
