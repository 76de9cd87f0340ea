"""The network as a drawing: bands, scales, skips, numbers of maps, receptive field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_mmdense.band import Band
from keras_mmdense.model_settings import settings_of
from keras_mmdense.plot.style import COLORS, PathLike, in_style, new_figure, plain, save
from keras_mmdense.receptive_field import context_frames, receptive_field
from keras_mmdense.settings import Settings

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

# all in inches, which are the units of the drawing's axes
STEP, ROW, WIDTH, HEIGHT = 1.06, 0.68, 0.88, 0.5
LEFT, RIGHT, TOP, GAP = 1.55, 1.5, 0.85, 0.55
FIELD_HEIGHT = 1.3
GRAY, LIGHT, BLACK = "#555555", "#f4f4f4", "black"
Place = tuple[float, float]


@dataclass(frozen=True)
class Block:
    """A dense block in its place.

    Args:
        number: From 1, as in the names of its layers.
        scale: Number of 2x2 poolings before it.
        growth_rate: Maps that a layer makes.
        num_layers: Number of its layers.
        read: Maps that it reads; after an up-sampling those of the skip connection, too.
        made: Maps that it returns.
    """

    number: int
    scale: int
    growth_rate: int
    num_layers: int
    read: int
    made: int


def band_blocks(band: Band, settings: Settings) -> list[Block]:
    """Return the dense blocks of a band, in their order, from the settings alone.

    Example:
        >>> from keras_mmdense.presets import resolve_settings
        >>> settings = resolve_settings("mmdensenet")
        >>> [block.read for block in band_blocks(settings.bands[0], settings)]
        [32, 14, 16, 16, 32, 32, 30]
    """
    read = band.first_filters
    blocks: list[Block] = []
    sizes = zip(band.growth_rate, band.num_layers, strict=True)
    for index, (growth_rate, num_layers) in enumerate(sizes):
        scale = band.scales - abs(band.scales - index)
        if index > band.scales:
            read += blocks[scale].made
        made = _made(read, growth_rate, num_layers, settings)
        blocks.append(Block(index + 1, scale, growth_rate, num_layers, read, made))
        read = made
    return blocks


def part_width(settings: Settings) -> int:
    """Return the maps to which the bands below full width are brought; 0 without any."""
    return max(
        (band_blocks(band, settings)[-1].made for band in settings.bands if not band.is_full),
        default=0,
    )


def final_block(settings: Settings) -> Block:
    """Return the dense block that reads all bands."""
    read = part_width(settings) + sum(
        band_blocks(band, settings)[-1].made for band in settings.bands if band.is_full
    )
    sizes = settings.final_growth_rate, settings.final_num_layers
    return Block(0, 0, *sizes, read, _made(read, *sizes, settings))


def _made(read: int, growth_rate: int, num_layers: int, settings: Settings) -> int:
    new = growth_rate * num_layers
    return {"last": growth_rate, "new": new, "all": read + new}[settings.block_output]


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
    and returns. Solid arrows down are 2x2 poolings, those up transposed convolutions; dashed ones
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
    settings = model if isinstance(model, Settings) else settings_of(model)
    # high frequencies above low ones, and below both what reads all of them
    bands = [
        *(band for band in reversed(settings.bands) if not band.is_full),
        *(band for band in settings.bands if band.is_full),
    ]
    blocks = max(len(band.growth_rate) for band in bands)
    width = LEFT + (blocks + 4) * STEP + RIGHT
    field = FIELD_HEIGHT + 0.16 * len(bands)
    height = TOP + sum(ROW * (band.scales + 1) + GAP for band in bands) + field
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    s, t = settings, settings.transform
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
        fontsize=8, va="top", color=GRAY,
    )  # fmt: skip
    colors = {band: COLORS[i % len(COLORS)] for i, band in enumerate(bands)}
    top, ends = height - TOP - 0.3, {}
    for band, color in colors.items():
        ends[band] = _lane(axes, settings, band, top, blocks, color)
        top -= ROW * (band.scales + 1) + GAP
    _join(axes, settings, ends, LEFT + (blocks + 1) * STEP)
    _field(figure, settings, colors, (LEFT, 0.5, width - LEFT - 0.5, field - 0.95))
    return save(figure, path, overwrite=overwrite)


def _lane(axes: Any, settings: Settings, band: Band, top: float, blocks: int, color: str) -> Place:
    """Draw a band; return the place of its last block."""
    _scales(axes, settings, band, top, LEFT + (blocks + 1) * STEP, color)
    y = top - ROW / 2
    first = (LEFT + STEP / 2, y)
    kernel = " x ".join(map(str, band.first_kernel_size))
    _box(axes, first, GRAY, "conv " + kernel, f"{band.first_filters} maps")
    offset = LEFT + STEP * (1.5 + (blocks - len(band.growth_rate)) / 2)
    places: list[Place] = []
    for index, block in enumerate(band_blocks(band, settings)):
        place = (offset + index * STEP, y - block.scale * ROW)
        _dense(axes, place, color, f"dense {block.number}", block)
        _arrow(axes, places[-1] if places else first, place)
        places.append(place)
        if index > band.scales:
            _arrow(axes, places[block.scale], place, style="--")
    return places[-1]


def _scales(
    axes: Any, settings: Settings, band: Band, top: float, right: float, color: str
) -> None:
    """Draw the rows of the scales, and the band's share of the frequency axis beside them."""
    first, after = band.edges(settings.positions)
    height = ROW * (band.scales + 1)
    for scale in range(band.scales + 1):
        low = top - (scale + 1) * ROW
        axes.fill_between(
            [LEFT - 0.62, right - 0.1], low + 0.03, low + ROW - 0.03, color=LIGHT, lw=0
        )
        name = "1" if scale == 0 else f"1/{1 << scale}"
        axes.text(LEFT - 0.57, low + ROW / 2, f"{name}\n{(after - first) >> scale}", fontsize=7,
                  va="center", color=GRAY)  # fmt: skip
    first, after = first * settings.fold, after * settings.fold
    x, bottom = 0.68, top - height
    low, high = (bottom + height * edge / settings.bins for edge in (first, after))
    axes.bar(x, height, 0.16, bottom, align="edge", fc="white", ec=GRAY, lw=0.8)
    axes.bar(x, high - low, 0.16, low, align="edge", fc=color, alpha=0.7)
    hertz = settings.sample_rate / settings.transform.n_fft
    for y, edge, va in ((low, first, "bottom"), (high, after, "top")):
        axes.text(x - 0.05, y, f"{edge * hertz / 1000:.1f} kHz", fontsize=7, ha="right", va=va,
                  color=GRAY)  # fmt: skip
    axes.text(0.2, top + 0.06, plain(band.name), fontsize=10, fontweight="bold", color=BLACK)
    axes.text(LEFT - 0.57, top + 0.06, f"scale and its positions; bins {first} to {after - 1}",
              fontsize=7, color=GRAY)  # fmt: skip


