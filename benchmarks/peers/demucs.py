"""Demucs, htdemucs: the hybrid transformer with the settings of the published model."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
from torch import nn

from benchmarks.peers import pytorch
from benchmarks.peers.system import RATE, Step, System

SEGMENT, OVERLAP = Fraction(39, 5), 0.25  # seconds, and the share: the command's defaults


class Demucs(System):
    """The published network with random weights."""

    def __init__(self, threads: int, folder: Path) -> None:
        pytorch.start(threads)
        self.model = _network().eval()

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems, in windows of 7.8 s that overlap by a quarter."""
        with torch.inference_mode():
            stems = apply_model(self.model, pytorch.as_batch(audio), overlap=OVERLAP)[0]
        return [stem.T.numpy() for stem in stems]

    @classmethod
    def training(cls, threads: int) -> Step:
        """All sources, batch 1 of 7.8 s."""
        pytorch.start(threads)
        network = _network().train()
        optimizer = torch.optim.Adam(network.parameters(), 3e-4)
        given = torch.rand(1, 2, int(SEGMENT * RATE))
        return pytorch.step(network, optimizer, nn.functional.l1_loss, given, float(SEGMENT))


def _network() -> nn.Module:
    sources = ["drums", "bass", "other", "vocals"]
    made: nn.Module = HTDemucs(
        sources, bottom_channels=512, dconv_mode=3, t_dropout=0.02, segment=SEGMENT
    )
    return made
