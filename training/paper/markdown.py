"""Tables of Markdown, and files that overwrite nothing."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path


class ReproductionError(ValueError):
    """Something that a table cannot be made from, or a file that cannot be written."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a table of Markdown.

    Args:
        head: Names of the columns.
        rows: Cells; "|" in them is escaped.

    Example:
        >>> print(table(["a", "b"], [[1, "x|y"]]))
        | a | b |
        |---|---|
        | 1 | x\|y |
    """
    lines = [head, *rows]
    text = ["| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |" for cells in lines]
    return "\n".join([text[0], "|" + "---|" * len(head), *text[1:]])


def machine() -> str:
    """Return the processor, its cores in use, the versions and the date, in one line."""
    import keras
    import numpy as np

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = f"Keras {keras.__version__} on {keras.backend.backend()}, NumPy {np.__version__}"
    return f"{_processor()}, {cores} cores; {versions}; {time.strftime('%Y-%m-%d')}"


def check_new(path: Path) -> None:
    """Refuse a path that exists.

    Raises:
        ReproductionError: It does.
    """
    if path.exists() or path.is_symlink():
        raise ReproductionError(
            f"--out must be a new path, nothing is overwritten; received {path}. Choose another."
        )
    if not path.parent.is_dir():
        raise ReproductionError(
            f"--out must stand in an existing folder; received {path}. Make {path.parent}."
        )


def write_new(path: Path, text: str) -> None:
    """Write a text file that is not there yet; nothing half-written is left.

    Raises:
        ReproductionError: It exists, or its folder does not.
        OSError: It cannot be written.
    """
    check_new(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        beside = Path(folder) / path.name
        beside.write_text(text, "utf-8")
        os.link(beside, path)  # fails where something came up meanwhile


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
