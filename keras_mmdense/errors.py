"""The errors that the library raises for wrong input; each message is one line with a way out."""

from importlib.util import find_spec

from mmdense_edge.errors import AudioError

__all__ = ["AudioError", "ExportError", "PlotError", "SettingsError"]

_EXTRAS = {"keras": "tensorflow", "tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def what_to_install(error: ImportError, extra: str = "export") -> str:
    """Return the line that says which extra brings a missing package.

    Args:
        error: What the import raised.
        extra: The extra, unless Keras or its backend is missing.
    """
    missing = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(missing, extra)
    backends = ("tensorflow", "jax", "torch")
    others = [name for name in backends if missing in backends and _has(name)]
    choice = f"set the variable KERAS_BACKEND={others[0]}, or " if others else ""
    return f'{error}: {choice}pip install ".[{extra}]" in a checkout of keras_mmdense'


def _has(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it was made unimportable
        return False


class SettingsError(ValueError):
    """A setting is outside its range, or two settings do not fit together."""


class ExportError(RuntimeError):
    """A model cannot be written as TFLite, or its file does not agree with Keras."""


class PlotError(RuntimeError):
    """A picture cannot be drawn or written."""


def require(
    holds: bool,
    rule: str,
    received: object,
    way_out: str,
    error: type[Exception] = SettingsError,
) -> None:
    """Raise an error unless the rule holds."""
    if not holds:
        raise error(f"{rule}; received {received!r}. {way_out}".rstrip())
