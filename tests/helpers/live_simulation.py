"""A sound card and a network on a simulated clock: nothing waits, everything is repeatable."""

from collections.abc import Callable
from typing import Any

import numpy as np
from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import Plan
from mmdense_edge.model.interpreter import for_signal


class Simulation:
    """Runs a paced engine; the card interrupts the network as a real one does.

    `cost(window)` is the time that the network takes for its n-th call, in seconds.
    """

    def __init__(
        self,
        network: Any,
        plan: Plan,
        gains: dict[str, float],
        audio: np.ndarray,
        cost: Callable[[int], float] = lambda window: 0.0,
    ) -> None:
        self.contract, self._cost = network.contract, cost
        self._network = for_signal(network)
        self.runtime, self.num_threads = network.runtime, network.num_threads
        self._audio, self._period = audio, plan.block / plan.sample_rate
        self.now, self.calls, self.backlog = 0.0, 0, 0
        self.output: list[np.ndarray] = []
        self.engine = LiveEngine(self, plan, Mixer(gains, plan.sample_rate), True, lambda: self.now)

    def __call__(self, magnitude: np.ndarray) -> Any:
        self.advance(self.now + self._cost(self.calls))
        self.calls += 1
        return self._network(magnitude)

    def advance(self, time: float | None = None) -> None:
        """Plays until a time, by default one block."""
        size, tick = self.engine.plan.block, (len(self.output) + 1) * self._period
        time = tick if time is None else time
        while tick <= time:
            self.now = tick
            first = len(self.output) * size
            self.output.append(self.engine.exchange(self._audio[first : first + size])[0])
            behind = self.engine.stats.captured - self.engine.player.delivered
            self.backlog = max(self.backlog, behind)
            tick = (len(self.output) + 1) * self._period
        self.now = max(self.now, time)

    def run(self) -> np.ndarray:
        """Returns what was played of the signal; before it and after it there is silence."""
        while not self.engine.player.finished:
            if not self.engine.work():
                self.advance()
        played, latency = np.concatenate(self.output), self.engine.plan.latency
        assert not played[:latency].any()
        assert not played[latency + len(self._audio) :].any()
        return played[latency:][: len(self._audio)]
