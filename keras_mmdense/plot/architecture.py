"""The network as a drawing: bands, scales, skips, numbers of maps, receptive field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_mmdense.model_settings import settings_of
from keras_mmdense.plot.maps import Block, band_blocks, final_block, part_width
from keras_mmdense.plot.style import COLORS, PathLike, in_style, new_figure, plain, save
from keras_mmdense.receptive_field import band_fields, context_frames
from keras_mmdense.settings import Band, Settings

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

# all in inches, which are the units of the drawing's axes
STEP, ROW, WIDTH, HEIGHT = 1.06, 0.68, 0.88, 0.5
LEFT, RIGHT, TOP, GAP = 1.55, 1.5, 0.85, 0.55
FIELD_HEIGHT = 1.3
GREY, LIGHT = "#555555", "#f4f4f4"
BLACK = "black"


@in_style
def architecture(
    model: Settings | keras.Model | PathLike,
    path: PathLike | None = None,
    *,
    title: str | None = None,
    overwrite: bool = False,
) -> Figure:
    """Draw a network: a lane per band, a row per scale, and what its receptive field is.

    A box of a dense block holds its number, layers x maps per layer, and the maps that it reads
    and gives on. Solid arrows down are 2x2 poolings, those up transposed convolutions; dashed ones
    are skip connections.

    Args:
        model: Settings, a model of `keras_mmdense.build`, or a `.keras` file.
        path: Where to write it; see `save`.
        title: Above the figure; default the preset's name.
        overwrite: Replace existing files.

    Returns:
        The figure, 8 inches wide and more.

    Raises:
        SettingsError: The model or file carries no settings of keras_mmdense.

    Example:
        >>> import keras_mmdense
        >>> figure = architecture(keras_mmdense.build("mdensenet"))
        >>> sum(text.get_text().startswith("dense ") for text in figure.axes[0].texts)
        7

    Source: arXiv 1706.09588, figure 3 and Table 1.
    """
    s = model if isinstance(model, Settings) else settings_of(model)
    lanes = _lanes(s)
    blocks = max(len(band.growth_rate) for band in s.bands)
    width = LEFT + (blocks + 4) * STEP + RIGHT
    field = FIELD_HEIGHT + 0.16 * len(s.bands)
    height = TOP + sum(lane.height + GAP for lane in lanes) + field
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    _titles(axes, s, title, height)
    top, ends = height - TOP, []
    for number, lane in enumerate(lanes):
        colour = COLORS[number % len(COLORS)]
        ends.append((lane, _lane(axes, s, lane, top - 0.3, blocks, colour)))
        top -= lane.height + GAP
    _join(axes, s, ends, LEFT + (blocks + 1) * STEP)
    _field(figure, s, (LEFT, 0.5, width - LEFT - 0.5, field - 0.95))
    return save(figure, path, overwrite=overwrite)


@dataclass(frozen=True)
class _Lane:
    """A band's part of the drawing."""

    band: Band

    @property
    def height(self) -> float:
        return ROW * (self.band.scales + 1)


def _lanes(s: Settings) -> list[_Lane]:
    """High frequencies above low ones, and below both what reads all of them."""
    parts = [band for band in s.bands if not band.is_full]
    return [_Lane(band) for band in [*reversed(parts), *(b for b in s.bands if b.is_full)]]


def _titles(axes: Any, s: Settings, title: str | None, height: float) -> None:
    t = s.transform
    fold = f", {s.fold} bins as channels of one of {s.positions} positions" if s.fold > 1 else ""
    squeezed = f", {s.compression} of the magnitude" if s.compression != "none" else ""
    several = len(s.sources) > 1 and not s.shared
    copies = f"{len(s.sources)} such networks, one for each source. " if several else ""
    axes.text(0.2, height - 0.16, plain(s.preset if title is None else title), fontsize=13,
              fontweight="bold", va="top")  # fmt: skip
    axes.text(
        0.2, height - 0.45,
        f"{copies}Input: {s.bins} bins of {s.channels} channels{fold}{squeezed}; "
        f"{s.sample_rate / 1000:g} kHz, n_fft {t.n_fft}, hop_length {t.hop_length}. "
        "Boxes: layers x maps per layer, maps read > maps given on.",
        fontsize=8, va="top", color=GREY,
    )  # fmt: skip


