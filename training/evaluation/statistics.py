"""Bootstrap intervals over tracks, and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 5000
LEVEL = 95.0  # per cent
SEED = 0
SMALLEST_DB = 0.01  # differences below are rounding, not a better row
FUNCTIONS: Mapping[str, Callable[..., Any]] = {"median": np.median, "mean": np.mean}

Interval = tuple[float, float]
Optional = Sequence[float | None]


def bootstrap(values: Optional, over_tracks: str) -> Interval | None:
    """Return the 95 % percentile interval of a median or mean, by resampling the tracks.

    Always from the same seed: the same values give the same interval.

    Args:
        values: One per track; None is left out.
        over_tracks: "median" or "mean".

    Returns:
        Lower and upper end; None for fewer than two values.

    Example:
        >>> bootstrap([1.0, 1.0, None, 1.0], "mean")
        (1.0, 1.0)

    Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    known = np.array([value for value in values if value is not None])
    if len(known) < 2:
        return None
    picks = np.random.default_rng(SEED).integers(len(known), size=(RESAMPLES, len(known)))
    centres = FUNCTIONS[over_tracks](known[picks], axis=1)
    low, high = np.percentile(centres, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """How one row differs from another on the tracks that both have a value for.

    Args:
        tracks: Number of these tracks.
        values: Row less base, by track, in dB.
        median: Median of the differences.
        median_interval: Its 95 % interval; None for fewer than two tracks.
        mean: Mean of the differences.
        mean_interval: Its 95 % interval; None for fewer than two tracks.
        better: Tracks on which the row is higher, by 0.01 dB or more.
        worse: Tracks on which it is lower, by 0.01 dB or more.
    """

    tracks: int
    values: Mapping[str, float]
    median: float
    median_interval: Interval | None
    mean: float
    mean_interval: Interval | None
    better: int
    worse: int


def paired_difference(
    row: Mapping[str, float | None], base: Mapping[str, float | None]
) -> Difference | None:
    """Compare two rows track by track.

    Args:
        row: Value by track.
        base: Value by track.

    Returns:
        The differences; None where no track has both values.

    Example:
        >>> d = paired_difference({"a": 2.0, "b": 1.0, "c": 9.0}, {"a": 1.0, "b": 3.0, "c": None})
        >>> d.tracks, d.mean, d.better, d.worse
        (2, -0.5, 1, 1)
    """
    values = {
        track: value - other
        for track, value in row.items()
        if value is not None and (other := base.get(track)) is not None
    }
    if not values:
        return None
    all_values = list(values.values())
    return Difference(
        tracks=len(values),
        values=values,
        median=float(np.median(all_values)),
        median_interval=bootstrap(all_values, "median"),
        mean=float(np.mean(all_values)),
        mean_interval=bootstrap(all_values, "mean"),
        better=sum(value >= SMALLEST_DB for value in all_values),
        worse=sum(value <= -SMALLEST_DB for value in all_values),
    )
