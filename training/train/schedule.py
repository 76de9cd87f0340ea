"""The learning rate and the end of a run, as a function of the validation losses so far.

Nothing of it is stored: a resumed run derives the same values from its history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What the next epoch should do.

    Args:
        learning_rate: Its step size.
        best_epoch: Number of the epoch with the lowest validation loss, from 0; -1 before any.
        stop: Whether the run should end instead.
    """

    learning_rate: float
    best_epoch: int
    stop: bool


def plan(
    losses: Sequence[float],
    *,
    learning_rate: float,
    patience: int,
    factor: float,
    lowest: float,
    stop_after: int | None,
) -> Plan:
    """Return the plan after epochs with these validation losses.

    Args:
        losses: Validation loss of each epoch.
        learning_rate: Step size of the first epoch.
        patience: Epochs without a new lowest loss after which the step size drops.
        factor: What it is multiplied by then.
        lowest: It never drops below this.
        stop_after: End after this many epochs without a new lowest loss; None for never.

    Example:
        >>> plan([3, 2, 2, 2], learning_rate=1e-3, patience=2, factor=0.1, lowest=1e-4,
        ...      stop_after=None)
        Plan(learning_rate=0.0001, best_epoch=1, stop=False)

    Source: arXiv 1706.09588, section 4: RMSprop, 1e-3, lowered to 1e-4 when the loss saturates.
    """
    best, best_epoch, waited = float("inf"), -1, 0
    for epoch, loss in enumerate(losses):
        if loss < best:
            best, best_epoch, waited = loss, epoch, 0
            continue
        waited += 1
        if waited >= patience:
            learning_rate, waited = max(lowest, learning_rate * factor), 0
    since_best = len(losses) - 1 - best_epoch
    return Plan(learning_rate, best_epoch, stop_after is not None and since_best >= stop_after)
