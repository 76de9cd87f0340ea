"""build(): MMDenseNet as a functional Keras model made only of standard layers."""

import math
import random
import warnings
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_mmdense.band import Band
from keras_mmdense.errors import SettingsError, require
from keras_mmdense.model_settings import READ_ERRORS, settings_layer, settings_of
from keras_mmdense.normalization import copy_weights, ready
from keras_mmdense.presets import PerBand, resolve_settings
from keras_mmdense.settings import Settings
from keras_mmdense.weights import find_weights

LAST = {"data_format": "channels_last"}  # whatever keras.json says
_initializer = ContextVar("initializer", default="glorot_uniform")  # of the kernels


def build(
    preset: str | None = None,
    sources: str | Iterable[str] | None = None,
    *,
    weights: str | PathLike[str] | None = None,
    shared: bool | None = None,
    head: str | None = None,
    frames: int | None = None,
    bins: int | None = None,
    channels: int | None = None,
    scales: int | None = None,
    bands: Iterable[Band] | None = None,
    growth_rate: PerBand | None = None,
    num_layers: PerBand | None = None,
    kernel_size: PerBand | None = None,
    sample_rate: int | None = None,
    n_fft: int | None = None,
    hop_length: int | None = None,
    **options: Any,
) -> keras.Model:
    """Build an MMDenseNet with fresh or trained weights.

    The model maps the magnitude of the mixture, (batch, frames, bins, channels), to a dict of one
    magnitude of the same shape per source. Layers are named from their place in the paper's
    table, for example `low_dense4_layer2_conv` (Keras allows no "/" in names).

    Args:
        preset: "mmdensenet" (default) or "mdensenet", the paper's; "mmdensenet-edge" and the
            smaller "mmdensenet-micro", for small processors: a shared network with masks for bass,
            drums, other and vocals (docs/concepts/edge-model.md); "mmdensenet-live", the same with
            causal convolutions, to separate music while it is played.
            What is not given comes from the preset; the defaults below are those of the paper's.
        sources: One name or several; default "vocals". With several and `shared=False` each source
            has a network of its own, as in the paper.
        weights: None for fresh weights, "bundled" for the trained ones that come with the package
            (presets "mmdensenet-edge", "mmdensenet-micro" and "mmdensenet-live", the float32
            weights of the runner's files, and "mmdensenet-vocals", the paper's form with a mask),
            or the `.keras` or `.h5` file of a model of this function, whichever version of Keras
            saved it. The weights bring their settings, credits and license, and the model is in
            float32. An argument that contradicts them is refused; only `frames`, `sources` and
            `compression_gain` may differ. With other sources the trunk is kept, the heads of new
            sources start fresh, and a warning says so.
        shared: One network with a named output per source; default False.
        head: "magnitude" (the paper, default) or "mask" (sigmoid times the mixture).
        frames: Fixed number of frames, a multiple of 2**scales unless the model is causal, or None
            for any such number.
        bins: Frequency bins, from bin 0; default 1024. Every band needs a multiple of
            2**scales * fold of them.
        channels: 1 or 2; default 2.
        scales: Number of poolings. Fewer than the preset's drop its lowest scales, more
            repeat the lowest one.
        bands: `keras_mmdense.Band` objects instead of the preset's.
        growth_rate: Maps per layer: a number for all, a sequence with one per dense block, or a
            dict of these by band name.
        num_layers: Layers per dense block, in the same forms.
        kernel_size: Kernel (frames, bins) of the dense layers: one for all, a sequence with one
            per dense block, or a dict of these by band name.
        sample_rate: Rate in Hz of the audio that the model is for; default 44100.
        n_fft: Window length in samples; default 2 * bins.
        hop_length: Hop in samples; default n_fft // 2.
        **options: Further fields of `keras_mmdense.Settings`: final_growth_rate,
            final_num_layers, final_kernel_size, block_output, bottleneck, pooling, norm,
            compression, compression_gain, causal, fold, training_data, license; and
            `dilation_rate` in the forms of growth_rate.

    Returns:
        An uncompiled `keras.Model` with input `mixture` and one output per source.

    Raises:
        SettingsError: A wrong argument, before the first layer is made; or the file of weights
            holds none, or those of another network.

    Example:
        >>> model = build("mdensenet", sources="vocals", frames=64)
        >>> model.output["vocals"].shape
        (None, 64, 1024, 2)
        >>> sorted(build("mmdensenet-edge", weights="bundled").output)
        ['bass', 'drums', 'other', 'vocals']

    Source: arXiv 1706.09588, sections 2 and 3, Table 1.
    """
    path = None if weights is None else find_weights(preset if weights == "bundled" else weights)
    stored = None if path is None else settings_of(path)
    settings = resolve_settings(
        None if weights == "bundled" else preset, stored=stored, sources=sources, bands=bands,
        scales=scales, growth_rate=growth_rate, num_layers=num_layers, kernel_size=kernel_size,
        shared=shared, head=head, frames=frames, bins=bins, channels=channels,
        sample_rate=sample_rate, n_fft=n_fft, hop_length=hop_length, **options,
    )  # fmt: skip
    if path is None or stored is None:
        return build_from_settings(settings)
    return _build_trained(settings, stored, path)


