"""Music source separation on small machines: a TFLite model with its contract, NumPy and soundfile.

Importing this package loads nothing; each exported name is imported at its first use.

Example:
    >>> import mmdense_edge
    >>> sorted(mmdense_edge.__all__)
    ['Cancelled', 'Model', 'ModelError', 'Separator', '__version__', 'load_model', 'read_contract']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmdense_edge.errors import Cancelled, ModelError
    from mmdense_edge.model.model_file import Model, load_model, read_contract
    from mmdense_edge.separator import Separator

__version__ = "0.1.0"
__all__ = [
    "Cancelled",
    "Model",
    "ModelError",
    "Separator",
    "__version__",
    "load_model",
    "read_contract",
]

_HOMES = {
    "Cancelled": "errors",
    "Model": "model.model_file",
    "ModelError": "errors",
    "Separator": "separator",
    "load_model": "model.model_file",
    "read_contract": "model.model_file",
}


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used, so that the package itself loads nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
