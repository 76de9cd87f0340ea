"""What a model is made of and what it costs: weights, multiply-adds, memory, receptive field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_mmdense.errors import SettingsError
from keras_mmdense.graph import Call, parameters, trace
from keras_mmdense.model_settings import settings_of
from keras_mmdense.operations import of_layer
from keras_mmdense.receptive_field import context_frames, receptive_field
from keras_mmdense.settings import Settings

if TYPE_CHECKING:
    import keras

FLOAT_BYTES = 4
# Which block a layer belongs to, by its name; poolings, up-samplings and skips to the next block.
_BLOCKS = (
    (re.compile(r"(.*_)?final_dense_.*"), "{}final_dense"),
    (re.compile(r"(.*_)?(?:final_conv|unfold|mask|denormalization)"), "{}head"),
    (re.compile(r"(.*_)?(?:crop|first_\w+)"), "{}first"),
    (re.compile(r"(.*?_)(?:pool|dense|up|skip)(\d+)(?:_.*)?"), "{}dense{}"),
    (re.compile(r"(.*_)?match_\w+"), "{}match"),
    (re.compile(r"(.*_)?(?:bands|joined)"), "{}joined"),
    (re.compile(r"normalization|settings|fold|log1p\w*|sqrt\w*"), "input"),
)


@dataclass(frozen=True)
class Row:
    """A layer, or the layers of one block.

    Args:
        name: The layer's name, or what the names of the block's layers begin with.
        output: Shape of what it gives on: frames of a window, positions, maps.
        parameters: Trainable weights.
        multiply_adds: Of a second of audio, without the context of windows.
    """

    name: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: float


@dataclass(frozen=True)
class Summary:
    """What a model is made of and what it costs.

    Args:
        settings: The model's settings.
        rows: Its blocks or layers, in the order of the graph.
        parameters: Trainable weights.
        multiply_adds: Of a second of audio, without the context of windows.
        window_frames: Frames that a window keeps.
        context: Frames that a window has besides on each side.
        field: Frames before and after an output frame that can change it.
        memory_bytes: Largest sum of all values that are alive at a time while a window of float32
            goes through layer after layer, and of the weights. What runs it needs more: its own
            code, packed weights, room to work in.
    """

    settings: Settings
    rows: tuple[Row, ...]
    parameters: int
    multiply_adds: float
    window_frames: int
    context: int
    field: tuple[int, int]
    memory_bytes: int

    def __str__(self) -> str:
        """Return a table, and the totals below it."""
        return "\n".join([*_table(self), "", *_totals(self)])


def summarize(
    model: keras.Model, *, window_frames: int | None = None, by_layer: bool = False
) -> Summary:
    """Count what a model is made of and what it costs; nothing is computed.

    Args:
        model: A model of `keras_mmdense.build`.
        window_frames: Frames that a window keeps, a multiple of 2**scales; default 128, or of a
            model with fixed frames what its context leaves.
        by_layer: A row for each layer instead of each block.

    Returns:
        The summary; `print` shows it as a table.

    Raises:
        SettingsError: No model of keras_mmdense, or wrong window_frames.

    Example:
        >>> import keras_mmdense
        >>> summary = summarize(keras_mmdense.build("mmdensenet-edge"))
        >>> summary.parameters, round(summary.multiply_adds / 1e9, 2), summary.context
        (537704, 1.03, 56)
    """
    s = settings_of(model)
    context = context_frames(s)
    kept, frames = _window(s, window_frames, context)
    calls = trace(model, frames)
    rate = s.sample_rate / s.transform.hop_length / frames
    rows = [_row([call], name, rate) for name, call in calls.items()]
    if not by_layer:
        rows = [_row(members, name, rate) for name, members in _blocks(calls, s).items()]
    return Summary(
        s,
        tuple(rows),
        parameters(model),
        sum(row.multiply_adds for row in rows),
        kept,
        context,
        receptive_field(s),
        live_bytes(calls) + FLOAT_BYTES * sum(math.prod(w.shape) for w in model.weights),
    )


def live_bytes(calls: Mapping[str, Call]) -> int:
    """Return the most bytes of float32 values that are alive at a time, in the graph's order.

    A value lives from the layer that makes it to the last one that reads it; outputs live on.
    """
    last = dict.fromkeys(calls, len(calls))
    for place, call in enumerate(calls.values()):
        last |= dict.fromkeys(call.inputs, place)
    alive: dict[str, int] = {}
    most = 0
    for place, (name, call) in enumerate(calls.items()):
        alive[name] = FLOAT_BYTES * math.prod(call.output_shape)
        most = max(most, sum(alive.values()))
        alive = {key: size for key, size in alive.items() if last[key] > place}
    return most


def _window(s: Settings, window_frames: int | None, context: int) -> tuple[int, int]:
    """Return the frames that a window keeps, and all that it has."""
    if s.frames is not None:
        return max(0, s.frames - 2 * context), s.frames
    kept = max(128, s.frame_multiple) if window_frames is None else window_frames
    if kept < 1 or kept % s.frame_multiple:
        raise SettingsError(
            f"window_frames must be a multiple of 2**scales = {s.frame_multiple}; received {kept}. "
            "Try 128."
        )
    return kept, kept + 2 * context


def _blocks(calls: Mapping[str, Call], s: Settings) -> dict[str, list[Call]]:
    """Group the layers by block, band after band."""
    found: dict[str, list[Call]] = {}
    for name, call in calls.items():
        found.setdefault(block_of(name, s), []).append(call)
    return {name: found[name] for name in sorted(found, key=lambda name: _place(name, s))}


def _place(block: str, s: Settings) -> tuple[int, int]:
    """Return where a block stands: its network, then its band; the graph mixes the bands."""
    networks = s.sources if len(s.sources) > 1 and not s.shared else ()
    network = next((i for i, one in enumerate(networks) if block.startswith(f"{one}_")), -1)
    rest = block if network < 0 else block.removeprefix(f"{networks[network]}_")
    bands = [i for i, band in enumerate(s.bands) if rest.startswith(f"{band.name}_")]
    return network, bands[0] if bands else -1 if block == "input" else len(s.bands)


def block_of(name: str, s: Settings) -> str:
    """Return the block of a layer; its own name if it belongs to none.

    Example:
        >>> import keras_mmdense
        >>> block_of("low_up5_conv", keras_mmdense.settings_of(keras_mmdense.build()))
        'low_dense5'
    """
    if name in s.sources:
        return f"{name}_head" if len(s.sources) > 1 else "head"
    for pattern, block in _BLOCKS:
        match = pattern.fullmatch(name)
        if match:
            return block.format(*(part or "" for part in match.groups()))
    return name


def _row(calls: list[Call], name: str, rate: float) -> Row:
    return Row(
        name,
        calls[-1].output_shape[1:],
        sum(call.parameters for call in calls),
        rate * sum(of_layer(call) for call in calls),
    )


def _table(summary: Summary) -> Iterable[str]:
    head = ("block or layer", "output", "weights", "", "MMAC/s", "")
    rows = [head]
    for row in summary.rows:
        shape = " x ".join(map(str, row.output))
        work = row.multiply_adds / summary.multiply_adds
        share = row.parameters / max(1, summary.parameters)
        rows.append((row.name, shape, f"{row.parameters:,}", f"{share:.1%}",
                     f"{row.multiply_adds / 1e6:,.1f}", f"{work:.1%}"))  # fmt: skip
    widths = [max(len(line[column]) for line in rows) for column in range(len(head))]
    for number, line in enumerate(rows):
        first = line[0].ljust(widths[0])
        yield "  ".join([first, *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        if number == 0:
            yield "-" * (sum(widths) + 2 * (len(widths) - 1))


def _totals(summary: Summary) -> Iterable[str]:
    s, t = summary.settings, summary.settings.transform
    second = t.hop_length / s.sample_rate
    before, after = summary.field
    frames = summary.window_frames + 2 * summary.context if s.frames is None else s.frames
    yield f"preset             {s.preset}; sources {', '.join(s.sources)}; {s.head} head"
    yield (
        f"transform          {s.sample_rate} Hz, n_fft {t.n_fft}, hop_length {t.hop_length}: "
        f"{1000 * second:.1f} ms a frame"
    )
    yield (
        f"trainable weights  {summary.parameters:,}: "
        f"{FLOAT_BYTES * summary.parameters / 1e6:.2f} MB in float32"
    )
    yield f"multiply-adds      {summary.multiply_adds / 1e9:.2f} G per s of audio, without context"
    if summary.window_frames > 0:
        with_context = summary.multiply_adds * frames / summary.window_frames
        yield (
            f"in windows         {with_context / 1e9:.2f} G with {summary.context} frames "
            f"of context on both sides of {summary.window_frames}"
        )
    yield (
        f"receptive field    {before} frames before and {after} after: "
        f"{before * second:.2f} s and {after * second:.2f} s"
    )
    yield (
        f"memory, at least   {summary.memory_bytes / 1e6:.0f} MB: float32 weights, and values at "
        f"work at once in a window of {frames} frames"
    )
