"""The presets; those of the paper are laid out to be held against its Table 1 by eye.

Source of "mdensenet" and "mmdensenet": arXiv 1706.09588, Table 1. Where its print can be read two
ways, the values here are those that come nearest to the published sizes;
docs/concepts/architecture.md lists the other readings and the arguments of build() that give
them. "mmdensenet-edge" and "mmdensenet-micro" are this project's own, chosen by experiment:
docs/concepts/edge-model.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keras_mmdense.band import Band
from keras_mmdense.errors import SettingsError
from keras_mmdense.settings import Settings, Transform

PerBlock = int | Sequence[Any]
PerBand = PerBlock | Mapping[str, PerBlock]

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
    "mmdensenet-edge": (
        Band(
            "low", start=0, stop=0.5, first_kernel=(3, 3), first_filters=48,
            growth=(24, 32, 32, 48, 32, 32, 24),
            layers=(2, 2, 2, 2, 2, 2, 2),
        ),
        Band(
            "high", start=0.5, stop=1, first_kernel=(3, 3), first_filters=24,
            growth=(16, 16, 16, 16, 16, 16, 16),
            layers=(1, 1, 1, 1, 1, 1, 1),
        ),
        Band(
            "full", start=0, stop=1, first_kernel=(3, 3), first_filters=32,
            growth=(24, 24, 32, 48, 32, 24, 24),
            layers=(1, 1, 2, 2, 2, 1, 1),
        ),
    ),
    "mmdensenet-micro": (
        Band(
            "low", start=0, stop=0.5, first_kernel=(3, 3), first_filters=32,
            growth=(16, 24, 24, 32, 24, 24, 16),
            layers=(1, 1, 1, 1, 1, 1, 1),
        ),
        Band(
            "high", start=0.5, stop=1, first_kernel=(3, 3), first_filters=16,
            growth=(8, 8, 8, 8, 8, 8, 8),
            layers=(1, 1, 1, 1, 1, 1, 1),
        ),
        Band(
            "full", start=0, stop=1, first_kernel=(3, 3), first_filters=24,
            growth=(16, 16, 24, 32, 24, 16, 16),
            layers=(1, 1, 1, 1, 1, 1, 1),
        ),
    ),
}  # fmt: skip

# What a preset sets besides its bands; the paper's keep the defaults of build().
_OPTIONS: dict[str, dict[str, Any]] = {
    "mmdensenet-edge": {
        "sources": ("bass", "drums", "other", "vocals"),
        "shared": True,
        "head": "mask",
        "norm": "after",
        "compression": "log",
        "n_fft": 4096,
        "hop_length": 1024,
        "bins": 1536,
        "fold": 8,
        "final_growth": 32,
    },
}
_OPTIONS["mmdensenet-micro"] = _OPTIONS["mmdensenet-edge"] | {"final_growth": 24}


def preset_options(preset: str) -> dict[str, Any]:
    """Return what a preset sets besides its bands, as arguments of `build`.

    Example:
        >>> preset_options("mmdensenet")
        {}
    """
    return dict(_OPTIONS.get(preset, {})) if isinstance(preset, str) else {}


def preset_settings(preset: str) -> Settings:
    """Return the settings that `build(preset)` gives its model, without building it.

    Raises:
        SettingsError: Unknown preset.

    Example:
        >>> preset_settings("mmdensenet-edge").transform.n_fft
        4096
    """
    bands = resolve_bands(preset, None, None, None, None, None)
    options: dict[str, Any] = {"sources": ("vocals",), "bins": 1024} | preset_options(preset)
    n_fft = options.pop("n_fft", 2 * options["bins"])
    transform = Transform(n_fft=n_fft, hop_length=options.pop("hop_length", n_fft // 2))
    return Settings(preset=preset, bands=bands, transform=transform, **options)


def resolve_bands(
    preset: str,
    bands: Iterable[Band] | None,
    scales: int | None,
    growth: PerBand | None,
    num_layers: PerBand | None,
    kernel: PerBand | None,
) -> tuple[Band, ...]:
    """Return the preset's or the given bands with the overrides of `build` applied.

    Raises:
        SettingsError: Unknown preset or band, wrong numbers.
    """
    if bands is None and (not isinstance(preset, str) or preset not in PRESETS):
        raise SettingsError(
            f"preset must be one of {', '.join(PRESETS)}; received {preset!r}. "
            "Or pass bands=(Band(...), ...)."
        )
    resolved = PRESETS[preset] if bands is None else sequence("bands", bands, Band)
    names = {band.name for band in resolved}
    for label, value in (("growth", growth), ("layers", num_layers), ("kernel", kernel)):
        if isinstance(value, Mapping) and set(value) - names:
            raise SettingsError(
                f"{label} by band knows the bands {sorted(names)}; received "
                f"{sorted(set(value) - names)}. Use the bands' names."
            )
    if scales is not None:
        resolved = tuple(_with_scales(band, scales) for band in resolved)
    return tuple(
        replace(
            band,
            growth=_per_block(growth, band.name, band.growth),
            layers=_per_block(num_layers, band.name, band.layers),
            kernels=_per_block(_as_kernels(kernel), band.name, band.kernels),
        )
        for band in resolved
    )


def sequence(label: str, value: Any, kind: type) -> tuple[Any, ...]:
    """Return a sequence of things of one kind as a tuple, or refuse it."""
    if not isinstance(value, Sequence) or not all(isinstance(one, kind) for one in value):
        raise SettingsError(
            f"{label} must be a sequence of {kind.__name__}; received {value!r}. Pass a tuple."
        )
    return tuple(value)


def _with_scales(band: Band, scales: int) -> Band:
    if not isinstance(scales, int) or isinstance(scales, bool) or not 0 <= scales <= 12:
        raise SettingsError(f"scales must be 0 to 12; received {scales!r}. The paper has 3.")

    def cut(blocks: tuple[Any, ...]) -> tuple[Any, ...]:
        down, lowest, up = blocks[: band.scales], blocks[band.scales], blocks[band.scales + 1 :]
        kept = min(scales, band.scales)
        repeated = (lowest,) * (2 * (scales - kept))
        bottom = lowest if scales >= band.scales else down[scales]
        return down[:kept] + repeated + (bottom,) + up[band.scales - kept :]

    return replace(
        band, growth=cut(band.growth), layers=cut(band.layers), kernels=cut(band.kernels)
    )


def _as_kernels(value: PerBand | None) -> PerBand | None:
    """Tell one kernel, two numbers, from one per block."""
    if isinstance(value, Mapping):
        return {name: _as_kernels(one) or () for name, one in value.items()}  # type: ignore[misc]
    is_one = isinstance(value, Sequence) and all(isinstance(number, int) for number in value)
    return (tuple(value),) if is_one else value  # type: ignore[arg-type]


def _per_block(value: PerBand | None, name: str, default: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        value = value.get(name)
    if value is None:
        return default
    return tuple(value) if isinstance(value, Sequence) else (value,) * len(default)
