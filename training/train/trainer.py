"""The training loop: epochs of `fit` with a checkpoint after each; resuming is exact."""

from __future__ import annotations

import fnmatch
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import tensorflow as tf
from mmdense_edge import signals

import keras_mmdense
from keras_mmdense import settings_of
from keras_mmdense.data import Track, training_set, validation_set
from keras_mmdense.data.tf_pipeline import measure_waiting
from keras_mmdense.normalization import adapt, copy_weights
from training.paper.baseline_networks import build_model, float32_copy
from training.train.devices import Devices, check_memory
from training.train.kernel_gradient import speed_up
from training.train.losses import LOSSES
from training.train.recipe import Recipe, RecipeError
from training.train.run_folder import (
    BEST,
    HISTORY,
    LAST,
    Row,
    load_checkpoint,
    save_model,
    write_text,
)
from training.train.schedule import Plan, plan

EXCERPTS_PER_TRACK = 8  # for validation
ADAPT_BATCHES = 20
SUM = "sum_of_sources"
OPTIMIZERS = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}


def make_model(recipe: Recipe, init: str | None = None, freeze: Sequence[str] = ()) -> keras.Model:
    """Build the model of a recipe.

    Args:
        recipe: What to build, in which precision.
        init: A .keras file, or a trained model's name, whose weights it starts from.
        freeze: Patterns of the names of layers that are not trained.

    Raises:
        RecipeError, SettingsError: Something does not fit.
    """
    if "network" in recipe.model and recipe.precision != "float32":
        raise RecipeError(
            f"a model with a network trains in float32; received precision {recipe.precision!r}."
        )
    mixed = recipe.precision != "float32"
    keras.config.set_dtype_policy(f"mixed_{recipe.precision}" if mixed else "float32")
    try:
        model = build_model(recipe.model)
    finally:
        keras.config.set_dtype_policy("float32")
    keras_mmdense.annotate(model, training_data=recipe.training_data, license=recipe.license)
    known = settings_of(model).sources
    unknown = sorted(set(recipe.loss_weights) - set(known))
    if unknown:
        raise RecipeError(f"loss_weights must name sources of {known}; received {unknown}.")
    if init:
        try:
            copy_weights(keras_mmdense.build(weights=init), model)
        except ValueError as error:
            raise RecipeError(
                f"--init must be a model of the recipe's architecture; received {init} "
                f"({str(error).splitlines()[0]})."
            ) from error
    for pattern in freeze:
        frozen = [layer for layer in model.layers if fnmatch.fnmatchcase(layer.name, pattern)]
        if not frozen:
            raise RecipeError(f"--freeze must match layers; received {pattern!r}. See summary().")
        for layer in frozen:
            layer.trainable = False
    return model


