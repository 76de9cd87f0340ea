"""Candidates for a device model: trained for the same processor time, scored, drawn by cost.

    python -m training.candidates --data REMIXED/train CORPUS --score CLIPS --out DIR
    python -m training.candidates ... --minutes 10 --only micro edge

A candidate is a recipe in training/recipes/candidates; of it the model, the loss, the target, the
mixing and the step size count. Every candidate has the same minutes of processor time, all threads
together, so that another program on the machine does not decide; validation is not counted. What
is scored is never trained on. Finished candidates are kept: the same command goes on.

DIR receives NAME.keras and NAME.json for each, then candidates.json, candidates.md and the plot.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_mmdense.data import DatasetError, Track, TrackError, open_dataset
from keras_mmdense.errors import SettingsError
from training.recipe import RECIPES, Recipe, RecipeError, load_recipe
from training.tracks import open_tracks

FOLDER = RECIPES / "candidates"
EXAMPLES = 1 << 20  # more than any candidate gets to see


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate.

    Args:
        name: Of its recipe.
        weights: Number of trainable weights.
        macs_per_second: Multiply-adds per second of audio, all sources together.
        cpu_seconds: Processor time of its training.
        steps: Steps in that time.
        sdr: By source, SDR of whole tracks in dB, mean over the tracks.
    """

    name: str
    weights: int
    macs_per_second: float
    cpu_seconds: float
    steps: int
    sdr: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean SDR of the sources."""
        return float(np.mean(list(self.sdr.values())))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong usage, 130 interrupted."""
    args = _parser().parse_args(argv)
    try:
        outcomes = _all(args)
    except (RecipeError, DatasetError, SettingsError, TrackError) as error:
        print(f"candidates: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"candidates: {args.out} cannot be written: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; finished candidates are kept, the same command goes on", file=sys.stderr)
        return 130
    from training.candidates_report import write

    write(outcomes, args.minutes, args.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.candidates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", nargs="+", required=True, help="trees of tracks to train on")
    add("--score", required=True, help="tree of tracks to score on")
    add("--out", type=Path, required=True, help="folder for the results")
    add("--minutes", type=float, default=5.0, help="processor time of each (5)")
    add("--only", nargs="+", default=[], metavar="NAME", help="these candidates alone")
    add("--recipes", type=Path, default=FOLDER, help="folder of the candidates' recipes")
    return parser


def _all(args: argparse.Namespace) -> list[Outcome]:
    known = {path.stem: path for path in sorted(args.recipes.glob("*.toml"))}
    names = args.only or list(known)
    if not names or not set(names) <= set(known) or not args.minutes > 0:
        raise RecipeError(
            f"--only must name candidates of {', '.join(known) or 'no one'} and --minutes be above "
            f"0; received {names} and {args.minutes}."
        )
    recipes = [load_recipe(str(known[name])) for name in names]
    tracks = open_tracks(args.data, [args.score])[0]
    scored = list(open_dataset(args.score))
    args.out.mkdir(parents=True, exist_ok=True)
    outcomes, begin = [], time.monotonic()
    for number, recipe in enumerate(recipes):
        outcomes.append(_candidate(recipe, tracks, scored, args))
        left = (time.monotonic() - begin) / (number + 1) * (len(recipes) - number - 1)
        print(
            f"{recipe.name}: {outcomes[-1].mean:.2f} dB after {outcomes[-1].steps} steps; "
            f"{number + 1}/{len(recipes)}, {left / 60:.0f} min left",
            file=sys.stderr,
        )
    return outcomes


def _candidate(
    recipe: Recipe, tracks: list[Track], scored: list[Track], args: argparse.Namespace
) -> Outcome:
    done = args.out / f"{recipe.name}.json"
    if done.exists():
        outcome = Outcome(**json.loads(done.read_text("utf-8")))
        if abs(outcome.cpu_seconds - args.minutes * 60) > max(30.0, args.minutes * 6):
            raise RecipeError(
                f"{done} is of {outcome.cpu_seconds / 60:.1f} min, --minutes is {args.minutes}. "
                "Take another --out."
            )
        return outcome
    from keras_mmdense.operations import multiply_adds_per_second

    model, seconds, steps = train(recipe, tracks, args.minutes * 60)
    model.save(args.out / f"{recipe.name}.keras")
    outcome = Outcome(
        name=recipe.name,
        weights=int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        macs_per_second=multiply_adds_per_second(model),
        cpu_seconds=round(seconds, 1),
        steps=steps,
        sdr=score(model, scored),
    )
    partial = done.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(outcome), indent=1) + "\n", "utf-8")
    partial.replace(done)
    return outcome


def train(recipe: Recipe, tracks: list[Track], cpu_seconds: float) -> tuple[Any, float, int]:
    """Train a recipe's model for some processor time.

    Args:
        recipe: What to train.
        tracks: Tracks to train on.
        cpu_seconds: Time of all threads of this process; the step in work is finished.

    Returns:
        The model, the time that it took and its number of steps.
    """
    import keras

    from keras_mmdense.data import pipeline
    from keras_mmdense.normalization import adapt, copy_weights
    from training.losses import LOSSES
    from training.networks import build_model
    from training.session import ADAPT_BATCHES
    from training.trainer import OPTIMIZERS, in_float32, make_variables

    keras.utils.set_random_seed(recipe.seed)
    model = build_model(recipe.model)
    data = pipeline.train(
        tracks, model, frames=recipe.frames, batch_size=recipe.batch_size, examples=EXAMPLES,
        mixing=recipe.mixing, seed=recipe.seed, epoch=0, target=recipe.target,
    )  # fmt: skip
    adapt(model, data, max_batches=ADAPT_BATCHES)
    model.compile(
        OPTIMIZERS[recipe.optimizer](
            recipe.learning_rate,
            use_ema=recipe.ema is not None,
            ema_momentum=recipe.ema or 0.99,
        ),
        loss={source: LOSSES[recipe.loss] for source in model.output_names},
        jit_compile="auto" if recipe.jit is None else recipe.jit,
    )
    make_variables(model, data)

    class Clock(keras.callbacks.Callback):
        begin, steps = time.process_time(), 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            self.model.stop_training = time.process_time() - self.begin >= cpu_seconds

    clock = Clock()
    model.fit(data, callbacks=[clock], shuffle=False, verbose=0)
    plain = in_float32(model)  # without the losses, which only this checkout knows
    copy_weights(model, plain)
    return plain, time.process_time() - clock.begin, clock.steps


def score(model: Any, tracks: Sequence[Track]) -> dict[str, float]:
    """Return by source the SDR of whole tracks in dB, mean over the tracks."""
    import keras_mmdense
    from training.evaluation.sdr import usdr

    values: dict[str, list[float]] = {}
    for track in tracks:
        references = {source: track.read(source) for source in track.sources}
        estimates = keras_mmdense.separate(model, track.read("mixture"), track.sample_rate)
        wanted = {source: references[source] for source in estimates}
        for source, result in usdr(wanted, estimates, track.sample_rate).items():
            value = result.values["SDR"]
            if value is not None:
                values.setdefault(source, []).append(value)
    return {source: float(np.mean(found)) for source, found in values.items()}


if __name__ == "__main__":
    sys.exit(main())
