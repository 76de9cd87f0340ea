"""Spectrograms of a mixture and its stems side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from mmdense_edge.separate.picture import draw_panels, spectrogram
from mmdense_edge.signal.stft import Audio

from keras_mmdense.errors import PlotError, require
from keras_mmdense.plot.style import PathLike, in_style, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 1 << 19  # samples that are transformed at a time


@in_style
def spectrograms(
    signals: Mapping[str, Audio],
    sample_rate: int,
    path: PathLike | None = None,
    *,
    columns: int | None = None,
    range_db: float = 80.0,
    title: str = "",
    overwrite: bool = False,
) -> Figure:
    """Draw the spectrograms of signals on one scale of time, frequency and level.

    Args:
        signals: Audio by title, (num_samples,) or (num_samples, channels), all of one length,
            full scale 1; for example {"mixture": audio, **keras_mmdense.separate(...)}. Of
            several channels the mean power is drawn.
        sample_rate: Their rate in Hz.
        path: Where to write it; see `save`.
        columns: Panels in a row; default all of them.
        range_db: Range of levels below the loudest, in dB.
        title: Above the figure.
        overwrite: Replace existing files.

    Returns:
        The figure. Level: mean power in 128 bands of log frequency, in dB of a full-scale sine.

    Raises:
        PlotError: No signals, signals of no or different length, values that are not finite, a
            rate below 1000 Hz, or no columns.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (22050, 2))
        >>> figure = spectrograms({"mixture": noise, "vocals": noise / 2}, 44100)
        >>> len(figure.axes)  # two panels and the scale
        3
    """
    arrays = {name: np.atleast_2d(np.asarray(x).T).T for name, x in signals.items()}
    require(
        len({len(x) for x in arrays.values()}) == 1
        and all(x.size and x.ndim == 2 and np.isfinite(x).all() for x in arrays.values())
        and sample_rate >= 1000,
        "a picture of signals needs one or more, finite and of one length, and a rate of 1000 Hz "
        "or more",
        {name: x.shape for name, x in arrays.items()} | {"sample_rate": sample_rate},
        "",
        PlotError,
    )
    require(
        columns is None or columns >= 1,
        "columns must be 1 or more",
        columns,
        "Leave it out.",
        PlotError,
    )
    num_samples = len(next(iter(arrays.values())))
    levels = {
        plain(name): spectrogram(
            (x[start : start + BLOCK].astype(np.float32) for start in range(0, len(x), BLOCK)),
            sample_rate, num_samples, x.shape[1],
        )
        for name, x in arrays.items()
    }  # fmt: skip
    across = min(columns or len(levels), len(levels))
    down = -(-len(levels) // across)
    figure = new_figure(1.3 + max(5.5, 2.3 * across), 0.8 + (2.4 if down == 1 else 1.8) * down)
    draw_panels(figure, levels, sample_rate, num_samples / sample_rate, columns=across,
                range_db=range_db)  # fmt: skip
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)
