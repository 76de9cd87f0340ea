"""A band of the network: one column of the paper's Table 1, and the names that it may have."""

import re
from dataclasses import dataclass
from typing import Any

from keras_mmdense.errors import require

RESERVED_NAMES = frozenset({"mixture", "residual", "settings", "normalization"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Suffixes of layer names inside the networks, which outputs must not have.
_LAYER = re.compile(
    r"(.*_)?(bands|concat|conv|crop|denormalization|fold|gain|joined|mask|norm|output|past|pool\d+|"
    r"relu|skip\d+|unfold)"
)


def check_name(what: str, name: object) -> None:
    """Raise SettingsError if a name cannot be part of a layer's name or is ambiguous."""
    folded = name.lower() if isinstance(name, str) and _NAME.fullmatch(name) else ""
    require(
        bool(folded) and folded not in RESERVED_NAMES and not _LAYER.fullmatch(folded),
        f"{what} must be a letter followed by letters, digits, _ or -, at most 64 in all, and not "
        f"{', '.join(sorted(RESERVED_NAMES))} nor end like a layer's (conv, mask, norm, ...)",
        name,
        "Choose another name.",
    )


def int_tuple(label: str, value: object, length: int | None = None) -> tuple[Any, ...]:
    """Return a tuple of whole numbers of 1 to 4096, (frames, bins) if its length is 2."""
    require(
        isinstance(value, list | tuple) and all(type(v) is int and 1 <= v <= 4096 for v in value),
        f"{label} must be whole numbers of 1 to 4096",
        value,
        "Pass a tuple of int.",
    )
    numbers: tuple[Any, ...] = tuple(value)  # type: ignore[arg-type]
    require(length in (None, len(numbers)), f"{label} is (frames, bins)", value, "Pass two.")
    return numbers


@dataclass(frozen=True)
class Band:
    """One MDenseNet on a range of the frequency axis: a column of the paper's Table 1.

    Args:
        name: Prefix of its layers.
        start: Lower edge as a share of the bins, 0 to 1.
        stop: Upper edge as a share of the bins, 0 to 1.
        growth_rate: Maps per layer (k) of dense1, dense2, ...; an odd number of blocks: the scales
            on the way down, the lowest one, the scales on the way up.
        num_layers: Layers (L) of the same blocks.
        first_kernel_size: Kernel (frames, bins) of the first convolution.
        first_filters: Maps of the first convolution.
        kernel_size: Kernels (frames, bins) of the dense layers, one per block or one for all.
        dilation_rate: Of a causal model, frames between the taps of a dense block's first kernel,
            one per block or one for all. Each further layer of the block has twice the distance.

    Example:
        >>> Band("low", 0, 0.5, growth_rate=(14,) + (16,) * 6, num_layers=(4,) * 7).scales
        3
    """

    name: str
    start: float = 0.0
    stop: float = 1.0
    growth_rate: tuple[int, ...] = (12,) * 7
    num_layers: tuple[int, ...] = (4,) * 7
    first_kernel_size: tuple[int, int] = (3, 4)
    first_filters: int = 32
    kernel_size: tuple[tuple[int, int], ...] = ((3, 3),)
    dilation_rate: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_name("a band's name", self.name)
        label, sizes = f"{self.name}: kernel_size", self.kernel_size
        require(isinstance(sizes, list | tuple), f"{label} must be pairs", sizes, "Pass ((3, 3),).")
        sizes = tuple(int_tuple(label, size, 2) for size in sizes)
        rates = int_tuple(f"{self.name}: dilation_rate", self.dilation_rate)
        vars(self).update(  # the class is frozen
            growth_rate=int_tuple(f"{self.name}: growth_rate", self.growth_rate),
            num_layers=int_tuple(f"{self.name}: num_layers", self.num_layers),
            first_kernel_size=int_tuple(f"{self.name}: first", self.first_kernel_size, 2),
            kernel_size=sizes * len(self.growth_rate) if len(sizes) == 1 else sizes,
            dilation_rate=rates * len(self.growth_rate) if len(rates) == 1 else rates,
        )
        edges = (self.start, self.stop)
        require(
            all(isinstance(n, int | float) for n in edges) and 0 <= self.start < self.stop <= 1,
            f"band {self.name!r} must have 0 <= start < stop <= 1",
            edges,
            "Give the edges as shares of the frequency axis.",
        )
        each = (self.growth_rate, self.num_layers, self.kernel_size, self.dilation_rate)
        lengths = {len(values) for values in each}
        require(
            len(lengths) == 1 and len(self.growth_rate) % 2 == 1,
            f"band {self.name!r} needs one growth rate, number of layers, kernel and dilation rate "
            "per dense block, an odd number of blocks (2 * scales + 1)",
            each,
            "Pass for example 7 of each for 3 scales.",
        )
        require(
            type(self.first_filters) is int and 1 <= self.first_filters <= 4096,
            f"band {self.name!r}: first_filters must be 1 to 4096",
            self.first_filters,
            "The paper has 32.",
        )

    @property
    def scales(self) -> int:
        """Number of poolings on the way down."""
        return len(self.growth_rate) // 2

    @property
    def is_full(self) -> bool:
        """Whether the band covers the whole frequency axis."""
        return self.start == 0 and self.stop == 1

    def edges(self, bins: int) -> tuple[int, int]:
        """Return the first bin and the bin after the last."""
        return round(self.start * bins), round(self.stop * bins)
