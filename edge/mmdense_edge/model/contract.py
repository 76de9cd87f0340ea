"""The contract in a model file: its inputs, its outputs and its license."""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmdense_edge.errors import ModelError, printable, refuse_if, shortened

FORMAT = "mmdense-model"
VERSION = 3  # a file without states has version 1, one with states and no context 2
MAX_DEPTH = 32
MAX_WINDOW_VALUES = 1 << 26
MAX_TAPS = 4096
MAX_PAST_VALUES = 1 << 24
PRECISIONS = ("float32", "float16", "dynamic", "int8-weights", "int8", "int16x8")
OUTPUTS = ("magnitude", "mask")
RESERVED_SOURCES = ("mixture", "residual")

# Upper limits in multiply-adds per second of audio: an old board, a Raspberry Pi.
SPEED_CLASSES = {"fast": 0.6e9, "medium": 2e9, "slow": math.inf}


@dataclass(frozen=True)
class Transform:
    """The short-time Fourier transform that the model was trained with.

    Args:
        n_fft: Samples in one frame, even, 16 to 65536.
        hop_length: Samples between frames, 1 to n_fft // 2.
        window: "hann", the periodic Hann window.
    """

    n_fft: int = 2048
    hop_length: int = 1024
    window: str = "hann"

    @property
    def pad(self) -> int:
        """Samples reflected at both ends, so that frame 0 is centered on sample 0."""
        return self.n_fft // 2

    @property
    def num_bins(self) -> int:
        """Frequency bins of a frame, 0 and Nyquist included."""
        return self.n_fft // 2 + 1

    def num_frames(self, num_samples: int) -> int:
        """Return the number of frames of a signal of `num_samples` (1 or more)."""
        return 1 + -(-num_samples // self.hop_length)


@dataclass(frozen=True)
class States:
    """What a network remembers of past windows, from version 2 on.

    Args:
        input: Name of the input that gets values of past windows, float32, (1, values).
        output: Name of the output with the values to keep of this window, float32, (1, values).
        taps: The parts of the input, in order: (start, stop, delay) for the values from `start` to
            `stop` of the output, `delay` windows before; zeros before the first window.
    """

    input: str
    output: str
    taps: tuple[tuple[int, int, int], ...]

    @property
    def read(self) -> int:
        """Values of the input."""
        return sum(stop - start for start, stop, _ in self.taps)

    @property
    def kept(self) -> int:
        """Values of the output."""
        return max(stop for _, stop, _ in self.taps)

    @property
    def windows(self) -> int:
        """Past windows that are remembered."""
        return max(delay for _, _, delay in self.taps)


@dataclass(frozen=True)
class Contract:
    """The contract of a model file; docs/reference/edge.md describes each entry.

    `license` is stored as "licence". The network's input and each of its outputs have the shape
    (1, frames, bins, channels). With states, this is (1, step_frames, bins, channels): the input is
    the last frames of a window, and the outputs are the estimates of those `context_frames` before.
    """

    name: str
    model_sha256: str
    sources: tuple[str, ...]
    sample_rate: int
    transform: Transform
    bins: int
    channels: int
    frames: int
    context_frames: int
    frame_multiple: int
    input: str
    outputs: Mapping[str, str]
    output: str
    precision: str
    license: str
    training_data: str
    parity: Mapping[str, float]
    settings: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)
    macs_per_second: float | None = None
    states: States | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step_frames(self) -> int:
        """New frames per window."""
        return self.frames - 2 * self.context_frames

    @property
    def title(self) -> str:
        """The model's name and the license of its weights, to be printed."""
        return f"model {self.name}, weights: {printable(self.license) or 'no license stated'}"

    @property
    def speed_class(self) -> str:
        """The computational cost: "fast", "medium" or "slow"; "unstated" if unknown."""
        if self.macs_per_second is None:
            return "unstated"
        return next(name for name, limit in SPEED_CLASSES.items() if self.macs_per_second <= limit)


