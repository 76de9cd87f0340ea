"""The devices of a run and their memory.

With several devices, each computes its part of every batch, and all take one step together, so the
weights equal those of one device with the whole batch, to rounding (docs/how-to/scaling.md).
"""

from __future__ import annotations

import math
import os

import keras
from mmdense_edge.bench.host import memory_bytes
from mmdense_edge.cli.main import set_heap_thresholds

from keras_mmdense.errors import require
from keras_mmdense.inspection import trace
from training.train.recipe import Recipe

# The share of the layers' outputs that is held for the gradients: measured with the recipe `paper`
# and 1 and 2 examples in a batch (docs/how-to/scaling.md); the rest is freed or shared.
HELD = 0.5


def open_devices(recipe: Recipe, parallel: bool = False, deterministic: bool = False) -> int:
    """Set up the devices. Call it before anything else uses the backend.

    Args:
        recipe: What will be trained; its batch must divide evenly.
        parallel: Whether to train on all devices of this machine, with
            `keras.distribution.DataParallel`.
        deterministic: Whether to make the backend compute the same bits every time.

    Returns:
        The number of devices that share each batch.

    Raises:
        SettingsError: The backend cannot train on several devices, or the batch does not divide.

    Example:
        >>> open_devices(Recipe("mine"))
        1
    """
    backend = keras.config.backend()
    if deterministic and backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif deterministic and backend == "torch":
        import torch  # type: ignore[import-not-found,unused-ignore]

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which CUDA asks for
        torch.use_deterministic_algorithms(True)
    elif deterministic:  # read when JAX makes its first array
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true"
    if not parallel:
        return 1
    require(
        backend == "jax",
        "--data-parallel needs the JAX backend",
        backend,
        "Set KERAS_BACKEND=jax.",
    )
    devices = keras.distribution.list_devices()
    spread = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    require(
        recipe.batch_size % len(devices) == 0,
        f"batch_size must be a multiple of the {len(devices)} devices",
        recipe.batch_size,
        "Change the recipe.",
    )
    keras.distribution.set_distribution(spread)
    return len(devices)


def has_accelerator() -> bool:
    """Return whether the backend computes on something other than a CPU."""
    if keras.config.backend() == "torch":
        import torch  # type: ignore[import-not-found,unused-ignore]

        return bool(torch.cuda.is_available())
    return any(not name.startswith("cpu") for name in keras.distribution.list_devices())


def step_bytes(model: keras.Model, recipe: Recipe) -> float:
    """Return about how many bytes a step holds: all layer outputs that its gradients need.

    The backend itself, and the batches being prepared, take one to two GB more.

    Args:
        model: The recipe's model.
        recipe: The recipe; its frames, batch size and precision are used.

    Example:
        >>> import keras_mmdense
        >>> from training.train.recipe import load_recipe
        >>> recipe = load_recipe("smoke")
        >>> 1e7 < step_bytes(keras_mmdense.build(**recipe.model), recipe) < 1e9
        True
    """
    values = sum(math.prod(call.output_shape) for call in trace(model, recipe.frames).values())
    size = 2 if recipe.precision in ("bfloat16", "float16") else 4
    return HELD * size * recipe.batch_size * values


def check_memory(model: keras.Model, recipe: Recipe) -> None:
    """Refuse a step that does not fit into memory: the system would kill it without a message.

    A GPU reports that itself, so only a machine without one is checked.

    Args:
        model: The recipe's model.
        recipe: As for `step_bytes`.

    Raises:
        SettingsError: A step needs more than all of the machine's memory.
    """
    has = memory_bytes()
    if has is None or has_accelerator():
        return
    needs = step_bytes(model, recipe)
    fit = [
        parts
        for parts in range(2, recipe.batch_size + 1)
        if recipe.batch_size % parts == 0 and needs / parts < 0.75 * has
    ]
    require(
        needs <= has,
        f"a step must fit into memory; recipe {recipe.name} needs about {needs / 1e9:.0f} GB for "
        f"{recipe.batch_size} excerpts of {recipe.frames} frames",
        f"a machine with {has / 1e9:.0f} GB",
        f"--accumulate {fit[0]} makes each batch in {fit[0]} parts."
        if fit
        else "Copy the recipe and lower its frames.",
    )


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks of less than 32 MiB, for the next step to use.

    When a data set made from a generator is first read, TensorFlow lowers glibc's M_TRIM_THRESHOLD
    to 128 KiB. From then on each step's memory goes back to the system and is mapped again, page by
    page: 3.6 times the page faults and 6 % more processor time (docs/results/benchmarks.md).
    """
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        signature = tf.TensorSpec((), tf.int32)
        # TensorFlow lowers it here, and not later
        list(tf.data.Dataset.from_generator(lambda: [0], output_signature=signature))
    set_heap_thresholds(32 << 20, 2**31 - 1)  # the largest values that it takes
