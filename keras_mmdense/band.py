"""One band's network: a column of the paper's Table 1."""

from __future__ import annotations

from dataclasses import dataclass

from keras_mmdense.checks import check_name, int_tuple, is_int, require


@dataclass(frozen=True)
class Band:
    """One MDenseNet on a range of the frequency axis: a column of the paper's Table 1.

    Args:
        name: Prefix of its layers.
        start: Lower edge as a share of the bins, 0 to 1.
        stop: Upper edge as a share of the bins, 0 to 1.
        growth: Maps per layer (k) of dense1, dense2, ...; an odd number of blocks: the scales
            on the way down, the lowest one, the scales on the way up.
        layers: Layers (L) of the same blocks.
        first_kernel: Kernel (frames, bins) of the first convolution.
        first_filters: Maps of the first convolution.
        kernels: Kernels (frames, bins) of the dense layers, one per block; one pair is for all.

    Example:
        >>> Band("low", 0, 0.5, growth=(14,) + (16,) * 6, layers=(4,) * 7).scales
        3
    """

    name: str
    start: float = 0.0
    stop: float = 1.0
    growth: tuple[int, ...] = (12,) * 7
    layers: tuple[int, ...] = (4,) * 7
    first_kernel: tuple[int, int] = (3, 4)
    first_filters: int = 32
    kernels: tuple[tuple[int, int], ...] = ((3, 3),)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_name("a band's name", self.name)
        for label in ("growth", "layers", "first_kernel"):
            object.__setattr__(
                self, label, int_tuple(f"{self.name}: {label}", getattr(self, label))
            )
        require(
            isinstance(self.kernels, list | tuple),
            f"{self.name}: kernels must be pairs",
            self.kernels,
            "Pass ((3, 3),).",
        )
        kernels = self.kernels * len(self.growth) if len(self.kernels) == 1 else self.kernels
        kernels = tuple(int_tuple(f"{self.name}: kernels", kernel) for kernel in kernels)  # type: ignore[misc]
        object.__setattr__(self, "kernels", kernels)
        numbers = (self.start, self.stop)
        require(
            all(isinstance(n, int | float) for n in numbers) and 0 <= self.start < self.stop <= 1,
            f"band {self.name!r} must have 0 <= start < stop <= 1",
            numbers,
            "Give the edges as shares of the frequency axis.",
        )
        require(
            len(self.growth) == len(self.layers) == len(kernels) and len(self.growth) % 2 == 1,
            f"band {self.name!r} needs one growth, number of layers and kernel per dense block, "
            "an odd number of blocks (2 * scales + 1)",
            (self.growth, self.layers, kernels),
            "Pass for example 7 of each for 3 scales.",
        )
        require(
            {len(kernel) for kernel in (self.first_kernel, *kernels)} == {2},
            f"band {self.name!r}: a kernel is (frames, bins)",
            (self.first_kernel, kernels),
            "Pass two numbers.",
        )
        require(
            is_int(self.first_filters) and 1 <= self.first_filters <= 4096,
            f"band {self.name!r}: first_filters must be 1 to 4096",
            self.first_filters,
            "The paper has 32.",
        )

    @property
    def scales(self) -> int:
        """Number of 2x2 poolings on the way down."""
        return len(self.growth) // 2

    @property
    def is_full(self) -> bool:
        """Whether the band covers the whole frequency axis."""
        return self.start == 0 and self.stop == 1

    def edges(self, bins: int) -> tuple[int, int]:
        """Return the first bin and the bin after the last."""
        return round(self.start * bins), round(self.stop * bins)
