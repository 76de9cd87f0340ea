"""The figures of a live run: block times, latency, drop-outs."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmdense_edge.live.plan import Plan

PERCENTILES = (50, 95, 99)


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Return the p50, p95, p99 and maximum of the times; zeros if there are none.

    Example:
        >>> percentiles([1.0, 2.0, 3.0])["p50"]
        2.0
    """
    values = np.percentile(times or [0.0], PERCENTILES)
    return {
        **{f"p{rank}": float(value) for rank, value in zip(PERCENTILES, values, strict=True)},
        "max": max(times, default=0.0),
    }


@dataclass
class LiveStats:
    """The figures of a live run, counted by its parts; as a table and as JSON.

    Args:
        plan: Sizes of the run.
        paced: True if the output has to keep pace with the input.
        captured: Samples captured.
        played: Samples of the signal that were played.
        dropouts: Passages that were played unprocessed.
        unprocessed: Their samples, cross-fades included.
        worst_delay: The most that the input was ahead of a window's first sample when its stems
            were ready.
        windows: Windows that went through the network.
        skipped: Windows that were skipped because they would have been late.
        repaired: Samples that were set to 0: NaN, infinity, or far beyond full scale.
        busy_seconds: Time spent in the computation.
        block_seconds: Total computation time of each of the last 10,000 windows.
        clipped: Samples of the output that exceeded full scale.
        device_faults: Overflows and underflows that the sound card reported.
        device_seconds: Latency that the sound card adds.
    """

    plan: Plan
    paced: bool
    captured: int = 0
    played: int = 0
    dropouts: int = 0
    unprocessed: int = 0
    worst_delay: int = 0
    windows: int = 0
    skipped: int = 0
    repaired: int = 0
    busy_seconds: float = 0.0
    block_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=10000))
    clipped: int = 0
    device_faults: int = 0
    device_seconds: float = 0.0

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of computation per second of the signal; None before its first sample."""
        return self.busy_seconds / self.plan.seconds(self.captured) if self.captured else None

    @property
    def worst_needed(self) -> int | None:
        """The latency in samples that would have sufficed so far; None before the first stems."""
        return self.worst_delay + self.plan.fade if self.worst_delay else None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; times in seconds, lengths in samples."""
        plan = self.plan
        return {
            "sample_rate": plan.sample_rate,
            "channels": plan.channels,
            "block": plan.block,
            "step_frames": plan.step_frames,
            "lookahead_frames": plan.lookahead_frames,
            "rule": "pass",
            "paced": self.paced,
            "seconds": plan.seconds(self.captured),
            "real_time_factor": self.real_time_factor,
            "block_seconds": percentiles([*self.block_seconds]),
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
            "captured": self.captured,
            "played": self.played,
            "dropouts": self.dropouts,
            "unprocessed": self.unprocessed,
            "windows": self.windows,
            "skipped_windows": self.skipped,
            "repaired": self.repaired,
            "clipped": self.clipped,
            "device_faults": self.device_faults,
        }

    def text(self) -> str:
        """Return the figures as lines for a terminal."""
        plan, needed = self.plan, self.worst_needed or 0
        times = percentiles([*self.block_seconds])
        shown = ", ".join(f"{name} {1000 * value:.1f}" for name, value in times.items())
        lines = [
            f"{plan.seconds(self.captured):.1f} s in, {plan.seconds(self.played):.1f} s out, "
            f"real-time factor {self.real_time_factor or 0:.3f}",
            f"block time: {shown} ms of {1000 * plan.seconds(plan.step):.1f} ms; "
            f"{self.windows} windows, {self.skipped} skipped",
        ]
        if self.paced:
            lines.append(
                f"latency: {plan.latency} samples ({plan.seconds(plan.latency):.3f} s), "
                f"at most {needed} needed ({plan.seconds(needed):.3f} s); "
                f"the sound card adds {self.device_seconds:.3f} s"
            )
        lines.append(
            f"drop-outs: {self.dropouts} ({plan.seconds(self.unprocessed):.3f} s played "
            f"unprocessed); clipped {self.clipped}, repaired {self.repaired} samples; "
            f"{self.device_faults} sound card faults"
        )
        return "\n".join(lines)
