"""Train a model by a recipe: `python -m training.train RECIPE --data DIR --out RUN`.

RUN receives `best.keras` (lowest validation loss), `last.keras` (to go on from), `history.csv`,
`loss.png` and `run.json` (recipe, versions, commit, data). Ctrl-C or SIGTERM ends the training
and keeps all of them; `--resume` goes on with the step after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmdense_edge import signals

from keras_mmdense.data import DatasetError, TrackError
from keras_mmdense.data.readers import SOURCES
from keras_mmdense.errors import SettingsError
from training.train.cluster import STRATEGIES
from training.train.recipe import RecipeError, in_parts, load_recipe
from training.train.run_folder import (
    BEST,
    HISTORY,
    LAST,
    RECORD,
    check_folder,
    damage,
    has_epochs,
    record,
    write_text,
)
from training.train.split import open_tracks

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    args = _parser().parse_args(argv)
    try:
        return _train(args)
    except (RecipeError, DatasetError, SettingsError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"train: {error}; pip install -e '.[train]'", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", help="a name in training/recipes, or a .toml file")
    parser.add_argument("--data", nargs="+", required=True, help="trees of tracks to train on")
    parser.add_argument("--valid", nargs="+", default=[], help="trees to validate on")
    parser.add_argument(
        "--valid-tracks",
        metavar="FILE",
        help="a text file with names of tracks to validate on",
    )
    parser.add_argument("--out", required=True, help="new folder for the results")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--accumulate", type=int, default=1, metavar="N",
        help="make each batch in N parts and average their gradients: less memory",
    )  # fmt: skip
    parser.add_argument("--init", help="a .keras file, or a trained model's name, to start from")
    parser.add_argument(
        "--freeze", nargs="+", default=[], help="layers not to train, as patterns: 'low_*'"
    )
    parser.add_argument(
        "--strategy", choices=STRATEGIES, default="none", help="devices: see docs/how-to/scaling.md"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write scores, audio and spectrograms to RUN/tb"
    )
    return parser


def _train(args: argparse.Namespace) -> int:
    recipe = load_recipe(args.recipe)
    if args.epochs is not None:
        recipe = replace(recipe, epochs=args.epochs)
    recipe = in_parts(recipe, args.accumulate)
    run = Path(args.out)
    sample_rate = recipe.model.get("sample_rate", 44100)
    sources = recipe.model.get("sources", SOURCES)
    sources = [sources] if isinstance(sources, str) else sources
    tracks, valid = open_tracks(args.data, args.valid, sample_rate, args.valid_tracks, sources)
    from training.train.devices import open_distribution
    from training.train.session import Session

    if args.strategy == "multiworker":
        print("waiting for all workers of TF_CONFIG to be started", file=sys.stderr)
    distribution = open_distribution(args.strategy)
    distribution.check(recipe)
    now = record(recipe, tracks, valid)
    if distribution.is_chief or args.resume:
        check_folder(run, now, args.resume)
    session = Session(recipe, tracks, valid, args, distribution)
    if distribution.is_chief:
        run.mkdir(parents=True, exist_ok=True)
        if not (run / RECORD).exists():
            write_text(run / RECORD, json.dumps(now, indent=1))
        if has_epochs(run) and damage(run / BEST):
            print(
                f"train: {run / BEST} {damage(run / BEST)}; the next epoch that is better than all "
                "before writes it again",
                file=sys.stderr,
            )
        print(
            f"{len(tracks)} tracks to train on, {len(valid)} to validate on, "
            f"{len(session.first_data)} steps an epoch, {session.model.count_params():,} weights, "
            f"{distribution.replicas} replicas"
        )
    return _run(session, run, args.resume, distribution)


def _run(session: Any, run: Path, resume: bool, distribution: Any) -> int:
    """Train; return the exit code. Whatever ends it, the run's files are whole."""
    import tensorflow as tf

    from keras_mmdense.plot import training_curves
    from keras_mmdense.plot.style import attempt
    from training.train.trainer import TrainingError

    try:
        with signals.taken(signals.interrupt, "SIGTERM", "SIGHUP"):
            session.run(resume=resume and (run / LAST).exists())
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (TrainingError, TrackError, OSError, tf.errors.OpError) as error:
        print(f"train: {_in_one_line(error, distribution.workers)}", file=sys.stderr)
        code = 1
    if distribution.is_chief:
        if has_epochs(run):
            attempt(
                training_curves, run / HISTORY, run / "loss.png", title=run.name,
                overwrite=True,
            )  # fmt: skip
        print(f"{'interrupted; ' if code == INTERRUPTED else ''}results in {run}")
    return code


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
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    if platform.machine() in ("x86_64", "AMD64"):
        # By itself TensorFlow takes oneDNN's layers only on processors with VNNI or AMX; on others
        # too they are faster (docs/results/benchmarks.md).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    exit_code = main()
    if exit_code == INTERRUPTED:
        # The threads of tf.data may still want Python's lock, which the interpreter, when it ends,
        # holds while it waits for them to end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
