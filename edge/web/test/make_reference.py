"""Write reference.json: what the runner makes of small signals, for the page's unit tests.

    PYTHONPATH=edge python edge/web/test/make_reference.py

Signals and the network's answers follow from formulas, which transform.test.ts has, too; the file
holds the stems.
"""

import base64
import json
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mmdense_edge.model.contract import States, Transform
from mmdense_edge.model.interpreter import Memory, TFLiteNetwork
from mmdense_edge.signal.chain import Pipeline, groups

PATH = Path(__file__).with_name("reference.json")
SOURCES = ("bass", "vocals")
RATE = 44100
A, B = 1664525, 1013904223  # of a linear congruential generator

# n_fft, hop_length, bins, network's channels, frames (1: it has states), context_frames, output,
# channels, num_samples
CASES = (
    (64, 16, 30, 2, 8, 2, "mask", 2, 1000),
    (64, 32, 33, 2, 8, 2, "mask", 1, 777),
    (64, 16, 20, 1, 4, 0, "mask", 2, 500),
    (32, 16, 15, 2, 12, 4, "magnitude", 2, 640),
    (64, 32, 32, 2, 8, 2, "magnitude", 1, 33),
    (64, 16, 30, 2, 8, 2, "mask", 2, 1),
    (64, 16, 30, 2, 8, 2, "mask", 1, 2),
    (64, 20, 30, 2, 8, 2, "mask", 2, 31),
    (64, 16, 30, 2, 8, 2, "mask", 3, 200),
    (64, 16, 30, 2, 1, 0, "mask", 2, 1000),
    (64, 32, 30, 1, 1, 0, "magnitude", 2, 333),
    (64, 16, 30, 2, 1, 0, "mask", 5, 150),
)


def signal(num_samples: int, channels: int) -> np.ndarray:
    """Return pseudo-random values, with a stretch of digital silence in the last channel."""
    places = range(num_samples * channels)
    states = accumulate(places, lambda state, _: (state * A + B) % 2**32, initial=1)
    values = np.array([*states][1:]).reshape(num_samples, channels) / 2**32 - 0.5
    values[num_samples // 3 : num_samples // 2, -1] = 0
    return values.astype(np.float32)


class Network(TFLiteNetwork):
    """Answers by a formula of the position, in place of a trained network."""

    def __init__(self, contract: Any) -> None:
        self.contract = contract
        self._memory = contract.states and Memory(contract.states)

    def __call__(self, magnitude: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return an answer for each source, as `mmdense_edge.model.interpreter.Network` does."""
        frame, bin_, channel = np.indices(magnitude.shape)
        # The frames around it count, as they do for a trained network.
        if self._memory is None:
            around = np.pad(magnitude.astype(np.float64), ((1, 1), (0, 0), (0, 0)))
            around = around[:-2] + around[2:]
        else:
            past = self._memory.past()[0].astype(np.float64)
            around = past[: magnitude.size].reshape(magnitude.shape)
            around.ravel()[magnitude.size // 2 :] += past[magnitude.size :]
            self._memory.keep(magnitude.reshape(1, -1))
        answers = {}
        for index, source in enumerate(SOURCES):
            share = ((7 * frame + 3 * bin_ + 5 * channel + index) % 11) / 8
            share = share * (around + 1) / (around + 2)
            is_mask = self.contract.output == "mask"
            answers[source] = (share if is_mask else share * magnitude).astype(np.float32)
        return answers


def stems(case: tuple[Any, ...]) -> dict[str, np.ndarray]:
    """Return what the runner makes of a case: for each source shape (num_samples, channels)."""
    n_fft, hop_length, bins, width, frames, context, output, channels, num_samples = case
    size = bins * width
    states = States("past", "present", ((0, size, 1), (size // 2, size, 3)))
    contract = SimpleNamespace(
        transform=Transform(n_fft, hop_length), bins=bins, channels=width, frames=frames,
        context_frames=context, step_frames=frames - 2 * context, sources=SOURCES, output=output,
        sample_rate=RATE, states=states if frames == 1 else None,
    )  # fmt: skip
    mixture = signal(num_samples, channels)
    out = {source: np.zeros_like(mixture) for source in SOURCES}
    for group in groups(channels):
        chain = Pipeline(Network(contract), RATE, len(group), SOURCES, residual=False)
        blocks = [*chain.push(mixture[:, list(group)]), *chain.finish()]
        for source in SOURCES:
            out[source][:, list(group)] = np.concatenate([block[source] for block in blocks])
    return out


if __name__ == "__main__":
    found = [
        {
            "case": case,
            "stems": {
                name: base64.b64encode(stem.astype("<f4").tobytes()).decode()
                for name, stem in stems(case).items()
            },
        }
        for case in CASES
    ]
    PATH.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
