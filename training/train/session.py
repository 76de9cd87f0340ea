"""From a recipe, tracks and options to a trainer that is ready to run."""

from __future__ import annotations

import argparse
import fnmatch
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import keras_mmdense
from keras_mmdense.data import Track, training_set, validation_set
from keras_mmdense.normalization import adapt, copy_weights
from training.paper.baseline_networks import build_model
from training.train.devices import Distribution
from training.train.memory import check_memory, keep_freed_memory
from training.train.recipe import Recipe, RecipeError
from training.train.run_folder import Row
from training.train.tensorboard import Samples
from training.train.trainer import Trainer, in_float32

EXCERPTS_PER_TRACK = 8  # for validation
ADAPT_BATCHES = 20


class Session:
    """A model, its data and its trainer.

    Args:
        recipe: What to train and how.
        tracks: Tracks to train on.
        valid: Tracks to validate on.
        args: Options of the command line: out, init, freeze, tensorboard.
        distribution: The devices.

    Raises:
        RecipeError, SettingsError, DatasetError: Something does not fit; nothing was written.
    """

    def __init__(
        self,
        recipe: Recipe,
        tracks: list[Track],
        valid: list[Track],
        args: argparse.Namespace,
        distribution: Distribution,
    ) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe, self._tracks, self._distribution = recipe, tracks, distribution
        self._init = args.init
        with distribution.scope():
            self.model = _build(recipe, args)
        check_memory(self.model, recipe, distribution.workers)
        self._shape: dict[str, Any] = {
            "frames": recipe.frames,
            "batch_size": recipe.batch_size,
            "target": recipe.target,
        }
        # whole batches, made here: each worker adapts to the same statistics
        self.first_data = self._make_data(0, shard=(0, 1))
        held_out = validation_set(
            valid,
            self.model,
            shard=distribution.shard,
            excerpts_per_track=distribution.round_up(EXCERPTS_PER_TRACK),
            **self._shape,
        )
        show = _shower(self.model, valid[0], Path(args.out), args.tensorboard, distribution)
        self._started, self._resumed = time.monotonic(), 0

        def on_epoch(row: Row) -> None:
            print(self._told(row))
            show(row)

        self.trainer = Trainer(
            self.model,
            recipe,
            Path(args.out),
            self._make_data,
            held_out,
            on_epoch=on_epoch,
            distribution=distribution,
        )

    def run(self, resume: bool) -> None:
        """Train to the end of the recipe, from the start or from where the run stopped."""
        keep_freed_memory()
        if resume:
            self.trainer.resume()
        elif not self._init:
            parts = ADAPT_BATCHES * self.trainer.recipe.accumulate
            adapt(self.model, self.first_data, max_batches=parts)
        self._started, self._resumed = time.monotonic(), len(self.trainer.history)
        self.trainer.fit(self.recipe.epochs)

    def _make_data(self, epoch: int, first_step: int = 0, **options: Any) -> Any:
        options = {"shard": self._distribution.shard, **options}
        return training_set(
            self._tracks,
            self.model,
            examples=self.recipe.examples,
            mixing=self.recipe.mixing,
            seed=self.recipe.seed,
            epoch=epoch,
            first_step=first_step,
            **options,
            **self._shape,
        )

    def _told(self, row: Row) -> str:
        """Return the epoch's figures and when the run will be done, in one line."""
        done = row["epoch"] - self._resumed
        left = (time.monotonic() - self._started) / done * (self.recipe.epochs - row["epoch"])
        return (
            f"validation loss {row['val_loss']:.5g}, {row['audio_seconds_per_second']:.1f} s of "
            f"audio per second, {row['waiting_share']:.0%} of the time waiting for data, "
            f"{left // 3600:.0f} h {left % 3600 // 60:.0f} min left at most"
        )


def _build(recipe: Recipe, args: argparse.Namespace) -> keras.Model:
    if "network" in recipe.model and recipe.precision != "float32":
        raise RecipeError(
            f"a model with a network trains in float32; received precision {recipe.precision!r}."
        )
    policy = {"float32": "float32"}.get(recipe.precision, f"mixed_{recipe.precision}")
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model(recipe.model)
    finally:
        keras.config.set_dtype_policy("float32")
    keras_mmdense.annotate(model, training_data=recipe.training_data, licence=recipe.licence)
    known = keras_mmdense.settings_of(model).sources
    unknown = sorted(set(recipe.loss_weights) - set(known))
    if unknown:
        raise RecipeError(f"loss_weights must name sources of {known}; received {unknown}.")
    if args.init:
        _take_weights(args.init, model)
    for pattern in args.freeze:
        frozen = [layer for layer in model.layers if fnmatch.fnmatchcase(layer.name, pattern)]
        if not frozen:
            raise RecipeError(f"--freeze must match layers; received {pattern!r}. See summary().")
        for layer in frozen:
            layer.trainable = False
    return model


def _take_weights(path: str, model: keras.Model) -> None:
    try:
        copy_weights(keras_mmdense.load(path), model)
    except ValueError as error:
        raise RecipeError(
            f"--init must be a model of the recipe's architecture; received {path} "
            f"({str(error).splitlines()[0]})."
        ) from error


def _shower(
    model: keras.Model, track: Track, run: Path, wanted: bool, distribution: Distribution
) -> Callable[[Row], None]:
    """Return what writes an epoch for TensorBoard, or nothing where it is not wanted."""
    if not (wanted and distribution.is_chief):
        return lambda row: None
    # a copy: the model itself answers only when all workers ask it
    shown = in_float32(model)
    samples = Samples(shown, track, run / "tb")

    def show(row: Row) -> None:
        copy_weights(model, shown)
        samples(row)

    return show
