"""The presets, laid out to be held against the paper's Table 1 by eye.

Source: arXiv 1706.09588, Table 1. Where its print can be read two ways, the values here are those
that come nearest to the published sizes; docs/architecture.md lists the other readings and the
arguments of build() that give them.
"""

from __future__ import annotations

from keras_mmdense.band import Band

# scale            1   1/2  1/4  1/8  1/4  1/2   1
# dense block      1    2    3    4    5    6    7
PRESETS: dict[str, tuple[Band, ...]] = {
    "mdensenet": (
        Band(
            "full", start=0, stop=1, first_kernel=(3, 4), first_filters=32,
            growth=(12, 12, 12, 12, 12, 12, 12),
            layers=(4, 4, 4, 4, 4, 4, 4),
        ),
    ),
    "mmdensenet": (
        Band(
            "low", start=0, stop=0.5, first_kernel=(3, 4), first_filters=32,
            growth=(14, 16, 16, 16, 16, 16, 16),
            layers=(4, 4, 4, 4, 4, 4, 4),
        ),
        Band(
            "high", start=0.5, stop=1, first_kernel=(3, 3), first_filters=32,
            growth=(10, 10, 10, 10, 10, 10, 16),
            layers=(3, 3, 3, 3, 3, 3, 3),
        ),
        Band(
            "full", start=0, stop=1, first_kernel=(3, 4), first_filters=32,
            growth=(6, 6, 6, 6, 6, 6, 6),
            layers=(2, 2, 2, 4, 2, 2, 2),
        ),
    ),
}  # fmt: skip
