"""A model's layers and its cost, computed from its graph.

Multiply-adds are counted for convolutions, dense and recurrent layers: the products of weights and
values. As is usual, element-wise work (normalization, activation, pooling, bias) is not counted.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_mmdense.errors import require
from keras_mmdense.model_settings import settings_of
from keras_mmdense.receptive_field import context_frames, receptive_field
from keras_mmdense.settings import Settings

FRAMES = 128  # of a model that takes any number of frames: the paper's example
FLOAT_BYTES = 4
# Which block a layer belongs to, by its name; poolings, up-samplings and skips to the next block.
_BLOCKS = (
    (re.compile(r"(.*_)?final_dense_.*"), "{}final_dense"),
    (re.compile(r"(.*_)?(?:final_conv|final_past|unfold|mask|denormalization)"), "{}head"),
    (re.compile(r"(.*_)?(?:crop|first_\w+)"), "{}first"),
    (re.compile(r"(.*?_)(?:pool|dense|up|skip)(\d+)(?:_.*)?"), "{}dense{}"),
    (re.compile(r"(.*_)?match_\w+"), "{}match"),
    (re.compile(r"(.*_)?(?:bands|joined)"), "{}joined"),
    (re.compile(r"normalization|settings|fold|gain|log1p\w*|sqrt\w*"), "input"),
)
GATES = {layers.LSTM: 4, layers.GRU: 3, layers.SimpleRNN: 1}
FREE = (
    layers.Activation, layers.Add, layers.AveragePooling2D, layers.BatchNormalization,
    layers.Concatenate, layers.Cropping2D, layers.InputLayer, layers.MaxPooling2D,
    layers.Multiply, layers.Normalization, layers.ReLU, layers.Rescaling, layers.Reshape,
    layers.ZeroPadding2D,
)  # fmt: skip
FREE_OPERATIONS = ("Log1p", "Sqrt")  # compression: Keras has no public names for their types


@dataclass(frozen=True)
class Call:
    """One layer of a model at work.

    Args:
        layer: The model's own layer, with its weights.
        inputs: Names of the layers whose outputs it reads, in the order that it reads them.
        input_shapes: Shapes of what it reads; the batch is 1.
        output_shape: Shape of what it returns.
    """

    layer: keras.layers.Layer
    inputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]


def parameters(model: keras.Model | keras.layers.Layer) -> int:
    """Count the trainable weights of a model or layer; an operation that is not a layer has none.

    Example:
        >>> layer = keras.layers.Dense(3)
        >>> layer.build((None, 4))
        >>> parameters(layer)
        15
    """
    return sum(math.prod(weight.shape) for weight in getattr(model, "trainable_weights", ()))


def trace(model: keras.Model, frames: int = FRAMES) -> dict[str, Call]:
    """Return the calls of a model of one input, by the layer's name, in the order of the graph.

    Args:
        model: A functional model whose input is (batch, frames, bins, channels).
        frames: Frames to feed where the model takes any number.

    Raises:
        SettingsError: The model is not a functional model with one such input, or calls a layer
            twice.

    Example:
        >>> import keras_mmdense
        >>> calls = trace(keras_mmdense.build("mdensenet"), frames=64)
        >>> calls["full_skip5"].inputs, calls["full_skip5"].output_shape
        (('full_up5_conv', 'full_dense3_layer4_conv'), (1, 16, 256, 24))
    """
    source: Any = getattr(model, "input", None)
    require(
        len(getattr(source, "shape", ())) == 4,
        "a model must be functional, with one input (batch, frames, bins, channels)",
        model,
        "Build one with keras_mmdense.",
    )
    start = keras.Input(batch_shape=(1, source.shape[1] or frames, *source.shape[2:]))
    calls: dict[str, Call] = {}
    own = {operation.name: operation for operation in model.operations}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        require(
            layer.name not in calls and isinstance(output, keras.KerasTensor),
            "the layers of a model must be called once and return one tensor",
            layer.name,
            "Build the model with keras_mmdense.",
        )
        inputs = keras.tree.flatten(args)
        makers = (tensor._keras_history.operation.name for tensor in inputs)
        calls[layer.name] = Call(
            own[layer.name],
            tuple(name if name in calls else "" for name in makers),
            tuple(tuple(tensor.shape) for tensor in inputs),
            tuple(output.shape),
        )
        return output

    # not the model itself: Keras would compile its clone, and may not know the loss
    plain = keras.Model(model.input, model.output)
    keras.models.clone_model(plain, input_tensors=start, call_function=call)
    return calls


def maker(calls: dict[str, Call], name: str, through: tuple[type, ...]) -> str:
    """Follow a path backwards through layers of some types; return the first of another type.

    Example:
        >>> import keras_mmdense
        >>> calls = trace(keras_mmdense.build("mdensenet", norm="after", bins=64))
        >>> maker(calls, "full_up5_relu", (keras.layers.ReLU, keras.layers.BatchNormalization))
        'full_up5_conv'
    """
    while name and isinstance(calls[name].layer, through):
        name = calls[name].inputs[0]
    return name


def readers(calls: dict[str, Call], name: str, through: tuple[type, ...]) -> Iterator[str]:
    """Yield the layers that read a layer's output, also by way of layers of some types."""
    for other, call in calls.items():
        if name in call.inputs:
            yield from (
                readers(calls, other, through) if isinstance(call.layer, through) else [other]
            )


