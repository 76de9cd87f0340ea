"""What drives a live run: the machine's speed, the clock, or a sound card."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, repeat

import numpy as np

from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.sound_card import Card
from mmdense_edge.live.streams import LiveInput, Write
from mmdense_edge.signal.stft import Audio

# A little faster than real time: a producer whose clock runs fast must not be blocked.
STDIN_SPEED = 1.01
POLL_SECONDS = 0.02
PREFETCHED = 64

Poll = Callable[[], bool]


@contextmanager
def worker(engine: LiveEngine) -> Iterator[Callable[[], object]]:
    """Run the engine's worker on a thread of its own.

    Yields:
        A function that raises the error that ended the worker, if one did.
    """
    with ThreadPoolExecutor(1, "mmdense-worker") as pool:
        running = pool.submit(engine.run)

        try:
            yield lambda: running.done() and running.result()
        finally:
            engine.stop()


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


def run_card(engine: LiveEngine, card: Card, source: LiveInput, write: Write, poll: Poll) -> None:
    """Run by a sound card's clock; its callback captures and plays.

    Args:
        engine: Paced; its worker runs elsewhere.
        card: The sound card, opened to record, play or both.
        source: The mixture; if the card records it, only its length counts.
        write: Takes the output, whether the card plays it or not.
        poll: Called regularly; False ends the run.

    Raises:
        CardStopped: The card stopped.
    """
    plan, stats, end = engine.plan, engine.stats, np.zeros((0, engine.plan.channels), np.float32)
    # Read ahead and write later: the callback must not wait for a file.
    waiting: deque[Audio] = deque()
    done: deque[Audio] = deque()

    def exchange(recorded: Audio | None) -> Audio:
        """Take a block of the mixture and return one of the output, on the card's thread."""
        if recorded is not None:
            block = recorded[: max(0, source.num_samples - stats.captured)]
        elif waiting:
            block = end if waiting[0] is end else waiting.popleft()
        else:
            # The file was not read in time: play silence, as for a late card.
            stats.device_faults += 1
            return np.zeros((plan.block, plan.channels), np.float32)
        played, signal = engine.exchange(block)
        done.append(signal)
        return played

    def feed() -> None:
        while len(waiting) < PREFETCHED:
            waiting.append(next(source.blocks, end))
        while done:
            write(done.popleft())

    feed()
    with card.running(exchange, stats) as check_running:
        while poll() and not engine.player.finished:
            time.sleep(POLL_SECONDS)
            feed()
            check_running()
    feed()
