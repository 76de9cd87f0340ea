"""The paper's figure 5: `python -m training.paper.figure5 MODEL.keras [--out DIR]`.

Prints, as Markdown, the l2 norms of the weights in the first convolution of every dense block after
an up-sampling, for each map that was up-sampled and each that came over the skip connection.
docs/results/reproduction.md says what they mean. Exit code 0: success; 1: a file cannot be written;
2: wrong usage or input; 130: stopped.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

import keras_mmdense
from keras_mmdense.errors import require
from keras_mmdense.inspection import maker, readers, trace
from keras_mmdense.model_settings import settings_of
from keras_mmdense.plot.style import COLORS, in_style, new_figure, plain, save
from training import command, command_parser, new_folder
from training.evaluate.tables import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Norms = npt.NDArray[np.float64]
BETWEEN = (layers.BatchNormalization, layers.ReLU)
UP, SKIP = COLORS[:2]


@dataclass(frozen=True)
class Block:
    """The first convolution of a dense block of the up-sampling path.

    Args:
        network: Band and, if there are several networks, source.
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
        SettingsError: It has no up-sampling path.

    Example:
        >>> import keras_mmdense
        >>> [(block.network, block.number) for block in blocks(keras_mmdense.build("mdensenet"))]
        [('full', 5), ('full', 6), ('full', 7)]
    """
    settings = settings_of(model)
    calls = trace(model, settings.frame_multiple)
    found = []
    for up, call in calls.items():
        if not isinstance(call.layer, layers.Conv2DTranspose):
            continue
        for join in readers(calls, up, BETWEEN):
            for conv in readers(calls, join, BETWEEN):
                name = re.fullmatch(r"(.+)_dense(\d+)_layer1(?:_bottleneck)?_conv", conv)
                if not name:
                    continue
                # (frames, bins, read, made); the concatenation before it joined the maps read
                kernel = np.asarray(calls[conv].layer.kernel, np.float64)
                norms = np.sqrt(np.square(kernel).sum((0, 1, 3)))
                made_by_up = [maker(calls, part, BETWEEN) == up for part in calls[join].inputs]
                is_up = np.repeat(made_by_up, [shape[-1] for shape in calls[join].input_shapes])
                found.append(Block(name[1], int(name[2]), norms[is_up], norms[~is_up]))
    require(
        bool(found),
        "figure 5 needs a model with an up-sampling path",
        model.name,
        "Give an MDenseNet with scales of 1 or more.",
    )
    alone = settings.shared or len(settings.sources) == 1
    prefixes = [""] if alone else [f"{source}_" for source in settings.sources]
    order = [f"{prefix}{band.name}" for prefix in prefixes for band in settings.bands]
    return sorted(found, key=lambda block: (order.index(block.network), block.number))


def report(found: Sequence[Block], name: str, norm: str) -> str:
    """Return the blocks as Markdown.

    Args:
        found: Of `blocks`.
        name: What the model is called.
        norm: Where it has its batch normalization: "before" or "after" a convolution.
    """
    rows = [
        [
            block.network, f"{block.number}", f"{len(block.up)}", f"{len(block.skip)}",
            f"{block.up.mean():.3f}", f"{block.skip.mean():.3f}", f"{block.ratio:.2f}",
        ]
        for block in found
    ]  # fmt: skip
    with np.errstate(divide="ignore"):
        mean = np.exp(np.mean(np.log([block.ratio for block in found])))
    head = ["network", "dense block", "maps up-sampled", "maps skipped", "mean norm, up-sampled",
            "mean norm, skipped", "ratio"]  # fmt: skip
    scale = {
        "before": "The maps are normalized right before the convolution, so their norms compare.",
        "after": 'The maps are not normalized right before the convolution (norm="after"): the '
        "norms make up for what scale each map has.",
    }[norm]
    return (
        f"# Figure 5: {name}\n\n{table(head, rows)}\n\n"
        f"Mean ratio (geometric) of {len(found)} blocks: {mean:.2f}. Near 1: what was "
        "up-sampled and what came over the skip connection are read alike, so every scale "
        f"contributes; fresh random weights give 1, too. {scale}\n"
    )


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
        axes = grid[rows.index(block.network), columns.index(block.number)]
        axes.set_visible(True)
        for norms, start, color, hatch, label in (
            (block.up, 0, UP, "", "up-sampled map"),
            (block.skip, len(block.up), SKIP, "///", "map of the skip connection"),
        ):
            axes.bar(
                np.arange(start, start + len(norms)), norms, edgecolor="white", linewidth=0.4,
                label=label, color=color, hatch=hatch,
            )  # fmt: skip
            end = start + len(norms) - 0.5
            axes.hlines(norms.mean(), start - 0.5, end, color="black", lw=1.2)
        axes.axvline(len(block.up) - 0.5, color="black", linestyle=":", linewidth=0.8)
        title = f"{block.network}, dense {block.number}, ratio {block.ratio:.2f}"
        axes.set(title=title, xlabel="map", ylabel="l2 norm")
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(plain(f"Weights that read each map, {name}"), fontsize=11)
    return save(figure, path)


@command("figure5")
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("training.paper.figure5", __doc__)
    parser.add_argument("model", metavar="MODEL.keras", type=Path, help="a trained model")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="new folder for figure5.png, .svg and .md"
    )
    args = parser.parse_args(argv)
    model = keras_mmdense.build(weights=args.model)
    found = blocks(model)
    text = report(found, args.model.name, settings_of(model).norm)
    if args.out:
        with new_folder(args.out) as made:
            (made / "figure5.md").write_text(text, "utf-8")
            draw(found, args.model.name, made / "figure5")
    print(text, end="")


if __name__ == "__main__":
    sys.exit(main())
