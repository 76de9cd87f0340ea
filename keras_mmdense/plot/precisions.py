"""How far exported files are from Keras, what they weigh and what they cost."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import PlotError
from keras_mmdense.plot.style import COLORS, PathLike, in_style, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_mmdense.tflite.parity import Figures

MAX_REPORT_BYTES = 16 << 20
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "++")
Series = Mapping[str, Sequence[float]]


@in_style
def parity(
    figures: Sequence[Figures] | PathLike,
    path: PathLike | None = None,
    *,
    title: str = "",
    overwrite: bool = False,
) -> Figure:
    """Draw SNR against Keras, SDR lost, size and speed of each precision of an export.

    Args:
        figures: The `<name>.parity.json` that `keras_mmdense.export(report=True)` writes, or the
            `keras_mmdense.tflite.parity.Figures` themselves.
        path: Where to write it; see `save`.
        title: Above the figure.
        overwrite: Replace existing files.

    Returns:
        The figure; without stems it has no panel of the SDR.

    Raises:
        PlotError: The file is no parity report, or there is nothing to draw.

    Example:
        >>> from keras_mmdense.tflite.parity import Figures
        >>> probe = {"cpu_rtf": 0.03}
        >>> int8 = Figures("int8", 0.1, {"vocals": 25.0}, {}, {}, 700_000, 540_000, probe)
        >>> [axes.get_title() for axes in parity([int8]).axes]
        ['SNR against Keras, dB', 'size, kB', 'CPU s per s of audio']
    """
    found = _read(figures) if isinstance(figures, str | os.PathLike) else figures
    if not found:
        raise PlotError("parity needs the figures of one precision or more; received none.")
    labels, first = [plain(f.precision) for f in found], found[0]
    lost = {s: [f.float_sdr_db[s] - f.sdr_db[s] for f in found] for s in first.sdr_db}
    panels: list[tuple[str, Series]] = [
        ("SNR against Keras, dB", {s: [f.snr_db[s] for f in found] for s in first.snr_db}),
        ("SDR lost, dB", lost),
        ("size, kB", {"": [f.size_bytes / 1e3 for f in found]}),
        ("CPU s per s of audio", {"": [f.probe["cpu_rtf"] for f in found]}),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure = new_figure(3.4 * len(panels), 3.4)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, series) in zip(grid, panels, strict=True):
        _bars(axes, labels, series)
        axes.set_title(name, fontsize=10)
    figure.suptitle(plain(title), fontsize=11)
    return save(figure, path, overwrite=overwrite)


def _bars(axes: Any, labels: Sequence[str], series: Series) -> None:
    width = 0.8 / len(series)
    for i, (source, values) in enumerate(series.items()):
        places = np.arange(len(labels)) + (i - (len(series) - 1) / 2) * width
        axes.bar(
            places, values, width, label=plain(source), color=COLORS[i % len(COLORS)],
            hatch=HATCHES[i % len(HATCHES)], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    if len(series) > 1:
        axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _read(path: PathLike) -> Sequence[Figures]:
    from keras_mmdense.tflite.parity import Figures

    file = Path(path)
    try:
        if file.stat().st_size > MAX_REPORT_BYTES:
            raise ValueError(f"more than {MAX_REPORT_BYTES} bytes")
        rows = json.loads(file.read_text("utf-8"))
        made = [Figures(**{k: v for k, v in row.items() if k != "summary"}) for row in rows]
        for f in made:
            numbers = [*f.snr_db.values(), f.size_bytes, f.probe["cpu_rtf"]]
            numbers += [f.sdr_db[s] - f.float_sdr_db[s] for s in made[0].sdr_db]
            if f.snr_db.keys() != made[0].snr_db.keys() or np.ndim(np.array(numbers, float)) != 1:
                raise ValueError("its precisions have different sources")
        return made
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PlotError(
            f"a parity report is the .parity.json of an export; received {file} ({error})."
        ) from error
