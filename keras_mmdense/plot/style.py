"""Shared by all pictures: colors, empty figures and saving."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mmdense_edge.errors import printable

from keras_mmdense.errors import PlotError, require
from keras_mmdense.results import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008: told apart with any kind of color vision. Their
# black is a dark gray here, so that black lines are visible on it.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#444444")
SUFFIXES = (".png", ".svg")
# no random identifiers; text stays text
_STYLE = {"svg.hashsalt": "mmdense", "svg.fonttype": "none"}

PathLike = str | os.PathLike[str]
P = ParamSpec("P")
Drawn = TypeVar("Drawn")
_LOGGER = logging.getLogger(__name__)


def in_style(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Make a function draw in the project's style, whatever the user's settings are.

    Raises:
        PlotError: When it is called and matplotlib is missing.
    """

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        try:
            from matplotlib import style
        except ImportError as error:
            raise PlotError(
                f"pictures need matplotlib; received {error}. "
                'pip install ".[plot]" in a checkout of keras_mmdense'
            ) from error
        with style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return styled


def attempt(draw: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs) -> None:
    """Draw a picture that accompanies results; if it fails, log one line and keep the results."""
    try:
        draw(*args, **kwargs)
    except Exception as error:  # whatever the installed matplotlib, its settings or the disk raise
        _LOGGER.warning("a picture was not drawn: %s", " ".join(str(error).split()) or repr(error))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches, apart from pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> str:
    r"""Return text from outside so that matplotlib shows it as it is, on one line.

    Example:
        >>> plain("A$AP\n")
        'A\\$AP\\n'
    """
    return printable(text).replace("$", r"\$")


@in_style
def save(figure: Figure, path: PathLike | None, *, overwrite: bool = False) -> Figure:
    """Write a figure; whole, or after an error not at all.

    Args:
        figure: The figure.
        path: A file that ends in .png or .svg; a path without either is written as both. None:
            nothing is written.
        overwrite: Replace existing files.

    Returns:
        The figure.

    Raises:
        PlotError: A file exists, its folder does not, or another format is asked for.

    Example:
        >>> import tempfile
        >>> from keras_mmdense.plot import training_curves
        >>> figure = training_curves({"loss": [3, 2, 1]})
        >>> figure = save(figure, tempfile.mkdtemp() + "/loss")  # loss.png and loss.svg
    """
    if path is not None:
        targets = targets_of(path)
        with writing(targets, overwrite, PlotError) as aside:
            for target in targets:
                form = target.suffix[1:].lower()
                figure.savefig(
                    aside / target.name,
                    format=form,
                    metadata={"Date": None} if form == "svg" else {},
                )
    return figure


def targets_of(path: PathLike) -> list[Path]:
    """Return the files that `save` would write.

    Raises:
        PlotError: Another format is asked for.
    """
    given = Path(path)
    suffix = given.suffix.lower()
    require(
        suffix not in (".pdf", ".jpg", ".jpeg", ".eps", ".gif", ".webp"),
        "a picture's name must end in .png or .svg",
        str(given),
        "Rename it.",
        PlotError,
    )
    suffixes = [""] if suffix in SUFFIXES else SUFFIXES
    return [given.with_name(given.name + end) for end in suffixes]
