"""Losses on magnitudes, by name. Each maps (target, estimate) to one value per example and frame.

All take (batch, frames, bins, channels) and return (batch, frames).
"""

from collections.abc import Callable
from typing import Any

Loss = Callable[[Any, Any], Any]
FLOOR = 1e-3  # a frame this silent, in units of the magnitude, counts as having this energy
EXCERPT_FLOOR = 0.05  # the same for the mean energy of the bins of an excerpt


def mse(target: Any, estimate: Any) -> Any:
    """Mean squared error: the paper's (arXiv 1706.09588, section 3)."""
    from keras import ops

    return ops.mean(ops.square(estimate - target), axis=(2, 3))


def l1(target: Any, estimate: Any) -> Any:
    """Mean absolute error; gives quiet bins more weight, but may suppress a sparse source."""
    from keras import ops

    return ops.mean(ops.abs(estimate - target), axis=(2, 3))


def compressed(target: Any, estimate: Any) -> Any:
    """Mean squared error of square roots: reduces the dominance of loud bins."""
    from keras import ops

    def root(x: Any) -> Any:  # the offset keeps the gradient finite at silence
        return ops.sqrt(ops.maximum(x, 0.0) + 1e-4)

    return ops.mean(ops.square(root(estimate) - root(target)), axis=(2, 3))


def mask_weighted(target: Any, estimate: Any) -> Any:
    """Absolute error relative to the energy of target and estimate."""
    from keras import ops

    error = ops.sum(ops.abs(estimate - target), axis=(2, 3))
    scale = ops.sum(ops.abs(target) + ops.stop_gradient(ops.abs(estimate)), axis=(2, 3))
    return error / (scale + FLOOR)


def spectral_sdr(target: Any, estimate: Any) -> Any:
    """Negative signal-to-distortion ratio of each frame's magnitudes, in dB; finite on silence."""
    from keras import ops

    signal = ops.sum(ops.square(target), axis=(2, 3)) + FLOOR
    error = ops.sum(ops.square(estimate - target), axis=(2, 3)) + FLOOR
    return 10.0 * (ops.log(error) - ops.log(signal)) / 2.302585093


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
    "compressed": compressed,
    "mask_weighted": mask_weighted,
    "spectral_sdr": spectral_sdr,
    "excerpt_sdr": excerpt_sdr,
}
