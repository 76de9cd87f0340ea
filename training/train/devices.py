"""Training on several devices: one machine with `mirrored`, several machines with `multiworker`.

Every replica sees its own part of each batch and all of them take one common step, so the weights
are those of one device with the whole batch, to rounding. With the JAX backend `mirrored` is
`keras.distribution.DataParallel`.
"""

from __future__ import annotations

import os
import signal
import types
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from mmdense_edge import signals

from training.train.cluster import DistributionError, parse_cluster
from training.train.recipe import Recipe


@dataclass(frozen=True)
class Distribution:
    """Where a model is trained. The default is one device.

    Args:
        strategy: TensorFlow's strategy; None for one device and with the JAX backend.
        replicas: Devices that share each batch, of all workers.
        worker: Number of this process, from 0.
        workers: Number of processes.
    """

    strategy: Any = None
    replicas: int = 1
    worker: int = 0
    workers: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run's files; exactly one does."""
        return self.worker == 0

    @property
    def shard(self) -> tuple[int, int]:
        """This worker's part of each batch, for `pipeline.train(shard=...)`."""
        return self.worker, self.workers

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which the model and its optimizer must be made."""
        return self.strategy.scope() if self.strategy else nullcontext()

    def round_up(self, examples: int) -> int:
        """Return the next number of examples that all replicas can share evenly."""
        return -(-examples // self.replicas) * self.replicas

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe that cannot be spread.

        Raises:
            DistributionError: The batch cannot be divided, or gradients are accumulated.
        """
        if recipe.batch_size % self.replicas:
            raise DistributionError(
                f"batch_size must be a multiple of the {self.replicas} replicas; received "
                f"{recipe.batch_size}. Change the recipe or the number of devices."
            )
        # Each replica's accumulator holds its own sum: a checkpoint would keep only the first.
        if self.replicas > 1 and self.strategy and recipe.accumulate > 1:
            raise DistributionError(
                f"accumulate must be 1 with several replicas; received {recipe.accumulate}. "
                "Raise batch_size instead: the replicas share it."
            )

    def prepare(self, model: keras.Model) -> None:
        """Make a compiled model's steps those of the whole batch.

        Batch normalisation takes the statistics of all replicas (its own part alone would be
        noisier, and another function than on one device), and gradients are clipped after they
        are added up. JAX computes with the whole batch anyway.
        """
        if self.strategy is None or self.replicas == 1:
            return
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        _clip_after_adding(model.optimizer)

    def spread(self, data: tf.data.Dataset) -> Any:
        """Return what `fit` and `evaluate` take, from this worker's part of the batches."""
        if self.strategy is None:
            return data
        # Keras' own division would cut each worker's part once more, and give some devices
        # nothing of a smaller last batch
        local = self.replicas // self.workers
        return self.strategy.distribute_datasets_from_function(lambda _: _divided(data, local))


class _Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """A strategy that Keras 3 can train with.

    Keras reduces whole structures at once, and scalars over axis 0; TensorFlow takes one tensor.
    """

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        def one(part: Any) -> Any:
            scalar = self.experimental_local_results(part)[0].shape.rank == 0
            return super(_Workers, self).reduce(reduce_op, part, None if scalar else axis)

        return tf.nest.map_structure(one, value)


def open_distribution(name: str) -> Distribution:
    """Set up devices and workers. Call it before anything else uses TensorFlow or JAX.

    Args:
        name: "none"; "mirrored": all GPUs of this machine, or the logical CPU devices where there
            is none; "multiworker": the machines named in the environment variable TF_CONFIG.

    Raises:
        DistributionError: Wrong TF_CONFIG, a backend that cannot do it, workers that do not come.

    Example:
        >>> open_distribution("none").replicas
        1
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        tf.config.set_visible_devices([], "GPU")  # TensorFlow makes the data alone
    if name == "none":
        return Distribution()
    if name == "mirrored" and backend == "jax":
        devices = keras.distribution.list_devices()
        parallel = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
        keras.distribution.set_distribution(parallel)
        return Distribution(replicas=len(devices))
    if backend != "tensorflow":
        raise DistributionError(
            f"--strategy {name} needs the TensorFlow backend (mirrored also JAX); received "
            f"{backend}. Set KERAS_BACKEND=tensorflow."
        )
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        return Distribution(strategy, strategy.num_replicas_in_sync)
    return _open_workers(*parse_cluster(os.environ.get("TF_CONFIG", "")))


def _open_workers(worker: int, workers: int) -> Distribution:
    # TensorFlow waits for the others, up to an hour; Python's own Ctrl-C would wait with it
    try:
        with signals.taken(signal.SIG_DFL, "SIGINT"):
            strategy = _Workers()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise DistributionError(
            f"all {workers} workers must be started and reach each other; received {line}. Check "
            "the addresses in TF_CONFIG and the ports."
        ) from error
    replicas = strategy.num_replicas_in_sync
    if replicas % workers:
        raise DistributionError(
            f"all workers must have as many devices; received {replicas} devices in {workers} "
            "workers. Set CUDA_VISIBLE_DEVICES."
        )
    return Distribution(strategy, replicas, worker, workers)


def _divided(data: tf.data.Dataset, parts: int) -> tf.data.Dataset:
    """Turn each batch into that many equal ones."""

    def divide(*batch: Any) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(cut, batch))

    def cut(tensor: Any) -> Any:
        return tf.reshape(tensor, (parts, -1, *tensor.shape[1:]))

    return data.flat_map(divide)


def _clip_after_adding(optimizer: Any) -> None:
    """Clip the sum of all replicas' gradients; Keras would clip each replica's own part."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of float16's loss scale
    clip, add_up = inner._clip_gradients, inner._all_reduce_sum_gradients

    def add_up_and_clip(_: Any, grads_and_vars: Any) -> Any:
        grads, variables = zip(*add_up(grads_and_vars), strict=True)
        return list(zip(clip(list(grads)), variables, strict=True))

    inner._clip_gradients = types.MethodType(lambda _, grads: grads, inner)
    inner._all_reduce_sum_gradients = types.MethodType(add_up_and_clip, inner)
