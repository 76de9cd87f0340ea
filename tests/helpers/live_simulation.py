"""A sound card and a network on a simulated clock: nothing waits, everything is repeatable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mmdense_edge.live.engine import LiveEngine
from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import Plan


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
        self.now = 0.0
        self.calls = 0
        self.contract = network.contract
        self._network, self._cost = network, cost
        self.plan, self._audio = plan, audio
        self._ticks = 0
        self.output: list[np.ndarray] = []
        self.backlog = 0
        self.engine = LiveEngine(self, plan, Mixer(gains, plan.sample_rate), True, lambda: self.now)

    def __call__(self, magnitude: np.ndarray) -> Any:
        self.advance(self.now + self._cost(self.calls))
        self.calls += 1
        return self._network(magnitude)

    @property
    def _next_tick(self) -> float:
        return (self._ticks + 1) * self.plan.block / self.plan.sample_rate

    def advance(self, time: float) -> None:
        while self._next_tick <= time:
            self.now = self._next_tick
            block = self._audio[self._ticks * self.plan.block :][: self.plan.block]
            self._ticks += 1
            if len(block):
                self.engine.capture(block)
            else:
                self.engine.end()
            self.output.append(self.engine.player.play(self.plan.block))
            behind = self.engine.stats.captured - self.engine.player.delivered
            self.backlog = max(self.backlog, behind)
        self.now = max(self.now, time)

    def run(self) -> np.ndarray:
        """Returns all that was played, the silence before the signal included."""
        while not self.engine.player.finished:
            if not self.engine.work():
                self.advance(self._next_tick)
        return np.concatenate(self.output)
