"""Figure 5: how strongly the up-sampling path's dense blocks read each of their input maps.

For the first convolution of every dense block after an up-sampling: the l2 norm of the weights
that read one map, for each map that was up-sampled and each that came over the skip connection.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from keras_mmdense.graph import Call, maker, readers, trace
from keras_mmdense.model_settings import settings_of
from keras_mmdense.plot.style import COLORS, in_style, new_figure, plain, save
from training.paper.markdown import ReproductionError, check_new, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Norms = npt.NDArray[np.float64]
BETWEEN = (layers.BatchNormalization, layers.ReLU)
UP, SKIP = COLORS[:2]


@dataclass(frozen=True)
class Block:
    """The first convolution of a dense block of the up-sampling path.

    Args:
        network: Band and, where there are several networks, source.
        number: Number of the dense block, from 1; the paper's figure has 5, 6 and 7.
        up: Norm of the weights that read each up-sampled map, (maps,).
        skip: The same for the maps of the skip connection.
    """

    network: str
    number: int
    up: Norms
    skip: Norms

    @property
    def ratio(self) -> float:
        """Mean norm of the up-sampled maps over that of the skipped ones."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.divide(self.up.mean(), self.skip.mean()))


def blocks(model: keras.Model) -> list[Block]:
    """Return the blocks of a model's up-sampling paths, source by source and band by band.

    Args:
        model: A model of `keras_mmdense.build`, of any settings.

    Raises:
        ReproductionError: It has no up-sampling path.

    Example:
        >>> import keras_mmdense
        >>> [(block.network, block.number) for block in blocks(keras_mmdense.build("mdensenet"))]
        [('full', 5), ('full', 6), ('full', 7)]
    """
    settings = settings_of(model)
    calls = trace(model, settings.frame_multiple)
    found = [
        _block(calls[join], up, conv, calls)
        for up, call in calls.items()
        if isinstance(call.layer, layers.Conv2DTranspose)
        for join in readers(calls, up, BETWEEN)
        for conv in readers(calls, join, BETWEEN)
        if isinstance(calls[conv].layer, layers.Conv2D)
    ]
    if not found:
        raise ReproductionError(
            "figure 5 needs a model with an up-sampling path; received "
            f"{model.name!r} without one. Give an MDenseNet with scales of 1 or more."
        )
    alone = settings.shared or len(settings.sources) == 1
    prefixes = [""] if alone else [f"{source}_" for source in settings.sources]
    order = [f"{prefix}{band.name}" for prefix in prefixes for band in settings.bands]
    return sorted(found, key=lambda block: (order.index(block.network), block.number))


def _block(join: Call, up: str, conv: str, calls: dict[str, Call]) -> Block:
    """Split the norms of a convolution as the concatenation before it joined the maps."""
    kernel = np.asarray(calls[conv].layer.kernel, np.float64)  # (frames, bins, read, made)
    norms = np.sqrt(np.square(kernel).sum((0, 1, 3)))
    edges = np.cumsum([shape[-1] for shape in join.input_shapes])[:-1]
    parts = np.split(norms, edges)
    is_up = [maker(calls, name, BETWEEN) == up for name in join.inputs]
    name = re.fullmatch(r"(.+)_dense(\d+)_layer1(?:_bottleneck)?_conv", conv)
    if not name:
        raise ReproductionError(
            f"a dense block's convolution is called BAND_dense5_layer1_conv; received {conv!r}. "
            "Build the model with keras_mmdense."
        )
    return Block(
        name[1],
        int(name[2]),
        np.concatenate([part for part, its in zip(parts, is_up, strict=True) if its]),
        np.concatenate([part for part, its in zip(parts, is_up, strict=True) if not its]),
    )


