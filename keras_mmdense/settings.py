"""The settings of a model: architecture, transform and provenance, frozen and JSON-able."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from mmdense_edge.model.contract import Transform

from keras_mmdense.band import Band
from keras_mmdense.checks import check_name, int_tuple, is_int, require
from keras_mmdense.errors import SettingsError

MAX_JSON_BYTES = 1 << 20


@dataclass(frozen=True)
class Settings:
    """All that makes a model what it is; travels inside the model file as JSON.

    Args:
        sources: Names of the separated sources.
        bands: The band networks; those below full width tile the frequency axis in order.
        preset: Name of the table that the bands were taken from.
        shared: One network with an output per source instead of one network per source.
        final_growth: Maps per layer of the dense block after the bands are joined.
        final_layers: Layers of that block.
        final_kernel: Kernel (frames, bins) of the last convolution.
        block_output: What a dense block returns: its "last" layer's maps, all "new" maps, or
            "all" maps with its input.
        bottleneck: 1x1 convolution to 4 * growth maps before each dense convolution.
        pooling: "average" or "max".
        norm: Batch normalisation and ReLU "before" each convolution (the paper) or "after" it
            (then they fold into the convolution).
        head: "magnitude" (convolution, ReLU) or "mask" (sigmoid times the mixture).
        compression: What is done to the mixture's magnitude before its normalisation: "none" (the
            paper), "sqrt" or "log" (log(1 + magnitude)). The last two need a mask head.
        bins: Frequency bins that the network sees, from bin 0; the others take the mask of the
            last one.
        channels: Audio channels, 1 or 2.
        fold: Neighbouring bins that one position of the network holds as channels: the network
            works on bins // fold positions.
        frames: Fixed number of frames, or None for any multiple of 2**scales.
        sample_rate: Rate of the audio in Hz, 1000 to 384000.
        transform: The short-time Fourier transform: `n_fft`, even, 16 to 65536 samples, and
            `hop_length`, 1 to n_fft // 2 samples.
        training_data: What the weights were trained on, in words.
        licence: Licence of the weights.

    Raises:
        SettingsError: A value is outside its range or two do not fit together.

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
    final_growth: int = 4
    final_layers: int = 2
    final_kernel: tuple[int, int] = (1, 2)
    block_output: str = "last"
    bottleneck: bool = False
    pooling: str = "average"
    norm: str = "before"
    head: str = "magnitude"
    compression: str = "none"
    bins: int = 1024
    channels: int = 2
    fold: int = 1
    frames: int | None = None
    sample_rate: int = 44100
    transform: Transform = field(default_factory=Transform)
    training_data: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        """Check every value and how they fit together."""
        self._check_sources()
        self._check_choices()
        self._check_numbers()
        self._check_bands()
        self._check_frames()

    @property
    def scales(self) -> int:
        """Largest number of 2x2 poolings of any band."""
        return max(band.scales for band in self.bands)

    @property
    def positions(self) -> int:
        """Positions on the network's frequency axis: bins // fold."""
        return self.bins // self.fold

    @property
    def frame_multiple(self) -> int:
        """Inputs must have a multiple of this many frames: 2**scales."""
        return 1 << self.scales

    def _check_sources(self) -> None:
        require(
            isinstance(self.sources, tuple) and 1 <= len(self.sources) <= 64,
            "sources must be 1 to 64 names",
            self.sources,
            'Pass for example ("vocals",).',
        )
        for name in self.sources:
            check_name("a source's name", name)
        require(
            len({name.lower() for name in self.sources}) == len(self.sources),
            "sources must differ, and not only in case: they become file names",
            self.sources,
            "Name each source once.",
        )

    def _check_choices(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            require(
                value in allowed,
                f"{name} must be one of {', '.join(allowed)}",
                value,
                f"The default is {allowed[0]!r}.",
            )
        require(
            self.compression == "none" or self.head == "mask",
            "compression needs head='mask': a magnitude head undoes the scale of the input",
            self.compression,
            "Pass head='mask'.",
        )
        for name in ("shared", "bottleneck"):
            value = getattr(self, name)
            require(isinstance(value, bool), f"{name} must be True or False", value, "Pass a bool.")
        for name in ("preset", "training_data", "licence"):
            value = getattr(self, name)
            require(
                isinstance(value, str) and len(value) <= 10000,
                f"{name} must be text of at most 10000 characters",
                value,
                "Pass a str.",
            )

    def _check_numbers(self) -> None:
        object.__setattr__(self, "final_kernel", int_tuple("final_kernel", self.final_kernel))
        require(
            len(self.final_kernel) == 2,
            "final_kernel is (frames, bins)",
            self.final_kernel,
            "The paper has (1, 2).",
        )
        n_fft, hop_length = self.transform.n_fft, self.transform.hop_length
        window = self.transform.window
        require(window == "hann", "window must be 'hann'", window, "Leave it out.")
        require(
            is_int(n_fft) and 16 <= n_fft <= 65536 and n_fft % 2 == 0,
            "n_fft must be even and 16 to 65536 samples",
            n_fft,
            "Pass 2 * bins.",
        )
        require(
            is_int(hop_length) and 1 <= hop_length <= n_fft // 2,
            f"hop_length must be 1 to n_fft // 2 = {n_fft // 2} samples",
            hop_length,
            "Pass n_fft // 2 or less, else samples are lost.",
        )
        for name, low, high in (
            ("sample_rate", 1000, 384000),
            ("final_growth", 1, 4096),
            ("final_layers", 1, 64),
            ("bins", 1, 32768),
            ("channels", 1, 2),
            ("fold", 1, 64),
        ):
            value = getattr(self, name)
            require(
                is_int(value) and low <= value <= high,
                f"{name} must be {low} to {high}",
                value,
                "Pass a whole number in that range.",
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
        require(
            isinstance(self.bands, tuple) and 1 <= len(self.bands) <= 32,
            "bands must be 1 to 32 Band objects",
            self.bands,
            "Pass a preset or a tuple of Band.",
        )
        names = [band.name for band in self.bands]
        require(len(set(names)) == len(names), "band names must differ", names, "Rename one.")
        parts = [band for band in self.bands if not band.is_full]
        width = self.positions
        edges = [band.edges(width) for band in parts]
        starts, stops = [e[0] for e in edges], [e[1] for e in edges]
        require(
            not parts or [*starts, width] == [0, *stops],
            f"bands below full width must tile the positions 0..{width} (bins // fold) in order",
            dict(zip([band.name for band in parts], edges, strict=True)),
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

    def _check_frames(self) -> None:
        if self.frames is not None:
            valid = is_int(self.frames) and 0 < self.frames <= 1 << 20
            require(
                valid and self.frames % self.frame_multiple == 0,
                f"frames must be None or a multiple of 2**scales = {self.frame_multiple}",
                self.frames,
                "Pass None for any length.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as they are stored: the transform has the sample rate in it."""
        stored = asdict(self)
        transform = {"sample_rate": stored.pop("sample_rate"), **stored["transform"]}
        del transform["window"]  # a periodic Hann window, the only one there is
        return {**stored, "transform": transform}

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read settings from JSON, checking everything.

        Raises:
            SettingsError: The text is not JSON, has unknown or missing keys, or wrong values.
        """
        require(
            len(text) <= MAX_JSON_BYTES,
            f"settings must be at most {MAX_JSON_BYTES} bytes",
            len(text),
            "This is no file of keras_mmdense.",
        )
        try:
            data: dict[str, Any] = json.loads(text)
            data["bands"] = tuple(Band(**band) for band in data["bands"])
            data["sources"] = _names(data["sources"])
            transform = dict(data.pop("transform"))
            sample_rate = transform.pop("sample_rate", cls.sample_rate)
            return cls(**data, sample_rate=sample_rate, transform=Transform(**transform))
        except SettingsError:
            raise
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise SettingsError(
                f"model settings must be JSON with the fields of Settings; received {text[:80]!r} "
                f"({error}). The file is damaged or of another version."
            ) from error


def _names(value: object) -> tuple[Any, ...]:
    """Return the list of a JSON text as a tuple; text is no list of names."""
    require(
        isinstance(value, list), "sources must be a list of names", value, "The file is damaged."
    )
    return tuple(value)  # type: ignore[arg-type]


CHOICES = {
    "block_output": ("last", "new", "all"),
    "pooling": ("average", "max"),
    "norm": ("before", "after"),
    "head": ("magnitude", "mask"),
    "compression": ("none", "sqrt", "log"),
}
