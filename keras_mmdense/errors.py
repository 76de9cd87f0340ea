"""The errors that the library raises for wrong input; each message is one line with a way out."""

from mmdense_edge.errors import AudioError

__all__ = ["AudioError", "ExportError", "PlotError", "SettingsError"]

_EXTRAS = {"keras": "tensorflow", "tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def what_to_install(error: ModuleNotFoundError) -> str:
    """Return the line that says which extra brings a missing package."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0], "export")
    return f'{error}: pip install ".[{extra}]" in a checkout of keras_mmdense'


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