def mean_ratio(found: Sequence[Block]) -> float:
    """Return the geometric mean of the blocks' ratios."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.mean(np.log([block.ratio for block in found]))))


def report(found: Sequence[Block], name: str, norm: str) -> str:
    """Return the blocks as Markdown.

    Args:
        found: Of `blocks`.
        name: What the model is called.
        norm: Where it has its batch normalisation: "before" or "after" a convolution.
    """
    rows = [
        [
            block.network, block.number, len(block.up), len(block.skip),
            f"{block.up.mean():.3f}", f"{block.skip.mean():.3f}", f"{block.ratio:.2f}",
        ]
        for block in found
    ]  # fmt: skip
    head = ["network", "dense block", "maps up-sampled", "maps skipped", "mean norm, up-sampled",
            "mean norm, skipped", "ratio"]  # fmt: skip
    scale = {
        "before": "The maps are normalised right before the convolution, so their norms compare.",
        "after": 'The maps are not normalised right before the convolution (norm="after"): the '
        "norms make up for what scale each map has.",
    }[norm]
    return (
        f"# Figure 5: {name}\n\n{table(head, rows)}\n\n"
        f"Mean ratio (geometric) of {len(found)} blocks: {mean_ratio(found):.2f}. Near 1: what was "
        "up-sampled and what came over the skip connection are read alike, so every scale "
        f"contributes; fresh random weights give 1, too. {scale}\n"
    )


def as_json(found: Sequence[Block], name: str) -> str:
    """Return the norms of all maps and the ratios as JSON."""
    return json.dumps(
        {
            "model": name,
            "mean_ratio": _finite(mean_ratio(found)),
            "blocks": [
                {
                    "network": block.network,
                    "dense_block": block.number,
                    "up_sampled": block.up.tolist(),
                    "skipped": block.skip.tolist(),
                    "ratio": _finite(block.ratio),
                }
                for block in found
            ],
        },
        indent=1,
        allow_nan=False,
    )


def _finite(ratio: float) -> float | None:
    """JSON knows no infinity: the ratio where nothing reads the skipped maps."""
    return ratio if np.isfinite(ratio) else None


def write(found: Sequence[Block], name: str, norm: str, folder: Path) -> None:
    """Write figure5.png, .svg, .json and .md into a new folder; all of them or nothing.

    Raises:
        ReproductionError: The folder exists.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        made = Path(beside) / "made"
        made.mkdir()
        (made / "figure5.md").write_text(report(found, name, norm), "utf-8")
        (made / "figure5.json").write_text(as_json(found, name), "utf-8")
        draw(found, name, made / "figure5")
        check_new(folder)
        os.rename(made, folder)


@in_style
def draw(found: Sequence[Block], name: str, path: Path | None = None) -> Figure:
    """Draw the norms of all maps: a row for each network, a column for each dense block."""
    rows = list(dict.fromkeys(block.network for block in found))
    columns = sorted({block.number for block in found})
    figure = new_figure(3.2 * len(columns) + 0.6, 1.9 * len(rows) + 1.0)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharey="row")
    for axes in grid.flat:
        axes.set_visible(False)
    for block in found:
        _bars(grid[rows.index(block.network), columns.index(block.number)], block)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(plain(f"Weights that read each map, {name}"), fontsize=11)
    return save(figure, path)


def _bars(axes: Any, block: Block) -> None:
    axes.set_visible(True)
    start = 0
    for norms, colour, hatch, label in (
        (block.up, UP, "", "up-sampled map"),
        (block.skip, SKIP, "///", "map of the skip connection"),
    ):
        places = np.arange(start, start + len(norms))
        axes.bar(places, norms, color=colour, hatch=hatch, edgecolor="white", lw=0.4, label=label)
        axes.hlines(norms.mean(), start - 0.5, start + len(norms) - 0.5, color="black", lw=1.2)
        start += len(norms)
    axes.axvline(len(block.up) - 0.5, color="black", linestyle=":", linewidth=0.8)
    axes.set_title(f"{block.network}, dense {block.number}, ratio {block.ratio:.2f}", fontsize=9)
    axes.set_xlabel("map", fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("l2 norm", fontsize=8)
    axes.tick_params(labelsize=7)
