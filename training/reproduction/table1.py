"""Table 1: the architecture as built, read from the graph, beside the reading of the paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

import keras_mmdense
from keras_mmdense.graph import FRAMES, Call, maker, parameters, trace
from keras_mmdense.operations import multiply_adds_per_second
from training.reproduction import published
from training.reproduction.markdown import table

Calls = dict[str, Call]
BETWEEN = (layers.BatchNormalization, layers.ReLU)  # between what is made and who reads it
POOLS = {layers.AveragePooling2D: "average", layers.MaxPooling2D: "max"}
READINGS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("the last layer's maps", "the default", {}),
    ("the same, 1x1 bottleneck (4k)", "bottleneck=True", {"bottleneck": True}),
    ("all new maps", 'block_output="new"', {"block_output": "new"}),
    ("input and all maps", 'block_output="all"', {"block_output": "all"}),
)

INTRODUCTION = f"""\
# Table 1: the architecture as built

Read from the Keras graph for {FRAMES} frames of 1024 bins, one source, stereo. Kernels are time x
frequency; k: maps per layer of a dense block, L: its layers, counted from the convolutions.
"Reads": the maps that each convolution reads; in a dense block they grow by k with each layer. The
kind of the pooling is not in the paper. The reading of the paper is the one that independent public
re-implementations agree on [I]; where its print can be read in several ways, they are given with
*or*."""


@dataclass(frozen=True)
class Row:
    """A layer or block of the network.

    Args:
        layer: Its name in Table 1.
        built: What it is in the graph.
        reads: How many maps each of its convolutions reads.
        reading: What it may be after the paper; several where the print can be read so; none
            where the paper says nothing.
        output: Shape (frames, bins, maps) of what it returns.
        parameters: Trainable weights.
        scale: Frames and bins of the network over its own.
    """

    layer: str
    built: str
    reads: tuple[int, ...]
    reading: tuple[str, ...]
    output: tuple[int, ...]
    parameters: int
    scale: tuple[int, int]

    @property
    def verdict(self) -> str:
        """Whether what is built agrees with the paper's reading."""
        if not self.reading:
            return "not in the paper"
        if self.built not in self.reading:
            return "DIFFERS"
        return "agrees" if len(self.reading) == 1 else f"agrees with one of {len(self.reading)}"


def report() -> str:
    """Return the tables of both presets, and the sizes of all readings, as Markdown."""
    parts = [INTRODUCTION]
    for preset in published.TABLE1:
        calls = trace(keras_mmdense.build(preset))
        for name, rows in rows_of(calls, preset).items():
            parts.append(f"\n## {preset}, {name}\n\n{_table(rows)}")
        total = sum(call.parameters for call in calls.values())
        parts.append(f"\nTrainable weights of {preset}: {total:,}.")
    parts.append(f"\n## Sizes of all readings\n\n{_readings()}")
    return "\n".join(parts) + "\n"


def rows_of(calls: Calls, preset: str) -> dict[str, list[Row]]:
    """Return the rows of each band's network, and of what follows ("joined").

    Args:
        calls: The graph of a model of one source.
        preset: The key in `published.TABLE1` of what it is held against.
    """
    known = published.TABLE1[preset]
    bands = [name.removesuffix("_first_conv") for name in calls if name.endswith("_first_conv")]
    found = {band: list(_band(calls, band, known[band])) for band in bands}
    return {**found, "joined": list(_joined(calls, bands))}


def _band(calls: Calls, band: str, column: published.Column) -> Iterator[Row]:
    first = calls[f"{band}_first_conv"]
    yield _row(calls, "first conv", [f"{band}_first_conv"], _conv(first), (column.first,), first)
    count = len(column.dense)
    for index, reading in enumerate(column.dense, start=1):
        pool, up = f"{band}_pool{index}", f"{band}_up{index}_conv"
        if pool in calls:
            kind = POOLS[type(calls[pool].layer)]
            size = "x".join(map(str, calls[pool].layer.pool_size))
            yield _row(calls, f"{kind} pool {index}", [], size, ("2x2",), first, pool)
        if up in calls:
            names = [name for name in calls if name.startswith(f"{band}_up{index}_")]
            skip = f"{band}_skip{index}"
            paper = f"t.conv 2x2, concat dense {count + 1 - index}"
            built = f"t.conv {_size(calls[up].layer)}, concat {_skipped(calls, skip, up)}"
            yield _row(calls, f"up {index}", names, built, (paper,), first, skip)
        names = [name for name in calls if name.startswith(f"{band}_dense{index}_")]
        built = _dense(calls, names)
        if index == count and f"{band}_match_conv" in calls:
            names += [name for name in calls if name.startswith(f"{band}_match_")]
            built += f", {_conv(calls[names[-1]]).replace(',', ' to')}"
        yield _row(calls, f"dense {index}", names, built, reading, first)