def parse(text: bytes) -> Contract:
    """Parse and check the text of a contract.

    Args:
        text: UTF-8 JSON.

    Raises:
        ModelError: The text is not JSON, is nested too deeply or has a newer version, or an entry
            is out of range.
    """
    try:
        values = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the contract is not valid JSON ({error})") from error
    level = [values]
    for _ in range(MAX_DEPTH):
        inner = [value for value in level if isinstance(value, (dict, list))]
        level = [c for each in inner for c in (each.values() if isinstance(each, dict) else each)]
    refuse_if(level, f"the contract is nested more than {MAX_DEPTH} levels deep", ModelError)
    refuse_if(
        not isinstance(values, dict) or values.get("format") != FORMAT,
        f"the contract's 'format' must be {FORMAT!r}: not a model of this runner",
        ModelError,
    )
    refuse_if(
        _entry(values, "version", _POSITIVE) > VERSION,
        f"the contract has version {shortened(str(values['version']))}, but this runner reads "
        f"versions up to {VERSION}. Update keras_mmdense",
        ModelError,
    )
    entries = {
        name: _entry(values, name, rule)
        for name, rule in _RULES.items()
        if name in values or name not in _OPTIONAL
    }
    sizes = entries["transform"]
    entries["transform"] = Transform(
        _entry(sizes, "n_fft", _EVEN),
        _entry(sizes, "hop_length", _integer(1, sizes["n_fft"] // 2)),
        _entry(sizes, "window", _choice("hann")),
    )
    entries["sources"] = tuple(entries["sources"])
    if "states" in entries:
        _entry(values, "version", ("2 or 3 with 'states'", lambda version: version >= 2))
        states = {name: _entry(entries["states"], name, rule) for name, rule in _STATES.items()}
        entries["states"] = States(**states | {"taps": tuple(map(tuple, states["taps"]))})
    taken = {"format", "version", *entries}
    extra = {key: value for key, value in values.items() if key not in taken}
    contract = Contract(license=entries.pop("licence"), **entries, extra=extra)
    for keeps, words in _TOGETHER:
        if not keeps(contract):
            raise ModelError(f"the contract's {shortened(words.format(c=contract), 400)}")
    return contract


# A rule in words, and whether a value keeps it.
Rule = tuple[str, Callable[[Any], bool]]


def _entry(values: Mapping[str, Any], name: str, rule: Rule) -> Any:
    words, holds = rule
    refuse_if(
        name not in values,
        f"the contract lacks {name!r}. Export the model again",
        ModelError,
    )
    refuse_if(
        not holds(values[name]),
        f"the contract's {name!r} must be {words}; received {shortened(repr(values[name]))}",
        ModelError,
    )
    return values[name]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a valid JSON number")


def _is_number(value: Any) -> bool:
    # The comparison is exact: an integer may exceed all floats. NaN fails every comparison.
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def _is_line(value: Any, high: int = 256) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= high and value.isprintable()


def _are_sources(value: Any) -> bool:
    # Sources become file names: no dots, separators or control characters.
    if not isinstance(value, list) or not all(
        isinstance(name, str) and re.fullmatch(r"\w[\w +-]{0,63}", name) for name in value
    ):
        return False
    folded = {name.casefold() for name in value}
    return 1 <= len(value) == len(folded) <= 64 and not folded.intersection(RESERVED_SOURCES)


def _integer(low: int, high: int) -> Rule:
    return (
        f"an integer from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def _choice(*choices: str) -> Rule:
    return "one of " + ", ".join(choices), lambda value: value in choices


_POSITIVE: Rule = ("a positive integer", lambda value: type(value) is int and value > 0)
_EVEN: Rule = (
    "an even integer from 16 to 65536",
    lambda value: type(value) is int and 16 <= value <= 65536 and value % 2 == 0,
)
_OBJECT: Rule = ("an object", lambda value: isinstance(value, dict))
_TEXT: Rule = (
    "text of at most 10000 characters",
    lambda value: isinstance(value, str) and len(value) <= 10000,
)
_NUMBERS: Rule = (
    "an object of finite numbers",
    lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
)
_RULES: dict[str, Rule] = {
    "name": ("one line of 1 to 200 characters", lambda value: _is_line(value, 200)),
    "model_sha256": (
        "64 hexadecimal digits in lower case",
        lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)),
    ),
    "sources": (
        "a list of 1 to 64 names, each once, of letters, digits, spaces and _+-, other than "
        + " and ".join(RESERVED_SOURCES),
        _are_sources,
    ),
    "sample_rate": _integer(1000, 768000),
    "transform": _OBJECT,
    "bins": _integer(1, 32769),
    "channels": _integer(1, 2),
    "frames": _integer(1, 65536),
    "context_frames": _integer(0, 32767),
    "frame_multiple": _integer(1, 65536),
    "input": ("one line of 1 to 256 characters", _is_line),
    "outputs": (
        "an object of lines of 1 to 256 characters",
        lambda value: isinstance(value, dict) and all(map(_is_line, value.values())),
    ),
    "output": _choice(*OUTPUTS),
    "precision": _choice(*PRECISIONS),
    "licence": _TEXT,
    "training_data": _TEXT,
    "parity": _NUMBERS,
    "settings": _OBJECT,
    # Figures that an export may add: SDR in dB, and the work for a second of audio.
    "scores": _NUMBERS,
    "states": _OBJECT,
    "macs_per_second": ("a finite number above 0", lambda value: _is_number(value) and value > 0),
}
_OPTIONAL = ("scores", "macs_per_second", "states")
_STATES: dict[str, Rule] = {
    "input": _RULES["input"],
    "output": _RULES["input"],
    "taps": (
        f"a list of 1 to {MAX_TAPS} [start, stop, delay] of whole numbers, 0 <= start < stop, "
        "delay 1 or more",
        lambda value: (
            isinstance(value, list)
            and 1 <= len(value) <= MAX_TAPS
            and all(isinstance(tap, list) and len(tap) == 3 for tap in value)
            and all(type(n) is int and n <= MAX_PAST_VALUES for tap in value for n in tap)
            and all(0 <= start < stop and delay >= 1 for start, stop, delay in value)
        ),
    ),
}

# Rules that tie entries to one another; `c` is the contract.
_TOGETHER: tuple[tuple[Callable[[Contract], bool], str], ...] = (
    (
        lambda c: set(c.outputs) == set(c.sources),
        "'outputs' must name each source once; received sources {c.sources} and outputs "
        "{c.outputs}",
    ),
    (
        lambda c: c.bins <= c.transform.num_bins,
        "'bins' must be at most {c.transform.num_bins} for n_fft {c.transform.n_fft}; received "
        "{c.bins}",
    ),
    (
        lambda c: (
            c.step_frames > 0
            and not c.frames % c.frame_multiple
            and not c.context_frames % c.frame_multiple
        ),
        "'frames' must exceed 2 * 'context_frames', both multiples of 'frame_multiple'; received "
        "{c.frames}, {c.context_frames}, {c.frame_multiple}",
    ),
    (
        lambda c: c.frames * c.bins * c.channels <= MAX_WINDOW_VALUES,
        f"window must have at most {MAX_WINDOW_VALUES} values; received "
        "{c.frames} frames x {c.bins} bins x {c.channels} channels",
    ),
    (
        lambda c: c.states is None or c.step_frames == c.frame_multiple,
        "'frame_multiple' must be 'frames' - 2 * 'context_frames' with 'states'; received "
        "{c.frame_multiple}, {c.frames}, {c.context_frames}",
    ),
    (
        lambda c: c.states is None or len({c.input, c.states.input, c.states.output}) == 3,
        "'states' must have names of their own; received {c.states.input} and {c.states.output}",
    ),
    (
        lambda c: (
            c.states is None
            or max(c.states.kept * c.states.windows, c.states.read) <= MAX_PAST_VALUES
        ),
        f"'states' must have at most {MAX_PAST_VALUES} values; received {{c.states.kept}} in "
        "{c.states.windows} windows, {c.states.read} to read",
    ),
)
