"""The files of a result: all of them, or after an error none, and none replaced unasked."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmdense_edge.errors import AudioError
from mmdense_edge.separate.staging import publish, staging

from keras_mmdense.errors import require


def check_writable(targets: Sequence[Path], overwrite: bool, error: type[Exception]) -> None:
    """Raise the error unless all files can be written."""
    for target in targets:
        require(
            target.parent.is_dir() and os.access(target.parent, os.W_OK),
            "the folder must exist and be writable",
            str(target.parent),
            "Create it first, or choose another.",
            error,
        )
        if target.is_dir() or (target.exists() and not overwrite):
            raise error(f"{target} exists already. Choose another name, or pass overwrite=True.")


@contextmanager
def writing(targets: Sequence[Path], overwrite: bool, error: type[Exception]) -> Iterator[Path]:
    """Yield a folder for files of the targets' names; at the end, move those to their places.

    Args:
        targets: The paths of the files, which may be left out.
        overwrite: Whether existing files may be replaced.
        error: What is raised if they cannot be written; else nothing is left of them.
    """
    check_writable(targets, overwrite, error)
    try:
        with staging(targets[0].parent) as aside:
            yield aside
            made = {aside / target.name: target for target in targets}
            publish({file: made[file] for file in made if file.exists()}, aside, overwrite)
    except AudioError as failed:
        raise error(str(failed)) from failed
