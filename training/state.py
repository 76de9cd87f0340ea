"""The files of a run: checkpoints, history and record, each replaced in one step.

A file is written beside its place, brought to the disk, then renamed: whenever the process or the
machine stops, the old file or the new one is there, whole.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_mmdense.model_settings import READ_ERRORS

if TYPE_CHECKING:
    import keras

STATE = "run_state.json"
BEST, LAST = "best.keras", "last.keras"
MISSING = "is missing"
Row = dict[str, float]


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from."""


def save_model(model: keras.Model, path: Path, state: dict[str, Any] | None = None) -> None:
    """Replace a `.keras` file.

    Args:
        model: The model, with its optimizer if it is compiled.
        path: The file.
        state: Where the run stands; a member of the same archive, so that they never differ.
    """
    with _replaced(path, f".{path.stem}.tmp.keras") as temporary:
        model.save(temporary)
        if state is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(STATE, json.dumps(state))


def load_checkpoint(model: keras.Model, path: Path) -> dict[str, Any]:
    """Give a compiled model, its optimizer built, the weights and optimizer state of a checkpoint.

    Returns:
        The state that it was saved with: "epoch" and "step" that come next, and the "history".

    Raises:
        CheckpointError: It is not the checkpoint of such a model; the model is half changed then.
    """
    try:
        model.load_weights(path)
        with zipfile.ZipFile(path) as archive:
            state: dict[str, Any] = json.loads(archive.read(STATE))
        if len(state["history"]) != state["epoch"] or state["step"] < 0:
            raise ValueError(f"{state['epoch']} epochs with {len(state['history'])} in the history")
    except READ_ERRORS as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointError(f"holds no state of a run of this recipe ({reason})") from error
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    return state


def damage(path: Path) -> str:
    """Tell what is wrong with a `.keras` file; "" where it is whole.

    Example:
        >>> damage(Path("nothing.keras"))
        'is missing'
    """
    if not os.path.lexists(path):
        return MISSING
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            archive.getinfo("model.weights.h5")
        return f"is damaged ({damaged})" if damaged else ""
    except READ_ERRORS as error:
        return f"is damaged ({str(error) or type(error).__name__})"


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write the history as CSV, one row per epoch."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[-1]), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Replace a text file."""
    with _replaced(path, f".{path.name}.tmp") as temporary:
        temporary.write_text(text, "utf-8")


@contextmanager
def _replaced(path: Path, name: str) -> Iterator[Path]:
    """Give a path beside a file to write to; then put what was written in the file's place."""
    temporary = path.with_name(name)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name != "nt":  # Windows opens no folders
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
