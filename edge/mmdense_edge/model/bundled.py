"""The bundled models and their names."""

import os
from pathlib import Path

from mmdense_edge.errors import UsageError, refuse_if

FOLDER = Path(__file__).parent

# Each model of the library (its Keras weights), and the files here that were exported from it. A
# command that reads files uses the first one for the library's name; keras-mmdense uses the
# library's model for a file's name.
MODELS = {
    "mmdensenet-edge": ("mmdensenet-edge-int8", "mmdensenet-edge-float32"),
    "mmdensenet-micro": ("mmdensenet-micro-int8",),
    "mmdensenet-live": ("mmdensenet-live-int8",),
    "mmdensenet-vocals": (),
}


def library_name(model: str) -> str | None:
    """Return the library's name for a bundled model or device file; None for any other name."""
    return next((name for name, files in MODELS.items() if model in (name, *files)), None)


def names() -> list[str]:
    """Return the names of the bundled models: their files' names without ".tflite"."""
    return sorted(path.stem for path in FOLDER.glob("*.tflite"))


def default() -> str:
    """Return the default model's name, which the file DEFAULT states."""
    return (FOLDER / "DEFAULT").read_text("utf-8").strip()


def find(model: str | os.PathLike[str] | None = None) -> Path:
    """Return the file of a model.

    Args:
        model: The name of a bundled file or of the library's model that it was exported from, or
            a path; defaults to the bundled default. A bundled name takes precedence over a file of
            the same name.

    Raises:
        UsageError: The name is neither a bundled model nor a path.
    """
    model = default() if model is None else model
    if not isinstance(model, (str, os.PathLike)):
        raise UsageError(f"a model must be a bundled model's name or a path; received {model!r}")
    if model in MODELS:
        refuse_if(
            not MODELS[str(model)],
            f"{model} is bundled as Keras weights only: write its file with "
            f"`keras-mmdense export {model} -o {model}.tflite`",
        )
        model = MODELS[str(model)][0]
    if model in names():
        return FOLDER / f"{model}.tflite"
    path = Path(model)
    refuse_if(
        path.suffix != ".tflite" and not path.exists(),
        f"no bundled model or file is called {os.fspath(model)!r}; "
        f"bundled models: {', '.join(names())}",
    )
    return path