class Trainer:
    """Train the model of a recipe into a folder.

    Args:
        recipe: What to train and how.
        tracks: Tracks to train on.
        valid: Tracks to validate on.
        run: Folder of `best.keras`, `last.keras` and `history.csv`.
        devices: Where to train; `check` has accepted the recipe. Workers other than the chief
            write nothing.
        init: As for `make_model`.
        freeze: As for `make_model`.

    Raises:
        RecipeError, SettingsError, DatasetError: Something does not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        tracks: Sequence[Track],
        valid: Sequence[Track],
        run: Path,
        devices: Devices | None = None,
        init: str | None = None,
        freeze: Sequence[str] = (),
    ) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe, self.tracks, self.valid, self.run = recipe, tracks, valid, run
        self.devices = devices or Devices()
        self.history: list[Row] = []
        self._epoch = self._step = 0
        with self.devices.scope():
            self.model = make_model(recipe, init, freeze)
        check_memory(self.model, recipe, self.devices.workers)
        self._shape: dict[str, Any] = {
            "frames": recipe.frames,
            "batch_size": recipe.batch_size,
            "target": recipe.target,
        }
        replicas = self.devices.replicas
        held_out = validation_set(
            valid,
            self.model,
            shard=(self.devices.worker, self.devices.workers),
            # so many that all replicas share them evenly
            excerpts_per_track=-(-EXCERPTS_PER_TRACK // replicas) * replicas,
            **self._shape,
        )
        self._held_out, self._checks = self._spread(held_out), int(held_out.cardinality())
        with self.devices.scope():
            if recipe.sum_weight:
                outputs = self.model.output
                total = keras.layers.Add(name=SUM, dtype="float32")(list(outputs.values()))
                self.model = keras.Model(
                    self.model.input, {**outputs, SUM: total}, name=self.model.name
                )
            if keras.backend.backend() == "tensorflow" and not tf.config.get_visible_devices("GPU"):
                speed_up(self.model)
            self._compile()
        self.devices.prepare(self.model)

    def make_data(
        self, epoch: int, first_step: int = 0, shard: tuple[int, int] | None = None
    ) -> tf.data.Dataset:
        """Return an epoch of the training set from some step on: this worker's part, or another."""
        return training_set(
            self.tracks,
            self.model,
            examples=self.recipe.examples,
            mixing=self.recipe.mixing,
            seed=self.recipe.seed,
            epoch=epoch,
            first_step=first_step,
            shard=shard or (self.devices.worker, self.devices.workers),
            **self._shape,
        )

    def adapt(self) -> None:
        """Set the model's normalization to the data, on each worker to that of whole batches."""
        data = self.make_data(0, shard=(0, 1))
        adapt(self.model, data, max_batches=ADAPT_BATCHES * self.recipe.accumulate)

    def _spread(self, data: tf.data.Dataset) -> Any:
        if self.recipe.sum_weight:
            data = data.map(lambda x, y: (x, {**y, SUM: tf.add_n(list(y.values()))}))
        return self.devices.spread(data)

    def _compile(self) -> None:
        r, model = self.recipe, self.model
        weights = {name: r.loss_weights.get(name, 1.0) for name in settings_of(model).sources}
        if r.sum_weight:
            weights[SUM] = r.sum_weight
        optimizer = OPTIMIZERS[r.optimizer](
            r.learning_rate,
            clipnorm=r.clipnorm,
            use_ema=r.ema is not None,
            ema_momentum=r.ema or 0.99,
            gradient_accumulation_steps=r.accumulate if r.accumulate > 1 else None,
        )
        model.compile(
            optimizer,
            loss={name: LOSSES[r.loss] for name in weights},
            loss_weights=weights,
            jit_compile="auto" if r.jit is None else r.jit,
        )
        # TensorFlow traces a step twice that makes the variables of optimizer or losses; the
        # losses' ones a strategy's replicas must make in the step.
        model.optimizer.build(model.trainable_variables)
        if keras.backend.backend() == "tensorflow" and not self.devices.strategy:
            targets = self._held_out.element_spec[1].items()
            zeros = {name: tf.zeros([1, *spec.shape[1:]]) for name, spec in targets}
            model.compute_loss(y=zeros, y_pred=zeros)
            model.reset_metrics()

    def resume(self) -> None:
        """Continue where `last.keras` was saved: weights, optimizer, average, schedule and data.

        Raises:
            RecipeError: The file is not a checkpoint of this recipe.
        """
        with self.devices.scope():
            state = load_checkpoint(self.model, self.run)
        self._epoch, self._step, self.history = state["epoch"], state["step"], state["history"]

    @property
    def plan(self) -> Plan:
        """What the next epoch should do."""
        return plan([row["val_loss"] for row in self.history], self.recipe)

    def fit(self, epochs: int, on_epoch: Callable[[Row], None] = lambda row: None) -> None:
        """Train until that many epochs are done, or the recipe's early stop.

        Args:
            epochs: Counted from the start of the run.
            on_epoch: Called on the chief with the row of the history after each epoch.

        Raises:
            FloatingPointError: The loss is no longer finite.
            KeyboardInterrupt: The run was interrupted; the checkpoint is of the step reached.
        """
        while self._epoch < epochs and not self.plan.stop:
            self.model.optimizer.learning_rate = self.plan.learning_rate
            data = self.make_data(self._epoch, self._step)
            last = self._step + int(data.cardinality())
            watch = StepWatch(self._step, last, keep_weights=self.recipe.ema is not None)
            if self.devices.is_chief:
                print(f"Epoch {self._epoch + 1}/{epochs}")
            with watch.interrupted_between_steps():
                self._fit_epoch(data, watch)
                if self.devices.is_chief:
                    on_epoch(self.history[-1])

    def _fit_epoch(self, data: tf.data.Dataset, watch: StepWatch) -> None:
        """Train the rest of an epoch, validate, save."""
        data, waited = measure_waiting(data)
        learning_rate, steps, start = (
            self.plan.learning_rate,
            watch.last - watch.step,
            time.monotonic(),
        )
        try:
            logs = self.model.fit(
                self._spread(data),
                steps_per_epoch=steps,
                callbacks=[watch, keras.callbacks.TerminateOnNaN()],
                shuffle=False,
                verbose="auto" if self.devices.is_chief else 0,
            ).history
        except KeyboardInterrupt:
            if watch.weights:  # JAX leaves the average in the model
                self.model.set_weights(watch.weights)
            self._step = watch.step
            self._save()
            raise
        seconds = time.monotonic() - start
        scores = {name: values[-1] for name, values in logs.items()}
        if not math.isfinite(scores["loss"]):
            raise FloatingPointError(
                f"the loss must be a number; received {scores['loss']} in epoch {self._epoch + 1}. "
                f"{LAST} holds the epoch before; lower learning_rate or set clipnorm."
            )
        if watch.weights:  # fit() ends with the average; JAX has model and optimizer share arrays
            self.model.set_weights(self.model.get_weights())  # then, which a step frees
        checked = self.model.evaluate(
            self._held_out, steps=self._checks, verbose=0, return_dict=True
        )
        settings, r = settings_of(self.model), self.recipe
        frames = steps * r.batch_size * r.frames
        audio = frames * settings.transform.hop_length / settings.sample_rate
        row = {
            "epoch": self._epoch + 1,
            **scores,
            **{f"val_{name}": value for name, value in checked.items()},
            "learning_rate": learning_rate,
            "seconds": round(seconds, 2),
            "audio_seconds_per_second": round(audio / seconds, 4),
            "waiting_share": round(min(1.0, float(waited.numpy()) / seconds), 4),
        }
        self.history.append(row)
        self._epoch, self._step = self._epoch + 1, 0
        if self.plan.best_epoch == self._epoch - 1 and self.devices.is_chief:
            save_model(float32_copy(self.model), self.run / BEST)
        if watch.weights:
            self.model.set_weights(watch.weights)
        self._save()

    def _save(self) -> None:
        if not self.devices.is_chief:
            return
        state = {"epoch": self._epoch, "step": self._step, "history": self.history}
        save_model(self.model, self.run / LAST, state)
        if self.history:
            write_text(self.run / HISTORY, pd.DataFrame(self.history).to_csv(index=False))


class StepWatch(keras.callbacks.Callback):
    """Count the steps of an epoch and keep the weights of the last one.

    Args:
        first: Steps of the epoch that are done.
        last: Steps of the epoch.
        keep_weights: Whether to keep them: `fit` puts their moving average into the model.
    """

    def __init__(self, first: int, last: int, keep_weights: bool = False) -> None:
        super().__init__()
        self.step, self.last = first, last
        self.weights: list[Any] = []
        self._keep_weights = keep_weights
        self._asked_to_stop = False

    @contextmanager
    def interrupted_between_steps(self) -> Iterator[None]:
        """Hold what ends a program back to the end of the step, and the last step's to the end.

        Half a step cannot be saved, nor an epoch that lacks its validation.
        """

        def ask(*_: object) -> None:
            self._asked_to_stop = True

        with signals.taken(ask):
            yield
        if self._asked_to_stop:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step; end the training between steps if that was asked for."""
        self.step += 1
        stop = self._asked_to_stop and self.step < self.last
        if self._keep_weights and (stop or self.step == self.last):
            self.weights = self.model.get_weights()
        if stop:
            raise KeyboardInterrupt
