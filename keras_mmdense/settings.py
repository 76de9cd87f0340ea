"""The settings of a model: architecture, transform and provenance, frozen and stored as JSON."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from mmdense_edge.model.contract import Transform

from keras_mmdense.band import Band, check_name, int_tuple
from keras_mmdense.errors import SettingsError, require

MAX_JSON_BYTES = 1 << 20
MAX_DILATION = 1 << 12
CHOICES: dict[str, tuple[Any, ...]] = {
    "shared": (False, True),
    "bottleneck": (False, True),
    "block_output": ("last", "new", "all"),
    "pooling": ("average", "max"),
    "norm": ("before", "after"),
    "head": ("magnitude", "mask"),
    "compression": ("none", "sqrt", "log"),
    "causal": (False, True),
}
RANGES = {
    "sample_rate": (1000, 384000),
    "n_fft": (16, 65536),
    "final_growth_rate": (1, 4096),
    "final_num_layers": (1, 64),
    "bins": (1, 32768),
    "channels": (1, 2),
    "fold": (1, 64),
    "compression_gain": (1, 65536),
}
# The keys of settings in files of version 1, where they differ from the names here.
STORED_NAMES = {
    "growth_rate": "growth",
    "num_layers": "layers",
    "kernel_size": "kernels",
    "first_kernel_size": "first_kernel",
    "final_growth_rate": "final_growth",
    "final_num_layers": "final_layers",
    "final_kernel_size": "final_kernel",
    "license": "licence",
}
_NAMES = {stored: name for name, stored in STORED_NAMES.items()}


@dataclass(frozen=True)
class Settings:
    """All settings of a model; stored in the model file as JSON.

    Args:
        sources: Names of the separated sources.
        bands: The band networks; those narrower than the full width tile the frequency axis in
            order.
        preset: Name of the table that the bands were taken from.
        shared: One network with an output per source instead of one network per source.
        final_growth_rate: Maps per layer of the dense block after the bands are joined.
        final_num_layers: Layers of that block.
        final_kernel_size: Kernel (frames, bins) of the last convolution.
        block_output: What a dense block returns: its "last" layer's maps, all "new" maps, or
            "all" maps with its input.
        bottleneck: 1x1 convolution to 4 * growth_rate maps before each dense convolution.
        pooling: "average" or "max".
        norm: Batch normalization and ReLU "before" each convolution (the paper) or "after" it
            (then they fold into the convolution).
        head: "magnitude" (convolution, ReLU) or "mask" (sigmoid times the mixture).
        compression: Compression of the mixture's magnitude before normalization: "none" (the
            paper), "sqrt" or "log" (log(1 + compression_gain * magnitude)). The last two need a
            mask head.
        compression_gain: 1 to 65536; a large one makes quiet music look like loud music.
        causal: No output depends on a later frame: convolutions see past frames only, and poolings
            join bins but no frames.
        bins: Frequency bins that the network sees, from bin 0; the others take the mask of the
            last one.
        channels: Audio channels, 1 or 2.
        fold: Neighboring bins that are stacked as channels of one position: the network works on
            bins // fold positions.
        frames: Fixed number of frames, or None for any multiple of `frame_multiple`.
        sample_rate: Rate of the audio in Hz, 1000 to 384000.
        transform: The short-time Fourier transform: `n_fft`, even, 16 to 65536 samples, and
            `hop_length`, 1 to n_fft // 2 samples.
        training_data: What the weights were trained on.
        license: License of the weights.

    Raises:
        SettingsError: A value is out of range, or two values do not fit together.

    Source: arXiv 1706.09588 gives 1024 bins; window 2048 and hop 1024 at 44.1 kHz are the values
    of independent re-implementations.

    Example:
        >>> settings = Settings(sources=("vocals",), bands=(Band("full"),))
        >>> Settings.from_json(settings.to_json()) == settings
        True
    """

    sources: tuple[str, ...]
    bands: tuple[Band, ...]
    preset: str = "custom"
    shared: bool = False
    final_growth_rate: int = 4
    final_num_layers: int = 2
    final_kernel_size: tuple[int, int] = (1, 2)
    block_output: str = "last"
    bottleneck: bool = False
    pooling: str = "average"
    norm: str = "before"
    head: str = "magnitude"
    compression: str = "none"
    compression_gain: int = 1
    causal: bool = False
    bins: int = 1024
    channels: int = 2
    fold: int = 1
    frames: int | None = None
    sample_rate: int = 44100
    transform: Transform = field(default_factory=Transform)
    training_data: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        """Check every value and their combinations."""
        for name, most in (("sources", 64), ("bands", 32)):
            value = getattr(self, name)
            require(
                isinstance(value, tuple) and 1 <= len(value) <= most,
                f"{name} must be 1 to {most}",
                value,
                "Pass a tuple.",
            )
        self._check_names()
        self._check_numbers()
        self._check_bands()

    @property
    def scales(self) -> int:
        """Largest number of poolings of any band."""
        return max(band.scales for band in self.bands)

    @property
    def positions(self) -> int:
        """Positions on the network's frequency axis: bins // fold."""
        return self.bins // self.fold

    @property
    def frame_multiple(self) -> int:
        """Inputs must have a multiple of this many frames: 2**scales, or 1 if causal."""
        return int(self.pool_size[0] ** self.scales)

    @property
    def pool_size(self) -> tuple[int, int]:
        """Frames and bins that a pooling makes one of."""
        return (1, 2) if self.causal else (2, 2)

    def differs_in(self, other: Self) -> set[str]:
        """Return the names of the settings whose values differ."""
        return {f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)}

    def layer_dilation(self, dilation_rate: int, index: int) -> int:
        """Return the frames between the kernel's taps in layer `index` of a dense block."""
        return dilation_rate << index if self.causal else 1

    def _check_names(self) -> None:
        for name in self.sources:
            check_name("a source's name", name)
        require(
            len({name.lower() for name in self.sources}) == len(self.sources),
            "sources must differ, and not only in case: they become file names",
            self.sources,
            "Name each source once.",
        )
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            require(
                type(value) is type(allowed[0]) and value in allowed,
                f"{name} must be one of {', '.join(map(str, allowed))}",
                value,
                f"The default is {allowed[0]!r}.",
            )
        require(
            self.compression == "none" or self.head == "mask",
            "compression needs head='mask': a magnitude head undoes the scale of the input",
            self.compression,
            "Pass head='mask'.",
        )
        fits = self.compression_gain == 1 or self.compression == "log"
        rule = "compression_gain needs compression='log'"
        require(fits, rule, self.compression_gain, "Leave it out.")
        for name in ("preset", "training_data", "license"):
            value = getattr(self, name)
            require(
                isinstance(value, str) and len(value) <= 10000,
                f"{name} must be text of at most 10000 characters",
                value,
                "Pass a str.",
            )

    def _check_numbers(self) -> None:
        # the class is frozen
        vars(self)["final_kernel_size"] = int_tuple("final_kernel_size", self.final_kernel_size, 2)
        values = vars(self) | asdict(self.transform)
        for name, (low, high) in RANGES.items():
            require(
                type(values[name]) is int and low <= values[name] <= high,
                f"{name} must be {low} to {high}",
                values[name],
                "Pass a whole number in that range.",
            )
        t, half = self.transform, self.transform.n_fft // 2
        require(t.window == "hann", "window must be 'hann'", t.window, "Leave it out.")
        require(t.n_fft % 2 == 0, "n_fft must be even", t.n_fft, "Pass 2 * bins.")
        require(
            type(t.hop_length) is int and 1 <= t.hop_length <= half,
            f"hop_length must be 1 to n_fft // 2 = {half} samples",
            t.hop_length,
            "Pass n_fft // 2 or less; otherwise samples are lost.",
        )
        require(
            self.bins <= self.transform.num_bins,
            f"bins must be at most n_fft // 2 + 1 = {self.transform.num_bins}",
            self.bins,
            "Pass a longer n_fft or fewer bins.",
        )
        require(
            self.bins % self.fold == 0,
            f"bins must be a multiple of fold = {self.fold}",
            self.bins,
            "Choose another fold.",
        )

    def _check_bands(self) -> None:
        names = [band.name for band in self.bands]
        require(len(set(names)) == len(names), "band names must differ", names, "Rename one.")
        width = self.positions
        parts = {band.name: band.edges(width) for band in self.bands if not band.is_full}
        starts, stops = [e[0] for e in parts.values()], [e[1] for e in parts.values()]
        require(
            not parts or [*starts, width] == [0, *stops],
            f"bands below full width must tile the positions 0..{width} (bins // fold) in order",
            parts,
            "Let each start where the one before stops.",
        )
        for band in self.bands:
            first, after = band.edges(width)
            whole = abs(band.start * width - first) + abs(band.stop * width - after) < 1e-6
            require(
                whole and (after - first) % 2**band.scales == 0,
                f"band {band.name!r} must have a multiple of 2**{band.scales} positions "
                "(bins // fold)",
                (band.start * width, band.stop * width),
                "Choose other edges, bins or scales.",
            )
            require(
                self.causal or set(band.dilation_rate) == {1},
                f"band {band.name!r}: dilation_rate needs causal=True",
                band.dilation_rate,
                "Leave it out.",
            )
        blocks = [(1, self.final_num_layers)]
        for band in self.bands:
            blocks += zip(band.dilation_rate, band.num_layers, strict=True)
        most = max(self.layer_dilation(rate, layers - 1) for rate, layers in blocks)
        require(
            most <= MAX_DILATION,
            f"a kernel's taps may be at most {MAX_DILATION} frames apart, and their distance "
            "doubles with each layer of a block",
            most,
            "Use fewer layers or a lower dilation_rate.",
        )
        frames, step = self.frames, self.frame_multiple
        require(
            frames is None
            or (type(frames) is int and 0 < frames <= 1 << 20 and frames % step == 0),
            f"frames must be None or a multiple of 2**scales = {step}",
            frames,
            "Pass None for any length.",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in stored form, with the sample rate inside the transform."""
        stored = _renamed(asdict(self), STORED_NAMES)
        stored["bands"] = [_renamed(band, STORED_NAMES) for band in stored["bands"]]
        transform = {"sample_rate": stored.pop("sample_rate"), **stored["transform"]}
        del transform["window"]  # a periodic Hann window, the only one there is
        if self.compression_gain == 1:
            del stored["compression_gain"]  # which files of version 1 lack
        if not self.causal:  # which they lack, too
            del stored["causal"]
            for band in stored["bands"]:
                del band["dilation_rate"]
        return {**stored, "transform": transform}

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read settings from JSON, checking everything.

        Raises:
            SettingsError: The text is not JSON, has unknown or missing keys, or wrong values.
        """
        rule = f"settings must be at most {MAX_JSON_BYTES} bytes"
        require(len(text) <= MAX_JSON_BYTES, rule, len(text), "No file of keras_mmdense has more.")
        try:
            data: dict[str, Any] = _renamed(json.loads(text), _NAMES)
            data["bands"] = tuple(Band(**_renamed(band, _NAMES)) for band in data["bands"])
            sources = data["sources"]
            if not isinstance(sources, list):
                raise TypeError("sources must be a list of names")
            data["sources"] = tuple(sources)
            transform = dict(data.pop("transform"))
            data["sample_rate"] = transform.pop("sample_rate", cls.sample_rate)
            return cls(**data, transform=Transform(**transform))
        except SettingsError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise SettingsError(
                f"model settings must be JSON with the fields of Settings; received {text[:80]!r} "
                f"({error}). The file is damaged or of another version."
            ) from error


def _renamed(table: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in table.items()}