def _lane(axes: Any, s: Settings, lane: _Lane, top: float, blocks: int, colour: str) -> Any:
    """Draw a band; return the right end of its last block."""
    band = lane.band
    _scales(axes, s, band, top, LEFT + (blocks + 1) * STEP)
    _range(axes, s, band, top, lane.height, colour)
    y = top - ROW / 2
    kernel = " x ".join(map(str, band.first_kernel_size))
    first = (LEFT + STEP / 2, y)
    _box(axes, first, GREY, "conv " + kernel, "", f"{band.first_filters} maps")
    offset = LEFT + STEP * (1.5 + (blocks - len(band.growth_rate)) / 2)
    places: list[tuple[float, float]] = []
    for block in band_blocks(band, s):
        place = (offset + (block.number - 1) * STEP, y - block.scale * ROW)
        _dense(axes, place, colour, f"dense {block.number}", block)
        _arrow(axes, places[-1] if places else first, place)
        places.append(place)
        mirror = 2 * band.scales - (block.number - 1)
        if block.number - 1 > band.scales:
            _arrow(axes, places[mirror], place, style="--")
    return places[-1]


def _scales(axes: Any, s: Settings, band: Band, top: float, right: float) -> None:
    first, after = band.edges(s.positions)
    for scale in range(band.scales + 1):
        low = top - (scale + 1) * ROW
        axes.fill_between(
            [LEFT - 0.62, right - 0.1], low + 0.03, low + ROW - 0.03, color=LIGHT, lw=0
        )
        name = "1" if scale == 0 else f"1/{1 << scale}"
        axes.text(LEFT - 0.57, low + ROW / 2, f"{name}\n{(after - first) >> scale}", fontsize=7,
                  va="center", color=GREY)  # fmt: skip


def _range(axes: Any, s: Settings, band: Band, top: float, height: float, colour: str) -> None:
    """Draw the band's share of the frequency axis."""
    from matplotlib.patches import Rectangle

    hertz = s.sample_rate / s.transform.n_fft
    first, after = (edge * s.fold for edge in band.edges(s.positions))
    low, high = first / s.bins, after / s.bins
    x, bottom = 0.68, top - height
    axes.add_patch(Rectangle((x, bottom), 0.16, height, fc="white", ec=GREY, lw=0.8))
    axes.add_patch(
        Rectangle((x, bottom + low * height), 0.16, (high - low) * height, fc=colour, alpha=0.7)
    )
    for share, edge, va in ((low, first, "bottom"), (high, after, "top")):
        axes.text(x - 0.05, bottom + share * height, f"{edge * hertz / 1000:.1f} kHz", fontsize=7,
                  ha="right", va=va, color=GREY)  # fmt: skip
    axes.text(0.2, top + 0.06, plain(band.name), fontsize=10, fontweight="bold", color=BLACK)
    axes.text(LEFT - 0.57, top + 0.06, f"scale and its positions; bins {first} to {after - 1}",
              fontsize=7, color=GREY)  # fmt: skip


def _dense(axes: Any, place: tuple[float, float], colour: str, name: str, block: Block) -> None:
    _box(axes, place, colour, name, f"{block.layers} x {block.growth}",
         f"{block.read} > {block.made}")  # fmt: skip


