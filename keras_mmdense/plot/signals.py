"""Checks the signals that pictures are drawn of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmdense_edge.transform import Samples

from keras_mmdense.errors import PlotError


def checked(signals: Mapping[str, Samples], sample_rate: int) -> dict[str, Samples]:
    """Return signals as (num_samples, channels).

    Args:
        signals: Audio by title, (num_samples,) or (num_samples, channels).
        sample_rate: Their rate in Hz, at least 1000.

    Raises:
        PlotError: No signals, signals of no or different length, values that are not finite, or a
            lower rate.
    """
    arrays = {name: np.atleast_2d(np.asarray(x).T).T for name, x in signals.items()}
    if (
        len({len(x) for x in arrays.values()}) != 1
        or not all(x.size and x.ndim == 2 and np.isfinite(x).all() for x in arrays.values())
        or sample_rate < 1000
    ):
        shapes = {name: x.shape for name, x in arrays.items()}
        raise PlotError(
            "a picture of signals needs one or more, finite and of one length, and a rate of "
            f"1000 Hz or more; received {shapes}, {sample_rate} Hz."
        )
    return arrays
