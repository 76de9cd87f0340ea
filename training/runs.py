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
from training.state import write_text
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
    path = run / RECORD
    if not path.exists():
        raise RecipeError(f"--resume needs the folder of a run; received {run}. Check --out.")
    before = json.loads(path.read_text("utf-8"))
    changed = [
        key
        for key, value in now["recipe"].items()
        if key != "epochs" and before["recipe"].get(key) != value
    ]
    if changed or before["data"] != now["data"]:
        what = f"recipe ({', '.join(changed)})" if changed else "data"
        raise RecipeError(
            f"--resume needs the recipe and the data of the run; received another {what}. "
            "Start a new run, with --init to keep the weights."
        )


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
