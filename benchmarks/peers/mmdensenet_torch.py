"""MMDenseNet in its published form on PyTorch, to compare speed; it is not trained.

The package index has no MMDenseNet for PyTorch. This one follows the paper's Table 1 in the same
reading as `keras_mmdense.build()`, whose 277,622 trainable weights it has (input scale and offset
per bin are not trained there, and are left out here). The weights are random: speed does not depend
on them. Whole songs are cut into windows without context, as such implementations do, so its stems
have seams.

Source of the shape: Takahashi and Mitsufuji, arXiv 1706.09588, Table 1.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.peers.system import SOURCES, System

N_FFT, HOP_LENGTH, BINS = 2048, 1024, 1024
WINDOW_FRAMES = 128  # of 64 to 512 the fastest, in channels_last, as measured
LAST = torch.channels_last
Sizes = tuple[int, ...]
# Growth and layers of dense blocks 1 to 7, and the first convolution's kernel (frames, bins).
LOW: tuple[Sizes, Sizes, Sizes] = ((14, 16, 16, 16, 16, 16, 16), (4,) * 7, (3, 4))
HIGH: tuple[Sizes, Sizes, Sizes] = ((10, 10, 10, 10, 10, 10, 16), (3,) * 7, (3, 3))
FULL: tuple[Sizes, Sizes, Sizes] = ((6,) * 7, (2, 2, 2, 4, 2, 2, 2), (3, 4))
FIRST_MAPS, FINAL_GROWTH, FINAL_LAYERS, CHANNELS = 32, 4, 2, 2


class DenseBlock(nn.Module):
    """Each layer reads all maps before it; the block gives the last layer's maps.

    Args:
        read: maps of the input.
        growth: maps of each layer.
        num_layers: how many.
    """

    def __init__(self, read: int, growth: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(size), nn.ReLU(), nn.Conv2d(size, growth, 3, padding=1))
            for size in range(read, read + growth * num_layers, growth)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, growth, frames, bins)."""
        *others, last = self.layers
        for layer in others:
            x = torch.cat([x, layer(x)], 1)
        return last(x)


class Band(nn.Module):
    """One multi-scale DenseNet: three scales down, three up, with skip connections.

    Args:
        growth: of the seven dense blocks.
        num_layers: of the same.
        kernel: of the first convolution.
    """

    def __init__(self, growth: Sizes, num_layers: Sizes, kernel: Sizes) -> None:
        super().__init__()
        self.padding = [(kernel[1] - 1) // 2, kernel[1] // 2, 1, 1]
        self.first = nn.Conv2d(CHANNELS, FIRST_MAPS, kernel)
        scales = len(growth) // 2
        read = [
            FIRST_MAPS,
            *growth[:scales],
            *(growth[scales + up] + growth[scales - 1 - up] for up in range(scales)),
        ]
        self.blocks = nn.ModuleList(map(DenseBlock, read, growth, num_layers))
        self.ups = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(maps), nn.ConvTranspose2d(maps, maps, 2, stride=2))
            for maps in growth[scales:-1]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last block's maps, in the input's frames and bins."""
        x = self.first(functional.pad(x, self.padding))
        skips, scales = [], len(self.ups)
        for block in self.blocks[:scales]:
            skips.append(block(x))
            x = functional.avg_pool2d(skips[-1], 2)
        x = self.blocks[scales](x)
        for up, block in zip(self.ups, self.blocks[scales + 1 :], strict=True):
            x = block(torch.cat([up(x), skips.pop()], 1))
        return x


class MMDenseNet(nn.Module):
    """The network of one source: magnitudes (batch, 2, frames, 1024) to the same.

    Example:
        >>> sum(weight.numel() for weight in MMDenseNet().parameters())
        277622
    """

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high, self.full = Band(*LOW), Band(*HIGH), Band(*FULL)
        joined = LOW[0][-1] + FULL[0][-1]
        self.final = DenseBlock(joined, FINAL_GROWTH, FINAL_LAYERS)
        self.head = nn.Conv2d(FINAL_GROWTH, CHANNELS, (1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the source's magnitude; the number of frames is a multiple of 8."""
        low, high = x.chunk(2, dim=3)
        bands = torch.cat([self.low(low), self.high(high)], 3)
        x = self.final(torch.cat([bands, self.full(x)], 1))
        return torch.relu(self.head(functional.pad(x, [0, 1])))


class TorchMMDenseNet(System):
    """Four networks, in windows without context."""

    def __init__(self, threads: int, folder: Path) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.networks = [MMDenseNet().eval().to(memory_format=LAST) for _ in SOURCES]

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems, with the mixture's phase."""
        window = torch.hann_window(N_FFT)
        given = torch.from_numpy(audio.T.copy())
        mixture = torch.stft(given, N_FFT, HOP_LENGTH, window=window, return_complex=True)
        magnitude = mixture.abs()[:, :BINS].transpose(1, 2)  # (channels, frames, bins)
        frames = magnitude.shape[1]
        padded = functional.pad(magnitude, [0, 0, 0, -frames % WINDOW_FRAMES])
        stems = []
        with torch.inference_mode():
            for network in self.networks:
                windows = padded.split(WINDOW_FRAMES, 1)
                parts = [network(part[None].to(memory_format=LAST))[0] for part in windows]
                estimate = torch.cat(parts, 1)[:, :frames].transpose(1, 2)
                # The Nyquist bin takes what the bin below it has.
                estimate = torch.cat([estimate, estimate[:, -1:]], 1)
                spectrum = torch.polar(estimate, mixture.angle())
                stem = torch.istft(spectrum, N_FFT, HOP_LENGTH, window=window, length=len(audio))
                stems.append(stem.T.numpy())
        return stems
