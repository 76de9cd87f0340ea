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


def multiply_adds(model: nn.Module, given: torch.Tensor) -> int:
    """Return the multiply-adds of a model on an input.

    PyTorch's counter knows convolutions and matrix products. The steps of an LSTM and the two
    products inside attention are added from the sizes that pass.
    """
    from torch.utils.flop_counter import FlopCounterMode

    extra: list[int] = []

    def lstm(module: nn.LSTM, given: Any, _: Any) -> None:
        steps = given[0].shape[0] * given[0].shape[1]
        weights = [w for name, w in module.named_parameters() if name.startswith("weight")]
        extra.append(steps * sum(w.numel() for w in weights))

    def attention(module: nn.MultiheadAttention, given: Any, _: Any) -> None:
        batch, length = (0, 1) if module.batch_first else (1, 0)
        pairs = given[0].shape[length] * given[1].shape[length]
        extra.append(2 * given[0].shape[batch] * pairs * module.embed_dim)

    hooks = [
        module.register_forward_hook(lstm if isinstance(module, nn.LSTM) else attention)
        for module in model.modules()
        if isinstance(module, nn.LSTM | nn.MultiheadAttention)
    ]
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(given)
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() // 2 + sum(extra)


def parameters(*modules: nn.Module) -> int:
    """Return the number of weights."""
    return sum(weight.numel() for module in modules for weight in module.parameters())


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
