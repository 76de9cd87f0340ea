"""Figures of `mmdense bench`: rows as JSON has them, and tables of them."""

import statistics
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.bench.worker import open_song
from mmdense_edge.live.plan import SlidingNetwork, algorithmic_latency, check_steps, make_plan
from mmdense_edge.live.stats import percentiles
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Network
from mmdense_edge.separate.song_report import aligned
from mmdense_edge.signal.chain import Pipeline
from mmdense_edge.signal.sdr import SDR
from mmdense_edge.signal.stft import Audio

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
        for lookahead in (
            contract.context_frames,
            contract.context_frames if contract.states else 0,
        )
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


def default_lookaheads(contract: Contract) -> list[int]:
    """Return the look-aheads to measure by default: all that the model can have, nine at most."""
    multiple, most = contract.frame_multiple, contract.context_frames
    count = most // multiple
    return [n * multiple for n in range(0, count + 1, max(1, -(-count // 8)))]


def lookahead_rows(
    network: Network, song: str, seconds: float, step_frames: int, lookaheads: Sequence[int]
) -> Iterator[Row]:
    """Yield the cost of each look-ahead: the difference from file processing, in decibels.

    Args:
        network: The model's network.
        song: An audio file.
        seconds: As much of it as is used.
        step_frames: New frames of each window.
        lookaheads: In frames.

    Yields:
        lookahead_frames (seen after the new ones) and step_frames; latency_seconds (of the
        computation, without a buffer); snr_db, for each source
        10 log10(sum(file^2) / sum((file - live)^2)), at most 200, None if the source is silent.

    Raises:
        UsageError: A step or look-ahead that the model cannot have.
        AudioError: The song cannot be read.
    """
    contract = network.contract
    for lookahead in lookaheads:
        check_steps(contract, step_frames, lookahead)

    def stems(step_frames: int, lookahead: int) -> Iterator[Audio]:
        """Yield the sources' samples, shape (samples, sources, channels)."""
        source = open_song(song, seconds)
        sliding = SlidingNetwork(network, step_frames, lookahead, source.channels)
        pipeline = Pipeline(sliding, source.sample_rate, source.channels, contract.sources, False)
        pushed = chain.from_iterable(map(pipeline.push, source.blocks))
        for block in chain(pushed, pipeline.finish()):
            yield np.stack([block[name] for name in contract.sources], axis=1)

    for lookahead in lookaheads:
        scores = {name: SDR() for name in contract.sources}
        file = even(stems(contract.step_frames, contract.context_frames))
        for whole, live in zip(file, even(stems(step_frames, lookahead)), strict=True):
            for number, score in enumerate(scores.values()):
                score.add(whole[:, number], live[:, number])
        yield {
            "lookahead_frames": lookahead,
            "step_frames": step_frames,
            "latency_seconds": algorithmic_latency(contract, step_frames, lookahead)
            / contract.sample_rate,
            "snr_db": {name: score.value() for name, score in scores.items()},
        }


def lookahead_table(rows: Sequence[Row]) -> str:
    """Return the rows of `lookahead_rows` as a table."""
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
