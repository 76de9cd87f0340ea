"""The contract that a model file carries: what goes in, what comes out, and under which terms."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdense_edge.errors import ModelError, shortened
from mmdense_edge.model import container, fields

FORMAT = "mmdense-model"
VERSION = 1
MAX_DEPTH = 32
MAX_WINDOW_VALUES = 1 << 26
PRECISIONS = ("float32", "float16", "dynamic", "int8-weights", "int8", "int16x8")
OUTPUTS = ("magnitude", "mask")

# Up to how many multiplications and additions for a second of audio: an old board, a Raspberry Pi.
SPEED_CLASSES = {"fast": 0.6e9, "medium": 2e9, "slow": math.inf}


@dataclass(frozen=True)
class Transform:
    """The short-time Fourier transform that the model was trained with.

    Args:
        n_fft: samples in one frame, even, 16 to 65536.
        hop_length: samples between frames, 1 to n_fft // 2.
        window: "hann", the periodic Hann window.
    """

    n_fft: int = 2048
    hop_length: int = 1024
    window: str = "hann"

    @property
    def pad(self) -> int:
        """Samples reflected at both ends, so that frame 0 is centred on sample 0."""
        return self.n_fft // 2

    @property
    def num_bins(self) -> int:
        """Frequency bins of a frame, 0 and Nyquist included."""
        return self.n_fft // 2 + 1

    def num_frames(self, num_samples: int) -> int:
        """Returns how many frames a signal of `num_samples` (1 or more) has."""
        return 1 + -(-num_samples // self.hop_length)


@dataclass(frozen=True)
class Contract:
    """What a model file says about itself; see the README for each entry.

    Shapes: the network's input is (1, frames, bins, channels), each output the same.
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
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step_frames(self) -> int:
        """New frames that one window yields."""
        return self.frames - 2 * self.context_frames

    @property
    def speed_class(self) -> str:
        """How much work the model is: "fast", "medium", "slow"; "unstated" without its figure."""
        if self.macs_per_second is None:
            return "unstated"
        return next(name for name, limit in SPEED_CLASSES.items() if self.macs_per_second <= limit)


@dataclass(frozen=True)
class Model:
    """A model file, read and checked.

    Args:
        path: where it was read from.
        contract: its contract.
        content: the TFLite flatbuffer, without the archive.
        file_bytes: size of the file.
    """

    path: Path
    contract: Contract
    content: bytes = field(repr=False)
    file_bytes: int


def load_model(path: str | os.PathLike[str]) -> Model:
    """Reads a model file and checks its contract and checksum; starts no interpreter.

    Args:
        path: a .tflite file with a contract.

    Raises:
        ModelError: the file or its contract cannot be used; the text says why, in one line.
    """
    data = container.read_model_file(path)
    try:
        content, text = container.split(data)
        contract = parse(text)
        found = hashlib.sha256(content).hexdigest()
        if found != contract.model_sha256:
            raise ModelError(
                f"checksum mismatch: the contract says {contract.model_sha256[:12]}..., "
                f"the model has {found[:12]}...: copy or export the model again"
            )
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Model(Path(path), contract, content, len(data))


def read_contract(path: str | os.PathLike[str]) -> Contract:
    """Returns the contract of a model file.

    Args:
        path: a .tflite file with a contract.

    Raises:
        ModelError: as `load_model`.
    """
    return load_model(path).contract


def parse(text: bytes) -> Contract:
    """Parses and checks the text of a contract.

    Args:
        text: UTF-8 JSON, 1 MiB at most.

    Raises:
        ModelError: not JSON, nested too deeply, a newer version, or an entry out of its range.
    """
    values = _load_json(text)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ModelError(f"the contract's 'format' must be {FORMAT!r}: not a model of this runner")
    _check_version(values.get("version"))
    known = {name: _entry(values, name, check) for name, check in _CHECKS.items()}
    optional = {name: check for name, check in _OPTIONAL.items() if name in values}
    known.update({name: _entry(values, name, check) for name, check in optional.items()})
    known["transform"] = _transform(_entry(values, "transform", fields.mapping))
    taken = {"format", "version", *known}
    extra = {key: value for key, value in values.items() if key not in taken}
    contract = Contract(license=known.pop("licence"), **known, extra=extra)
    _check_together(contract)
    return contract


