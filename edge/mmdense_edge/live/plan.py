"""The latency of a live run and its parts."""

from __future__ import annotations

import math
import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from mmdense_edge.errors import UsageError
from mmdense_edge.live.network import check_steps, longest_step
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Magnitude, Network
from mmdense_edge.signal.chain import Pipeline

FADE_SECONDS = 0.01
HEADROOM = 2.0
MAX_BUFFER_SECONDS = 30.0
PROBED_WINDOWS = 8


def algorithmic_latency(contract: Contract, step_frames: int, lookahead_frames: int) -> int:
    """Return the samples between a sample's arrival and its stems on an infinitely fast machine.

    The first of a window's new frames waits for the others and for the look-ahead; a frame ends
    n_fft // 2 samples after its center; and because the end of a signal is not known in advance,
    two more hops are held back.

    Args:
        contract: The model's; its transform gives the sizes.
        step_frames: New frames of each window.
        lookahead_frames: Frames seen after them.

    Returns:
        Samples at the model's rate, for sample-by-sample input; whole blocks add up to one block.

    Example:
        With n_fft = 2 * hop_length: (step_frames + lookahead_frames + 2) * hop_length.
    """
    transform = contract.transform
    ahead = (step_frames + lookahead_frames - 1) * transform.hop_length + transform.pad
    return ahead + max(transform.pad, 2 * transform.hop_length)


@dataclass(frozen=True)
class Plan:
    """Sizes of a live run. Lengths are in samples at the signal's rate.

    Args:
        sample_rate: Of the signal, in Hz.
        channels: Of the signal, 1 or 2.
        block: Samples that are captured and played at a time.
        step_frames: New frames of each window.
        lookahead_frames: Frames seen after them.
        step: Length of the new frames.
        algorithmic: Latency of the algorithm, including resampling and whole blocks.
        fade: Length of a cross-fade between stems and mixture.
        buffer: Time for the computation, with a reserve.
    """

    sample_rate: int
    channels: int
    block: int
    step_frames: int
    lookahead_frames: int
    step: int
    algorithmic: int
    fade: int
    buffer: int

    @property
    def latency(self) -> int:
        """Samples from a sample's arrival to its place in the output."""
        return self.algorithmic + self.fade + self.buffer

    def seconds(self, num_samples: int) -> float:
        """Return the duration of `num_samples`."""
        return num_samples / self.sample_rate

    def describe(self) -> str:
        """Return the latency and its parts as a line."""
        return (
            f"latency {self.seconds(self.latency):.3f} s ({self.latency} samples): "
            f"step {self.step_frames} + look-ahead {self.lookahead_frames} frames + transform "
            f"{self.seconds(self.algorithmic):.3f} s, buffer {self.seconds(self.buffer):.3f} s, "
            f"fade {self.seconds(self.fade):.3f} s; a window may take "
            f"{self.seconds(self.step):.3f} s"
        )


def make_plan(
    contract: Contract,
    sample_rate: int,
    channels: int,
    *,
    block: int,
    step_frames: int | None = None,
    lookahead_frames: int | None = None,
    buffer_seconds: float | None = None,
    window_seconds: float = 0.0,
) -> Plan:
    """Return the sizes of a live run.

    Args:
        contract: The model's.
        sample_rate: Of the signal, in Hz.
        channels: Of the signal, 1 or 2.
        block: Samples that come and go at a time.
        step_frames: See `check_steps`; defaults to the shortest step that lasts twice as long as
            a window takes, or the longest possible.
        lookahead_frames: See `check_steps`; defaults to the model's whole context.
        buffer_seconds: Time for the computation, 0 to 30; defaults to the length of a step, which
            is enough for any machine that keeps up.
        window_seconds: Time that the network takes for a window.

    Raises:
        UsageError: A size is out of range.
    """
    lookahead = contract.context_frames if lookahead_frames is None else lookahead_frames
    hop_seconds = contract.transform.hop_length / contract.sample_rate
    if step_frames is None:
        step_frames = shortest_step(contract, lookahead, window_seconds)
    check_steps(contract, step_frames, lookahead)
    if buffer_seconds is None:
        buffer_seconds = step_frames * hop_seconds
    if not 0 <= buffer_seconds <= MAX_BUFFER_SECONDS:
        raise UsageError(
            f"--buffer must be from 0 to {MAX_BUFFER_SECONDS:g} seconds; "
            f"received {buffer_seconds:g}"
        )
    if sample_rate == contract.sample_rate:
        transform = contract.transform
        # A window is complete after `first` samples, and each step later. Until its block is
        # complete it waits for up to a block, less what the lengths have in common.
        first = (step_frames + lookahead - 1) * transform.hop_length + transform.pad
        common = math.gcd(block, step_frames * transform.hop_length)
        wait = block - common + -first % common
        algorithmic = algorithmic_latency(contract, step_frames, lookahead) + wait
    else:
        algorithmic = measured_latency(
            contract, sample_rate, channels, block, step_frames, lookahead
        )
    return Plan(
        sample_rate,
        channels,
        block,
        step_frames,
        lookahead,
        step=math.ceil(step_frames * hop_seconds * sample_rate),
        algorithmic=algorithmic,
        fade=max(1, round(FADE_SECONDS * sample_rate)),
        buffer=math.ceil(buffer_seconds * sample_rate),
    )


def shortest_step(contract: Contract, lookahead_frames: int, window_seconds: float) -> int:
    """Return the fewest new frames that last twice as long as a window takes.

    Args:
        contract: The model's.
        lookahead_frames: Frames seen after them.
        window_seconds: Time that the network takes for a window.

    Returns:
        A multiple of frame_multiple; the longest possible if none is long enough.
    """
    multiple = contract.frame_multiple
    hop_seconds = contract.transform.hop_length / contract.sample_rate
    wanted = math.ceil(HEADROOM * window_seconds / hop_seconds / multiple) * multiple
    return min(max(multiple, wanted), longest_step(contract, lookahead_frames))


def time_window(network: Network, now: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that the network takes for a window: the median of three, on noise."""
    contract = network.contract
    shape = (contract.frames, contract.bins, contract.channels)
    magnitude = np.random.default_rng(0).random(shape, np.float32)
    return statistics.median(
        timeit.repeat(lambda: network(magnitude), timer=now, repeat=3, number=1)
    )


def measured_latency(
    contract: Contract,
    sample_rate: int,
    channels: int,
    block: int,
    step_frames: int,
    lookahead_frames: int,
) -> int:
    """Return the most that the input is ahead of the stems, in some windows of silence.

    The resampler's delay follows no simple formula and varies with its phase: it is measured over
    at least a second, and a block is added.
    """
    silent = _Passing(
        replace(
            contract,
            frames=step_frames + 2 * lookahead_frames,
            context_frames=lookahead_frames,
        )
    )
    network = cast(Network, silent)
    pipeline = Pipeline(network, sample_rate, channels, contract.sources[:1], False)
    zeros = np.zeros((block, channels), np.float32)
    received = done = worst = 0
    while silent.windows < PROBED_WINDOWS or received < sample_rate:
        received += block
        for stems in pipeline.push(zeros):
            worst = max(worst, received - done)
            done += len(next(iter(stems.values())))
    return worst + block


class _Passing:
    """A network that returns its input and counts its windows."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.windows = 0

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        self.windows += 1
        return {source: magnitude for source in self.contract.sources}
