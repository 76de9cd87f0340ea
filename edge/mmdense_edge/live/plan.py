"""The windows of a live run, and the latency that follows."""

import math
import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import numpy as np

from mmdense_edge.errors import refuse_if
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Magnitude, Network, for_signal
from mmdense_edge.signal.chain import Pipeline

FADE_SECONDS = 0.005
HEADROOM = 2.0
MAX_BUFFER_SECONDS = 30.0
PROBED_WINDOWS = 8


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
    longest = longest_step(contract, lookahead_frames)
    refuse_if(
        lookahead_frames % multiple or not 0 <= lookahead_frames <= most,
        f"--lookahead must be a multiple of {multiple} from 0 to {most} frames; "
        f"received {lookahead_frames}",
    )
    refuse_if(
        contract.states is not None and lookahead_frames < most,
        f"a model that remembers past windows needs its full look-ahead of {most} "
        f"frames; received {lookahead_frames}",
    )
    refuse_if(
        step_frames % multiple or not multiple <= step_frames <= longest,
        f"--step-frames must be a multiple of {multiple} from {multiple} to {longest} with a "
        f"look-ahead of {lookahead_frames}; received {step_frames}",
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
        channels: Of the signal: a stereo signal goes through a mono network channel by channel.
        admit: Called before each window; False skips the network, and its estimates are zeros.

    Raises:
        UsageError: As `check_steps`.
    """

    def __init__(
        self,
        network: Network,
        step_frames: int,
        lookahead_frames: int,
        channels: int = 1,
        admit: Callable[[], bool] | None = None,
    ) -> None:
        contract = network.contract
        check_steps(contract, step_frames, lookahead_frames)
        self._admit = admit
        self.contract: Contract = replace(
            contract,
            frames=step_frames + 2 * lookahead_frames,
            context_frames=lookahead_frames,
        )
        past = contract.frames - self.contract.frames
        silence = np.zeros((past, contract.bins, contract.channels), np.float32)
        self._past = [silence] * max(1, channels // contract.channels)
        self._networks = [for_signal(network) for _ in self._past]
        self._groups = cycle(range(len(self._past)))
        self.runtime, self.num_threads = network.runtime, network.num_threads
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
        answers = self._networks[group](window)
        return {source: x[-len(magnitude) :] for source, x in answers.items()}


def algorithmic_latency(
    contract: Contract, step_frames: int, lookahead_frames: int, block: int = 1
) -> int:
    """Return the samples between a sample's arrival and its stems on an infinitely fast machine.

    The first of a window's new frames waits for the others and for the look-ahead; a frame ends
    n_fft // 2 samples after its center; and because the end of a signal is not known in advance,
    two more hops are held back.

    Args:
        contract: The model's; its transform gives the sizes.
        step_frames: New frames of each window.
        lookahead_frames: Frames seen after them.
        block: Samples that come at a time.

    Returns:
        Samples at the model's rate.

    Example:
        With n_fft = 2 * hop_length and a block of 1: (step_frames + lookahead_frames + 2) *
        hop_length.
    """
    hop, pad = contract.transform.hop_length, contract.transform.pad
    # A window is complete after `first` samples, and each step later. Until its block is complete
    # it waits for up to a block, less what the lengths have in common.
    first = (step_frames + lookahead_frames - 1) * hop + pad
    common = math.gcd(block, step_frames * hop)
    return first + max(pad, 2 * hop) + block - common + -first % common


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
        multiple = contract.frame_multiple
        wanted = math.ceil(HEADROOM * window_seconds / hop_seconds / multiple) * multiple
        step_frames = min(max(multiple, wanted), longest_step(contract, lookahead))
    check_steps(contract, step_frames, lookahead)
    buffer_seconds = step_frames * hop_seconds if buffer_seconds is None else buffer_seconds
    refuse_if(
        not 0 <= buffer_seconds <= MAX_BUFFER_SECONDS,
        f"--buffer must be from 0 to {MAX_BUFFER_SECONDS:g} seconds; received {buffer_seconds:g}",
    )
    algorithmic = (
        algorithmic_latency(contract, step_frames, lookahead, block)
        if sample_rate == contract.sample_rate
        else measured_latency(contract, sample_rate, channels, block, step_frames, lookahead)
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
    none: Any = SimpleNamespace(contract=contract, runtime="none", num_threads=None)
    silent = SlidingNetwork(none, step_frames, lookahead_frames, channels, lambda: False)
    pipeline = Pipeline(silent, sample_rate, channels, contract.sources[:1], False)
    hop_seconds = contract.transform.hop_length / contract.sample_rate
    seconds = max(1.0, (PROBED_WINDOWS * step_frames + lookahead_frames) * hop_seconds)
    zeros = np.zeros((block, channels), np.float32)
    received = done = worst = 0
    while received < seconds * sample_rate:
        received += block
        for stems in pipeline.push(zeros):
            worst = max(worst, received - done)
            done += len(next(iter(stems.values())))
    return worst + block
