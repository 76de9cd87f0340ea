"""Train a model by a recipe: `python -m training.train RECIPE --data DIR --out RUN`.

RUN will contain `best.keras` (lowest validation loss), `last.keras` (to resume from),
`history.csv`, `loss.png` and `run.json` (recipe, versions, commit, data). Ctrl-C or SIGTERM stops
the training and keeps all files; `--resume` continues with the next step.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from keras_mmdense.data import Track
from keras_mmdense.errors import require
from training import command, command_parser
from training.train.recipe import Recipe, in_parts, load_recipe
from training.train.run_folder import (
    BEST,
    HISTORY,
    LAST,
    RECORD,
    Row,
    check_folder,
    damage,
    record,
    write_json,
)
from training.train.split import open_accompaniments, open_tracks

if TYPE_CHECKING:
    from training.train.trainer import Trainer

SLOW_STEPS, MEASURED_STEPS = 5, 15  # the first are compiled and fill buffers


@command("train")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = command_parser("training.train", __doc__)
    parser.add_argument("recipe", help="a name in training/recipes, or a .toml file")
    parser.add_argument("--data", nargs="+", required=True, help="trees of tracks to train on")
    parser.add_argument("--valid", nargs="+", default=[], help="trees to validate on")
    parser.add_argument(
        "--accompaniments", nargs="+", default=[], metavar="DIR",
        help="trees of songs without voices, for the recipe's accompaniment_share",
    )  # fmt: skip
    parser.add_argument(
        "--valid-tracks", metavar="FILE", help="a text file with the names of tracks to validate on"
    )
    parser.add_argument("--out", required=True, help="new folder for the results")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    add_options(parser)
    args = parser.parse_args(argv)
    recipe = chosen_recipe(args)
    tracks, valid = open_tracks(
        args.data, args.valid, recipe.sample_rate, args.valid_tracks, recipe.sources
    )
    accompaniments = open_accompaniments(args.accompaniments, tracks)
    return train(args, recipe, tracks, valid, accompaniments)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how to train, which other commands share."""
    parser.add_argument("--epochs", type=int, help="number of epochs (default: the recipe's)")
    parser.add_argument(
        "--accumulate", type=int, default=1, metavar="N",
        help="split each batch into N parts and average their gradients, to save memory",
    )  # fmt: skip
    parser.add_argument("--init", help="a .keras file or a bundled model to start from")
    parser.add_argument(
        "--freeze",
        nargs="+",
        default=[],
        help="patterns of layers that are not trained, such as 'low_*'",
    )
    parser.add_argument(
        "--data-parallel", action="store_true",
        help="train on all GPUs of this machine, with KERAS_BACKEND=jax",
    )  # fmt: skip
    parser.add_argument(
        "--resident", choices=("auto", "yes", "no"), default="auto",
        help="hold all songs in the device's memory (auto: on a GPU with room, JAX or PyTorch)",
    )  # fmt: skip
    parser.add_argument(
        "--deterministic", action="store_true", help="the same bits every time on a GPU, too"
    )


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe with the epochs and the parts that the options ask for."""
    recipe = load_recipe(args.recipe)
    if args.epochs is not None:
        recipe = replace(recipe, epochs=args.epochs)
    return in_parts(recipe, args.accumulate)


def train(
    args: argparse.Namespace,
    recipe: Recipe,
    tracks: Sequence[Track],
    valid: Sequence[Track],
    accompaniments: Sequence[Track] = (),
) -> int:
    """Check everything, then train; return the exit code. Nothing is written before the checks.

    Args:
        args: `out`, `resume`, and the options of `add_options`.
        recipe: What to train and how.
        tracks: Tracks to train on.
        valid: Tracks to validate on.
        accompaniments: As for `keras_mmdense.data.training_set`.
    """
    run = Path(args.out)
    print(f"{len(tracks)} tracks to train on, {len(valid)} to validate on", flush=True)
    from training.train.devices import open_devices
    from training.train.precision import settle_precision
    from training.train.trainer import Trainer

    replicas = open_devices(recipe, args.data_parallel, args.deterministic)
    recipe = settle_precision(recipe, run if args.resume else None)
    now = record(recipe, [*tracks, *accompaniments], valid) | {
        "init": args.init,
        "freeze": sorted(args.freeze),
        "deterministic": args.deterministic,
    }
    check_folder(run, now, args.resume)
    report_slow_files([*tracks, *accompaniments])
    resident = {"yes": True, "no": False}.get(args.resident, args.resident)
    require(
        resident is not True or replicas == 1,
        "--resident yes needs one device",
        replicas,
        "Use auto.",
    )
    trainer = Trainer(
        recipe, tracks, valid, run, replicas, args.init, args.freeze, resident, accompaniments
    )
    steps = len(trainer.make_data(0))
    run.mkdir(parents=True, exist_ok=True)
    if not (run / RECORD).exists():
        write_json(run / RECORD, now)
    print(f"{steps} steps an epoch, {trainer.model.count_params():,} weights, {replicas} devices")
    return run_to_end(trainer, args)


def report_slow_files(tracks: Sequence[Track]) -> None:
    """Print what it costs that some tracks are not 16-bit WAV files."""
    slow = [t for t in tracks if not all(t.streams[s].is_fast for s in t.sources)]
    if not slow:
        return
    start, length = time.process_time(), min(3 * slow[0].sample_rate, slow[0].num_samples)
    for source in slow[0].sources:
        slow[0].read(source, slow[0].num_samples - length, length)
    print(
        f"{len(slow)} of {len(tracks)} tracks are not 16-bit WAV files: to read an example of them "
        f"takes about {1000 * (time.process_time() - start):.0f} ms of processor time, of 16-bit "
        "WAV files about 1 ms. python -m training.prepare makes them.",
        file=sys.stderr,
    )


def run_to_end(trainer: Trainer, args: argparse.Namespace) -> int:
    """Train and return 0. The run's files are complete however the training ends."""
    from keras_mmdense.plot import training_curves
    from keras_mmdense.plot.style import attempt
    from training.train.devices import keep_freed_memory

    run, epochs = trainer.run, trainer.recipe.epochs
    numbers, begun = itertools.count(1), 0.0

    def on_step(step: int, steps: int) -> None:
        nonlocal begun
        number = next(numbers)
        if number == SLOW_STEPS:
            begun = time.monotonic()
        if number == SLOW_STEPS + MEASURED_STEPS:
            seconds = (time.monotonic() - begun) / MEASURED_STEPS
            left = seconds * ((epochs - len(trainer.history)) * steps - step)
            print(f"\n{seconds:.3g} s a step, about {hours(left)} left at most, and validation")

    def on_epoch(row: Row) -> None:
        passed, done = time.monotonic() - started, row["epoch"] - resumed
        left = passed / done * (epochs - row["epoch"])
        print(
            f"validation loss {row['val_loss']:.5g}, {row['audio_seconds_per_second']:.1f} s of "
            f"audio per second, {row['waiting_share']:.0%} of the time waiting for data, "
            f"{hours(left)} left at most"
        )

    keep_freed_memory()
    if args.resume and (run / LAST).exists():
        trainer.resume()
        if trainer.history and damage(run / BEST):
            print(
                f"train: {run / BEST} {damage(run / BEST)}; the next epoch that is better "
                "than all before writes it again",
                file=sys.stderr,
            )
    elif trainer.adapts:
        trainer.adapt()
    started, resumed = time.monotonic(), len(trainer.history)
    try:
        trainer.fit(epochs, on_epoch, on_step)
    finally:
        if trainer.history:
            files = run / HISTORY, run / "loss.png"
            attempt(training_curves, *files, title=run.name, overwrite=True)
        print(f"results in {run}")
    return 0


def hours(seconds: float) -> str:
    """Return a time for a person to read.

    Example:
        >>> hours(7259)
        '2 h 0 min'
    """
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


def run_process(main: Callable[[], int]) -> NoReturn:
    """End the process with the exit code of a command that trains."""
    if platform.machine() in ("x86_64", "AMD64"):
        # By itself TensorFlow takes oneDNN's layers only on processors with VNNI or AMX; on others
        # too they are faster (docs/results/benchmarks.md).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    code = main()
    if code == 130:
        # The threads of tf.data may still want Python's lock, which the interpreter, when it ends,
        # holds while it waits for them to end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run_process(main)
