"""The receptive field of a model in frames: the context that windows need."""

from collections.abc import Iterable

from keras_mmdense.band import Band
from keras_mmdense.settings import Settings

Interval = tuple[int, int]


def receptive_field(settings: Settings, bands: Iterable[Band] | None = None) -> tuple[int, int]:
    """Return how many frames before and after an output frame can change it.

    Counted exactly from kernels, poolings and skips, for the worst position of the frame on the
    pooling grid. A causal model sees no frame after.

    Args:
        settings: The model's settings.
        bands: Count what reaches the output through these bands alone; default all of them.

    Example:
        >>> from keras_mmdense.presets import resolve_settings
        >>> settings = resolve_settings("mmdensenet")
        >>> receptive_field(settings), receptive_field(settings, settings.bands[2:])
        ((98, 98), (70, 70))
    """
    reach = []
    for frame in range(settings.frame_multiple):
        final = _final((frame, frame), settings)
        for band in settings.bands if bands is None else bands:
            low, high = _scale(band, 0, final, settings)
            low, high = _grow((low, high), band.first_kernel_size[0], settings)
            reach.append((frame - low, high - frame))
    return max(before for before, _ in reach), max(after for _, after in reach)


def context_frames(settings: Settings) -> int:
    """Return the frames to discard on each side of a window: the field, on the pooling grid.

    Example:
        >>> from keras_mmdense.presets import resolve_settings
        >>> context_frames(resolve_settings("mdensenet"))
        104
    """
    step = settings.frame_multiple
    return -(-max(receptive_field(settings)) // step) * step


def _scale(band: Band, scale: int, interval: Interval, settings: Settings) -> Interval:
    """From the output of the dense blocks at a scale back to the input of its first one."""
    if scale == band.scales:
        return _block(band, scale, interval, settings)
    up = _block(band, 2 * band.scales - scale, interval, settings)
    step = settings.pool_size[0]
    below = _scale(band, scale + 1, (up[0] // step, up[1] // step), settings)
    joined = min(up[0], step * below[0]), max(up[1], step * below[1] + step - 1)
    return _block(band, scale, joined, settings)


def _final(interval: Interval, settings: Settings) -> Interval:
    """From the outputs back to the joined bands."""
    interval = _grow(interval, settings.final_kernel_size[0], settings)
    for index in range(settings.final_num_layers):
        interval = _grow(interval, 3, settings, settings.layer_dilation(1, index))
    return interval


def _block(band: Band, index: int, interval: Interval, settings: Settings) -> Interval:
    for layer in range(band.num_layers[index]):
        dilation = settings.layer_dilation(band.dilation_rate[index], layer)
        interval = _grow(interval, band.kernel_size[index][0], settings, dilation)
    return interval


def _grow(interval: Interval, kernel: int, settings: Settings, dilation: int = 1) -> Interval:
    """Add a kernel's frames: all before if causal, otherwise as "same" padding has it."""
    more = (kernel - 1) * dilation
    before = more if settings.causal else more // 2
    return interval[0] - before, interval[1] + more - before