def _build_trained(settings: Settings, stored: Settings, path: Path) -> keras.Model:
    """Build a model with the weights of a file, whose `stored` settings leave some open."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        trained = build_zeros(replace(stored, frames=settings.frames))
        with warnings.catch_warnings():  # Keras would keep the first weights of what is not there
            warnings.filterwarnings("error", message="Skipping nested container")
            trained.load_weights(path)
        if settings.compression_gain != stored.compression_gain:
            source, trained = trained, build_zeros(replace(settings, sources=stored.sources))
            copy_weights(source, trained)
        model = trained if settings.sources == stored.sources else build_from_settings(settings)
    except SettingsError:
        raise
    except (*READ_ERRORS, UserWarning) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SettingsError(
            f"a model file must hold the weights of its settings' network; received {path} "
            f"({reason}). Save it again with model.save('NAME.keras')."
        ) from error
    finally:
        keras.config.set_dtype_policy(policy)
    if model is not trained:
        _take_trunk(model, settings, trained, stored)
    ready(model)
    return model


def _take_trunk(
    model: keras.Model, settings: Settings, trained: keras.Model, stored: Settings
) -> None:
    """Give a model the weights of one for other sources; the heads of new sources start fresh."""
    new = [source for source in settings.sources if source not in stored.sources]
    require(
        not new or stored.shared or len(stored.sources) == 1,
        f"weights with a network for each of {stored.sources} have no trunk for other sources",
        settings.sources,
        "Name some of theirs, or train a new model.",
    )
    theirs = {layer.name: layer for layer in trained.layers}
    origin = {name: name for name in theirs}  # by the layer of the new model
    for source in () if stored.shared else settings.sources:
        ours = prefix_of(settings, source)
        old = prefix_of(stored, stored.sources[0] if source in new else source)
        origin |= {ours + name.removeprefix(old): name for name in theirs if name.startswith(old)}
    for source in new:
        ours = prefix_of(settings, source)
        origin[f"{ours}denormalization"] = "normalization"  # of the same values
        origin.pop(f"{ours}final_conv", None)
    for layer in model.layers:
        if layer.weights and layer.name in origin:
            layer.set_weights(theirs[origin[layer.name]].get_weights())
    if new:
        warnings.warn(
            f"the heads of {', '.join(new)} start fresh: the weights are for "
            f"{', '.join(stored.sources)}",
            stacklevel=4,
        )


def build_from_settings(settings: Settings) -> keras.Model:
    """Build the model that a Settings object describes.

    Example:
        >>> from keras_mmdense import Band, Settings
        >>> build_from_settings(Settings(("vocals",), (Band("full"),))).name
        'custom'
    """
    if keras.config.backend() == "jax" and _initializer.get() != "zeros":
        # NumPy draws them: JAX would compile a random kernel for each shape, a minute for a model
        model, rng = build_zeros(settings), np.random.default_rng(random.getrandbits(32))
        for layer in model.layers:
            if hasattr(layer, "kernel_initializer"):
                *window, last, maps = layer.kernel.shape
                limit = math.sqrt(6 / (math.prod(window) * (last + maps)))  # Glorot's
                layer.kernel.assign(rng.uniform(-limit, limit, layer.kernel.shape))
        return model
    mixture = keras.Input(
        (settings.frames, settings.bins, settings.channels), name="mixture", dtype="float32"
    )
    x = compress(mixture, settings)
    x = layers.Normalization(axis=2, name="normalization", dtype="float32")(x)
    x = settings_layer(settings)(x)
    maps = settings.fold * settings.channels
    frames = settings.frames or -1
    if settings.fold > 1:  # (batch, frames, positions, maps): neighboring bins as channels
        x = layers.Reshape((frames, settings.positions, maps), name="fold")(x)
    trunk = _network(x, settings, "") if settings.shared else None
    outputs = {}
    for source in settings.sources:
        prefix = prefix_of(settings, source)
        y = _network(x, settings, prefix) if trunk is None else trunk
        y = _conv2d(f"{prefix}final", maps, settings.final_kernel_size, settings)(y)
        if settings.fold > 1:
            shape = (frames, settings.bins, settings.channels)
            y = layers.Reshape(shape, name=f"{prefix}unfold")(y)
        # the estimate, in the mixture's scale, is float32 under any policy
        if settings.head == "mask":
            mask = layers.Activation("sigmoid", name=f"{prefix}mask", dtype="float32")(y)
            outputs[source] = layers.Multiply(name=source, dtype="float32")([mask, mixture])
        else:
            undo = layers.Normalization(
                axis=2, invert=True, name=f"{prefix}denormalization", dtype="float32"
            )
            outputs[source] = layers.ReLU(name=source, dtype="float32")(undo(y))
    return keras.Model(mixture, outputs, name=settings.preset)


def build_zeros(settings: Settings) -> keras.Model:
    """Build a model whose weights follow: its kernels are zeros."""
    token = _initializer.set("zeros")
    try:
        model = build_from_settings(settings)
    finally:
        _initializer.reset(token)
    for layer in model.layers:
        if hasattr(layer, "kernel_initializer"):
            layer.kernel_initializer = keras.initializers.get(_initializer.get())
    return model


def compress(magnitude: Any, settings: Settings) -> Any:
    """Return the magnitude as the normalization reads it."""
    if settings.compression == "sqrt":
        return keras.ops.sqrt(magnitude)
    if settings.compression_gain > 1:
        gain = layers.Rescaling(float(settings.compression_gain), name="gain", dtype="float32")
        magnitude = gain(magnitude)
    return keras.ops.log1p(magnitude) if settings.compression == "log" else magnitude


def prefix_of(settings: Settings, source: str) -> str:
    """Return what the names of a source's own layers begin with."""
    return f"{source}_" if settings.shared or len(settings.sources) > 1 else ""