def _joined(calls: Calls, bands: Sequence[str]) -> Iterator[Row]:
    final = calls["final_conv"]
    parts = [band for band in bands if f"{band}_crop" in calls]
    for name, axis, joined in (
        ("bands", "frequency", parts),
        ("joined", "channels", ["bands", *(band for band in bands if band not in parts)]),
    ):
        if name in calls:
            paper = f"{', '.join(joined)} on {axis}"
            built = _concatenated(calls, name, bands)
            yield _row(calls, f"concat {name}", [], built, (paper,), final, name)
    names = [name for name in calls if name.startswith("final_dense_")]
    yield _row(calls, "final dense", names, _dense(calls, names), (published.FINAL_DENSE,), final)
    yield _row(calls, "final conv", ["final_conv"], _conv(final), (published.FINAL_CONV,), final)


def _row(
    calls: Calls,
    layer: str,
    names: Sequence[str],
    built: str,
    reading: tuple[str, ...],
    whole: Call,
    last: str = "",
) -> Row:
    """Describe the calls of some names; the last convolution's output is theirs."""
    convs = [n for n in names if isinstance(calls[n].layer, layers.Conv2D)]
    output = calls[last or convs[-1]].output_shape
    reads = tuple(calls[name].input_shapes[0][-1] for name in convs)
    weights = sum(calls[name].parameters for name in names)
    scale = (whole.output_shape[1] // output[1], whole.output_shape[2] // output[2])
    return Row(layer, built, reads, reading, output[1:], weights, scale)


def _dense(calls: Calls, names: Sequence[str]) -> str:
    """Count growth and layers of a dense block from its convolutions."""
    convs = {n: calls[n] for n in names if re.search(r"_layer\d+_conv$", n)}
    growth = sorted({call.output_shape[-1] for call in convs.values()})
    kernels = sorted({_size(call.layer) for call in convs.values()})
    text = f"{'/'.join(kernels)}, k {'/'.join(map(str, growth))}, L {len(convs)}"
    return text + (", bottleneck" if any("_bottleneck_" in name for name in names) else "")


def _conv(call: Call) -> str:
    return f"{_size(call.layer)}, {call.output_shape[-1]} maps"


def _size(layer: Any) -> str:
    return "x".join(map(str, layer.kernel_size))


def _skipped(calls: Calls, name: str, up: str) -> str:
    """Return what a concatenation reads besides the up-sampled maps."""
    made = [maker(calls, one, BETWEEN) for one in calls[name].inputs]
    return ", ".join(_block_of(one) for one in made if one != up)


def _block_of(name: str) -> str:
    found = re.search(r"_dense(\d+)_", name)
    return f"dense {found[1]}" if found else name


def _concatenated(calls: Calls, name: str, bands: Sequence[str]) -> str:
    axis = {2: "frequency", 3: "channels"}.get(calls[name].layer.axis, "another axis")
    made = [maker(calls, one, BETWEEN) for one in calls[name].inputs]
    read = [next((band for band in bands if one.startswith(f"{band}_")), one) for one in made]
    return f"{', '.join(read)} on {axis}"


def _table(rows: Sequence[Row]) -> str:
    head = ["layer", "scale", "as built", "reading of the paper", "", "reads", "output", "weights"]
    return table(
        head,
        [
            [
                row.layer,
                _scale(row.scale),
                row.built,
                " *or* ".join(row.reading) or "-",
                row.verdict,
                ", ".join(map(str, row.reads)) or "-",
                " x ".join(map(str, row.output)),
                f"{row.parameters:,}",
            ]
            for row in rows
        ],
    )


def _scale(scale: tuple[int, int]) -> str:
    frames, bins = ("1" if one == 1 else f"1/{one}" for one in scale)
    return frames if frames == bins else f"{frames} x {bins}"


def _readings() -> str:
    """Count the trainable weights and multiply-adds of each reading."""
    rows: list[list[object]] = []
    sizes: list[int] = []  # of both presets in turn
    for output, argument, options in READINGS:
        row: list[object] = [output, f"`{argument}`" if options else argument]
        for preset in published.TABLE1:
            model = keras_mmdense.build(preset, **options)
            sizes.append(parameters(model))
            rate = multiply_adds_per_second(model) / 1e9
            row += [f"{sizes[-1]:,}", f"{rate:.1f}"]
            keras.backend.clear_session()
        rows.append(row)
    size = published.SIZES["MMDenseNet"]
    below = 1 - sizes[1] / (size.value * 1e6)
    head = ["block output", "argument of `build`", "MDenseNet, weights", "GMAC per s of audio"]
    head += ["MMDenseNet, weights", "GMAC per s of audio"]
    return (
        f"{table(head, rows)}\n\nThe published size of MMDenseNet is {size} ({size.source}). The "
        f"default comes nearest, {below:.0%} below it; the difference is unexplained. One source, "
        "stereo in and out; GMAC: 10^9 multiply-adds of the convolutions, transposed ones among "
        "them."
    )
