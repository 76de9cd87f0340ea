"""Train a model by a recipe: `python -m training.train RECIPE --data DIR --out RUN`.

RUN receives `best.keras` (lowest validation loss), `last.keras` (to go on from), `history.csv`,
`loss.png` and `run.json` (recipe, versions, commit, data). Ctrl-C or SIGTERM ends the training
and keeps all of them; `--resume` goes on with the step after.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_mmdense.data import DatasetError, Track, TrackError
from keras_mmdense.errors import SettingsError
from training.cluster import STRATEGIES
from training.recipe import Recipe, RecipeError, load_recipe
from training.state import Row, write_text
from training.tracks import fingerprint, open_tracks

if TYPE_CHECKING:
    from training.distribution import Distribution

EXCERPTS_PER_TRACK = 8  # for validation


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    args = _parser().parse_args(argv)
    try:
        recipe = load_recipe(args.recipe)
        if args.epochs is not None:
            recipe = replace(recipe, epochs=args.epochs)
        run = Path(args.out)
        tracks, valid = open_tracks(args.data, args.valid, recipe.model.get("sample_rate", 44100))
        from keras_mmdense.data.served import check_service
        from training.distribution import open_distribution

        if args.strategy == "multiworker":
            print("waiting for all workers of TF_CONFIG to be started", file=sys.stderr)
        distribution = open_distribution(args.strategy)
        distribution.check(recipe)
        if args.data_service:
            check_service(args.data_service)
        if distribution.is_chief or args.resume:
            _prepare_folder(run, _record(recipe, tracks, valid), args.resume)
        return _train(recipe, tracks, valid, run, args, distribution)
    except (RecipeError, DatasetError, SettingsError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", help="a name in training/recipes, or a .toml file")
    parser.add_argument("--data", nargs="+", required=True, help="trees of tracks to train on")
    parser.add_argument("--valid", nargs="+", default=[], help="trees to validate on")
    parser.add_argument("--out", required=True, help="new folder for the results")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--init", help="a .keras file of the same architecture to start from")
    parser.add_argument(
        "--freeze", nargs="+", default=[], help="layers not to train, as patterns: 'low_*'"
    )
    parser.add_argument(
        "--strategy", choices=STRATEGIES, default="none", help="devices: see docs/scaling.md"
    )
    parser.add_argument(
        "--data-service", metavar="grpc://HOST:PORT", help="have the batches made elsewhere"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write scores, audio and spectrograms to RUN/tb"
    )
    return parser


def _record(recipe: Recipe, tracks: list[Track], valid: list[Track]) -> dict[str, Any]:
    """Return all that is needed to run it again."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    return {
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "commit": commit,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        "data": fingerprint([*tracks, *valid]),
        "tracks": [track.name for track in tracks],
        "validation_tracks": [track.name for track in valid],
    }


def _prepare_folder(run: Path, record: dict[str, Any], resume: bool) -> None:
    """Make the folder of a new run, or check that a run can go on with this recipe and data."""
    path = run / "run.json"
    if not resume:
        if run.exists() and any(run.iterdir()):
            raise RecipeError(
                f"--out must be a new or empty folder; received {run}. Choose another, or pass "
                "--resume to go on with it."
            )
        run.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(record, indent=1))
        return
    if not path.exists():
        raise RecipeError(f"--resume needs the folder of a run; received {run}. Check --out.")
    before = json.loads(path.read_text("utf-8"))
    changed = [
        key for key, value in record["recipe"].items()
        if key != "epochs" and before["recipe"].get(key) != value
    ]  # fmt: skip
    if changed or before["data"] != record["data"]:
        what = f"recipe ({', '.join(changed)})" if changed else "data"
        raise RecipeError(
            f"--resume needs the recipe and the data of the run; received another {what}. "
            "Start a new run, with --init to keep the weights."
        )


