"""Figures of `mmdense bench`: rows of a table, and the same as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmdense_edge.live.plan import make_plan
from mmdense_edge.live.stats import percentiles
from mmdense_edge.model.contract import Contract

LIVE_BLOCK = 1024


@dataclass(frozen=True)
class BenchRow:
    """One model at one number of threads.

    Args:
        model: its name.
        precision: how it was converted.
        threads: of the interpreter.
        seconds: of audio.
        real_time_factor: seconds per second of audio: below 1 is faster than it plays.
        cpu_seconds_per_second: processor time per second of audio, all threads together.
        block_seconds: p50, p95, p99 and max of a window's time.
        block_budget_seconds: what a window lasts: its time must stay below.
        live_step_frames: new frames in a window that `mmdense live` would choose here.
        live_latency_seconds: latency of `mmdense live` with that, and the whole look-ahead.
        least_latency_seconds: the same without look-ahead.
        peak_memory_bytes: most resident memory of the process; None where it is not known.
        load_seconds: from nothing but Python to a network that has run once.
        load_cpu_seconds: processor time of that.
    """

    model: str
    precision: str
    threads: int
    seconds: float
    real_time_factor: float
    cpu_seconds_per_second: float
    block_seconds: dict[str, float]
    block_budget_seconds: float
    live_step_frames: int
    live_latency_seconds: float
    least_latency_seconds: float
    peak_memory_bytes: int | None
    load_seconds: float
    load_cpu_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Returns the row as values that JSON has."""
        return asdict(self)


def make_row(contract: Contract, threads: int, found: dict[str, Any]) -> BenchRow:
    """Returns the row of a measurement.

    Args:
        contract: the model's.
        threads: of the interpreter.
        found: what `bench_worker.measure` returned.
    """
    hop_seconds = contract.transform.hop_length / contract.sample_rate
    times = percentiles(found["block_seconds"])
    plans = [
        make_plan(
            contract,
            contract.sample_rate,
            contract.channels,
            block=LIVE_BLOCK,
            lookahead_frames=lookahead,
            window_seconds=times["p50"],
        )
        for lookahead in (contract.context_frames, 0)
    ]
    longest, shortest = (plan.seconds(plan.latency) for plan in plans)
    return BenchRow(
        contract.name,
        contract.precision,
        threads,
        found["seconds"],
        found["wall_seconds"] / found["seconds"],
        found["cpu_seconds"] / found["seconds"],
        times,
        contract.step_frames * hop_seconds,
        plans[0].step_frames,
        longest,
        shortest,
        found["peak_memory_bytes"],
        found["load_seconds"],
        found["load_cpu_seconds"],
    )


def table(rows: Sequence[BenchRow]) -> str:
    """Returns the rows as a table."""
    head = (
        "model", "precision", "threads", "RTF", "CPU s/s", "block p50", "p95", "p99", "of ms",
        "live latency s", "least", "peak MB", "load s",
    )  # fmt: skip
    return columns([head, *map(_cells, rows)])


def _cells(row: BenchRow) -> tuple[str, ...]:
    times = (f"{1000 * row.block_seconds[name]:.1f}" for name in ("p50", "p95", "p99"))
    peak = "n/a" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 1e6:.0f}"
    return (
        row.model,
        row.precision,
        str(row.threads),
        f"{row.real_time_factor:.4f}",
        f"{row.cpu_seconds_per_second:.4f}",
        *times,
        f"{1000 * row.block_budget_seconds:.0f}",
        f"{row.live_latency_seconds:.2f}",
        f"{row.least_latency_seconds:.2f}",
        peak,
        f"{row.load_seconds:.2f}",
    )


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as lines, first column to the left, the others to the right.

    Example:
        >>> print(columns([("a", "b"), ("long", "1")]))
        a     b
        long  1
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    )


@dataclass(frozen=True)
class Comparison:
    """Two models, measured in turns.

    Args:
        models: their names.
        cpu_seconds_per_second: of each, in each round.
    """

    models: tuple[str, str]
    cpu_seconds_per_second: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def ratios(self) -> list[float]:
        """The second model's figure over the first's, round by round."""
        first, second = self.cpu_seconds_per_second
        return [b / a for a, b in zip(first, second, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Returns the comparison as values that JSON has."""
        ratios = self.ratios
        return {
            **asdict(self),
            "ratios": ratios,
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }

    def text(self) -> str:
        """Returns the comparison as lines."""
        rows: list[tuple[str, ...]] = [("model", "CPU s/s", "min", "max")]
        for name, figures in zip(self.models, self.cpu_seconds_per_second, strict=True):
            shown = (statistics.median(figures), min(figures), max(figures))
            rows.append((name, *(f"{value:.4f}" for value in shown)))
        found = self.as_json()
        return (
            f"{columns(rows)}\nratio {self.models[1]} / {self.models[0]}: "
            f"{found['ratio']:.3f} (median of {len(self.ratios)} rounds in turn), "
            f"{found['ratio_min']:.3f} to {found['ratio_max']:.3f}"
        )