def _network(x: Any, settings: Settings, prefix: str) -> Any:
    """Join the band networks: (batch, frames, bins, channels) -> (batch, frames, bins, maps)."""
    maps = {band: _band(x, band, settings, prefix) for band in settings.bands}
    parts = {band.name: y for band, y in maps.items() if not band.is_full}
    width = max((y.shape[-1] for y in parts.values()), default=0)
    for name, y in parts.items():
        if y.shape[-1] != width:
            match = f"{prefix}{name}_match"
            convolution = _conv2d(match, width, (1, 1), settings)
            parts[name] = _composite(y, match, convolution, settings)
    # the parts stand one above the other: (batch, frames, bins, width)
    joined = [_concatenate([*parts.values()], 2, f"{prefix}bands")] if parts else []
    joined += [y for band, y in maps.items() if band.is_full]
    x = _concatenate(joined, 3, f"{prefix}joined")
    return _dense_block(
        x,
        f"{prefix}final_dense",
        settings.final_growth_rate,
        settings.final_num_layers,
        (3, 3),
        1,
        settings,
    )


def _band(x: Any, band: Band, settings: Settings, prefix: str) -> Any:
    """One multi-scale DenseNet on one range of bins."""
    name = f"{prefix}{band.name}"
    first, after = band.edges(settings.positions)
    if not band.is_full:  # (batch, frames, after - first, channels)
        outside = ((0, 0), (first, settings.positions - after))
        x = layers.Cropping2D(outside, name=f"{name}_crop", **LAST)(x)
    first_kernel, first_filters = band.first_kernel_size, band.first_filters
    convolution = _conv2d(f"{name}_first", first_filters, first_kernel, settings)
    x = _composite(x, f"{name}_first", convolution, settings, before=())
    pool = layers.AveragePooling2D if settings.pooling == "average" else layers.MaxPooling2D
    factors = settings.pool_size
    skips: list[Any] = []
    blocks = zip(
        band.growth_rate, band.num_layers, band.kernel_size, band.dilation_rate, strict=True
    )
    for index, block in enumerate(blocks):
        if index > band.scales:  # on the way up: what pooling halved is doubled, as many maps
            up = f"{name}_up{index + 1}"
            convolution = layers.Conv2DTranspose(
                x.shape[-1],
                factors,
                strides=factors,
                kernel_initializer=_initializer.get(),
                name=f"{up}_conv",
                **LAST,
            )
            x = _composite(x, up, convolution, settings, before=("norm",))
            x = _concatenate([x, skips.pop()], 3, f"{name}_skip{index + 1}")
        x = _dense_block(x, f"{name}_dense{index + 1}", *block, settings)
        if index < band.scales:  # on the way down: half the bins and, unless causal, frames
            skips.append(x)
            x = pool(factors, name=f"{name}_pool{index + 2}", **LAST)(x)
    return x


