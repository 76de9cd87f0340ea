"""The files of a result: all of them, or after an error none, and none replaced unasked."""

import builtins
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmdense_edge.errors import AudioError
from mmdense_edge.separate.staging import publish, staging

from keras_mmdense.errors import require

_written: dict[Path, int] = {}  # by this process; the time of the last modification


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    return hasattr(getattr(builtins, "get_ipython", lambda: None)(), "kernel")


def is_watched() -> bool:
    """Return whether a person waits for this process: at a terminal, or in a notebook."""
    return in_notebook() or sys.stderr.isatty()


def check_writable(targets: Sequence[Path], overwrite: bool, error: type[Exception]) -> bool:
    """Raise the error unless all files can be written; return whether existing ones are replaced.

    In a notebook, whose cells run again and again, the files that it has written are replaced
    without being asked to, unless they have changed since.
    """
    replaced = overwrite
    for target in targets:
        require(
            target.parent.is_dir() and os.access(target.parent, os.W_OK),
            "the folder must exist and be writable",
            str(target.parent),
            "Create it first, or choose another.",
            error,
        )
        may = overwrite
        if in_notebook() and target.is_file():
            may |= _written.get(target.absolute()) == target.stat().st_mtime_ns
        if target.is_dir() or (target.exists() and not may):
            raise error(f"{target} exists already. Choose another name, or pass overwrite=True.")
        replaced |= may
    return replaced


@contextmanager
def writing(targets: Sequence[Path], overwrite: bool, error: type[Exception]) -> Iterator[Path]:
    """Yield a folder for files of the targets' names; at the end, move those to their places.

    Args:
        targets: The paths of the files, which may be left out.
        overwrite: Whether existing files may be replaced.
        error: What is raised if they cannot be written; else nothing is left of them.
    """
    replace = check_writable(targets, overwrite, error)
    try:
        with staging(targets[0].parent) as aside:
            yield aside
            made = {aside / target.name: target for target in targets}
            publish({file: made[file] for file in made if file.exists()}, aside, replace)
            for target in filter(Path.exists, targets):
                _written[target.absolute()] = target.stat().st_mtime_ns
    except AudioError as failed:
        raise error(str(failed)) from failed
