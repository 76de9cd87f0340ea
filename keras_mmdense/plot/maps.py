"""How many maps each part of a network reads and makes, from its settings alone."""

from __future__ import annotations

from dataclasses import dataclass

from keras_mmdense.settings import Band, Settings


@dataclass(frozen=True)
class Block:
    """A dense block in its place.

    Args:
        number: From 1, as in the names of its layers.
        scale: Number of 2x2 poolings before it.
        growth: Maps that a layer makes.
        layers: Number of its layers.
        read: Maps that it reads; after an up-sampling those of the skip connection, too.
        made: Maps that it gives on.
    """

    number: int
    scale: int
    growth: int
    layers: int
    read: int
    made: int


def band_blocks(band: Band, s: Settings) -> list[Block]:
    """Return the dense blocks of a band, in their order.

    Example:
        >>> import keras_mmdense
        >>> s = keras_mmdense.settings_of(keras_mmdense.build())
        >>> [block.read for block in band_blocks(s.bands[0], s)]
        [32, 14, 16, 16, 32, 32, 30]
    """
    maps, blocks = band.first_filters, []
    skips: list[int] = []
    for index, (growth, layers) in enumerate(zip(band.growth_rate, band.num_layers, strict=True)):
        scale = band.scales - abs(band.scales - index)
        if index > band.scales:
            maps += skips.pop()
        made = _made(maps, growth, layers, s)
        blocks.append(Block(index + 1, scale, growth, layers, maps, made))
        if index < band.scales:
            skips.append(made)
        maps = made
    return blocks


def part_width(s: Settings) -> int:
    """Return the maps to which the bands below full width are brought; 0 without any."""
    parts = [band for band in s.bands if not band.is_full]
    return max((band_blocks(band, s)[-1].made for band in parts), default=0)


def final_block(s: Settings) -> Block:
    """Return the dense block that reads all bands."""
    full = [band_blocks(band, s)[-1].made for band in s.bands if band.is_full]
    read = part_width(s) + sum(full)
    made = _made(read, s.final_growth_rate, s.final_num_layers, s)
    return Block(0, 0, s.final_growth_rate, s.final_num_layers, read, made)


def _made(read: int, growth: int, layers: int, s: Settings) -> int:
    new = growth * layers
    return {"last": growth, "new": new, "all": read + new}[s.block_output]
