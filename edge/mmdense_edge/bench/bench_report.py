"""Figures of `mmdense bench`: rows as JSON has them, and tables of them."""

import statistics
from collections.abc import Sequence
from typing import Any

from mmdense_edge.live.plan import make_plan
from mmdense_edge.live.stats import percentiles
from mmdense_edge.model.contract import Contract
from mmdense_edge.separate.song_report import aligned

LIVE_BLOCK = 1024

Row = dict[str, Any]


def make_row(contract: Contract, threads: int, found: dict[str, Any]) -> Row:
    """Return the figures of one model at one number of threads.

    Args:
        contract: The model's.
        threads: Of the interpreter.
        found: What `worker.measure` returned.

    Returns:
        model, precision, threads; seconds (of audio); real_time_factor (seconds per second of
        audio: below 1 is faster than it plays); cpu_seconds_per_second (all threads together);
        block_seconds (p50, p95, p99 and max of a window's time) and block_budget_seconds (what a
        window lasts: its time must stay below); live_step_frames, live_latency_seconds (the new
        frames in a window that `mmdense live` would choose here, and its latency with the whole
        look-ahead), least_latency_seconds (without look-ahead); peak_memory_bytes (None if it is
        not known); load_seconds and load_cpu_seconds (from nothing but Python to a network that
        has run once).
    """
    times = percentiles(found["block_seconds"])
    longest, shortest = (
        make_plan(
            contract,
            contract.sample_rate,
            contract.channels,
            block=LIVE_BLOCK,
            lookahead_frames=lookahead,
            window_seconds=times["p50"],
        )
        for lookahead in (contract.context_frames, 0)
    )
    hop_seconds = contract.transform.hop_length / contract.sample_rate
    return {
        "model": contract.name,
        "precision": contract.precision,
        "threads": threads,
        "seconds": found["seconds"],
        "real_time_factor": found["wall_seconds"] / found["seconds"],
        "cpu_seconds_per_second": found["cpu_seconds"] / found["seconds"],
        "block_seconds": times,
        "block_budget_seconds": contract.step_frames * hop_seconds,
        "live_step_frames": longest.step_frames,
        "live_latency_seconds": longest.seconds(longest.latency),
        "least_latency_seconds": shortest.seconds(shortest.latency),
        **{key: found[key] for key in ("peak_memory_bytes", "load_seconds", "load_cpu_seconds")},
    }


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    lines: list[tuple[str, ...]] = [(
        "model", "precision", "threads", "RTF", "CPU s/s", "block p50", "p95", "p99", "of ms",
        "live latency s", "least", "peak MB", "load s",
    )]  # fmt: skip
    for row in rows:
        peak = row["peak_memory_bytes"]
        lines.append((
            row["model"], row["precision"], str(row["threads"]),
            f"{row['real_time_factor']:.4f}", f"{row['cpu_seconds_per_second']:.4f}",
            *(f"{1000 * row['block_seconds'][name]:.1f}" for name in ("p50", "p95", "p99")),
            f"{1000 * row['block_budget_seconds']:.0f}", f"{row['live_latency_seconds']:.2f}",
            f"{row['least_latency_seconds']:.2f}",
            "n/a" if peak is None else f"{peak / 1e6:.0f}", f"{row['load_seconds']:.2f}",
        ))  # fmt: skip
    return aligned(lines)


def lookahead_table(rows: Sequence[Row]) -> str:
    """Return the rows of `lookahead.measure` as a table."""
    lines = [("look-ahead", "step", "latency s", *(f"{name} dB" for name in rows[0]["snr_db"]))]
    for row in rows:
        shown = ("n/a" if value is None else f"{value:.1f}" for value in row["snr_db"].values())
        frames = (str(row["lookahead_frames"]), str(row["step_frames"]))
        lines.append((*frames, f"{row['latency_seconds']:.3f}", *shown))
    return aligned(lines)


def compared(models: Sequence[str], figures: Sequence[Sequence[float]]) -> Row:
    """Return the comparison of two models that were measured in turns.

    Args:
        models: Their names.
        figures: CPU seconds per second of audio of each, in each round.
    """
    ratios = [second / first for first, second in zip(*figures, strict=True)]
    return {
        "models": models,
        "cpu_seconds_per_second": figures,
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def comparison_text(found: Row) -> str:
    """Return what `compared` returned as lines."""
    rows: list[tuple[str, ...]] = [("model", "CPU s/s", "min", "max")]
    for name, figures in zip(found["models"], found["cpu_seconds_per_second"], strict=True):
        rows.append((name, *(f"{of(figures):.4f}" for of in (statistics.median, min, max))))
    first, second = found["models"]
    return (
        f"{aligned(rows)}\nratio {second} / {first}: {found['ratio']:.3f} (median of "
        f"{len(found['ratios'])} rounds in turn), {found['ratio_min']:.3f} to "
        f"{found['ratio_max']:.3f}"
    )
