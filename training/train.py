"""Train a model by a recipe: `python -m training.train RECIPE --data DIR --out RUN`.

RUN receives `best.keras` (lowest validation loss), `last.keras`, `history.csv`, `loss.png` and
`run.json` (recipe, versions, commit, data). Ctrl-C ends the training and keeps all of them.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keras_mmdense.data import DatasetError, Track, open_dataset
from keras_mmdense.errors import SettingsError
from training.recipe import Recipe, RecipeError, load_recipe

VALID_EVERY = 10  # without a validation subset, every tenth track in order of names


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    try:
        recipe = load_recipe(args.recipe)
        tracks, valid = _open(args.data, args.valid)
        run = Path(args.out)
        if run.exists() and any(run.iterdir()):
            raise RecipeError(
                f"--out must be a new or empty folder; received {run}. Choose another."
            )
        run.mkdir(parents=True, exist_ok=True)
        return _train(recipe, tracks, valid, run, args)
    except (RecipeError, DatasetError, SettingsError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", help="a name in training/recipes, or a .toml file")
    parser.add_argument("--data", nargs="+", required=True, help="trees of tracks to train on")
    parser.add_argument("--valid", nargs="+", default=[], help="trees to validate on")
    parser.add_argument("--out", required=True, help="new folder for the results")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    return parser


def _open(data: list[str], valid: list[str]) -> tuple[list[Track], list[Track]]:
    """Open the trees, tell their faults, and split off the validation tracks."""
    tracks = [track for root in data for track in _usable(root)]
    fixed = [track for root in valid for track in _usable(root)]
    fixed += [track for track in tracks if track.subset == "valid"]
    tracks = [track for track in tracks if track.subset in ("", "train")]
    if not fixed:
        fixed = tracks[VALID_EVERY - 1 :: VALID_EVERY] or tracks[-1:]
        tracks = [track for track in tracks if track not in fixed]
    if not tracks:
        raise RecipeError(f"training needs at least two tracks; received {len(fixed)} in {data}.")
    return tracks, fixed


def _usable(root: str) -> list[Track]:
    dataset = open_dataset(root)
    if dataset.faults:
        print(dataset.report(), file=sys.stderr)
    return list(dataset)


def _train(
    recipe: Recipe, tracks: list[Track], valid: list[Track], run: Path, args: argparse.Namespace
) -> int:
    import keras

    import keras_mmdense
    from keras_mmdense.data import pipeline
    from training.report import plot_history

    keras.utils.set_random_seed(recipe.seed)
    model = keras_mmdense.build(**recipe.model)
    keras_mmdense.annotate(model, training_data=recipe.training_data, licence=recipe.licence)
    shape = {"frames": recipe.frames, "batch_size": recipe.batch_size}
    data = pipeline.train(
        tracks, model, examples=recipe.examples, mixing=recipe.mixing, seed=recipe.seed, **shape
    )
    held_out = pipeline.validation(valid, model, **shape)
    print(
        f"{len(tracks)} tracks to train on, {len(valid)} to validate on, "
        f"{len(data)} steps an epoch, {model.count_params():,} weights"
    )
    keras_mmdense.adapt(model, data, max_batches=50)
    optimizers = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}
    model.compile(optimizers[recipe.optimizer](recipe.learning_rate), loss=recipe.loss)
    _write_record(run, recipe, tracks, valid, args)
    callbacks = _callbacks(run, recipe)
    interrupted = False
    try:
        model.fit(
            data,
            validation_data=held_out,
            epochs=args.epochs or recipe.epochs,
            callbacks=callbacks,
            shuffle=False,  # every epoch holds other excerpts already
        )
    except KeyboardInterrupt:
        interrupted = True
        for callback in callbacks:
            callback.on_train_end()  # closes the history
    plot_history(run / "history.csv", run / "loss.png")
    print(f"{'interrupted; ' if interrupted else ''}results in {run}")
    return 130 if interrupted else 0


def _callbacks(run: Path, recipe: Recipe) -> list[Any]:
    import keras

    return [
        keras.callbacks.ModelCheckpoint(run / "best.keras", save_best_only=True),
        keras.callbacks.ModelCheckpoint(run / "last.keras"),
        keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=recipe.patience, min_lr=1e-5),
        keras.callbacks.CSVLogger(run / "history.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]


def _write_record(
    run: Path, recipe: Recipe, tracks: list[Track], valid: list[Track], args: argparse.Namespace
) -> None:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    record = {
        "recipe": asdict(recipe),
        "arguments": vars(args),
        "commit": commit,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        "tracks": [track.name for track in tracks],
        "validation_tracks": [track.name for track in valid],
    }
    (run / "run.json").write_text(json.dumps(record, indent=1), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
