"""The training loop: epochs of `fit`, a checkpoint after each, exact to the step when resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import tensorflow as tf
from mmdense_edge import signals

from keras_mmdense import settings_of
from keras_mmdense.data.tf_pipeline import measure_waiting
from keras_mmdense.normalization import copy_weights
from training.paper.baseline_networks import rebuild
from training.train.devices import Distribution
from training.train.kernel_gradient import speed_up
from training.train.losses import LOSSES
from training.train.recipe import Recipe
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

SUM = "sum_of_sources"
OPTIMIZERS = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}


class TrainingError(RuntimeError):
    """A run that cannot go on; its last checkpoint is good."""


class Trainer:
    """Trains a model by a recipe into a folder.

    Args:
        model: A model of `keras_mmdense.build` or `training.paper.baseline_networks`.
        recipe: How to train it.
        run: Folder of `best.keras`, `last.keras` and `history.csv`.
        make_data: Called with epoch and first step; returns that part of the training set.
        held_out: The validation set.
        on_epoch: Called with the row of the history after each epoch.
        distribution: The devices. The model must be made in its scope, and the two data sets be
            this worker's part. Workers other than the chief write nothing.
    """

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        run: Path,
        make_data: Callable[[int, int], tf.data.Dataset],
        held_out: tf.data.Dataset,
        on_epoch: Callable[[Row], None] = lambda row: None,
        distribution: Distribution | None = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.history: list[Row] = []
        self._run, self._make_data, self._on_epoch = run, make_data, on_epoch
        self._distribution = distribution or Distribution()
        self._distribution.check(recipe)
        self._held_out, self._checks = self._spread(held_out), int(held_out.cardinality())
        self._epoch = self._step = 0
        self._raw: list[Any] | None = None
        self._plain = in_float32(model)
        with self._distribution.scope():
            self._trainee = _with_sum(model) if recipe.sum_weight else model
            if keras.backend.backend() == "tensorflow" and not tf.config.get_visible_devices("GPU"):
                speed_up(self._trainee)
            self._compile()
        self._distribution.prepare(self._trainee)

    def resume(self) -> None:
        """Go on where `last.keras` was saved: weights, optimizer, average, schedule and data.

        Raises:
            RecipeError: It is no checkpoint of this recipe.
        """
        with self._distribution.scope():
            state = load_checkpoint(self._trainee, self._run)
        self._epoch, self._step, self.history = state["epoch"], state["step"], state["history"]

    def fit(self, epochs: int) -> None:
        """Train until that many epochs are done, or the recipe's early stop.

        Raises:
            TrainingError: The loss is no number any more.
            KeyboardInterrupt: The run was interrupted; the checkpoint is of the step reached.
        """
        while self._epoch < epochs and not self.plan.stop:
            self._trainee.optimizer.learning_rate = self.plan.learning_rate
            data = self._make_data(self._epoch, self._step)
            watch = _Watch(self._step, self._step + int(data.cardinality()))
            with watch.interrupted_between_steps():
                self._finish_epoch(self._one_epoch(epochs, data, watch))

    @property
    def plan(self) -> Plan:
        """What the next epoch should do."""
        r = self.recipe
        losses = [row["val_loss"] for row in self.history]
        return plan(
            losses,
            learning_rate=r.learning_rate,
            patience=r.patience,
            factor=r.drop,
            lowest=r.lowest_rate,
            stop_after=r.stop_after,
        )

    def _finish_epoch(self, row: Row) -> None:
        self.history.append(row)
        self._epoch, self._step = self._epoch + 1, 0
        if self.plan.best_epoch == self._epoch - 1 and self._distribution.is_chief:
            copy_weights(self.model, self._plain)
            save_model(self._plain, self._run / BEST)
        if self._raw is not None:
            self._trainee.set_weights(self._raw)
        self._save()
        if self._distribution.is_chief:
            self._on_epoch(row)

    def _one_epoch(self, epochs: int, data: tf.data.Dataset, watch: _Watch) -> Row:
        data, waited = measure_waiting(data)
        learning_rate, start = self.plan.learning_rate, time.monotonic()
        if self._distribution.is_chief:
            print(f"Epoch {self._epoch + 1}/{epochs}")
        try:
            logs = self._trainee.fit(
                self._spread(data),
                steps_per_epoch=watch.last - watch.first,
                callbacks=[watch, keras.callbacks.TerminateOnNaN()],
                shuffle=False,
                verbose="auto" if self._distribution.is_chief else 0,
            ).history
        except KeyboardInterrupt:
            if watch.weights:  # JAX leaves the average in the model
                self._trainee.set_weights(watch.weights)
            self._step = watch.step
            self._save()
            raise
        seconds = time.monotonic() - start
        self._raw = watch.weights if self.recipe.ema else None  # fit() ends with the average
        if self._raw is not None:  # JAX: or model and optimizer share arrays, which a step frees
            self._trainee.set_weights(self._trainee.get_weights())
        scores = {name: values[-1] for name, values in logs.items()}
        if not math.isfinite(scores["loss"]):
            raise TrainingError(
                f"the loss must be a number; received {scores['loss']} in epoch {self._epoch + 1}. "
                "last.keras holds the epoch before; lower learning_rate or set clipnorm."
            )
        checked = self._trainee.evaluate(
            self._held_out, steps=self._checks, verbose=0, return_dict=True
        )
        steps = watch.step - watch.first
        settings = settings_of(self.model)
        hop, rate = settings.transform.hop_length, settings.sample_rate
        audio = steps * self.recipe.batch_size * self.recipe.frames * hop / rate
        return {
            "epoch": self._epoch + 1,
            **scores,
            **{f"val_{name}": value for name, value in checked.items()},
            "learning_rate": learning_rate,
            "seconds": round(seconds, 2),
            "audio_seconds_per_second": round(audio / seconds, 2),
            "waiting_share": round(min(1.0, float(waited.numpy()) / seconds), 4),
        }

    def _spread(self, data: tf.data.Dataset) -> Any:
        data = _add_sum(data) if self.recipe.sum_weight else data
        return self._distribution.spread(data)

    def _save(self) -> None:
        if not self._distribution.is_chief:
            return
        state = {"epoch": self._epoch, "step": self._step, "history": self.history}
        save_model(self._trainee, self._run / LAST, state)
        if self.history:
            write_text(self._run / HISTORY, pd.DataFrame(self.history).to_csv(index=False))

    def _compile(self) -> None:
        r = self.recipe
        optimizer = OPTIMIZERS[r.optimizer](
            r.learning_rate,
            clipnorm=r.clipnorm,
            use_ema=r.ema is not None,
            ema_momentum=r.ema or 0.99,
            gradient_accumulation_steps=r.accumulate if r.accumulate > 1 else None,
        )
        weights = {name: r.loss_weights.get(name, 1.0) for name in settings_of(self.model).sources}
        if r.sum_weight:
            weights[SUM] = r.sum_weight
        self._trainee.compile(
            optimizer,
            loss={name: LOSSES[r.loss] for name in weights},
            loss_weights=weights,
            jit_compile="auto" if r.jit is None else r.jit,
        )
        make_variables(self._trainee, self._held_out, self._distribution.strategy)


def make_variables(model: keras.Model, data: Any, strategy: Any = None) -> None:
    """Make the variables of optimizer and losses: TensorFlow traces a step that makes any twice.

    Args:
        model: Compiled.
        data: A data set of (mixture, targets by source) for it.
        strategy: TensorFlow's, if any: its replicas make the losses' variables in the step.
    """
    model.optimizer.build(model.trainable_variables)
    if keras.backend.backend() != "tensorflow" or strategy:
        return
    mixture, targets = data.element_spec
    frames = mixture.shape[1]

    def zeros(spec: Any) -> tf.Tensor:
        return tf.zeros([1, *(frames if size is None else size for size in spec.shape[1:])])

    estimates = {name: zeros(spec) for name, spec in model.output.items()}
    wanted = {name: zeros(spec) for name, spec in targets.items()}
    model.compute_loss(y=wanted, y_pred=estimates)
    model.reset_metrics()


class _Watch(keras.callbacks.Callback):
    """Counts the steps and keeps the weights as the last step left them."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.first = self.step = first
        self.last = last
        self.weights: list[Any] = []
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
        self.step += 1
        if self._asked_to_stop and self.step < self.last:
            self._keep_weights()
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._keep_weights()

    def _keep_weights(self) -> None:
        if self.model.optimizer.use_ema:
            self.weights = self.model.get_weights()


def in_float32(model: keras.Model) -> keras.Model:
    """A second model to save as the best one: no optimizer, float32 whatever this one has."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return rebuild(model)
    finally:
        keras.config.set_dtype_policy(policy)


def _with_sum(model: keras.Model) -> keras.Model:
    """Add the sum of all estimates as an output."""
    total = keras.layers.Add(name=SUM, dtype="float32")(list(model.output.values()))
    return keras.Model(model.input, {**model.output, SUM: total}, name=model.name)


def _add_sum(data: tf.data.Dataset) -> tf.data.Dataset:
    return data.map(lambda x, y: (x, {**y, SUM: tf.add_n(list(y.values()))}))
