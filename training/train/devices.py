"""The devices of a run: one, several of one machine, or several machines, and their memory.

Every replica sees its own part of each batch and all of them take one common step, so the weights
are those of one device with the whole batch, to rounding (docs/how-to/scaling.md). With the JAX
backend `mirrored` is `keras.distribution.DataParallel`.
"""

from __future__ import annotations

import math
import re
import signal
import types
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from mmdense_edge import signals
from mmdense_edge.bench.host import memory_bytes
from mmdense_edge.cli.main import set_heap_thresholds

from keras_mmdense.inspection import trace
from training.train.recipe import Recipe, RecipeError

TF_CONFIG = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)
# The share of the layers' outputs that is held for the gradients: measured with the recipe `paper`
# and 1 and 2 examples in a batch (docs/how-to/scaling.md); the rest is freed or shared.
HELD = 0.5


@dataclass(frozen=True)
class Devices:
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

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which the model and its optimizer must be made."""
        return self.strategy.scope() if self.strategy else nullcontext()

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe that cannot be spread over these devices.

        Raises:
            RecipeError: The batch cannot be divided, or gradients are accumulated.
        """
        if recipe.batch_size % self.replicas:
            raise RecipeError(
                f"batch_size must be a multiple of the {self.replicas} replicas; received "
                f"{recipe.batch_size}. Change the recipe or the number of devices."
            )
        # Each replica's accumulator holds its own sum: a checkpoint would keep only the first.
        if self.replicas > 1 and self.strategy and recipe.accumulate > 1:
            raise RecipeError(
                f"accumulate must be 1 with several replicas; received {recipe.accumulate}. "
                "Raise batch_size instead: the replicas share it."
            )

    def prepare(self, model: keras.Model) -> None:
        """Make a compiled model's steps those of the whole batch.

        Batch normalization takes the statistics of all replicas (its own part alone would be
        noisier, and another function than on one device), and gradients are clipped after they
        are added up, where Keras would clip each replica's own part. JAX computes with the whole
        batch anyway.
        """
        if self.strategy is None or self.replicas == 1:
            return
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of float16
        clip, add_up = optimizer._clip_gradients, optimizer._all_reduce_sum_gradients

        def add_up_and_clip(_: Any, grads_and_vars: Any) -> Any:
            grads, variables = zip(*add_up(grads_and_vars), strict=True)
            return list(zip(clip(list(grads)), variables, strict=True))

        optimizer._clip_gradients = lambda grads: grads
        optimizer._all_reduce_sum_gradients = types.MethodType(add_up_and_clip, optimizer)

    def spread(self, data: tf.data.Dataset) -> Any:
        """Return what `fit` and `evaluate` take, from this worker's part of the batches."""
        if self.strategy is None:
            return data
        local = self.replicas // self.workers

        # Keras' own division would cut each worker's part once more, and give some devices
        # nothing of a smaller last batch.
        def divide(*batch: Any) -> tf.data.Dataset:
            parts = tf.nest.map_structure(lambda x: tf.reshape(x, (local, -1, *x.shape[1:])), batch)
            return tf.data.Dataset.from_tensor_slices(parts)

        return self.strategy.distribute_datasets_from_function(lambda _: data.flat_map(divide))


class _Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """A strategy that Keras 3 can train with.

    Keras reduces whole structures at once, and scalars over axis 0; TensorFlow takes one tensor.
    """

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        def one(part: Any) -> Any:
            scalar = self.experimental_local_results(part)[0].shape.rank == 0
            return super(_Workers, self).reduce(reduce_op, part, None if scalar else axis)

        return tf.nest.map_structure(one, value)


