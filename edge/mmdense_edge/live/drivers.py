"""What drives a live run: the machine's speed, the clock, or a sound card."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.output import Write
from mmdense_edge.live.sound_card import Card
from mmdense_edge.signal.stft import Audio

# A little faster than real time: a producer whose clock runs fast must not be blocked.
STDIN_SPEED = 1.01
POLL_SECONDS = 0.02
PREFETCHED = 64

Poll = Callable[[], bool]


@contextmanager
def worker(engine: LiveEngine) -> Iterator[Callable[[], None]]:
    """Run the engine's worker on a thread of its own.

    Yields:
        A function that raises the error that ended the worker, if one did.
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
    """Run as fast as possible, on one thread; every window goes through the network.

    Args:
        engine: Not paced.
        blocks: The mixture.
        write: Takes the output.
        poll: Called between blocks; False ends the run.
    """
    player = engine.player
    for block in blocks:
        engine.capture(block)
        engine.work()
        write(player.play(player.ready))
        if not poll():
            return
    engine.end()
    engine.work()
    write(player.play(player.ready))


def run_paced(
    engine: LiveEngine,
    blocks: Iterator[Audio],
    write: Write,
    poll: Poll,
    *,
    waits: bool = False,
) -> None:
    """Run by the clock: take a block when it would have been recorded, and play one.

    The silence before the signal is not written: the output has exactly the input's length.

    Args:
        engine: Paced; its worker runs elsewhere.
        blocks: The mixture.
        write: Takes the output.
        poll: Called between blocks; False ends the run.
        waits: True if the input arrives in real time: the clock then runs a little faster, and
            delays of the input are not made up for.
    """
    plan, speed = engine.plan, STDIN_SPEED if waits else 1.0
    due = time.perf_counter()
    for block in blocks:
        due += plan.seconds(len(block)) / speed
        late = time.perf_counter() - due
        if late < 0:
            time.sleep(-late)
        elif waits:
            due += late
        engine.capture(block)
        write(play_signal(engine, len(block))[1])
        if not poll():
            return
    engine.end()
    while not engine.player.finished:
        due += plan.seconds(plan.block) / speed
        time.sleep(max(0.0, due - time.perf_counter()))
        write(play_signal(engine, plan.block)[1])
        if not poll():
            return


def play_signal(engine: LiveEngine, num_samples: int) -> tuple[Audio, Audio]:
    """Return the next block of the output, and the part of it that belongs to the signal."""
    first = engine.player.position
    block = engine.player.play(num_samples)
    return block, block[max(0, -first) : max(0, engine.stats.captured - first)]


def run_card(
    engine: LiveEngine,
    card: Card,
    blocks: Iterator[Audio],
    write: Write,
    poll: Poll,
    *,
    limit: int = sys.maxsize,
) -> None:
    """Run by a sound card's clock; its callback captures and plays.

    Args:
        engine: Paced; its worker runs elsewhere.
        card: The sound card, opened to record, play or both.
        blocks: The mixture, if the card does not record it; else none.
        write: Takes the output, whether the card plays it or not.
        poll: Called regularly; False ends the run.
        limit: The maximum number of samples to record.

    Raises:
        CardStopped: The card stopped.
    """
    plan, end = engine.plan, np.zeros((0, engine.plan.channels), np.float32)
    # Read ahead and write later: the callback must not wait for a file.
    waiting: deque[Audio] = deque()
    done: deque[Audio] = deque()

    def exchange(recorded: Audio | None) -> Audio:
        """Take a block of the mixture and return one of the output, on the card's thread."""
        if recorded is not None:
            block = recorded[: max(0, limit - engine.stats.captured)]
        elif not waiting:
            # The file was not read in time: play silence, as for a late card.
            engine.stats.device_faults += 1
            return np.zeros((plan.block, plan.channels), np.float32)
        else:
            block = end if waiting[0] is end else waiting.popleft()
        if len(block):
            engine.capture(block)
        else:
            engine.end()
        played, signal = play_signal(engine, plan.block)
        done.append(signal)
        return played

    def feed() -> None:
        while len(waiting) < PREFETCHED:
            waiting.append(next(blocks, end))
        while done:
            write(done.popleft())

    feed()
    with card.running(exchange, engine.stats) as check_running:
        while poll() and not engine.player.finished:
            time.sleep(POLL_SECONDS)
            feed()
            check_running()
    feed()
