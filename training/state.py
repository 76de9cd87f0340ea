"""The files of a run: checkpoints, history and record, each replaced in one step."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

STATE = "run_state.json"
Row = dict[str, float]


def save_model(model: keras.Model, path: Path, state: dict[str, Any] | None = None) -> None:
    """Write a `.keras` file beside the old one, then put it in its place.

    Args:
        model: The model, with its optimizer if it is compiled.
        path: The file.
        state: Where the run stands; a member of the same archive, so that they never differ.
    """
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    try:
        model.save(temporary)
        if state is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(STATE, json.dumps(state))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_checkpoint(model: keras.Model, path: Path) -> dict[str, Any]:
    """Give a compiled model, its optimizer built, the weights and optimizer state of a checkpoint.

    Returns:
        The state that it was saved with.
    """
    model.load_weights(path)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    with zipfile.ZipFile(path) as archive:
        state: dict[str, Any] = json.loads(archive.read(STATE))
    return state


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write the history as CSV, one row per epoch."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[-1]), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` wrote; no file is no epochs.

    Example:
        >>> read_history(Path("nothing.csv"))
        []
    """
    if not path.exists():
        return []
    rows = csv.DictReader(path.read_text("utf-8").splitlines())
    return [{name: _number(value) for name, value in row.items() if value} for row in rows]


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def write_text(path: Path, text: str) -> None:
    """Write a text file beside the old one, then put it in its place."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, "utf-8")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