def open_devices(name: str) -> Devices:
    """Set up devices and workers. Call it before anything else uses TensorFlow or JAX.

    Args:
        name: "none"; "mirrored": all GPUs of this machine, or the logical CPU devices if there
            are none; "multiworker": the machines named in the environment variable TF_CONFIG.

    Raises:
        RecipeError: Wrong TF_CONFIG, a backend that cannot do it, workers that do not come.

    Example:
        >>> open_devices("none").replicas
        1
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        tf.config.set_visible_devices([], "GPU")  # TensorFlow only makes the data
    if name == "none":
        return Devices()
    if name == "mirrored" and backend == "jax":
        devices = keras.distribution.list_devices()
        parallel = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
        keras.distribution.set_distribution(parallel)
        return Devices(replicas=len(devices))
    if backend != "tensorflow":
        raise RecipeError(
            f"--strategy {name} needs the TensorFlow backend (mirrored also JAX); received "
            f"{backend}. Set KERAS_BACKEND=tensorflow."
        )
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        return Devices(strategy, strategy.num_replicas_in_sync)
    worker, workers = _place_in_cluster()
    try:
        # TensorFlow waits for the others, up to an hour; Python's own Ctrl-C would wait with it.
        with signals.taken(signal.SIG_DFL, "SIGINT"):
            strategy = _Workers()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise RecipeError(
            f"all {workers} workers must be started and reach each other; received "
            f"{str(error).strip().splitlines()[0]}. Check the addresses in TF_CONFIG and the ports."
        ) from error
    replicas = strategy.num_replicas_in_sync
    if replicas % workers:
        raise RecipeError(
            f"all workers must have as many devices; received {replicas} devices in {workers} "
            "workers. Set CUDA_VISIBLE_DEVICES."
        )
    return Devices(strategy, replicas, worker, workers)


def _place_in_cluster() -> tuple[int, int]:
    """Return the number of this worker, from 0, and of all workers; a chief is the first.

    Without a task in TF_CONFIG TensorFlow would train alone, and with some others wait for ever.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        cluster = resolver.cluster_spec().as_dict()
        hosts = [host for job in ("chief", "worker") for host in cluster.get(job, ())]
        tasks = [(job, k) for job in ("chief", "worker") for k in range(len(cluster.get(job, ())))]
        if (
            set(cluster) - {"chief", "worker"}
            or len(cluster.get("chief", ())) > 1
            or len(set(hosts)) < len(hosts)
            or not all(re.fullmatch(r".+:\d{1,5}", host) for host in hosts)
        ):
            raise ValueError(f"the cluster {cluster}")
        return tasks.index((resolver.task_type, resolver.task_id)), len(tasks)
    except (ValueError, TypeError, AttributeError) as error:
        raise RecipeError(
            "TF_CONFIG must list every worker and at most one chief, each once as host:port, and "
            f"have a task among them; received {error}. Example: {TF_CONFIG}"
        ) from error


def step_bytes(model: keras.Model, recipe: Recipe) -> float:
    """Return about how many bytes a step holds: all layers' values that its gradients need.

    TensorFlow itself, and the data that are prepared meanwhile, take one to two GB more.

    Args:
        model: The recipe's model.
        recipe: Its frames, batch size and precision count.

    Example:
        >>> from training.paper.baseline_networks import build_model
        >>> from training.train.recipe import load_recipe
        >>> recipe = load_recipe("smoke")
        >>> 1e7 < step_bytes(build_model(recipe.model), recipe) < 1e9
        True
    """
    values = sum(math.prod(call.output_shape) for call in trace(model, recipe.frames).values())
    size = 4 if recipe.precision == "float32" else 2
    return HELD * size * recipe.batch_size * values


def check_memory(model: keras.Model, recipe: Recipe, workers: int = 1) -> None:
    """Refuse a step that the machine cannot hold: the system would end it without a word.

    A GPU reports that itself, so only a machine without one is checked.

    Args:
        model: The recipe's model.
        recipe: As for `step_bytes`.
        workers: Machines that share a batch.

    Raises:
        RecipeError: A step needs more than all of the machine's memory.
    """
    has = memory_bytes()
    if has is None or any(not name.startswith("cpu") for name in keras.distribution.list_devices()):
        return
    needs = step_bytes(model, recipe) / workers
    if needs <= has:
        return
    fit = [
        parts
        for parts in range(2, recipe.batch_size + 1)
        if recipe.batch_size % parts == 0 and needs / parts < 0.75 * has
    ]
    raise RecipeError(
        f"a step must fit into memory: recipe {recipe.name} needs about {needs / 1e9:.0f} GB for "
        f"{recipe.batch_size} excerpts of {recipe.frames} frames, this machine has "
        f"{has / 1e9:.0f} GB. "
        + (
            f"--accumulate {fit[0]} makes each batch in {fit[0]} parts."
            if fit
            else "Copy the recipe and lower its frames."
        )
    )


def keep_freed_memory() -> None:
    """Have glibc keep freed blocks of less than 32 MiB, for the next step to use.

    When a data set of a generator is first read, TensorFlow lowers glibc's M_TRIM_THRESHOLD to
    128 KiB. From then on each step's memory goes back to the system and is mapped again, page by
    page: 3.6 times the page faults and 6 % more processor time (docs/results/benchmarks.md).
    """
    signature = tf.TensorSpec((), tf.int32)
    # TensorFlow lowers it here, and not later
    list(tf.data.Dataset.from_generator(lambda: [0], output_signature=signature))
    set_heap_thresholds(32 << 20, 2**31 - 1)  # the largest values that it takes
