"""Draws the pictures of docs/concepts.md: `.venv/bin/python docs/tools/drawings.py`.

They are made of the example song and of the presets, so that they show what the code does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import soundfile as sf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmdense_edge.contract import Transform
from mmdense_edge.transform import stft

from keras_mmdense.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "drawings"
EXAMPLE = ROOT / "edge" / "example"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#999999"  # Okabe and Ito's
RATE = 44100


def song(name: str, seconds: float = 4, start: float = 6) -> Any:
    """Returns a part of the example song or of one of its stems, mono."""
    first, count = round(start * RATE), round(seconds * RATE)
    audio, _ = sf.read(EXAMPLE / f"{name}.flac", start=first, frames=count, dtype="float32")
    return audio.mean(axis=1)


def magnitude(name: str, n_fft: int = 2048) -> Any:
    """Returns the magnitude of the example, (bins, frames)."""
    return np.abs(stft(song(name)[:, None], Transform(n_fft=n_fft))[:, :, 0]).T


def transform(figure: Figure) -> None:
    """A wave, the windows over it, and the magnitudes that they give."""
    above, below = figure.subplots(2, 1)
    samples = song("mixture", 0.25)
    time = np.arange(len(samples)) / RATE * 1000
    above.plot(time, samples, color=GREY, linewidth=0.6)
    window = np.hanning(2048) * np.abs(samples).max()
    for number in range(0, 9):
        first = number * 1024
        colour = BLUE if number % 2 else ORANGE
        above.plot(time[first : first + 2048], window, color=colour)
    above.set(xlabel="ms", ylabel="sample", title="windows of 2048 samples, one every 1024")
    _image(
        below,
        magnitude("mixture"),
        "each window becomes a column (frame) of 1025 magnitudes (bins)",
    )


def _image(axes: Any, values: Any, title: str, top: float = 8000) -> None:
    decibels = 20 * np.log10(values + 1e-3)
    axes.imshow(decibels, origin="lower", aspect="auto", cmap="magma", extent=(0, 4, 0, RATE / 2),
                vmin=decibels.max() - 70, interpolation="nearest", rasterized=True)  # fmt: skip
    axes.set(ylim=(0, top), xlabel="s", ylabel="Hz", title=title)


def bands(figure: Figure) -> None:
    """The bands of the paper's network, and the scales within a band."""
    axes = figure.subplots()
    columns = {"full": 0, "low": 2.4, "high": 2.4}
    for band in PRESETS["mmdensenet"]:
        left, colour = columns[band.name], {"full": GREEN, "low": BLUE, "high": ORANGE}[band.name]
        height = (band.stop - band.start) * 4
        axes.add_patch(Rectangle((left, band.start * 4), 2, height, fill=False, edgecolor=colour))
        axes.text(left + 1, band.stop * 4 - 0.12, f"{band.name} band", color=colour, ha="center",
                  va="top")  # fmt: skip
        for index, (growth, layers) in enumerate(zip(band.growth, band.layers, strict=True)):
            scale = min(index, 6 - index)
            tall = 0.58 * height / 2**scale
            bottom = band.start * 4 + 0.16 * height
            x = left + 0.1 + index * 0.26
            axes.add_patch(Rectangle((x, bottom), 0.2, tall, color=colour, alpha=0.35))
            axes.text(x + 0.1, bottom - 0.02, f"{layers}x\n{growth}", ha="center", va="top",
                      fontsize=6.5)  # fmt: skip
    axes.annotate("", (5.2, 2), (4.5, 2), arrowprops={"arrowstyle": "->"})
    axes.add_patch(Rectangle((5.3, 0), 0.5, 4, fill=False, edgecolor="black"))
    axes.text(5.55, 2, "joined, final dense block, last convolution", rotation=90, ha="center",
              va="center")  # fmt: skip
    axes.set(xlim=(-0.7, 6), ylim=(-0.5, 4.1), xticks=[], yticks=[0, 2, 4],
             yticklabels=["0 Hz", "11 kHz", "22 kHz"])  # fmt: skip
    axes.text(2.2, -0.35, "columns: dense blocks 1 to 7 (layers x maps); height: resolution, "
              "1, 1/2, 1/4, 1/8, 1/4, 1/2, 1", ha="center", fontsize=8)  # fmt: skip
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def windows(figure: Figure) -> None:
    """Windows of a song, with the context that is discarded."""
    axes = figure.subplots()
    keep, context = 256, 104
    for number in range(4):
        first, y = number * keep, 3 - number
        for start, length, colour in ((first - context, context, GREY), (first, keep, BLUE),
                                      (first + keep, context, GREY)):  # fmt: skip
            axes.add_patch(Rectangle((start, y + 0.15), length, 0.7, color=colour, alpha=0.5))
        axes.text(first + keep / 2, y + 0.5, f"window {number + 1}: {keep} frames kept",
                  ha="center", va="center", fontsize=8)  # fmt: skip
        axes.axvline(first, color="black", linewidth=0.5, linestyle=":")
    axes.text(-context / 2, 3.5, "context", ha="center", va="center", fontsize=8)
    axes.set(xlim=(-context, 4 * keep + context), ylim=(0, 4), yticks=[],
             xlabel="frame of the song (before 0 the network reads silence)")  # fmt: skip


