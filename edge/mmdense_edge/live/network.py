"""Run a network more often than necessary, with less look-ahead, for lower latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle

import numpy as np

from mmdense_edge.errors import UsageError
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Magnitude, Network


def check_steps(contract: Contract, step_frames: int, lookahead_frames: int) -> None:
    """Check the step and the look-ahead of a live run.

    Args:
        contract: The model's contract.
        step_frames: New frames of each window, a multiple of the model's frame_multiple.
        lookahead_frames: Frames seen after the new ones, a multiple of frame_multiple, up to
            context_frames.

    Raises:
        UsageError: A value is out of range. Multiples keep each frame aligned with the network's
            pooling grid as in file processing, so that with the full look-ahead the estimates are
            the same.
    """
    multiple, most = contract.frame_multiple, contract.context_frames
    if lookahead_frames % multiple or not 0 <= lookahead_frames <= most:
        raise UsageError(
            f"--lookahead must be a multiple of {multiple} from 0 to {most} frames; "
            f"received {lookahead_frames}"
        )
    longest = longest_step(contract, lookahead_frames)
    if step_frames % multiple or not multiple <= step_frames <= longest:
        raise UsageError(
            f"--step-frames must be a multiple of {multiple} from {multiple} to {longest} with a "
            f"look-ahead of {lookahead_frames}; received {step_frames}"
        )


def longest_step(contract: Contract, lookahead_frames: int) -> int:
    """Return the most new frames that a window can have with all of the context before them."""
    return contract.frames - contract.context_frames - lookahead_frames


class SlidingNetwork:
    """A network whose windows move by `step_frames` and see `lookahead_frames` of the future.

    It acts as a `Network` with shorter windows and remembers the frames before them, so that the
    model's whole window is filled, mostly with the past. One object serves one signal.

    Args:
        network: The model's network.
        step_frames: See `check_steps`.
        lookahead_frames: See `check_steps`.
        groups: Calls for each window: 2 if a stereo signal goes through a mono network.
        admit: Called before each window; False skips the network, and its estimates are zeros.

    Raises:
        UsageError: As `check_steps`.
    """

    def __init__(
        self,
        network: Network,
        step_frames: int,
        lookahead_frames: int,
        groups: int = 1,
        admit: Callable[[], bool] | None = None,
    ) -> None:
        """Start before the first frame: the past is silence."""
        contract = network.contract
        check_steps(contract, step_frames, lookahead_frames)
        self._network = network
        self._admit = admit
        self.contract: Contract = replace(
            contract,
            frames=step_frames + 2 * lookahead_frames,
            context_frames=lookahead_frames,
        )
        past = contract.frames - self.contract.frames
        silence = np.zeros((past, contract.bins, contract.channels), np.float32)
        self._past = [silence] * groups
        self._groups = cycle(range(groups))
        self.admitted = True  # whether the last window went through the network

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimate the sources' magnitudes, as `Network` does, in a shorter window.

        Args:
            magnitude: Shape (step_frames + 2 * lookahead_frames, bins, channels), float32.

        Returns:
            For each source an array of the same shape.
        """
        group = next(self._groups)
        if group == 0:
            self.admitted = self._admit is None or self._admit()
        window = np.concatenate([self._past[group], magnitude])
        step = self.contract.step_frames
        self._past[group] = window[step : step + len(self._past[group])]
        if not self.admitted:
            return {source: np.zeros_like(magnitude) for source in self.contract.sources}
        estimates = self._network(window)
        return {source: estimate[-len(magnitude) :] for source, estimate in estimates.items()}
