"""The receptive field as bars of frames and seconds."""

from __future__ import annotations

from typing import Any

from keras_mmdense.plot.style import COLOURS, plain
from keras_mmdense.receptive_field import band_fields, context_frames
from keras_mmdense.settings import Settings

FIELD_HEIGHT = 1.3


def draw_field(figure: Any, s: Settings, box: tuple[float, float, float, float]) -> None:
    """Draw which input frames can change one output frame, by band.

    Args:
        figure: The figure.
        s: Settings of the network.
        box: x, y, width and height in inches.
    """
    across, down = figure.get_size_inches()
    axes = figure.add_axes((box[0] / across, box[1] / down, box[2] / across, box[3] / down))
    fields = band_fields(s)
    parts = [band for band in s.bands if not band.is_full]
    names = [b.name for b in [*reversed(parts), *(b for b in s.bands if b.is_full)]]
    for row, name in enumerate(names):
        before, after = fields[name]
        axes.barh(row, before + after + 1, left=-before - 0.5, height=0.6,
                  color=COLOURS[row % len(COLOURS)], alpha=0.7)  # fmt: skip
        axes.text(0, row, f"{before} + 1 + {after}", ha="center", va="center", fontsize=7)
    context, seconds = context_frames(s), s.transform.hop_length / s.sample_rate
    for edge in (-context, context):
        axes.axvline(edge, color="black", lw=1, ls=":")
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(-1.08 * context - 1, 1.08 * context + 1)
    axes.set_title(
        f"receptive field of one output frame; dotted: context of a window, {context} frames = "
        f"{context * seconds:.2f} s a side", fontsize=8, loc="left",
    )  # fmt: skip
    axes.set_xlabel("input frames", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
