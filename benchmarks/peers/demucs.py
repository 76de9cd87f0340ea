"""Demucs, htdemucs: the hybrid transformer with the settings of the published model."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs

from benchmarks.peers.system import System

SEGMENT, OVERLAP = Fraction(39, 5), 0.25  # seconds, and the share: the command's defaults


class Demucs(System):
    """The published network with random weights."""

    def __init__(self, threads: int, folder: Path) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.model = HTDemucs(
            ["drums", "bass", "other", "vocals"], bottom_channels=512, dconv_mode=3,
            t_dropout=0.02, segment=SEGMENT,
        ).eval()  # fmt: skip

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems, in windows of 7.8 s that overlap by a quarter."""
        with torch.inference_mode():
            stems = apply_model(
                self.model, torch.from_numpy(audio.T.copy())[None], overlap=OVERLAP
            )[0]
        return [stem.T.numpy() for stem in stems]
