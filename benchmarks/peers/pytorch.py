"""What the systems on PyTorch share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.peers.system import Step


def start(threads: int) -> None:
    """Set the number of threads and the seed of the weights."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)


def as_batch(audio: Any) -> torch.Tensor:
    """Return audio (num_samples, channels) as (1, channels, num_samples)."""
    return torch.from_numpy(audio.T.copy())[None]


def step(model: nn.Module, optimizer: Any, loss: Any, given: Any, seconds: float) -> Step:
    """Return a step of training on an input, towards zeros, that tells its seconds of audio."""

    def one() -> float:
        optimizer.zero_grad()
        made = model(given)
        loss(made, torch.zeros_like(made)).backward()
        optimizer.step()
        return seconds

    return one
