"""Training and evaluation, run from the checkout: `python -m training.train`."""

import argparse
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import mmdense_edge.cli.main

# by its whole name: `prepare` alone would hide the module training.prepare
mmdense_edge.cli.main.prepare(own_process=False)
# The commands draw into files. The backend of a notebook's shell may be absent here, and importing
# Keras fails if MPLBACKEND names one that does not exist.
os.environ["MPLBACKEND"] = "agg"


def command_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m MODULE`, which shows the module's docstring as it is."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def command(name: str, kept: str = "") -> Callable[[Callable[..., int | None]], Callable[..., int]]:
    """Make the main function of a command report errors in one line, and SIGTERM act as Ctrl-C.

    Args:
        name: The command's name, which the line starts with.
        kept: What is left after a failure or Ctrl-C, which the line ends with.

    Returns:
        A decorator. The function then returns its own exit code, 0 if that is None, or 1: data or
        a file failed, 2: wrong usage or input, 130: Ctrl-C.
    """
    from mmdense_edge import signals
    from mmdense_edge.errors import MMDenseError

    from keras_mmdense.data import DatasetError, TrackError
    from keras_mmdense.errors import SettingsError, what_to_install

    rest = f"; {kept}" if kept else ""

    def decorate(main: Callable[..., int | None]) -> Callable[..., int]:
        @wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            try:
                with signals.taken(signal.default_int_handler, "SIGTERM", "SIGHUP"):
                    return main(argv) or 0
            except KeyboardInterrupt:
                print(f"stopped{rest}", file=sys.stderr)
                return 130
            except (SettingsError, DatasetError, MMDenseError) as error:
                code, line = 2, str(error)
            except ImportError as error:  # without a name: keras_mmdense has said it all
                code, line = 2, what_to_install(error, "train") if error.name else str(error)
            except Exception as error:
                failures = (TrackError, OSError, FloatingPointError)
                if not isinstance(error, failures) and "tensorflow." not in type(error).__module__:
                    raise  # a fault of the program
                # of TensorFlow's long messages that of the reader inside
                inside = re.search(r"TrackError: (.+)", str(error))
                text = inside[1] if inside else str(error).strip() or type(error).__name__
                code, line = 1, text.splitlines()[0] + rest
            print(f"{name}: {line}", file=sys.stderr)
            return code

        return run

    return decorate


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder that becomes `out` at the end of the block; after an error nothing is left.

    Args:
        out: A new or empty folder.

    Raises:
        SettingsError: It is in use.
    """
    from mmdense_edge.errors import printable

    from keras_mmdense.errors import require

    out = out.resolve()
    require(
        not out.exists() or (out.is_dir() and not any(out.iterdir())),
        "--out must be a new or empty folder",
        printable(out),
        "Choose another.",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as beside:
        made = Path(beside, "made")
        made.mkdir()
        yield made
        if out.exists():
            out.rmdir()
        made.rename(out)
