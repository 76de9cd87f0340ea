"""What a metric returns for one track: a value per measure, and the frames it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # (num_samples, channels) of any real type
Values = Mapping[str, float | None]  # dB by measure; None where it is not defined

MAX_DB = 200.0
BLOCK = 1 << 18  # samples per channel that are in memory at a time
ACCOMPANIMENT, VOCALS = "accompaniment", "vocals"


@dataclass(frozen=True)
class Frame:
    """The values of one window of a source.

    Args:
        time: float, seconds from the start of the track.
        duration: float, seconds.
        values: dB by measure, -200 to 200; None where not defined.
    """

    time: float
    duration: float
    values: Values


@dataclass(frozen=True)
class SourceScore:
    """The score of one source of a track.

    Args:
        frames: the windows in order; one as long as the track for metrics without windows.
        values: dB by measure, after the metric's own aggregation over frames; None where no
            frame has a value.
        silent_references: int, the frames in which the reference is silent.
        silent_estimates: int, the frames in which the estimate is silent.
    """

    frames: tuple[Frame, ...]
    values: Values
    silent_references: int
    silent_estimates: int


def decibels(numerator: float, denominator: float) -> float | None:
    """Return 10 * log10(numerator / denominator), held to -200 to 200.

    Beyond that double precision holds nothing but rounding errors, and JSON knows no infinity.

    Args:
        numerator: float >= 0, an energy.
        denominator: float >= 0, an energy.

    Returns:
        dB; None for 0 / 0.

    Example:
        >>> decibels(100.0, 1.0), decibels(1.0, 0.0), decibels(0.0, 0.0)
        (20.0, 200.0, None)
    """
    if numerator == 0 or denominator == 0:
        return None if numerator == denominator else MAX_DB if numerator else -MAX_DB
    ratio = np.log10(numerator) - np.log10(denominator)
    return float(np.clip(10 * ratio, -MAX_DB, MAX_DB))


def blocks(window: slice) -> Iterator[slice]:
    """Yield the parts of a window in which signals are read, so that memory is bounded.

    Args:
        window: start and stop, in samples.

    Example:
        >>> list(blocks(slice(5, 300_000)))
        [slice(5, 262149, None), slice(262149, 300000, None)]
    """
    for start in range(window.start, window.stop, BLOCK):
        yield slice(start, min(start + BLOCK, window.stop))
