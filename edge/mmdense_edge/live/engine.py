"""A live run: blocks in, the mix of their stems out, with bounded latency."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice, repeat

import numpy as np

from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import Plan, SlidingNetwork
from mmdense_edge.live.player import Player
from mmdense_edge.live.stats import LiveStats
from mmdense_edge.live.streams import Write
from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.chain import Pipeline, Stems
from mmdense_edge.signal.stft import Audio

# Values beyond this are not audio, and the transform would overflow.
LOUDEST = 1e4

# A little faster than real time: a producer whose clock runs fast must not be blocked.
STDIN_SPEED = 1.01

Poll = Callable[[], bool]


class LiveEngine:
    """Take the mixture block by block on one thread and separate it on another.

    The audio side calls `exchange`; the worker calls `work`. A paced engine always plays
    `plan.latency` samples behind the input; windows that would be late are skipped so that the
    worker can catch up. An engine that is not paced skips nothing and plays what is ready.

    Args:
        network: The model's network.
        plan: Sizes of the run, from `make_plan`.
        mixer: Gains of the stems.
        paced: Whether the output has to keep pace with the input.
        now: The clock, in seconds; defaults to `time.perf_counter`.

    Example:
        >>> engine = LiveEngine(network, plan, mixer, paced=False)
        >>> played, _ = engine.exchange(np.zeros((plan.block, 2), np.float32))
        >>> played.shape  # nothing is ready yet
        (0, 2)
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        mixer: Mixer,
        paced: bool,
        now: Callable[[], float] | None = None,
    ) -> None:
        contract = network.contract
        self.plan, self.mixer, self.stats = plan, mixer, LiveStats(plan, paced)
        longest = plan.algorithmic + plan.step + plan.fade + 2 * plan.block
        self.player = Player(self.stats, mixer, plan.latency + longest)
        self._now = now or time.perf_counter
        self._network = SlidingNetwork(
            network, plan.step_frames, plan.lookahead_frames, plan.channels, self._in_time
        )
        self._pipeline = Pipeline(
            self._network, plan.sample_rate, plan.channels, contract.sources, True
        )
        self._hop = contract.transform.hop_length * plan.sample_rate / contract.sample_rate
        self._reach = contract.transform.pad / contract.transform.hop_length  # of a frame, in hops
        self._queue: deque[tuple[Audio, threading.Event]] = deque()
        self._separated = threading.Event()  # set when the last block was
        self._wake = threading.Event()
        self._stopped = self._new_window = False
        self._expected = 0.0  # seconds that the next window will take
        self._left_out: list[tuple[int, int]] = []  # stretches of samples without estimates
        self._carried = 0.0  # seconds spent since the last stems
        self._patience = 0.0  # of the last block

    def exchange(self, block: Audio, patience: float = 0.0) -> tuple[Audio, Audio]:
        """Take the next block of the mixture and return one of the output.

        Args:
            block: As for `capture`.
            patience: Seconds to wait for the worker, at most, if stems would be late.

        Returns:
            `plan.block` samples to play (without pace: all that are ready), and the part of them
            that belongs to the signal.
        """
        self._patience = patience
        self.capture(block)
        if not self.stats.paced:
            self.work()
        elif self.player.ready < self.plan.block:
            self._separated.wait(patience)
        first = self.player.position
        played = self.player.play(self.plan.block if self.stats.paced else self.player.ready)
        return played, played[max(0, -first) : max(0, self.stats.captured - first)]

    def capture(self, block: Audio) -> None:
        """Take the next samples of the mixture.

        Args:
            block: Shape (samples, channels), `plan.block` samples at most; none end the signal.
        """
        if self.player.ended:
            return
        usable = np.abs(block) <= LOUDEST  # False for NaN, too
        if not usable.all():
            self.stats.repaired += int(np.count_nonzero(~usable))
            block = np.where(usable, block, np.float32(0))
        self.player.capture(block)
        self._separated = threading.Event()
        self._queue.append((block, self._separated))
        self._wake.set()

    @contextmanager
    def worker(self) -> Iterator[Callable[[], object]]:
        """Call `work` on a thread of its own, whenever there is something to do.

        Yields:
            A function that raises the error that ended the thread, if one did.
        """

        def run() -> None:
            while not self._stopped:
                self._wake.wait()
                self._wake.clear()
                self.work()

        with ThreadPoolExecutor(1, "mmdense-worker") as pool:
            running = pool.submit(run)
            try:
                yield lambda: running.done() and running.result()
            finally:
                self._stopped = True
                self._wake.set()

    def work(self) -> bool:
        """Separate what has been captured; return False if there was nothing to do."""
        busy = bool(self._queue)
        while self._queue and not self._stopped:
            block, separated = self._queue.popleft()
            if len(block):
                self._process(self._pipeline.push(block))
            elif self.stats.captured:
                self._process(self._pipeline.finish())
            separated.set()
        return busy

    def _process(self, results: Iterator[Stems]) -> None:
        """Deliver the stems of a block or of the end, and measure the time of each window."""
        stats, start, times = self.stats, self._now(), self.stats.block_seconds
        for stems in chain(results, [None]):  # the pipeline computes them here, one by one
            taken = self._now() - start
            start += taken
            stats.busy_seconds += taken
            self._carried += taken
            if stems is None:
                return
            if self._network.admitted:
                # The stems of a window come in parts: its time is the sum of theirs.
                if self._new_window:
                    times.append(0.0)
                    self._new_window = False
                times[-1] += self._carried
                # Of the last two: one that was interrupted says nothing about the next.
                self._expected = min(islice(reversed(times), 2))
            self._carried = 0.0
            first = self.player.delivered
            rows = np.stack([stems[name] for name in self.mixer.stems], axis=1)
            valid = np.ones(len(rows), np.bool_)
            for left, right in self._left_out:
                valid[max(0, left - first) : max(0, right - first)] = False
            self._left_out = [span for span in self._left_out if span[1] > first + len(rows)]
            self.player.deliver(rows, valid)

    def _in_time(self) -> bool:
        """Return whether the next window will be ready before it must be played.

        Called by the network before each window.
        """
        plan, stats = self.plan, self.stats
        number = stats.windows + stats.skipped
        played = self.player.position + (self._expected - self._patience) * plan.sample_rate
        if not stats.paced or played + plan.fade < self.player.delivered + plan.step:
            stats.windows += 1
            self._new_window = True
            return True
        stats.skipped += 1
        # The machine may have become faster: after some skipped windows, try one.
        self._expected /= 2
        # Its estimates are zeros, as far as its frames reach.
        first = number * plan.step_frames - self._reach
        last = (number + 1) * plan.step_frames - 1 + self._reach
        self._left_out.append((math.floor(first * self._hop), math.ceil(last * self._hop)))
        return False


def run_blocks(
    engine: LiveEngine,
    blocks: Iterator[Audio],
    write: Write,
    poll: Poll,
    *,
    waits: bool = False,
) -> None:
    """Run without a sound card: a paced engine by the clock, any other as fast as possible.

    By the clock, a block is taken when it would have been recorded. The silence before the signal
    is not written: the output has exactly the input's length.

    Args:
        engine: If it is paced, its worker runs elsewhere; if not, it works here.
        blocks: The mixture.
        write: Takes the output.
        poll: Called between blocks; False ends the run.
        waits: True if the input arrives in real time: the clock then runs a little faster, and
            delays of the input are not made up for.
    """
    plan, due = engine.plan, time.perf_counter()
    end = np.zeros((0, plan.channels), np.float32)
    for block in chain(blocks, repeat(end)):
        if engine.stats.paced:
            due += plan.seconds(plan.block) / (STDIN_SPEED if waits else 1.0)
            late = time.perf_counter() - due
            if late < 0:
                time.sleep(-late)
            elif waits:
                due += late
        write(engine.exchange(block)[1])
        if not poll() or engine.player.finished:
            return