def _train(
    recipe: Recipe, tracks: list[Track], valid: list[Track], run: Path, args: argparse.Namespace,
    distribution: Distribution,
) -> int:  # fmt: skip
    import keras
    import tensorflow as tf

    from keras_mmdense.data import pipeline
    from keras_mmdense.normalization import adapt, copy_weights
    from training.report import plot_history
    from training.samples import Samples
    from training.trainer import Trainer, TrainingError, in_float32

    keras.utils.set_random_seed(recipe.seed)
    with distribution.scope():
        model = _build(recipe, args)
    shape: dict[str, Any] = {"frames": recipe.frames, "batch_size": recipe.batch_size}

    def make_data(epoch: int, first_step: int = 0, **options: Any) -> Any:
        options = {"shard": distribution.shard, "service": args.data_service, **options}
        return pipeline.train(
            tracks, model, examples=recipe.examples, mixing=recipe.mixing, seed=recipe.seed,
            epoch=epoch, first_step=first_step, **options, **shape,
        )  # fmt: skip

    # whole batches, made here: each worker adapts to the same statistics
    first_data = make_data(0, shard=(0, 1), service=None)
    # a copy: the model itself answers only when all workers ask it
    shown = in_float32(model) if args.tensorboard and distribution.is_chief else None
    samples = Samples(shown, valid[0], run / "tb") if shown else None

    def on_epoch(row: Row) -> None:
        _tell(row, recipe.epochs, time.monotonic() - started, len(done))
        if samples:
            copy_weights(model, shown)
            samples(row)

    started = time.monotonic()
    held_out = pipeline.validation(
        valid, model, shard=distribution.shard,
        excerpts_per_track=distribution.round_up(EXCERPTS_PER_TRACK), **shape,
    )  # fmt: skip
    trainer = Trainer(
        model, recipe, run, make_data, held_out, on_epoch=on_epoch, distribution=distribution
    )
    done = trainer.history
    if distribution.is_chief:
        print(f"{len(tracks)} tracks to train on, {len(valid)} to validate on, "
              f"{len(first_data)} steps an epoch, {model.count_params():,} weights, "
              f"{distribution.replicas} replicas")  # fmt: skip
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if args.resume and (run / "last.keras").exists():
            trainer.resume()
        elif not args.init:
            adapt(model, first_data, max_batches=50)
        done = list(trainer.history)
        trainer.fit(recipe.epochs)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except (TrainingError, TrackError, OSError, tf.errors.OpError) as error:
        print(f"train: {_in_one_line(error, distribution.workers)}", file=sys.stderr)
        code = 1
    finally:
        signal.signal(signal.SIGTERM, before)
    if distribution.is_chief:
        plot_history(run / "history.csv", run / "loss.png")
        print(f"{'interrupted; ' if code == 130 else ''}results in {run}")
    return code


def _build(recipe: Recipe, args: argparse.Namespace) -> Any:
    import keras

    import keras_mmdense
    from keras_mmdense.normalization import copy_weights

    policy = {"float32": "float32"}.get(recipe.precision, f"mixed_{recipe.precision}")
    keras.config.set_dtype_policy(policy)
    try:
        model = keras_mmdense.build(**recipe.model)
    finally:
        keras.config.set_dtype_policy("float32")
    keras_mmdense.annotate(model, training_data=recipe.training_data, licence=recipe.licence)
    if args.init:
        copy_weights(keras.saving.load_model(args.init, compile=False), model)
    frozen = [
        layer for layer in model.layers
        if any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in args.freeze)
    ]  # fmt: skip
    if args.freeze and not frozen:
        raise RecipeError(f"--freeze must match layers; received {args.freeze}. See summary().")
    for layer in frozen:
        layer.trainable = False
    return model


def _tell(row: Row, epochs: int, seconds: float, resumed: int) -> None:
    """Print the epoch's figures and when the run will be done."""
    left = seconds / (row["epoch"] - resumed) * (epochs - row["epoch"])
    print(
        f"validation loss {row['val_loss']:.5g}, {row['audio_seconds_per_second']:.1f} s of audio "
        f"per second, {row['waiting_share']:.0%} of the time waiting for data, "
        f"{time.strftime('%H:%M:%S', time.gmtime(left))} left at most"
    )


def _in_one_line(error: Exception, workers: int) -> str:
    """Return the message; of TensorFlow's long ones the line of the reader that failed inside."""
    told = re.search(r"TrackError: (.+)", str(error))
    if told:
        return told.group(1)
    if workers > 1 and hasattr(error, "error_code"):  # TensorFlow's
        return (
            f"all {workers} workers must run to the end; received {type(error).__name__} when one "
            "of them was waited for. Start them again with --resume"
        )
    return str(error).strip().splitlines()[0]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
