"""Players for a notebook: signals to hear and to see."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from mmdense_edge.separate.picture import RANGE_DB, band_edges
from mmdense_edge.separator import as_audio, as_sample_rate
from mmdense_edge.signal.stft import Audio

from keras_mmdense.errors import PlotError, require
from keras_mmdense.plot.figures import levels_of
from keras_mmdense.plot.style import in_style

if TYPE_CHECKING:
    from IPython.display import HTML


@in_style
def listen(stems: Mapping[str, Audio], sample_rate: int, *, seconds: float | None = 30.0) -> HTML:
    """Show a player for each signal in a notebook, below its spectrogram.

    All have one scale of level, to the ear as to the eye. If a sample is beyond full scale, all are
    played softer by the same factor, which is then shown.

    Args:
        stems: Audio by title, (num_samples,) or (num_samples, 2), all of one length, floating
            point, full scale 1; for example {"mixture": audio, **keras_mmdense.separate(...)}.
        sample_rate: Their rate in Hz, 1000 to 768000.
        seconds: Length of the excerpt from the start; None for the whole signals. The page holds
            16-bit WAV, and so does the saved notebook: for each stem, a second of stereo at
            44100 Hz weighs 0.24 MB and the default 7 MB.

    Returns:
        An `IPython.display.HTML`, which a notebook displays.

    Raises:
        AudioError: An array of another shape, or a wrong rate.
        PlotError: No signals, signals of no or different length, more than two channels, no
            floats, values that are not finite, or `seconds` not above 0. Or matplotlib or IPython
            is missing.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (22050, 2))
        >>> listen({"mixture": noise, "vocals": noise / 2}, 44100)
        <IPython.core.display.HTML object>
    """
    try:
        import IPython.display as notebook
    except ImportError as error:
        raise PlotError(
            f"players need IPython; received {error}. "
            'pip install ".[plot]" ipython in a checkout of keras_mmdense'
        ) from error
    from matplotlib.image import imsave

    require(
        isinstance(stems, Mapping),
        "signals must be a dict of audio by title",
        type(stems).__name__,
        'Pass {"mixture": audio}.',
        PlotError,
    )
    require(
        seconds is None or 0 < seconds < np.inf,
        "seconds must be above 0, or None for all",
        seconds,
        "Try 30.",
        PlotError,
    )
    rate = as_sample_rate(sample_rate)
    length = None if seconds is None else max(1, round(seconds * rate))
    whole = {name: as_audio(x) for name, x in stems.items()}
    require(
        all(x.dtype.kind == "f" and x[:1].size <= 2 for x in whole.values())
        and len({len(x) for x in whole.values()}) <= 1,
        "players need floats of one or two channels and one length",
        {name: f"{x.dtype} {x.shape}" for name, x in whole.items()},
        "Pass audio[:, :2], or divide integers by their full scale.",
        PlotError,
    )
    excerpts = {name: x[:length] for name, x in whole.items()}
    levels = levels_of(excerpts, rate)
    top = max(float(level.max()) for level in levels.values())
    peak = max(1.0, *(float(np.abs(x).max()) for x in excerpts.values()))
    parts = []
    for name, x in excerpts.items():
        picture = io.BytesIO()
        imsave(picture, levels[name], vmin=top - RANGE_DB, vmax=top, cmap="magma", origin="lower",
               format="png")  # fmt: skip
        player = notebook.Audio((x / peak).T, rate=rate, normalize=False)._repr_html_()
        parts.append(
            f'<div>{html.escape(name)}</div><img alt="spectrogram" '
            f'src="data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}" '
            f'style="width: 100%; height: 96px">{player}'
        )
    shown, num_samples = (len(next(iter(each.values()))) for each in (excerpts, whole))
    low, *_, high = band_edges(rate)
    parts.append(
        f"<div>{shown / rate:.1f} of {num_samples / rate:.1f} s; {low:.0f} to {high:.0f} Hz, "
        f"logarithmic; {RANGE_DB:.0f} dB below the loudest"
        + (f"; played {20 * np.log10(peak):.1f} dB softer" if peak > 1 else "")
        + "</div>"
    )
    return notebook.HTML(f"<div>{''.join(parts)}</div>")