def _dense(axes: Any, place: Place, color: str, name: str, block: Block) -> None:
    _box(axes, place, color, name, f"{block.num_layers} x {block.growth_rate}",
         f"{block.read} > {block.made}")  # fmt: skip


def _box(axes: Any, place: Place, color: str, *lines: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2 + 0.04, y - HEIGHT / 2 + 0.04), WIDTH - 0.08, HEIGHT - 0.08,
            boxstyle="round,pad=0.04", fc=(color, 0.25), ec=color, lw=1.1, zorder=3,
        )
    )  # fmt: skip
    for number, line in enumerate(lines):
        axes.text(
            x, y + 0.145 * ((len(lines) - 1) / 2 - number), line, ha="center", va="center",
            fontsize=7.5, zorder=4, fontweight="bold" if number == 0 else "normal",
        )  # fmt: skip


def _arrow(axes: Any, start: Place, stop: Place, style: str = "-") -> None:
    """Draw an arrow from the right side of a box to the left side of another one."""
    axes.annotate(
        "", (stop[0] - WIDTH / 2, stop[1]), (start[0] + WIDTH / 2, start[1]),
        arrowprops={
            "arrowstyle": "-|>", "linestyle": style, "color": GRAY if style == "--" else BLACK,
            "lw": 1.0, "shrinkA": 1, "shrinkB": 1, "mutation_scale": 9,
        },
        zorder=2,
    )  # fmt: skip


