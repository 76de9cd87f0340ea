"""The models that come with the package, and how a model is named."""

from __future__ import annotations

import os
from pathlib import Path

from mmdense_edge.errors import UsageError

FOLDER = Path(__file__).parent

# A model of the library (its Keras weights), and the files here that were exported from it: a
# command that reads files takes the first one for the library's name, keras-mmdense the library's
# model for a file's.
MODELS = {
    "mmdensenet-edge": (
        "mmdensenet-edge-int8", "mmdensenet-edge-float16", "mmdensenet-edge-float32",
    ),
    "mmdensenet-micro": ("mmdensenet-micro-int8",),
    "mmdensenet-vocals": (),
}  # fmt: skip


def library_name(model: str) -> str | None:
    """Return the name in the library of a bundled model or device file; None of another name."""
    return next((name for name, files in MODELS.items() if model in (name, *files)), None)


def names() -> list[str]:
    """Return the names of the bundled models: their files' names without ".tflite"."""
    return sorted(path.stem for path in FOLDER.glob("*.tflite"))


def default() -> str | None:
    """Return the default model's name: the one in DEFAULT, or the only one there is."""
    marker = FOLDER / "DEFAULT"
    if marker.is_file():
        return marker.read_text("utf-8").strip()
    return names()[0] if len(names()) == 1 else None


def find(model: str | os.PathLike[str] | None = None) -> Path:
    """Return the file of a model.

    Args:
        model: The name of a bundled file or of the library's model that it was exported from, or
            a file's path; default the bundled default. A bundled name goes before a file of the
            same name.

    Raises:
        UsageError: Neither a bundled model nor a path, or no default to fall back on.
    """
    known = names()
    model = default() if model is None else model
    if model is None:
        raise UsageError("no default model is bundled. Give a model file (--model FILE)")
    if not isinstance(model, (str, os.PathLike)):
        raise UsageError(f"a model must be a bundled model's name or a path; received {model!r}")
    if model in MODELS:
        if not MODELS[str(model)]:
            raise UsageError(
                f"{model} is bundled as Keras weights alone: write its file with "
                f"`keras-mmdense export {model} -o {model}.tflite`"
            )
        model = MODELS[str(model)][0]
    if model in known:
        return FOLDER / f"{model}.tflite"
    path = Path(model)
    if path.suffix != ".tflite" and not path.exists():
        raise UsageError(
            f"no bundled model and no file is called {os.fspath(model)!r}: "
            f"bundled are {', '.join(known) or 'none'}"
        )
    return path
