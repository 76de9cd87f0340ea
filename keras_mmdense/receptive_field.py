"""The receptive field of a model in frames: the context that windows need."""

from collections.abc import Iterable

from keras_mmdense.settings import Band, Settings

Interval = tuple[int, int]


def receptive_field(settings: Settings, bands: Iterable[Band] | None = None) -> tuple[int, int]:
    """Return how many frames before and after an output frame can change it.

    Counted exactly from kernels, poolings and skips, for the worst position of the frame on the
    pooling grid.

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
        final = _grow((frame, frame), settings.final_kernel_size[0], 1)
        final = _grow(final, 3, settings.final_num_layers)
        for band in settings.bands if bands is None else bands:
            low, high = _grow(_scale(band, 0, final), band.first_kernel_size[0], 1)
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


def _scale(band: Band, scale: int, interval: Interval) -> Interval:
    """From the output of the dense blocks at a scale back to the input of its first one."""
    if scale == band.scales:
        return _block(band, scale, interval)
    up = _block(band, 2 * band.scales - scale, interval)
    below = _scale(band, scale + 1, (up[0] // 2, up[1] // 2))
    joined = min(up[0], 2 * below[0]), max(up[1], 2 * below[1] + 1)
    return _block(band, scale, joined)


def _block(band: Band, index: int, interval: Interval) -> Interval:
    return _grow(interval, band.kernel_size[index][0], band.num_layers[index])


def _grow(interval: Interval, kernel: int, times: int) -> Interval:
    """One side more, as "same" padding has it: (kernel - 1) // 2 before, kernel // 2 after."""
    return interval[0] - times * ((kernel - 1) // 2), interval[1] + times * (kernel // 2)