def masks(figure: Figure) -> None:
    """A mixture, the ideal mask of the vocals, and their product."""
    mixture, parts = magnitude("mixture"), {
        name: magnitude(name) for name in ("bass", "drums", "other", "vocals")
    }  # fmt: skip
    mask = parts["vocals"] / (sum(parts.values()) + 1e-6)
    left, middle, right = figure.subplots(1, 3, sharey=True)
    _image(left, mixture, "mixture", 5000)
    middle.imshow(mask, origin="lower", aspect="auto", cmap="cividis", extent=(0, 4, 0, RATE / 2),
                  vmin=0, vmax=1, interpolation="nearest", rasterized=True)  # fmt: skip
    middle.set(xlabel="s", title="mask of the vocals, 0 to 1")
    _image(right, mask * mixture, "product: the vocals", 5000)
    right.set_ylabel("")


def quantization(figure: Figure) -> None:
    """Magnitudes and masks over the 256 values of 8 bits."""
    mixture = magnitude("mixture", 4096)
    share = magnitude("vocals", 4096) / (sum(
        magnitude(name, 4096) for name in ("bass", "drums", "other", "vocals")
    ) + 1e-6)  # fmt: skip
    for axes, values, title, colour in zip(
        figure.subplots(1, 2), (mixture, share), ("magnitude", "mask"), (ORANGE, BLUE), strict=True
    ):
        codes = np.rint(values / values.max() * 255).astype(int)
        counts = np.bincount(codes.ravel(), minlength=256) / codes.size
        axes.bar(np.arange(256), counts, width=1, color=colour)
        axes.set(yscale="log", ylim=(1e-6, 1.5), xlabel="8-bit value",
                 title=f"{title}: {counts[0]:.0%} of all values become 0")  # fmt: skip
    figure.axes[0].set_ylabel("share of the values")


SIZES = {
    transform: (8, 5.5),
    bands: (9, 5),
    windows: (8, 2.8),
    masks: (9, 3.2),
    quantization: (8, 3),
}


def main() -> None:
    """Draws all of them."""
    TARGET.mkdir(exist_ok=True)
    settings = {"svg.fonttype": "none", "svg.hashsalt": "drawings", "font.family": "sans-serif",
                "axes.titlesize": 10}  # fmt: skip
    with mpl.rc_context(settings):
        for draw, size in SIZES.items():
            figure = Figure(figsize=size, layout="constrained", facecolor="white")
            FigureCanvasSVG(figure)
            draw(figure)
            figure.savefig(TARGET / f"{draw.__name__}.svg", metadata={"Date": None}, dpi=110)


if __name__ == "__main__":
    main()