def _join(axes: Any, settings: Settings, ends: dict[Band, Place], x: float) -> None:
    """Draw how the bands are joined, and what comes after."""
    heights = [place[1] for place in ends.values()]
    low, high = min(heights) - HEIGHT / 2, max(heights) + HEIGHT / 2
    middle, width = (low + high) / 2, part_width(settings)
    axes.bar(x, high - low, 0.2, low, align="edge", fc="#dddddd", ec=GRAY, lw=0.8, zorder=3)
    axes.text(x + 0.1, middle, "joined", rotation=90, ha="center", va="center", fontsize=7.5,
              zorder=4)  # fmt: skip
    for band, place in ends.items():
        _arrow(axes, place, (x + WIDTH / 2, place[1]))
        if not band.is_full and band_blocks(band, settings)[-1].made != width:
            axes.text(x - 0.04, place[1] + 0.3, f"1 x 1 conv, {width} maps", fontsize=7,
                      ha="right", va="bottom")  # fmt: skip
    final, last = (x + 0.35 + WIDTH / 2, middle), (x + 0.35 + WIDTH / 2 + STEP, middle)
    _dense(axes, final, GRAY, "final", final_block(settings))
    kernel = " x ".join(map(str, settings.final_kernel_size))
    sources, is_mask = settings.sources, settings.head == "mask"
    heads = f"{len(sources)} x " if settings.shared and len(sources) > 1 else ""
    maps = f"{heads}{settings.fold * settings.channels} maps"
    _box(axes, last, GRAY, f"conv {kernel}", maps, "sigmoid" if is_mask else "ReLU")
    _arrow(axes, (x + 0.2 - WIDTH / 2, middle), final)
    _arrow(axes, final, last)
    end = last[0] + WIDTH
    _arrow(axes, last, (end + 0.1, middle))
    what = "masks, times\nthe mixture:" if is_mask else "magnitudes:"
    names = sources if len(sources) <= 12 else (*sources[:11], f"and {len(sources) - 11} more")
    axes.text(end - WIDTH / 2 + 0.15, middle, "\n".join([what, *map(plain, names)]),
              fontsize=8, va="center")  # fmt: skip


def _field(
    figure: Any,
    settings: Settings,
    colors: dict[Band, str],
    box: tuple[float, float, float, float],
) -> None:
    """Draw which input frames can change one output frame; box: x, y, width, height, inches."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((box[0] / across, box[1] / down, box[2] / across, box[3] / down))
    for row, (band, color) in enumerate(colors.items()):
        before, after = receptive_field(settings, [band])
        axes.barh(row, before + after + 1, left=-before - 0.5, height=0.6, color=color, alpha=0.7)
        axes.text(0, row, f"{before} + 1 + {after}", ha="center", va="center", fontsize=7)
    context = context_frames(settings)
    seconds = context * settings.transform.hop_length / settings.sample_rate
    for edge in (-context, context):
        axes.axvline(edge, color="black", lw=1, ls=":")
    axes.set_yticks(range(len(colors)), [plain(band.name) for band in colors], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(-1.08 * context - 1, 1.08 * context + 1)
    axes.set_title(
        f"receptive field of one output frame; dotted: context of a window, {context} frames = "
        f"{seconds:.2f} s a side", fontsize=8, loc="left",
    )  # fmt: skip
    axes.set_xlabel("input frames", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
