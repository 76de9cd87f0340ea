"""The result of a metric for one source of a track, and functions that all metrics share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdense_edge.signal.stft import Array

Signals = Mapping[str, Array]  # (num_samples, channels) of any real type, by source
Values = Mapping[str, float | None]  # dB by measure; None where it is not defined

MAX_DB = 200.0
BLOCK = 1 << 18  # samples per channel in memory at a time
ACCOMPANIMENT, VOCALS = "accompaniment", "vocals"


@dataclass(frozen=True)
class SourceScore:
    """The score of one source of a track.

    Args:
        values: dB by measure, after the metric's own aggregation over frames; None if no frame
            has a value.
        silent_references: Number of frames in which the reference is silent.
        silent_estimates: Number of frames in which the estimate is silent.
        frames: The windows in order, in the form of `frame_scores`; metrics without windows have
            one, as long as the track.
    """

    values: Values
    silent_references: int
    silent_estimates: int
    frames: tuple[dict[str, Any], ...]


def frame_scores(window: slice, sample_rate: int, values: Values) -> dict[str, Any]:
    """Return the values of one window in museval's form, without undefined values.

    Example:
        >>> frame_scores(slice(8, 16), 8, {"SDR": 3.0, "SIR": None})
        {'time': 1.0, 'duration': 1.0, 'metrics': {'SDR': 3.0}}
    """
    return {
        "time": window.start / sample_rate,
        "duration": (window.stop - window.start) / sample_rate,
        "metrics": {name: value for name, value in values.items() if value is not None},
    }


def decibels(numerator: float, denominator: float) -> float | None:
    """Return 10 * log10(numerator / denominator) of two energies, limited to -200 to 200.

    Larger values are rounding errors in double precision, and JSON has no infinity.

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


def blocks(start: int, stop: int, size: int = BLOCK) -> Iterator[slice]:
    """Yield the parts in which signals are read from `start` to `stop`, to bound memory.

    Example:
        >>> list(blocks(5, 300_000))
        [slice(5, 262149, None), slice(262149, 300000, None)]
    """
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
