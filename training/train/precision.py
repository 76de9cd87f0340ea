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
from training.train.trainer import make_model

MODEL = {"preset": "mdensenet", "bins": 64, "scales": 0, "growth_rate": 16, "num_layers": 2}
SHAPE = (4, 128, 64, 2)  # batch, frames, bins, channels
ROUNDS = 3


def fastest_precision(
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, dict[str, float]]:
    """Time the training step of a small network in float32 and bfloat16.

    This takes a few seconds, mostly for compilation. Other programs that run at the same time
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
    seconds = dict.fromkeys(("float32", "bfloat16"), float("inf"))
    models = {name: make_model(Recipe("probe", model=MODEL, precision=name)) for name in seconds}
    for model in models.values():
        if keras.config.backend() == "tensorflow" and not has_accelerator():
            speed_up(model)
        model.compile("sgd", "mse")
        model.train_on_batch(batch, {"vocals": batch})  # traces and compiles
    for _ in range(ROUNDS):  # in turns, so that other programs slow both down
        for precision, model in models.items():
            start = clock()
            model.train_on_batch(batch, {"vocals": batch})
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
    precision, seconds = fastest_precision()
    times = " and ".join(f"{1000 * value:.0f} ms in {name}" for name, value in seconds.items())
    print(f"precision {precision}: a small step takes {times}")
    return replace(recipe, precision=precision)
