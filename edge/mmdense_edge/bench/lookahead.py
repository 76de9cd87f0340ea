"""What a shorter look-ahead costs: the difference from file processing, in decibels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from mmdense_edge.bench.bench_report import columns
from mmdense_edge.live.input import LiveInput, limited, open_file
from mmdense_edge.live.network import SlidingNetwork, check_steps
from mmdense_edge.live.plan import algorithmic_latency
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.chain import Pipeline, Stems
from mmdense_edge.signal.sdr import SDR
from mmdense_edge.signal.stft import Audio

BLOCK = 4096


@dataclass(frozen=True)
class LookaheadRow:
    """One look-ahead.

    Args:
        lookahead_frames: frames seen after the new ones.
        step_frames: new frames of each window.
        latency_seconds: of the computation, without a buffer.
        snr_db: for each source 10 log10(sum(file^2) / sum((file - live)^2)), 200 at most; None
            where the source is silent.
    """

    lookahead_frames: int
    step_frames: int
    latency_seconds: float
    snr_db: dict[str, float | None]

    def as_json(self) -> dict[str, Any]:
        """Returns the row as values that JSON has."""
        return asdict(self)


def default_lookaheads(contract: Contract) -> list[int]:
    """Returns the look-aheads to measure by default: all that the model can have, nine at most."""
    multiple, most = contract.frame_multiple, contract.context_frames
    count = most // multiple
    return [n * multiple for n in range(0, count + 1, max(1, -(-count // 8)))]


def measure(
    network: Network, song: Path, seconds: float, step_frames: int, lookaheads: Sequence[int]
) -> Iterator[LookaheadRow]:
    """Yields a row for each look-ahead.

    Args:
        network: the model's network.
        song: an audio file.
        seconds: as much of it as is used.
        step_frames: new frames of each window.
        lookaheads: in frames.

    Raises:
        UsageError: a step or look-ahead that the model cannot have.
        AudioError: the song cannot be read.
    """
    contract = network.contract
    for lookahead in lookaheads:
        check_steps(contract, step_frames, lookahead)
    for lookahead in lookaheads:
        source, again = _source(song, seconds), _source(song, seconds)
        groups = max(1, source.channels // contract.channels)
        sliding = cast(Network, SlidingNetwork(network, step_frames, lookahead, groups))
        scores = _compare(_stems(network, source), _stems(sliding, again))
        latency = algorithmic_latency(contract, step_frames, lookahead) / contract.sample_rate
        snr = {name: score.value() for name, score in scores.items()}
        yield LookaheadRow(lookahead, step_frames, latency, snr)


def _source(song: Path, seconds: float) -> LiveInput:
    source = open_file(song, BLOCK)
    return limited(source, max(1, round(seconds * source.sample_rate)))


def _stems(network: Network, source: LiveInput) -> Iterator[Stems]:
    pipeline = Pipeline(
        network, source.sample_rate, source.channels, network.contract.sources, False
    )
    for block in source.blocks:
        yield from pipeline.push(block)
    yield from pipeline.finish()


def _compare(whole: Iterator[Stems], live: Iterator[Stems]) -> dict[str, SDR]:
    """Scores two streams of stems against each other, whose blocks end at different places."""
    scores: dict[str, SDR] = {}
    waiting: Stems = {}
    for stems in whole:
        for name, stem in stems.items():
            scores.setdefault(name, SDR())
            waiting.setdefault(name, stem[:0])
        needed = len(next(iter(stems.values())))
        while needed:
            have = len(next(iter(waiting.values())))
            if not have:
                waiting = next(live)
                continue
            count = min(needed, have)
            done = {name: len(stem) - needed for name, stem in stems.items()}
            for name, score in scores.items():
                score.add(stems[name][done[name] :][:count], waiting[name][:count])
            waiting = {name: _rest(stem, count) for name, stem in waiting.items()}
            needed -= count
    return scores


def _rest(stem: Audio, count: int) -> Audio:
    return stem[count:]


def table(rows: Sequence[LookaheadRow]) -> str:
    """Returns the rows as a table."""
    sources = [*rows[0].snr_db]
    lines = [("look-ahead", "step", "latency s", *(f"{name} dB" for name in sources))]
    for row in rows:
        shown = ("n/a" if value is None else f"{value:.1f}" for value in row.snr_db.values())
        lines.append(
            (
                str(row.lookahead_frames),
                str(row.step_frames),
                f"{row.latency_seconds:.3f}",
                *shown,
            )
        )
    return columns(lines)
