"""What makes the time pass in a live run: nothing, the clock, or a sound card."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.sound_card import Card
from mmdense_edge.signal.stft import Audio

# A little faster than real time: a producer whose clock runs fast shall not be held up.
STDIN_SPEED = 1.01
POLL_SECONDS = 0.02
PREFETCHED = 64

Write = Callable[[Audio], None]
Poll = Callable[[], bool]


@dataclass(frozen=True)
class Clock:
    """The time, and waiting; tests put their own in place.

    Args:
        now: returns the time in seconds.
        sleep: waits for as many seconds.
    """

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


@contextmanager
def worker(engine: LiveEngine) -> Iterator[Callable[[], None]]:
    """Runs the engine's worker on a thread of its own.

    Gives a function that raises the error that ended the worker, if one did.
    """
    with ThreadPoolExecutor(1, "mmdense-worker") as pool:
        running = pool.submit(engine.run)

        def check() -> None:
            if running.done():
                running.result()

        try:
            yield check
        finally:
            engine.stop()


def run_fast(engine: LiveEngine, blocks: Iterator[Audio], write: Write, poll: Poll) -> None:
    """Runs as fast as the machine goes, on one thread; every window goes through the network.

    Args:
        engine: not paced.
        blocks: the mixture.
        write: takes the output.
        poll: called between blocks; False ends the run.
    """
    for block in blocks:
        engine.capture(block)
        engine.work()
        write(engine.play(engine.player.ready))
        if not poll():
            return
    engine.end()
    engine.work()
    write(engine.play(engine.player.ready))


def run_paced(
    engine: LiveEngine,
    blocks: Iterator[Audio],
    write: Write,
    poll: Poll,
    *,
    clock: Clock | None = None,
    speed: float = 1.0,
    waits: bool = False,
) -> None:
    """Runs by the clock: a block comes when it would have been recorded, and one goes.

    The silence before the signal is not written: the output has the input's samples, no more.

    Args:
        engine: paced; its worker runs elsewhere.
        blocks: the mixture.
        write: takes the output.
        poll: called between blocks; False ends the run.
        clock: the time.
        speed: of the clock; 1 is real time.
        waits: True where the input itself takes its time: what it is late is not made up for.
    """
    clock = clock or Clock()
    due = clock.now()
    for block in blocks:
        due += engine.plan.seconds(len(block)) / speed
        late = clock.now() - due
        if late < 0:
            clock.sleep(-late)
        elif waits:
            due += late
        engine.capture(block)
        _play(engine, len(block), write)
        if not poll():
            return
    engine.end()
    while not engine.player.finished:
        due += engine.plan.seconds(engine.plan.block) / speed
        clock.sleep(max(0.0, due - clock.now()))
        _play(engine, engine.plan.block, write)
        if not poll():
            return


def _play(engine: LiveEngine, num_samples: int, write: Write) -> None:
    write(_signal_only(engine, num_samples))


def _signal_only(engine: LiveEngine, num_samples: int) -> Audio:
    """Plays a block and returns the part of it that belongs to the signal."""
    first = engine.player.position
    block = engine.play(num_samples)
    end = engine.player.counts.captured
    return block[max(0, -first) : max(0, end - first)]


def run_card(
    engine: LiveEngine,
    card: Card,
    blocks: Iterator[Audio] | None,
    write: Write | None,
    poll: Poll,
    *,
    limit: int | None = None,
    clock: Clock | None = None,
) -> None:
    """Runs by a sound card's clock; its callback captures and plays.

    Args:
        engine: paced; its worker runs elsewhere.
        card: opened for what it is wanted for.
        blocks: the mixture, where the card does not record it.
        write: takes the output, where the card does not play it.
        poll: called now and then; False ends the run.
        limit: the most samples to record.
        clock: only waits: the card has the time.

    Raises:
        CardStopped: the card does not go on.
    """
    clock = clock or Clock()
    side = _CardSide(engine, card, blocks, None if write is None else deque(), limit)
    side.fetch()
    with card.running(side.exchange):
        while poll() and not engine.player.finished:
            clock.sleep(POLL_SECONDS)
            side.fetch()
            side.drain(write)
            card.check_running()
    side.drain(write)


@dataclass
class _CardSide:
    """What a sound card's callback does, and what feeds it."""

    engine: LiveEngine
    card: Card
    blocks: Iterator[Audio] | None
    done: deque[Audio] | None
    limit: int | None
    waiting: deque[Audio] = field(default_factory=deque)
    exhausted: bool = False

    def fetch(self) -> None:
        """Reads ahead: the callback must not wait for a file."""
        while self.blocks is not None and len(self.waiting) < PREFETCHED:
            block = next(self.blocks, None)
            if block is None:
                self.blocks, self.exhausted = None, True
            else:
                self.waiting.append(block)

    def drain(self, write: Write | None) -> None:
        """Writes what the callback has put aside."""
        while self.done and write is not None:
            write(self.done.popleft())

    def exchange(self, recorded: Audio | None) -> Audio:
        """Takes a block of the mixture and returns one of the output."""
        plan = self.engine.plan
        if recorded is not None:
            self._capture(recorded)
        elif self.waiting:
            self.engine.capture(self.waiting.popleft())
        elif self.exhausted:
            self.engine.end()
        else:
            # The file was not read in time: the output waits, as it would for a late card.
            self.card.faults += 1
            return np.zeros((plan.block, plan.channels), np.float32)
        if self.done is None:
            return self.engine.play(plan.block)
        self.done.append(_signal_only(self.engine, plan.block))
        return self.done[-1]

    def _capture(self, recorded: Audio) -> None:
        captured = self.engine.player.counts.captured
        left = len(recorded) if self.limit is None else self.limit - captured
        if left > 0:
            self.engine.capture(recorded[:left])
        else:
            self.engine.end()
