"""Losses on magnitudes, by name. Each maps (target, estimate) to one value per example and frame.

All take (batch, frames, bins, channels) and return (batch, frames).
"""

from collections.abc import Callable
from typing import Any

Loss = Callable[[Any, Any], Any]
EXCERPT_FLOOR = 0.05  # an excerpt whose bins have less energy on average counts as having this


def mse(target: Any, estimate: Any) -> Any:
    """Mean squared error: the paper's (arXiv 1706.09588, section 3)."""
    from keras import ops

    return ops.mean(ops.square(estimate - target), axis=(2, 3))


def l1(target: Any, estimate: Any) -> Any:
    """Mean absolute error; gives quiet bins more weight, but may suppress a sparse source."""
    from keras import ops

    return ops.mean(ops.abs(estimate - target), axis=(2, 3))


def excerpt_sdr(target: Any, estimate: Any) -> Any:
    """Negative signal-to-distortion ratio of each whole excerpt, in dB, whatever its level.

    Errors below EXCERPT_FLOOR do not count: silent sources would dominate.
    """
    from keras import ops

    signal = ops.mean(ops.square(target), axis=(1, 2, 3), keepdims=True) + EXCERPT_FLOOR
    error = ops.mean(ops.square(estimate - target), axis=(1, 2, 3), keepdims=True) + EXCERPT_FLOOR
    ratio = 10.0 * (ops.log(error) - ops.log(signal)) / 2.302585093
    return ops.broadcast_to(ratio[:, :, 0, 0], ops.shape(target)[:2])


LOSSES: dict[str, Loss] = {
    "mse": mse,
    "l1": l1,
    "excerpt_sdr": excerpt_sdr,
}