def _box(axes: Any, place: tuple[float, float], colour: str, *lines: str) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    tint = [0.25 * channel + 0.75 for channel in to_rgb(colour)]
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2 + 0.04, y - HEIGHT / 2 + 0.04), WIDTH - 0.08, HEIGHT - 0.08,
            boxstyle="round,pad=0.04", fc=tint, ec=colour, lw=1.1, zorder=3,
        )
    )  # fmt: skip
    shown = [line for line in lines if line]
    for number, line in enumerate(shown):
        axes.text(
            x, y + 0.145 * ((len(shown) - 1) / 2 - number), line, ha="center", va="center",
            fontsize=7.5, zorder=4, fontweight="bold" if number == 0 else "normal",
        )  # fmt: skip


def _arrow(
    axes: Any, start: tuple[float, float], stop: tuple[float, float], style: str = "-"
) -> None:
    """Draw an arrow from the right side of a box to the left side of another one."""
    axes.annotate(
        "", (stop[0] - WIDTH / 2, stop[1]), (start[0] + WIDTH / 2, start[1]),
        arrowprops={
            "arrowstyle": "-|>", "linestyle": style, "color": GREY if style == "--" else BLACK,
            "lw": 1.0, "shrinkA": 1, "shrinkB": 1, "mutation_scale": 9,
        },
        zorder=2,
    )  # fmt: skip


def _join(axes: Any, s: Settings, ends: Any, x: float) -> None:
    """Draw how the bands are joined, and what comes after."""
    from matplotlib.patches import Rectangle

    heights = [place[1] for _, place in ends]
    low, high = min(heights) - HEIGHT / 2, max(heights) + HEIGHT / 2
    middle, width = (low + high) / 2, part_width(s)
    axes.add_patch(Rectangle((x, low), 0.2, high - low, fc="#dddddd", ec=GREY, lw=0.8, zorder=3))
    axes.text(x + 0.1, middle, "joined", rotation=90, ha="center", va="center", fontsize=7.5,
              zorder=4)  # fmt: skip
    for lane, place in ends:
        _arrow(axes, place, (x + WIDTH / 2, place[1]))
        made = band_blocks(lane.band, s)[-1].made
        if not lane.band.is_full and made != width:
            axes.text(x - 0.04, place[1] + 0.3, f"1 x 1 conv, {width} maps", fontsize=7,
                      ha="right", va="bottom")  # fmt: skip
    final, last = (x + 0.35 + WIDTH / 2, middle), (x + 0.35 + WIDTH / 2 + STEP, middle)
    _dense(axes, final, GREY, "final", final_block(s))
    kernel = " x ".join(map(str, s.final_kernel_size))
    head = "sigmoid" if s.head == "mask" else "ReLU"
    heads = f"{len(s.sources)} x " if s.shared and len(s.sources) > 1 else ""
    _box(axes, last, GREY, f"conv {kernel}", f"{heads}{s.fold * s.channels} maps", head)
    _arrow(axes, (x + 0.2 - WIDTH / 2, middle), final)
    _arrow(axes, final, last)
    end = (last[0] + WIDTH, middle)
    _arrow(axes, last, (end[0] + 0.1, middle))
    what = "masks, times\nthe mixture:" if s.head == "mask" else "magnitudes:"
    names = (
        s.sources if len(s.sources) <= 12 else (*s.sources[:11], f"and {len(s.sources) - 11} more")
    )
    axes.text(end[0] - WIDTH / 2 + 0.15, middle, "\n".join([what, *map(plain, names)]),
              fontsize=8, va="center")  # fmt: skip


def _field(figure: Any, s: Settings, box: tuple[float, float, float, float]) -> None:
    """Draw which input frames can change one output frame; box: x, y, width, height, inches."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((box[0] / across, box[1] / down, box[2] / across, box[3] / down))
    fields = band_fields(s)
    names = [lane.band.name for lane in _lanes(s)]
    for row, name in enumerate(names):
        before, after = fields[name]
        axes.barh(row, before + after + 1, left=-before - 0.5, height=0.6,
                  color=COLORS[row % len(COLORS)], alpha=0.7)  # fmt: skip
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
