"""The presets; those of the paper are laid out for comparison with its Table 1.

Source of "mdensenet" and "mmdensenet": arXiv 1706.09588, Table 1. Where its print can be read two
ways, the values here are those that come nearest to the published sizes;
docs/concepts/architecture.md lists the other readings and the arguments of build() that give
them. "mmdensenet-edge" and "mmdensenet-micro" are this project's own, chosen by experiment:
docs/concepts/edge-model.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from keras_mmdense.errors import SettingsError
from keras_mmdense.settings import Band, Settings, Transform, is_int, require

_PER_BLOCK = ("growth_rate", "num_layers", "kernel_size")
PerBlock = int | Sequence[Any]
PerBand = PerBlock | Mapping[str, PerBlock]

# scale            1   1/2  1/4  1/8  1/4  1/2   1
# dense block      1    2    3    4    5    6    7
PRESETS: dict[str, tuple[Band, ...]] = {
    "mdensenet": (
        Band(
            "full", start=0, stop=1, first_kernel_size=(3, 4), first_filters=32,
            growth_rate=(12, 12, 12, 12, 12, 12, 12),
            num_layers=(4, 4, 4, 4, 4, 4, 4),
        ),
    ),
    "mmdensenet": (
        Band(
            "low", start=0, stop=0.5, first_kernel_size=(3, 4), first_filters=32,
            growth_rate=(14, 16, 16, 16, 16, 16, 16),
            num_layers=(4, 4, 4, 4, 4, 4, 4),
        ),
        Band(
            "high", start=0.5, stop=1, first_kernel_size=(3, 3), first_filters=32,
            growth_rate=(10, 10, 10, 10, 10, 10, 16),
            num_layers=(3, 3, 3, 3, 3, 3, 3),
        ),
        Band(
            "full", start=0, stop=1, first_kernel_size=(3, 4), first_filters=32,
            growth_rate=(6, 6, 6, 6, 6, 6, 6),
            num_layers=(2, 2, 2, 4, 2, 2, 2),
        ),
    ),
    "mmdensenet-edge": (
        Band(
            "low", start=0, stop=0.5, first_kernel_size=(3, 3), first_filters=48,
            growth_rate=(24, 32, 32, 48, 32, 32, 24),
            num_layers=(2, 2, 2, 2, 2, 2, 2),
        ),
        Band(
            "high", start=0.5, stop=1, first_kernel_size=(3, 3), first_filters=24,
            growth_rate=(16, 16, 16, 16, 16, 16, 16),
            num_layers=(1, 1, 1, 1, 1, 1, 1),
        ),
        Band(
            "full", start=0, stop=1, first_kernel_size=(3, 3), first_filters=32,
            growth_rate=(24, 24, 32, 48, 32, 24, 24),
            num_layers=(1, 1, 2, 2, 2, 1, 1),
        ),
    ),
    "mmdensenet-micro": (
        Band(
            "low", start=0, stop=0.5, first_kernel_size=(3, 3), first_filters=32,
            growth_rate=(16, 24, 24, 32, 24, 24, 16),
            num_layers=(1, 1, 1, 1, 1, 1, 1),
        ),
        Band(
            "high", start=0.5, stop=1, first_kernel_size=(3, 3), first_filters=16,
            growth_rate=(8, 8, 8, 8, 8, 8, 8),
            num_layers=(1, 1, 1, 1, 1, 1, 1),
        ),
        Band(
            "full", start=0, stop=1, first_kernel_size=(3, 3), first_filters=24,
            growth_rate=(16, 16, 24, 32, 24, 16, 16),
            num_layers=(1, 1, 1, 1, 1, 1, 1),
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
        "final_growth_rate": 32,
    },
}
_OPTIONS["mmdensenet-micro"] = _OPTIONS["mmdensenet-edge"] | {"final_growth_rate": 24}


def resolve_settings(
    preset: str | None = None, *, stored: Settings | None = None, **arguments: Any
) -> Settings:
    """Return the settings of the model that `build` makes of its arguments; None is not given.

    `stored`, the settings of trained weights, take the preset's place.

    Raises:
        SettingsError: An argument is wrong or contradicts `stored`.

    Example:
        >>> resolve_settings("mmdensenet-edge").transform.n_fft
        4096
    """
    arguments["preset"] = preset
    given = {name: value for name, value in arguments.items() if value is not None}
    options = dict(given)
    preset = options.pop("preset", "mmdensenet" if stored is None else stored.preset)
    bands, scales = options.pop("bands", None), options.pop("scales", None)
    overrides = {name: options.pop(name, None) for name in _PER_BLOCK}
    fields = {field.name for field in dataclasses.fields(Settings)}
    known = fields - {"transform", "preset", "bands"} | {"n_fft", "hop_length"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise SettingsError(
            f"build() takes the fields of Settings as options; received {unknown}. "
            f"Known: {', '.join(sorted(known))}."
        )
    if bands is None and stored is None and not (isinstance(preset, str) and preset in PRESETS):
        raise SettingsError(
            f"preset must be one of {', '.join(PRESETS)}; received {preset!r}. "
            "Or pass bands=(Band(...), ...), or weights."
        )
    defaults: dict[str, Any] = {"sources": "vocals", "bins": 1024}
    if stored is None:
        defaults |= _OPTIONS.get(str(preset), {})
    else:
        defaults = {name: getattr(stored, name) for name in fields & known}
        defaults |= {"n_fft": stored.transform.n_fft, "hop_length": stored.transform.hop_length}
    options = defaults | options
    bins, sources = options["bins"], options.pop("sources")
    require(is_int(bins) and bins > 0, "bins must be 1 or more", bins, "Pass 1024.")
    n_fft = options.pop("n_fft", 2 * bins)
    require(is_int(n_fft), "n_fft must be an int", n_fft, "Pass 2 * bins.")
    transform = Transform(n_fft, options.pop("hop_length", n_fft // 2))
    if bands is not None:
        preset, bands = "custom", sequence("bands", bands, Band)
    else:
        bands = PRESETS[preset] if stored is None else stored.bands
    if scales is not None:
        bands = tuple(_with_scales(band, scales) for band in bands)
    settings = Settings(
        preset=preset,
        sources=(sources,) if isinstance(sources, str) else sequence("sources", sources, str),
        bands=_override(bands, overrides),
        transform=transform,
        **options,
    )
    require(
        stored is None
        or dataclasses.replace(settings, sources=stored.sources, frames=stored.frames) == stored,
        "weights define all settings: only the arguments sources and frames may differ",
        given,
        "Leave the others out, or build without weights.",
    )
    return settings


def _override(bands: tuple[Band, ...], overrides: Mapping[str, PerBand | None]) -> tuple[Band, ...]:
    """Return the bands with growth rates, layers and kernels of their own."""
    names = {band.name for band in bands}
    changes: dict[str, dict[str, Any]] = {name: {} for name in names}
    for label, override in overrides.items():
        by_band = override if isinstance(override, Mapping) else dict.fromkeys(names, override)
        if set(by_band) - names:
            raise SettingsError(
                f"{label} by band must name bands of {sorted(names)}; received "
                f"{sorted(set(by_band) - names)}. Use the bands' names."
            )
        for name, value in by_band.items():
            if isinstance(value, Sequence):
                # one kernel, two numbers, is for all blocks
                one = label == "kernel_size" and all(isinstance(number, int) for number in value)
                changes[name][label] = (tuple(value),) if one else tuple(value)
            elif value is not None:
                blocks = next(len(band.growth_rate) for band in bands if band.name == name)
                changes[name][label] = (value,) * blocks
    return tuple(dataclasses.replace(band, **changes[band.name]) for band in bands)


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

    cuts: dict[str, Any] = {name: cut(getattr(band, name)) for name in _PER_BLOCK}
    return dataclasses.replace(band, **cuts)
