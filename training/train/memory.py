"""What a training step holds in memory, against what the machine has; what it frees is kept."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
from mmdense_edge.bench.host import memory_bytes
from mmdense_edge.cli.main import set_heap_thresholds

from keras_mmdense.graph import trace
from training.train.recipe import Recipe, RecipeError

# Of all that the layers give, what is held for the gradients: measured with the recipe `paper` and
# 1 and 2 examples in a batch (docs/how-to/scaling.md); the rest is freed or shared.
HELD = 0.5


def step_bytes(model: keras.Model, recipe: Recipe) -> float:
    """Return about how many bytes a step holds: all layers' values that its gradients need.

    TensorFlow itself, and the data that are made ready beside it, take one to two GB more.

    Args:
        model: The recipe's model.
        recipe: Tells frames, batch size and precision.

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

    A GPU says so itself, so only a machine without one is checked.

    Args:
        model: The recipe's model.
        recipe: Tells frames, batch size and precision.
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
    parts = [n for n in range(2, recipe.batch_size + 1) if recipe.batch_size % n == 0]
    fit = [n for n in parts if needs / n < 0.75 * has]
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
    128 KiB. From then on each step's memory goes back to the system and is mapped anew, page by
    page: 3.6 times the page faults and 6 % more processor time (docs/results/benchmarks.md).
    """
    signature = tf.TensorSpec((), tf.int32)
    # TensorFlow lowers it here, and not later
    list(tf.data.Dataset.from_generator(lambda: [0], output_signature=signature))
    set_heap_thresholds(32 << 20, 2**31 - 1)  # the largest values that it takes
