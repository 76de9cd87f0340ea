"""Open-Unmix, umxhq: four bidirectional LSTM networks and one iteration of the Wiener filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openunmix
import torch
from torch import nn

from benchmarks.peers import pytorch
from benchmarks.peers.system import RATE, SECONDS_PER_FRAME, SOURCES, Step, System

COUNTED_SECONDS = 12


class OpenUnmix(System):
    """The published network with random weights."""

    def __init__(self, threads: int, folder: Path) -> None:
        pytorch.start(threads)
        self.model = openunmix.umxhq(pretrained=False, niter=1)
        self.model.freeze()

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems; the whole song goes through at once, as in its `separate`."""
        with torch.inference_mode():
            return [stem.T.numpy() for stem in self.model(pytorch.as_batch(audio))[0]]

    def describe(self) -> dict[str, float]:
        """Return parameters and multiply-adds."""
        audio = torch.zeros(1, 2, COUNTED_SECONDS * RATE)
        macs = pytorch.multiply_adds(self.model, audio)
        return {
            "parameters": pytorch.parameters(self.model.target_models),
            "gmac_per_s": macs / COUNTED_SECONDS / 1e9,
        }

    @classmethod
    def training(cls, threads: int) -> Step:
        """A network of one source, batch 4 of 6 s, as magnitudes."""
        pytorch.start(threads)
        network = openunmix.umxhq_spec(targets=["vocals"], pretrained=False)["vocals"].train()
        frames = round(6 / SECONDS_PER_FRAME)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        given, seconds = torch.rand(4, 2, 2049, frames), 4 * frames * SECONDS_PER_FRAME
        return pytorch.step(
            network, optimizer, nn.functional.mse_loss, given, seconds / len(SOURCES)
        )
