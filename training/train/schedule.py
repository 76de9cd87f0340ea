"""The learning rate and the end of a run as a function of the validation losses so far.

Nothing is stored: a resumed run derives the same values from its history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from training.train.recipe import Recipe


class Plan(NamedTuple):
    """What the next epoch should do.

    Args:
        learning_rate: Its step size.
        best_epoch: Number of the epoch with the lowest validation loss, from 0; -1 before any.
        stop: Whether the run should end instead.
    """

    learning_rate: float
    best_epoch: int
    stop: bool


def plan(losses: Sequence[float], recipe: Recipe) -> Plan:
    """Return the plan that follows from the validation losses so far.

    Args:
        losses: Validation loss of each epoch.
        recipe: Its learning_rate, schedule, epochs, patience, drop, lowest_rate and stop_after
            count.

    Example:
        >>> plan([3, 2, 2, 2], Recipe("r", patience=2))
        Plan(learning_rate=0.0001, best_epoch=1, stop=False)

    Source: arXiv 1706.09588, section 4: RMSprop, 1e-3, lowered to 1e-4 when the loss saturates.
    """
    learning_rate, best, best_epoch, waited = recipe.learning_rate, float("inf"), -1, 0
    for epoch, loss in enumerate(losses):
        if loss < best:
            best, best_epoch, waited = loss, epoch, 0
            continue
        waited += 1
        if waited >= recipe.patience:
            lower = max(recipe.lowest_rate, learning_rate * recipe.drop)
            learning_rate, waited = min(learning_rate, lower), 0
    if recipe.schedule == "cosine":
        done = min(1.0, len(losses) / recipe.epochs)
        fall = recipe.learning_rate - recipe.lowest_rate
        learning_rate = recipe.lowest_rate + fall * (1 + math.cos(math.pi * done)) / 2
    since_best = len(losses) - 1 - best_epoch
    stop = recipe.stop_after is not None and since_best >= recipe.stop_after
    return Plan(learning_rate, best_epoch, stop)
