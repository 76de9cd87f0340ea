"""Find the precision that trains faster on this machine."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from training.train.devices import has_accelerator
from training.train.fast_layers import speed_up
from training.train.recipe import Recipe
from training.train.run_folder import RECORD

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
SHAPE = (4, 64, 128, 16)  # batch, frames, bins, maps of the block that is timed
GROWTH_RATE, NUM_LAYERS, ROUNDS = 16, 2, 3


def fastest_precision(
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, dict[str, float]]:
    """Time the training step of a small dense block in float32 and bfloat16.

    This takes about three seconds, mostly for compilation. Other programs that run at the same time
    can change the outcome: name the precision in the recipe if a run must be repeatable.

    Args:
        clock: Returns seconds.

    Returns:
        The faster precision (float32 if both are equal), and the seconds of a step in each.

    Example:
        >>> precision, seconds = fastest_precision()
        >>> precision == min(seconds, key=seconds.get)
        True
    """
    batch = np.ones(SHAPE, np.float32)
    blocks = {precision: _dense_block(policy) for precision, policy in POLICIES.items()}
    seconds = dict.fromkeys(POLICIES, float("inf"))
    for block in blocks.values():
        block.train_on_batch(batch, batch[..., :GROWTH_RATE])  # compiles
    for _ in range(ROUNDS):  # in turns, so that other programs slow both down
        for precision, block in blocks.items():
            start = clock()
            block.train_on_batch(batch, batch[..., :GROWTH_RATE])
            seconds[precision] = min(seconds[precision], clock() - start)
    return min(seconds, key=seconds.__getitem__), seconds


def settle_precision(recipe: Recipe, resumed: Path | None = None) -> Recipe:
    """Return the recipe with the precision "auto" replaced by the faster one.

    Args:
        recipe: Any recipe.
        resumed: Folder of the run to continue, whose precision is kept.
    """
    if recipe.precision != "auto":
        return recipe
    if resumed:
        try:
            before = json.loads((resumed / RECORD).read_text("utf-8"))["recipe"]["precision"]
        except (OSError, ValueError, KeyError, TypeError):
            before = "float32"  # check_folder refuses such a folder
        return replace(recipe, precision=before)
    if "network" in recipe.model:  # trains in float32
        return replace(recipe, precision="float32")
    precision, seconds = fastest_precision()
    times = " and ".join(f"{1000 * value:.0f} ms in {name}" for name, value in seconds.items())
    print(f"precision {precision}: a small step takes {times}")
    return replace(recipe, precision=precision)


def _dense_block(policy: str) -> keras.Model:
    inputs = keras.Input(SHAPE[1:])
    maps = [inputs]
    for _ in range(NUM_LAYERS):
        x = keras.layers.Concatenate(dtype=policy)(maps) if len(maps) > 1 else inputs
        x = keras.layers.BatchNormalization(dtype=policy)(x)
        x = keras.layers.ReLU(dtype=policy)(x)
        convolution = keras.layers.Conv2D(GROWTH_RATE, 3, padding="same", dtype=policy)
        maps.append(convolution(x))
    model = keras.Model(inputs, maps[-1])
    if keras.config.backend() == "tensorflow" and not has_accelerator():
        speed_up(model)
    model.compile("sgd", "mse", jit_compile="auto")
    return model
