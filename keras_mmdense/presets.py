"""The presets; those of the paper are laid out for comparison with its Table 1.

Source of "mdensenet" and "mmdensenet": arXiv 1706.09588, Table 1. Where its print can be read two
ways, the values here are those that come nearest to the published sizes;
docs/concepts/architecture.md lists the other readings and the arguments of build() that give
them. "mmdensenet-edge" and "mmdensenet-micro" are this project's own, chosen by experiment:
docs/concepts/edge-model.md. "mmdensenet-live" has the same form, causal, with half the window: time
context comes from dilated kernels, because frames are not pooled.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from keras_mmdense.band import Band
from keras_mmdense.errors import require
from keras_mmdense.settings import Settings, Transform

_PER_BLOCK = ("growth_rate", "num_layers", "kernel_size", "dilation_rate")
PerBlock = int | Sequence[Any]
PerBand = PerBlock | Mapping[str, PerBlock]

# Band: start, stop, growth rates and layers of dense1..dense7 at the scales 1, 1/2, 1/4, 1/8, 1/4,
# 1/2, 1; kernel and maps of the first convolution.
PRESETS: dict[str, tuple[Band, ...]] = {
    "mdensenet": (
        Band("full", 0, 1, (12, 12, 12, 12, 12, 12, 12), (4, 4, 4, 4, 4, 4, 4), (3, 4), 32),
    ),
    "mmdensenet": (
        Band("low", 0, 0.5, (14, 16, 16, 16, 16, 16, 16), (4, 4, 4, 4, 4, 4, 4), (3, 4), 32),
        Band("high", 0.5, 1, (10, 10, 10, 10, 10, 10, 16), (3, 3, 3, 3, 3, 3, 3), (3, 3), 32),
        Band("full", 0, 1, (6, 6, 6, 6, 6, 6, 6), (2, 2, 2, 4, 2, 2, 2), (3, 4), 32),
    ),
    "mmdensenet-edge": (
        Band("low", 0, 0.5, (24, 32, 32, 48, 32, 32, 24), (2, 2, 2, 2, 2, 2, 2), (3, 3), 48),
        Band("high", 0.5, 1, (16, 16, 16, 16, 16, 16, 16), (1, 1, 1, 1, 1, 1, 1), (3, 3), 24),
        Band("full", 0, 1, (24, 24, 32, 48, 32, 24, 24), (1, 1, 2, 2, 2, 1, 1), (3, 3), 32),
    ),
    "mmdensenet-micro": (
        Band("low", 0, 0.5, (16, 24, 24, 32, 24, 24, 16), (1, 1, 1, 1, 1, 1, 1), (3, 3), 32),
        Band("high", 0.5, 1, (8, 8, 8, 8, 8, 8, 8), (1, 1, 1, 1, 1, 1, 1), (3, 3), 16),
        Band("full", 0, 1, (16, 16, 24, 32, 24, 16, 16), (1, 1, 1, 1, 1, 1, 1), (3, 3), 24),
    ),
    "mmdensenet-live": (
        Band("low", 0, 0.5, (24, 32, 32, 48, 32, 32, 24), (2, 2, 2, 2, 2, 2, 2), (3, 3), 48,
             dilation_rate=(1, 2, 4, 8, 4, 2, 1)),
        Band("high", 0.5, 1, (16, 16, 16, 16, 16, 16, 16), (1, 1, 1, 1, 1, 1, 1), (3, 3), 24,
             dilation_rate=(1, 2, 4, 8, 4, 2, 1)),
        Band("full", 0, 1, (24, 24, 32, 48, 32, 24, 24), (1, 1, 2, 2, 2, 1, 1), (3, 3), 32,
             dilation_rate=(1, 2, 4, 8, 4, 2, 1)),
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
        "compression_gain": 6,
        "n_fft": 4096,
        "hop_length": 1024,
        "bins": 1536,
        "fold": 8,
        "final_growth_rate": 32,
    },
}
_OPTIONS["mmdensenet-micro"] = _OPTIONS["mmdensenet-edge"] | {
    "compression_gain": 3,
    "final_growth_rate": 24,
}
_OPTIONS["mmdensenet-live"] = _OPTIONS["mmdensenet-edge"] | {
    "causal": True,
    "compression_gain": 1024,
    "n_fft": 2048,
    "hop_length": 512,
    "bins": 768,
}
_FREE = ("sources", "frames", "compression_gain")  # what trained weights leave open


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
    require(
        set(options) <= known,
        "build() takes the fields of Settings as options",
        sorted(set(options) - known),
        f"Known: {', '.join(sorted({*known, *_PER_BLOCK, 'bands', 'preset', 'scales'}))}.",
    )
    require(
        bands is not None or stored is not None or preset in list(PRESETS),
        f"preset must be one of {', '.join(PRESETS)}",
        preset,
        "Or pass bands=(Band(...), ...), or weights.",
    )
    defaults: dict[str, Any] = {"sources": "vocals", "bins": 1024}
    if stored is None:
        defaults |= _OPTIONS.get(str(preset), {})
    else:
        defaults = {
            **{name: getattr(stored, name) for name in fields & known},
            "n_fft": stored.transform.n_fft,
            "hop_length": stored.transform.hop_length,
        }
    if options.get("compression", "log") != "log":  # the preset's gain is for the logarithm
        defaults.pop("compression_gain", None)
    options = defaults | options
    bins, sources = options["bins"], options.pop("sources")
    require(type(bins) is int and bins > 0, "bins must be 1 or more", bins, "Pass 1024.")
    n_fft = options.pop("n_fft", 2 * bins)
    require(type(n_fft) is int, "n_fft must be an int", n_fft, "Pass 2 * bins.")
    transform = Transform(n_fft, options.pop("hop_length", n_fft // 2))
    if bands is not None:
        preset, bands = "custom", sequence("bands", bands, Band)
    else:
        bands = PRESETS[preset] if stored is None else stored.bands
    if scales is not None:
        require(
            type(scales) is int and 0 <= scales <= 12,
            "scales must be 0 to 12",
            scales,
            "The paper has 3.",
        )
        bands = tuple(_with_scales(band, scales) for band in bands)
    by_band = {name for one in overrides.values() if isinstance(one, Mapping) for name in one}
    unknown = sorted(by_band - {band.name for band in bands})
    require(not unknown, "arguments by band must name its bands", unknown, "Use their names.")
    settings = Settings(
        preset=preset,
        sources=(sources,) if isinstance(sources, str) else sequence("sources", sources, str),
        bands=tuple(_override(band, overrides) for band in bands),
        transform=transform,
        **options,
    )
    free = {} if stored is None else {name: getattr(stored, name) for name in _FREE}
    require(
        stored is None or dataclasses.replace(settings, **free) == stored,
        f"weights define all settings: only the arguments {', '.join(_FREE)} may differ",
        given,
        "Leave the others out, or build without weights.",
    )
    return settings


def _override(band: Band, overrides: Mapping[str, PerBand | None]) -> Band:
    """Return a band with growth rates, layers and kernels of its own."""
    changes: dict[str, Any] = {}
    for label, override in overrides.items():
        value = override.get(band.name) if isinstance(override, Mapping) else override
        if isinstance(value, Sequence):
            # one kernel, two numbers, is for all blocks
            one = label == "kernel_size" and all(isinstance(number, int) for number in value)
            changes[label] = (tuple(value),) if one else tuple(value)
        elif value is not None:
            changes[label] = (value,) * len(band.growth_rate)
    return dataclasses.replace(band, **changes)


def sequence(label: str, value: Any, kind: type) -> tuple[Any, ...]:
    """Return a sequence of things of one kind as a tuple, or refuse it."""
    require(
        isinstance(value, Sequence) and all(isinstance(one, kind) for one in value),
        f"{label} must be a sequence of {kind.__name__}",
        value,
        "Pass a tuple.",
    )
    return tuple(value)


def _with_scales(band: Band, scales: int) -> Band:
    """Return a band that lacks its lowest scales, or repeats the lowest one."""
    down = [min(scale, band.scales) for scale in range(scales + 1)]
    places = [*down, *(-1 - scale for scale in reversed(down[:-1]))]
    cuts: dict[str, Any] = {
        name: tuple(getattr(band, name)[place] for place in places) for name in _PER_BLOCK
    }
    return dataclasses.replace(band, **cuts)
