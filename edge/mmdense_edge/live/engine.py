"""A live run: blocks in, the mix of their stems out, with bounded latency."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np

from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.network import SlidingNetwork
from mmdense_edge.live.plan import Plan
from mmdense_edge.live.player import Flags, Player
from mmdense_edge.live.stats import LiveReport, WorkerCounts
from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.chain import Pipeline, Stems
from mmdense_edge.signal.stft import Audio

# Beyond this a float is no audio, and the transform would overflow.
LOUDEST = 1e4
IDLE_SECONDS = 0.1


class LiveEngine:
    """Takes the mixture block by block on one thread and separates it on another.

    The audio side calls `capture` and `play` (or `end`, after the last block), the worker `work`
    or `run`. A paced engine plays `plan.latency` samples behind the input, whatever the worker
    does; windows that would come too late are left out, so that the worker catches up. An engine
    that is not paced leaves nothing out, and plays what is ready.

    Args:
        network: the model's network.
        plan: sizes of the run, from `make_plan`.
        mixer: gains of the stems.
        paced: whether the output has to keep pace with the input.
        now: the clock, in seconds.

    Example:
        >>> engine = LiveEngine(network, plan, mixer, paced=False)
        >>> engine.capture(np.zeros((plan.block, 2), np.float32))
        >>> engine.work()
        True
        >>> engine.play(engine.player.ready).shape
        (0, 2)
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        mixer: Mixer,
        paced: bool,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Starts before the first sample."""
        contract = network.contract
        self.plan, self.mixer, self.paced = plan, mixer, paced
        longest = plan.algorithmic + plan.step + plan.fade + 2 * plan.block
        capacity = plan.latency + longest
        self.player = Player(plan, mixer, plan.latency if paced else 0, capacity)
        self.counts = WorkerCounts()
        self._now = now
        groups = max(1, plan.channels // contract.channels)
        self._network = SlidingNetwork(
            network, plan.step_frames, plan.lookahead_frames, groups, self._in_time
        )
        # The pipeline asks for no more of a network than the stand-in has.
        self._pipeline = Pipeline(
            cast(Network, self._network), plan.sample_rate, plan.channels, contract.sources, True
        )
        self._hop = contract.transform.hop_length * plan.sample_rate / contract.sample_rate
        self._queue: deque[Audio] = deque()
        self._wake = threading.Event()
        self._ended = self._stopped = self._flushed = False
        self._windows = 0
        self._expected = 0.0  # seconds that the next window will take
        self._left_out: list[tuple[int, int]] = []  # stretches of samples without estimates
        self._carried = 0.0

    def capture(self, block: Audio) -> None:
        """Takes the next samples, shape (samples, channels), `plan.block` of them at most."""
        usable = np.abs(block) <= LOUDEST  # False for NaN, too
        if not usable.all():
            self.counts.repaired += int(np.count_nonzero(~usable))
            block = np.where(usable, block, np.float32(0))
        self.player.capture(block)
        self._queue.append(block)
        self._wake.set()

    def play(self, num_samples: int) -> Audio:
        """Returns the next samples of the output, shape (num_samples, channels)."""
        return self.player.play(num_samples)

    def end(self) -> None:
        """Says that no more samples come."""
        self.player.end()
        self._ended = True
        self._wake.set()

    def stop(self) -> None:
        """Makes `run` return as soon as the window in work is done."""
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Works until the signal has ended, or `stop`: the body of the worker's thread."""
        while not self._stopped and not self._flushed:
            self._wake.clear()
            if not self.work():
                self._wake.wait(IDLE_SECONDS)

    def work(self) -> bool:
        """Separates what has come in; returns False where there was nothing to do."""
        ended = self._ended  # before the queue is looked at: nothing is queued after it
        busy = bool(self._queue)
        while self._queue and not self._stopped:
            self._process(self._pipeline.push(self._queue.popleft()))
        if ended and not self._flushed and not self._queue and not self._stopped:
            if self.player.counts.captured:
                self._process(self._pipeline.finish())
            self._flushed = busy = True
        return busy

    def report(self) -> LiveReport:
        """Returns the figures up to now."""
        return LiveReport(self.plan, self.paced, self.player.counts, self.counts)

    def _process(self, results: Iterator[Stems]) -> None:
        """Delivers the stems of a block or of the end, and takes the time of each window."""
        start = self._now()
        before = self._windows
        for stems in results:  # the pipeline computes them here, one by one
            taken = self._now() - start
            start += taken
            self.counts.busy_seconds += taken
            if self._windows > before:
                self._window_done(taken + self._carried)
                before = self._windows
            elif self._network.admitted and self.counts.windows:
                # A window comes in parts: its time is that of all of them.
                self.counts.block_seconds[-1] += taken
                self._expected += taken
            self._deliver(stems)
        rest = self._now() - start
        self._carried += rest
        self.counts.busy_seconds += rest

    def _window_done(self, seconds: float) -> None:
        self._carried = 0.0
        if self._network.admitted:
            self.counts.windows += 1
            self.counts.block_seconds.append(seconds)
            self._expected = seconds
            return
        self.counts.skipped += 1
        # What was slow once may be fast again: after some windows one is tried.
        self._expected /= 2

    def _in_time(self) -> bool:
        """Tells whether the window about to be computed will come before it has been played.

        Called by the network before each window.
        """
        first = self._windows * self.plan.step_frames
        self._windows += 1
        if not self.paced:
            return True
        played = self.player.position + self._expected * self.plan.sample_rate
        if played + self.plan.fade < self.player.delivered + self.plan.step:
            return True
        last = first + self.plan.step_frames
        self._left_out.append((math.floor((first - 1) * self._hop), math.ceil(last * self._hop)))
        return False

    def _deliver(self, stems: Stems) -> None:
        rows = np.stack([stems[name] for name in self.mixer.stems], axis=1)
        self.player.deliver(rows, self._valid(self.player.delivered, len(rows)))

    def _valid(self, first: int, count: int) -> Flags:
        """Tells which of the next samples have estimates; frames reach over two hops each."""
        valid = np.ones(count, np.bool_)
        for start, stop in self._left_out:
            valid[max(0, start - first) : max(0, stop - first)] = False
        self._left_out = [span for span in self._left_out if span[1] > first + count]
        return valid