def multiply_adds(model: keras.Model, frames: int = FRAMES) -> int:
    """Count the multiply-adds of one example of a model.

    Args:
        model: A model as `trace` takes it.
        frames: Frames of the example where the model takes any number.

    Raises:
        SettingsError: The model has a layer of an unsupported type.

    Example:
        >>> import keras_mmdense
        >>> multiply_adds(keras_mmdense.build(), frames=128) // 10**6
        8245
    """
    return sum(multiply_adds_of(call) for call in trace(model, frames).values())


def multiply_adds_per_second(model: keras.Model, frames: int = FRAMES) -> float:
    """Count the multiply-adds for a second of audio, without the context of windows.

    Args:
        model: A model with the settings of keras_mmdense.
        frames: Frames of an example, a multiple of its `frame_multiple`.
    """
    settings = settings_of(model)
    length = model.input.shape[1] or frames
    rate = settings.sample_rate / settings.transform.hop_length
    return multiply_adds(model, length) / length * rate


def multiply_adds_of(call: Call) -> int:
    """Count the multiply-adds of one call of a layer.

    Raises:
        SettingsError: The layer's type is not supported.
    """
    layer: Any = call.layer
    read, made = call.input_shapes[0], call.output_shape
    if isinstance(layer, FREE) or type(layer).__name__ in FREE_OPERATIONS:
        return 0
    if isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        return math.prod((*made, *layer.kernel_size))
    if isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose):
        # every value that is read meets the kernel of every map
        return math.prod((*read, *layer.kernel_size, made[-1]))
    if isinstance(layer, layers.Conv1D | layers.Conv2D):
        return math.prod((*made, *layer.kernel_size, read[-1] // layer.groups))
    if isinstance(layer, layers.Dense):
        return math.prod((*read, layer.units))
    both = isinstance(layer, layers.Bidirectional)
    cells = layer.forward_layer if both else layer
    gates = next((number for kind, number in GATES.items() if isinstance(cells, kind)), 0)
    require(
        gates > 0,
        "multiply-adds are known of convolutions, dense and recurrent layers, and of those without "
        "any",
        f"{type(layer).__name__} {layer.name}",
        "Count it in inspection.py.",
    )
    # each gate reads the frame and the cells' last output
    return (1 + both) * math.prod((*read[:-1], gates, cells.units, read[-1] + cells.units))


@dataclass(frozen=True)
class Row:
    """A layer, or the layers of one block.

    Args:
        name: The layer's name, or what the names of the block's layers begin with.
        output: Shape of its output: frames of a window, positions, maps.
        parameters: Trainable weights.
        multiply_adds: Of a second of audio, without the context of windows.
    """

    name: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: float


@dataclass(frozen=True)
class Summary:
    """A model's layers and its cost.

    Args:
        settings: The model's settings.
        rows: Its blocks or layers, in the order of the graph.
        parameters: Trainable weights.
        multiply_adds: Of a second of audio, without the context of windows.
        window_frames: Frames that a window keeps.
        context: Frames of context on each side of a window.
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
        table = [("block or layer", "output", "weights", "", "MMAC/s", "")]
        for row in self.rows:
            shape = " x ".join(map(str, row.output))
            work = row.multiply_adds / self.multiply_adds
            share = row.parameters / max(1, self.parameters)
            table.append((row.name, shape, f"{row.parameters:,}", f"{share:.1%}",
                          f"{row.multiply_adds / 1e6:,.1f}", f"{work:.1%}"))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in table
        ]
        lines.insert(1, "-" * len(lines[0]))
        s, transform = self.settings, self.settings.transform
        second = transform.hop_length / s.sample_rate
        before, after = self.field
        frames = self.window_frames + 2 * self.context if s.frames is None else s.frames
        with_context = self.multiply_adds * frames / max(1, self.window_frames)
        lines += [
            "",
            f"preset             {s.preset}; sources {', '.join(s.sources)}; {s.head} head",
            f"transform          {s.sample_rate} Hz, n_fft {transform.n_fft}, hop_length "
            f"{transform.hop_length}: {1000 * second:.1f} ms a frame",
            f"trainable weights  {self.parameters:,}: "
            f"{FLOAT_BYTES * self.parameters / 1e6:.2f} MB in float32",
            f"multiply-adds      {self.multiply_adds / 1e9:.2f} G per s of audio, without context",
            f"in windows         {with_context / 1e9:.2f} G with {self.context} frames of context "
            f"on both sides of {self.window_frames}",
            f"receptive field    {before} frames before and {after} after: "
            f"{before * second:.2f} s and {after * second:.2f} s",
            f"memory, at least   {self.memory_bytes / 1e6:.0f} MB: float32 weights, and values at "
            f"work at once in a window of {frames} frames",
        ]
        return "\n".join(line for line in lines if self.window_frames or "in windows" not in line)


def summarize(
    model: keras.Model, *, window_frames: int | None = None, by_layer: bool = False
) -> Summary:
    """Summarize a model's layers and its cost, without running it.

    Args:
        model: A model of `keras_mmdense.build`.
        window_frames: Frames that a window keeps, a multiple of the settings' `frame_multiple`;
            default 128, or of a model with fixed frames what its context leaves.
        by_layer: Return one row per layer instead of per block.

    Returns:
        The summary; `print` shows it as a table.

    Raises:
        SettingsError: The model was not built by keras_mmdense, or window_frames is wrong.

    Example:
        >>> import keras_mmdense
        >>> summary = summarize(keras_mmdense.build("mmdensenet-edge"))
        >>> summary.parameters, round(summary.multiply_adds / 1e9, 2), summary.context
        (537704, 1.03, 56)
    """
    settings = settings_of(model)
    context, step = context_frames(settings), settings.frame_multiple
    if settings.frames is not None:
        kept, frames = max(0, settings.frames - 2 * context), settings.frames
    else:
        kept = max(128, step) if window_frames is None else window_frames
        frames = kept + 2 * context
        require(
            kept >= 1 and kept % step == 0,
            f"window_frames must be a multiple of 2**scales = {step}",
            kept,
            f"Try {max(128, step)}.",
        )
    calls = trace(model, frames)
    groups: dict[str, list[Call]] = {}
    for name, call in calls.items():
        groups.setdefault(name if by_layer else block_of(name, settings), []).append(call)
    networks = settings.sources if len(settings.sources) > 1 and not settings.shared else ()

    def place(block: str) -> tuple[int, int]:
        """Return a block's sort key: its network, then its band; the graph mixes the bands."""
        network = next((i for i, one in enumerate(networks) if block.startswith(f"{one}_")), -1)
        rest = block if network < 0 else block.removeprefix(f"{networks[network]}_")
        bands = [i for i, b in enumerate(settings.bands) if rest.startswith(f"{b.name}_")]
        return network, bands[0] if bands else -1 if block == "input" else len(settings.bands)

    rate = settings.sample_rate / settings.transform.hop_length / frames
    rows = [
        Row(
            name,
            groups[name][-1].output_shape[1:],
            sum(parameters(call.layer) for call in groups[name]),
            rate * sum(multiply_adds_of(call) for call in groups[name]),
        )
        for name in (groups if by_layer else sorted(groups, key=place))
    ]
    return Summary(
        settings,
        tuple(rows),
        parameters(model),
        sum(row.multiply_adds for row in rows),
        kept,
        context,
        receptive_field(settings),
        live_bytes(calls) + FLOAT_BYTES * sum(math.prod(w.shape) for w in model.weights),
    )


def live_bytes(calls: Mapping[str, Call]) -> int:
    """Return the peak size in bytes of the float32 values alive at a time, in the graph's order.

    A value lives from the layer that computes it to the last one that reads it; outputs are kept.
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


def block_of(name: str, settings: Settings) -> str:
    """Return the block of a layer; its own name if it belongs to none.

    Example:
        >>> from keras_mmdense.presets import resolve_settings
        >>> block_of("low_up5_conv", resolve_settings("mmdensenet"))
        'low_dense5'
    """
    if name in settings.sources:
        return f"{name}_head" if len(settings.sources) > 1 else "head"
    for pattern, block in _BLOCKS:
        match = pattern.fullmatch(name)
        if match:
            return block.format(*(part or "" for part in match.groups()))
    return name
