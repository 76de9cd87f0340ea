"""The cost of a shorter look-ahead: the difference from file processing, in decibels."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.bench.worker import open_song
from mmdense_edge.live.plan import SlidingNetwork, algorithmic_latency, check_steps
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Network
from mmdense_edge.signal.chain import Pipeline
from mmdense_edge.signal.sdr import SDR
from mmdense_edge.signal.stft import Audio


def default_lookaheads(contract: Contract) -> list[int]:
    """Return the look-aheads to measure by default: all that the model can have, nine at most."""
    multiple, most = contract.frame_multiple, contract.context_frames
    count = most // multiple
    return [n * multiple for n in range(0, count + 1, max(1, -(-count // 8)))]


def measure(
    network: Network, song: str, seconds: float, step_frames: int, lookaheads: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each look-ahead.

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