def _load_json(text: bytes) -> Any:
    if len(text) > container.MAX_CONTRACT_BYTES:
        raise ModelError(f"the contract may have 1 MiB at most, found {len(text)} bytes")
    try:
        values = json.loads(text.decode("utf-8"), parse_int=_bounded_int, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the contract is not valid JSON ({error})") from error
    level = [values]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
    if level:
        raise ModelError(f"the contract is nested more than {MAX_DEPTH} levels deep")
    return values


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _bounded_int(digits: str) -> int:
    # Python's conversion takes quadratic time, and 1 MiB of digits would hold the reader up.
    if len(digits) > 32:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows")


def _check_version(version: Any) -> None:
    if not fields.is_int(version) or version < 1:
        shown = shortened(repr(version))
        raise ModelError(f"the contract's 'version' must be a positive integer, found {shown}")
    if version > VERSION:
        raise ModelError(
            f"the contract has version {version}, this runner reads up to {VERSION}: "
            "update keras_mmdense"
        )


def _entry(values: Mapping[str, Any], name: str, check: fields.Check) -> Any:
    if name not in values:
        raise ModelError(f"the contract lacks {name!r}: export the model again")
    try:
        return check(values[name])
    except ValueError as error:
        shown = shortened(repr(values[name]))
        raise ModelError(f"the contract's {name!r} must be {error}, found {shown}") from None


def _transform(values: Mapping[str, Any]) -> Transform:
    n_fft = _entry(values, "n_fft", fields.integer(16, 65536))
    hop_length = _entry(values, "hop_length", fields.integer(1, n_fft // 2))
    if n_fft % 2:
        raise ModelError(f"the contract's 'n_fft' must be even, found {n_fft}")
    return Transform(n_fft, hop_length, _entry(values, "window", fields.one_of(("hann",))))


def _check_together(contract: Contract) -> None:
    """Checks the rules that tie entries to one another."""
    frames, context, multiple = contract.frames, contract.context_frames, contract.frame_multiple
    if set(contract.outputs) != set(contract.sources):
        raise ModelError(
            "the contract's 'outputs' must name each source once: sources "
            f"{shortened(repr(contract.sources))}, outputs {shortened(repr([*contract.outputs]))}"
        )
    if contract.bins > contract.transform.num_bins:
        raise ModelError(
            f"the contract's 'bins' may be {contract.transform.num_bins} at most for "
            f"n_fft {contract.transform.n_fft}, found {contract.bins}"
        )
    if frames % multiple or context % multiple or contract.step_frames < 1:
        raise ModelError(
            "the contract's 'frames' must exceed 2 * 'context_frames', both multiples of "
            f"'frame_multiple', found {frames}, {context}, {multiple}"
        )
    if frames * contract.bins * contract.channels > MAX_WINDOW_VALUES:
        raise ModelError(
            f"a window may have {MAX_WINDOW_VALUES} values at most, found {frames} frames x "
            f"{contract.bins} bins x {contract.channels} channels"
        )


_CHECKS: dict[str, fields.Check] = {
    "name": fields.line(200),
    "model_sha256": fields.sha256,
    "sources": fields.sources,
    "sample_rate": fields.integer(1000, 768000),
    "bins": fields.integer(1, 32769),
    "channels": fields.integer(1, 2),
    "frames": fields.integer(1, 65536),
    "context_frames": fields.integer(0, 32767),
    "frame_multiple": fields.integer(1, 65536),
    "input": fields.line(256),
    "outputs": fields.names,
    "output": fields.one_of(OUTPUTS),
    "precision": fields.one_of(PRECISIONS),
    "licence": fields.text(10000),
    "training_data": fields.text(10000),
    "parity": fields.numbers,
    "settings": fields.mapping,
}

# Figures that an export may add: SDR in dB, and the work for a second of audio.
_OPTIONAL: dict[str, fields.Check] = {
    "scores": fields.numbers,
    "macs_per_second": fields.positive,
}