def _dense_block(
    x: Any,
    name: str,
    growth_rate: int,
    num_layers: int,
    kernel_size: tuple[int, int],
    dilation_rate: int,
    settings: Settings,
) -> Any:
    """Each layer reads the concatenation of all maps before it (paper, section 2.1)."""
    maps = [x]
    for index in range(num_layers):
        layer = f"{name}_layer{index + 1}"
        h = _concatenate(maps, 3, f"{layer}_concat")
        if settings.bottleneck:
            narrow = f"{layer}_bottleneck"
            convolution = _conv2d(narrow, 4 * growth_rate, (1, 1), settings)
            h = _composite(h, narrow, convolution, settings)
        dilation = settings.layer_dilation(dilation_rate, index)
        convolution = _conv2d(layer, growth_rate, kernel_size, settings, dilation)
        maps.append(_composite(h, layer, convolution, settings))
    chosen = {"last": maps[-1:], "new": maps[1:], "all": maps}[settings.block_output]
    return _concatenate(chosen, 3, f"{name}_output")


def _composite(
    x: Any,
    name: str,
    convolution: Callable[[Any], Any],
    settings: Settings,
    before: tuple[str, ...] = ("norm", "relu"),
) -> Any:
    """Apply a convolution with the normalization before it, as the paper has it, or after it."""
    steps = {
        "conv": convolution,
        "norm": layers.BatchNormalization(name=f"{name}_norm"),
        "relu": layers.ReLU(name=f"{name}_relu"),
    }
    for step in (*before, "conv") if settings.norm == "before" else ("conv", "norm", "relu"):
        x = steps[step](x)
    return x


def _conv2d(
    name: str, filters: int, kernel_size: tuple[int, int], settings: Settings, dilation: int = 1
) -> Callable[[Any], Any]:
    """Return a convolution with an output for each frame and bin; if causal, of no later frame."""
    frames, bins = ((size - 1) for size in kernel_size)
    options = {"kernel_initializer": _initializer.get(), "name": f"{name}_conv", **LAST}
    if not settings.causal or not frames:
        same: Callable[[Any], Any] = layers.Conv2D(filters, kernel_size, padding="same", **options)
        return same
    zeros = ((frames * dilation, 0), (bins // 2, bins - bins // 2))
    past = layers.ZeroPadding2D(zeros, name=f"{name}_past", **LAST)
    convolution = layers.Conv2D(filters, kernel_size, dilation_rate=(dilation, 1), **options)
    return lambda x: convolution(past(x))


def _concatenate(tensors: list[Any], axis: int, name: str) -> Any:
    return tensors[0] if len(tensors) == 1 else layers.Concatenate(axis, name=name)(tensors)
