"""Open-Unmix, umxhq: four bidirectional LSTM networks and one iteration of the Wiener filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openunmix
import torch
from torch import nn

from benchmarks.peers import pytorch
from benchmarks.peers.system import SECONDS_PER_FRAME, SOURCES, Step, System

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
