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
from mmdense_edge import signals

import keras_mmdense
from keras_mmdense import TrainingModel, settings_of
from keras_mmdense.data import Track, training_set, validation_set
from keras_mmdense.data.pipeline import measure_waiting
from keras_mmdense.errors import SettingsError, require
from keras_mmdense.normalization import adapt, copy_weights
from keras_mmdense.weights import find_weights
from training.train.devices import check_memory, has_accelerator
from training.train.fast_layers import speed_up
from training.train.losses import LOSSES
from training.train.recipe import Recipe, with_terms_of
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

ADAPT_BATCHES = 20
# Settings in which the weights that a training starts from may differ.
FREE = {
    "preset", "sources", "frames", "compression", "compression_gain", "training_data", "license",
}  # fmt: skip
OPTIMIZERS = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}


@contextmanager
def layer_precision(recipe: Recipe) -> Iterator[None]:
    """Let the models that are built in this context compute in the recipe's precision."""
    mixed = recipe.precision != "float32"
    keras.config.set_dtype_policy(f"mixed_{recipe.precision}" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def make_model(recipe: Recipe, init: str | None = None, freeze: Sequence[str] = ()) -> keras.Model:
    """Build the model of a recipe.

    Args:
        recipe: What to build, in which precision.
        init: A .keras file, or a trained model's name, whose weights it starts from.
        freeze: Patterns of the names of layers that are not trained.

    Raises:
        SettingsError: Something does not fit.
    """
    with layer_precision(recipe):
        model = keras_mmdense.build(**recipe.model)
    settings, terms = settings_of(model), with_terms_of(recipe, init)
    keras_mmdense.annotate(model, training_data=terms.training_data, license=terms.license)
    unknown = sorted(set(recipe.loss_weights) - set(settings.sources))
    require(not unknown, f"loss_weights must name sources of {settings.sources}", unknown, "")
    require(
        recipe.frames % settings.frame_multiple == 0,
        f"frames must be a multiple of {settings.frame_multiple}",
        recipe.frames,
        "",
    )
    if init:
        other = sorted(settings_of(find_weights(init)).differs_in(settings) - FREE)
        require(
            not other,
            "--init must be a model of the recipe's architecture, rate and transform",
            f"{init} with another {', '.join(other)}",
            "",
        )
        try:
            copy_weights(keras_mmdense.build(weights=init), model)
        except ValueError as error:
            raise SettingsError(
                f"--init must be a model of the recipe's architecture; received {init} "
                f"({str(error).splitlines()[0]})."
            ) from error
    for pattern in freeze:
        frozen = [layer for layer in model.layers if fnmatch.fnmatchcase(layer.name, pattern)]
        require(bool(frozen), "--freeze must match layers", pattern, "See summary().")
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
        replicas: Number of devices that share each batch.
        init: As for `make_model`.
        freeze: As for `make_model`.
        accompaniments: As for `keras_mmdense.data.training_set`.
        resident: As for `keras_mmdense.data.training_set`.

    Raises:
        SettingsError, DatasetError: Something does not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        tracks: Sequence[Track],
        valid: Sequence[Track],
        run: Path,
        replicas: int = 1,
        init: str | None = None,
        freeze: Sequence[str] = (),
        resident: bool | str = False,
        accompaniments: Sequence[Track] = (),
    ) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe, self.tracks, self.valid, self.run = recipe, tracks, valid, run
        self._accompaniments = accompaniments
        self._resident = resident if replicas == 1 else False
        self.history: list[Row] = []
        self._epoch = self._step = 0
        self.model = make_model(recipe, init, freeze)
        own = settings_of(self.model)
        was = settings_of(find_weights(init)) if init else None
        # what weights were trained on has another mean and deviation after another compression
        self.adapts = was is None or (was.compression, was.compression_gain) != (
            own.compression,
            own.compression_gain,
        )
        check_memory(self.model, recipe)
        teachers = [keras_mmdense.build(weights=teacher) for teacher in recipe.teachers]
        if keras.config.backend() == "tensorflow" and not has_accelerator():
            for network in (self.model, *teachers):
                speed_up(network)
        self.training = TrainingModel(
            self.model,
            recipe.frames,
            recipe.target,
            teachers=teachers,
            teacher_share=recipe.teacher_share,
        )
        self._compile()
        self._held_out = validation_set(valid, self.training, batch_size=recipe.batch_size)

    def make_data(self, epoch: int, first_step: int = 0, magnitudes: bool = False) -> Any:
        """Return an epoch of the training set from some step on, as excerpts or as magnitudes."""
        r = self.recipe
        return training_set(
            self.tracks,
            self.model if magnitudes else self.training,
            frames=r.frames,
            batch_size=r.batch_size,
            examples=r.examples,
            mixing=r.mixing,
            seed=r.seed,
            epoch=epoch,
            first_step=first_step,
            resident=not magnitudes and self._resident,
            accompaniments=self._accompaniments,
        )

    def adapt(self) -> None:
        """Set the model's normalization to the data."""
        data = self.make_data(0, magnitudes=True)
        adapt(self.model, data, max_batches=ADAPT_BATCHES * self.recipe.accumulate)

    def _compile(self) -> None:
        r = self.recipe
        weights = {name: r.loss_weights.get(name, 1.0) for name in settings_of(self.model).sources}
        optimizer = OPTIMIZERS[r.optimizer](
            r.learning_rate,
            clipnorm=r.clipnorm,
            use_ema=r.ema is not None,
            ema_momentum=r.ema or 0.99,
            gradient_accumulation_steps=r.accumulate if r.accumulate > 1 else None,
        )
        # The model keeps the optimizer, whose state is saved with it; float16 scales the loss.
        self.model.compile(optimizer)
        self.model.optimizer.build(self.model.trainable_variables)
        self.training.compile(
            self.model.optimizer,
            loss={name: LOSSES[r.loss] for name in weights},
            loss_weights=weights,
            jit_compile="auto" if r.jit is None else r.jit,
        )
        # TensorFlow traces a step twice that makes variables.
        zeros = {name: keras.ops.zeros((1, 1, 1, 1)) for name in weights}
        self.training.compute_loss(y_pred={"targets": zeros, "estimates": zeros})
        self.training.reset_metrics()

    def resume(self) -> None:
        """Continue where `last.keras` was saved: weights, optimizer, average, schedule and data.

        Raises:
            SettingsError: The file is not a checkpoint of this recipe.
        """
        state = load_checkpoint(self.model, self.run)
        before = settings_of(self.run / LAST)  # its terms include those of --init
        keras_mmdense.annotate(
            self.model, training_data=before.training_data, license=before.license
        )
        self._epoch, self._step, self.history = state["epoch"], state["step"], state["history"]

    @property
    def plan(self) -> Plan:
        """What the next epoch should do."""
        return plan([row["val_loss"] for row in self.history], self.recipe)

    def fit(
        self,
        epochs: int,
        on_epoch: Callable[[Row], None] = lambda row: None,
        on_step: Callable[[int, int], None] = lambda step, steps: None,
    ) -> None:
        """Train until that many epochs are done, or the recipe's early stop.

        Args:
            epochs: Counted from the start of the run.
            on_epoch: Called with the row of the history after each epoch.
            on_step: Called after each step with the steps done and all steps of the epoch.

        Raises:
            FloatingPointError: The loss is no longer finite.
            KeyboardInterrupt: The run was interrupted; the checkpoint is of the step reached.
        """
        while self._epoch < epochs and not self.plan.stop:
            self.model.optimizer.learning_rate = self.plan.learning_rate
            data = self.make_data(self._epoch, self._step)
            last = self._step + len(data)
            watch = StepWatch(self._step, last, self.recipe.ema is not None, on_step)
            print(f"Epoch {self._epoch + 1}/{epochs}")
            with watch.interrupted_between_steps():
                self._fit_epoch(data, watch)
                on_epoch(self.history[-1])

    def _fit_epoch(self, data: Any, watch: StepWatch) -> None:
        """Train the rest of an epoch, validate, save."""
        waited = None
        if keras.config.backend() == "tensorflow":
            data, waited = measure_waiting(data)
        learning_rate, steps, start = (
            self.plan.learning_rate,
            watch.last - watch.step,
            time.monotonic(),
        )
        try:
            logs = self.training.fit(
                data,
                callbacks=[watch, keras.callbacks.TerminateOnNaN()],
                shuffle=False,
            ).history
        except KeyboardInterrupt:
            if watch.weights:  # JAX leaves the average in the model
                self.model.set_weights(watch.weights)
            self._step = watch.step
            self._save()
            raise
        seconds = time.monotonic() - start
        waited = data.waited if waited is None else float(waited.numpy())
        scores = {name: values[-1] for name, values in logs.items()}
        require(
            math.isfinite(scores["loss"]),
            f"the loss must be a number in epoch {self._epoch + 1}",
            scores["loss"],
            "Lower learning_rate or set clipnorm, and start again.",
            FloatingPointError,
        )
        if watch.weights:  # fit() ends with the average; JAX has model and optimizer share arrays
            self.model.set_weights(self.model.get_weights())  # then, which a step frees
        checked = self.training.evaluate(self._held_out, verbose=0, return_dict=True)
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
            "waiting_share": round(min(1.0, waited / seconds), 4),
        }
        self.history.append(row)
        self._epoch, self._step = self._epoch + 1, 0
        if self.plan.best_epoch == self._epoch - 1:
            best = keras_mmdense.build_from_settings(settings)  # in float32, whatever this is
            copy_weights(self.model, best)
            save_model(best, self.run / BEST)
        if watch.weights:
            self.model.set_weights(watch.weights)
        self._save()

    def _save(self) -> None:
        state = {"epoch": self._epoch, "step": self._step, "history": self.history}
        save_model(self.model, self.run / LAST, state)
        if self.history:
            table = pd.DataFrame(self.history).to_csv(index=False, lineterminator="\n")
            write_text(self.run / HISTORY, table)


class StepWatch(keras.callbacks.Callback):
    """Count the steps of an epoch and keep the weights of the last one.

    Args:
        first: Steps of the epoch that are done.
        last: Steps of the epoch.
        keep_weights: Whether to keep them: `fit` puts their moving average into the model.
        on_step: As for `Trainer.fit`.
    """

    def __init__(
        self,
        first: int,
        last: int,
        keep_weights: bool = False,
        on_step: Callable[[int, int], None] = lambda step, steps: None,
    ) -> None:
        super().__init__()
        self.step, self.last, self._on_step = first, last, on_step
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
        self._on_step(self.step, self.last)
        stop = self._asked_to_stop and self.step < self.last
        if self._keep_weights and (stop or self.step == self.last):
            self.weights = self.model.separator.get_weights()
        if stop:
            raise KeyboardInterrupt
