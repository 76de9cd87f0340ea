"""The folder of a run: record, history and checkpoints, each replaced in one step.

A file is written under another name, synchronized with the disk, then renamed: whenever the process
or the machine stops, there is either the old file or the whole new one.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_mmdense.data import Track
from keras_mmdense.errors import SettingsError, require
from keras_mmdense.model_settings import READ_ERRORS
from training.train.recipe import Recipe
from training.train.split import fingerprint

if TYPE_CHECKING:
    import keras

RECORD, HISTORY, STATE = "run.json", "history.csv", "run_state.json"
BEST, LAST = "best.keras", "last.keras"
MISSING = "is missing"
Row = dict[str, float]


def record(recipe: Recipe, tracks: Sequence[Track], valid: Sequence[Track]) -> dict[str, Any]:
    """Return everything needed to repeat the run: recipe, commit, versions, data."""
    import keras

    return {
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("keras", keras.config.backend(), "numpy")},
        "data": fingerprint([*tracks, *valid]),
        "tracks": [track.name for track in tracks],
        "validation_tracks": [track.name for track in valid],
    }


def check_folder(run: Path, now: dict[str, Any], resume: bool) -> None:
    """Refuse a folder that is in use, or resuming with another recipe, other data or damaged files.

    Args:
        run: The folder.
        now: The record of what is about to run.
        resume: Whether to continue the run in the folder.

    Raises:
        SettingsError: The folder cannot be used.
    """
    if not resume:
        require(
            not run.exists() or (run.is_dir() and not any(run.iterdir())),
            "--out must be a new or empty folder",
            str(run),
            "Choose another, or pass --resume to continue it.",
        )
        return
    try:
        before = json.loads((run / RECORD).read_text("utf-8"))
        old, data = dict(before["recipe"]), (before["data"], before["validation_tracks"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SettingsError(
            f"--resume needs the folder of a run with a whole {RECORD}; received {run} "
            f"({error!r}). {way_out(run)}"
        ) from error
    changed = [
        key for key, value in now["recipe"].items() if key != "epochs" and old.get(key) != value
    ]
    if before.get("freeze", now.get("freeze")) != now.get("freeze"):
        raise SettingsError(
            f"--resume needs the --freeze of the run, {before['freeze']}; received "
            f"{now['freeze']}. {way_out(run)}"
        )
    if changed or data != (now["data"], now["validation_tracks"]):
        what = f"recipe ({', '.join(changed)})" if changed else "data"
        raise SettingsError(
            f"--resume needs the recipe and the data of the run; received another {what}. "
            f"{way_out(run)}"
        )
    if not (run / LAST).exists() and before.get("init", now.get("init")) != now.get("init"):
        raise SettingsError(
            f"--resume of a run without {LAST} needs its --init, {before['init']}; received "
            f"{now['init']}. {way_out(run)}"
        )
    fault = damage(run / LAST)
    if fault and (fault != MISSING or (run / HISTORY).exists() or (run / BEST).exists()):
        raise SettingsError(
            f"--resume continues from {LAST}; received {run}, in which it {fault}. {way_out(run)}"
        )


def way_out(run: Path) -> str:
    """Return what to do with a run that cannot be resumed."""
    fault = damage(run / BEST)
    if not fault:
        return f"Start a new run with --init {run / BEST}, the best weights so far."
    return f"Check --out, or start a new run ({BEST} {fault})."


def commit() -> str:
    """Return the commit of the checkout; empty without git or outside a checkout."""
    if not shutil.which("git"):
        return ""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()


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


def load_checkpoint(model: keras.Model, run: Path) -> dict[str, Any]:
    """Give a compiled model, its optimizer built, the weights and optimizer state of a run.

    Returns:
        The state that was saved with them: "epoch" and "step" that come next, and the "history".

    Raises:
        SettingsError: `last.keras` is not a checkpoint of such a model, which may then be partly
            changed.
    """
    try:
        model.load_weights(run / LAST)
        with zipfile.ZipFile(run / LAST) as archive:
            state: dict[str, Any] = json.loads(archive.read(STATE))
        if len(state["history"]) != state["epoch"] or state["step"] < 0:
            raise ValueError(f"{state['epoch']} epochs with {len(state['history'])} in the history")
    except READ_ERRORS as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SettingsError(
            f"--resume continues from {LAST}; received {run / LAST}, which holds no state of a run "
            f"of this recipe ({reason}). {way_out(run)}"
        ) from error
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    return state


def damage(path: Path) -> str:
    """Return what is wrong with a `.keras` file; "" if it is intact.

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


def write_text(path: Path, text: str) -> None:
    """Replace a text file."""
    with _replaced(path, f".{path.name}.tmp") as temporary:
        temporary.write_text(text, "utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file; its folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def _replaced(path: Path, name: str) -> Iterator[Path]:
    """Yield a path in the same folder; then put what was written there in the file's place."""
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
