"""All files of a song, or none: they are written to a temporary folder and moved together."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmdense_edge.errors import AudioError, refuse_if

PREFIX = ".mmdense-"


def check_targets(targets: Sequence[Path], overwrite: bool, option: str = "folder (-o)") -> None:
    """Check that results can be written to their paths.

    Args:
        targets: The paths of the results.
        overwrite: Whether existing files may be replaced.
        option: The option that chooses another path, for messages.

    Raises:
        AudioError: A result exists, is a folder, or its name is too long.
    """
    for target in targets:
        try:
            target.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise AudioError(
                f"{target} cannot be written ({error.strerror}). Choose another {option} or name."
            ) from error
        refuse_if(target.is_dir(), f"{target} is a folder. Choose another {option}.", AudioError)
        refuse_if(
            not overwrite,
            f"{target} exists. Choose another {option} or pass --overwrite.",
            AudioError,
        )


def check_space(out: Path, num_bytes: int) -> None:
    """Check in advance that there is enough disk space for the results.

    Args:
        out: The output folder, which may not exist yet.
        num_bytes: The least space needed.

    Raises:
        AudioError: Less space is free.
    """
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    refuse_if(
        free < num_bytes,
        f"the stems need {num_bytes / 1e6:.0f} MB, but {out} has {free / 1e6:.0f} MB free. "
        "Free some space, or use another folder (-o), fewer sources or --format flac.",
        AudioError,
    )


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Create a temporary folder in `out`; remove it at the end, and after an error `out` too.

    Args:
        out: The output folder; created if it does not exist.

    Raises:
        AudioError: The folder is not writable.
    """
    with ExitStack() as undo:
        undo.callback(remove_empty, missing_folders(out))
        try:
            out.mkdir(parents=True, exist_ok=True)
            aside = tempfile.TemporaryDirectory(prefix=PREFIX, dir=out)
        except OSError as error:
            raise AudioError(
                f"cannot write to {out} ({error.strerror}). Choose another folder (-o)."
            ) from error
        with aside as folder:
            yield Path(folder)
        undo.pop_all()


def missing_folders(out: Path) -> list[Path]:
    """Return those of a folder and its parents that do not exist, the deepest first."""
    return [folder for folder in (out, *out.parents) if not folder.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders that are empty, in this order."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def publish(moves: Mapping[Path, Path], aside: Path, overwrite: bool) -> None:
    """Move files to their final paths: all of them, or none after an error.

    Args:
        moves: The final path of each finished file.
        aside: A folder on the same disk that holds replaced files until all are moved.
        overwrite: Whether existing files may be replaced.

    Raises:
        AudioError: A file has appeared in the meantime, or cannot be moved.
    """
    check_targets(list(moves.values()), overwrite)
    try:
        with ExitStack() as undo:
            for number, (source, target) in enumerate(moves.items()):
                undo.callback(remove_empty, missing_folders(target.parent))
                target.parent.mkdir(parents=True, exist_ok=True)
                kept = aside / f"kept-{number}"
                # Before the steps that it undoes: Ctrl-C may come between any two.
                undo.callback(_put_back, source, target, kept)
                if os.path.lexists(target):
                    os.replace(target, kept)
                os.replace(source, target)
            undo.pop_all()
    except OSError as error:
        raise AudioError(
            f"cannot write {error.filename2 or error.filename} ({error.strerror}). "
            "Choose another folder (-o)."
        ) from error


def _put_back(source: Path, target: Path, kept: Path) -> None:
    """Undo a move, as far as it was done."""
    if not os.path.lexists(source):
        target.unlink(missing_ok=True)
    if os.path.lexists(kept):
        os.replace(kept, target)
