"""The folder of a run: what it may be, and the record of how the run was made."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keras_mmdense.data import Track
from training.recipe import Recipe, RecipeError
from training.state import BEST, LAST, MISSING, damage, write_text
from training.tracks import fingerprint

RECORD = "run.json"


def record(recipe: Recipe, tracks: Sequence[Track], valid: Sequence[Track]) -> dict[str, Any]:
    """Return all that is needed to run it again: recipe, commit, versions, data."""
    return {
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        "data": fingerprint([*tracks, *valid]),
        "tracks": [track.name for track in tracks],
        "validation_tracks": [track.name for track in valid],
    }


def check_folder(run: Path, now: dict[str, Any], resume: bool) -> None:
    """Refuse a folder that is in use, or to go on with another recipe or other data.

    Raises:
        RecipeError: Says which.
    """
    if not resume:
        if run.exists() and (not run.is_dir() or any(run.iterdir())):
            raise RecipeError(
                f"--out must be a new or empty folder; received {run}. Choose another, or pass "
                "--resume to go on with it."
            )
        return
    way = way_on(run)
    path = run / RECORD
    if not path.exists():
        raise RecipeError(
            f"--resume needs the folder of a run; received {run} without {RECORD}. {way}"
        )
    try:
        before = json.loads(path.read_text("utf-8"))
        old, data = dict(before["recipe"]), before["data"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"--resume needs the record of the run; received a damaged {path} ({error!r}). {way}"
        ) from error
    changed = [
        key for key, value in now["recipe"].items() if key != "epochs" and old.get(key) != value
    ]
    if changed or data != now["data"]:
        what = f"recipe ({', '.join(changed)})" if changed else "data"
        raise RecipeError(
            f"--resume needs the recipe and the data of the run; received another {what}. {way}"
        )
    fault = damage(run / LAST)
    if fault and (fault != MISSING or has_epochs(run)):
        raise RecipeError(
            f"--resume goes on from {LAST}; received {run}, in which it {fault}. {way}"
        )


def has_epochs(run: Path) -> bool:
    """Tell whether a run has finished any epoch."""
    history = run / "history.csv"
    rows = history.read_bytes().splitlines() if history.is_file() else []
    return len(rows) > 1 or (run / BEST).exists()


def way_on(run: Path) -> str:
    """Return what to do with a run that cannot be resumed."""
    fault = damage(run / BEST)
    if not fault:
        return f"Start a new run with --init {run / BEST}, the best weights so far."
    return f"Check --out, or start a new run ({BEST} {fault})."


def make_folder(run: Path, now: dict[str, Any]) -> None:
    """Make the folder of a new run and write its record; nothing where there is one."""
    run.mkdir(parents=True, exist_ok=True)
    if not (run / RECORD).exists():
        write_text(run / RECORD, json.dumps(now, indent=1))


def commit() -> str:
    """Return the commit of the checkout; empty without git or outside a checkout."""
    if not shutil.which("git"):
        return ""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()
