"""What a live run measured: block times, latency, drop-outs."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mmdense_edge.live.plan import Plan
from mmdense_edge.live.player import PlayerCounts

KEPT_TIMES = 10000
PERCENTILES = (50, 95, 99)


def percentiles(times: list[float]) -> dict[str, float]:
    """Returns p50, p95, p99 and the maximum of some times; zeros where there are none.

    Example:
        >>> percentiles([1.0, 2.0, 3.0])["p50"]
        2.0
    """
    values = np.percentile(times, PERCENTILES) if times else np.zeros(len(PERCENTILES))
    named = {f"p{rank}": float(value) for rank, value in zip(PERCENTILES, values, strict=True)}
    return {**named, "max": max(times, default=0.0)}


@dataclass
class WorkerCounts:
    """What the worker counted.

    Args:
        windows: that went through the network.
        skipped: windows that were left out because they would have come too late.
        repaired: samples that were not numbers, or beyond all measure, and were set to 0.
        busy_seconds: spent in the computation.
        block_seconds: of each of the last 10,000 windows, all of its computation included.
    """

    windows: int = 0
    skipped: int = 0
    repaired: int = 0
    busy_seconds: float = 0.0
    block_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_TIMES))


@dataclass(frozen=True)
class LiveReport:
    """The figures of a live run, as a table and as JSON.

    Args:
        plan: sizes of the run.
        paced: True where the output had to keep pace with the input.
        player: counts of the output side.
        worker: counts of the worker.
        clipped: samples of the output that were beyond full scale.
        device_faults: overflows and underflows that the sound card reported.
        device_seconds: latency that the sound card adds.
    """

    plan: Plan
    paced: bool
    player: PlayerCounts
    worker: WorkerCounts
    clipped: int = 0
    device_faults: int = 0
    device_seconds: float = 0.0

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of computation per second of the signal; None before its first sample."""
        captured = self.plan.seconds(self.player.captured)
        return self.worker.busy_seconds / captured if captured else None

    @property
    def worst_needed(self) -> int | None:
        """The latency, in samples, that would have done up to now; None before the first stems."""
        return self.player.worst_delay + self.plan.fade if self.player.worst_delay else None

    def as_json(self) -> dict[str, Any]:
        """Returns the report as values that JSON has; times in seconds, lengths in samples."""
        plan, counts = self.plan, asdict(self.player)
        del counts["worst_delay"]
        return {
            "sample_rate": plan.sample_rate,
            "channels": plan.channels,
            "block": plan.block,
            "step_frames": plan.step_frames,
            "lookahead_frames": plan.lookahead_frames,
            "rule": "pass",
            "paced": self.paced,
            "seconds": plan.seconds(self.player.captured),
            "real_time_factor": self.real_time_factor,
            "block_seconds": percentiles([*self.worker.block_seconds]),
            "block_budget_seconds": plan.seconds(plan.step),
            "latency": {
                "algorithmic": plan.algorithmic,
                "fade": plan.fade,
                "buffer": plan.buffer,
                "total": plan.latency if self.paced else None,
                "total_seconds": plan.seconds(plan.latency) if self.paced else None,
                "device_seconds": self.device_seconds,
                "worst_needed": self.worst_needed,
            },
            **counts,
            "windows": self.worker.windows,
            "skipped_windows": self.worker.skipped,
            "repaired": self.worker.repaired,
            "clipped": self.clipped,
            "device_faults": self.device_faults,
        }

    def text(self) -> str:
        """Returns the report as lines for a terminal."""
        plan, player, worker = self.plan, self.player, self.worker
        times = percentiles([*worker.block_seconds])
        factor = 0.0 if self.real_time_factor is None else self.real_time_factor
        shown = ", ".join(f"{name} {1000 * value:.1f}" for name, value in times.items())
        needed = self.worst_needed or 0
        lines = [
            f"{plan.seconds(player.captured):.1f} s in, {plan.seconds(player.played):.1f} s out, "
            f"real-time factor {factor:.3f}",
            f"block time: {shown} ms of {1000 * plan.seconds(plan.step):.1f} ms; "
            f"{worker.windows} windows, {worker.skipped} skipped",
        ]
        if self.paced:
            lines.append(
                f"latency: {plan.latency} samples ({plan.seconds(plan.latency):.3f} s), "
                f"needed at worst {needed} ({plan.seconds(needed):.3f} s); "
                f"the sound card adds {self.device_seconds:.3f} s"
            )
        lines.append(
            f"drop-outs: {player.dropouts} ({plan.seconds(player.unprocessed):.3f} s played "
            f"unprocessed); clipped {self.clipped}, repaired {worker.repaired} samples; "
            f"{self.device_faults} faults of the sound card"
        )
        return "\n".join(lines)

    def json_line(self) -> str:
        """Returns the report as one line of JSON."""
        return json.dumps(self.as_json())
