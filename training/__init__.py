"""Training and evaluation, run from the checkout: `python -m training.train`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps

import mmdense_edge.cli.main

# by its whole name: `prepare` alone would hide the module training.prepare
mmdense_edge.cli.main.prepare(own_process=False)
# The commands draw into files. The backend of a notebook's shell may be absent here, and importing
# Keras fails if MPLBACKEND names one that does not exist.
os.environ["MPLBACKEND"] = "agg"


def command(name: str) -> Callable[[Callable[..., int | None]], Callable[..., int]]:
    """Make the main function of a command report errors in one line.

    Args:
        name: The command's name, which the line starts with.

    Returns:
        A decorator. The function then returns its own exit code, 0 if that is None, or 1: data or
        a file failed, 2: wrong usage or input, 130: Ctrl-C.
    """
    from keras_mmdense.data import DatasetError, TrackError
    from keras_mmdense.errors import SettingsError

    def decorate(main: Callable[..., int | None]) -> Callable[..., int]:
        @wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            try:
                return main(argv) or 0
            except KeyboardInterrupt:
                print("stopped", file=sys.stderr)
                return 130
            except (SettingsError, DatasetError) as error:
                code, line = 2, str(error)
            except ModuleNotFoundError as error:
                code, line = 2, f"{error}; pip install -e '.[train]'"
            except Exception as error:
                failures = (TrackError, OSError, FloatingPointError)
                if not isinstance(error, failures) and "tensorflow." not in type(error).__module__:
                    raise  # a fault of the program
                # of TensorFlow's long messages that of the reader inside
                inside = re.search(r"TrackError: (.+)", str(error))
                text = inside[1] if inside else str(error).strip() or type(error).__name__
                code, line = 1, text.splitlines()[0]
            print(f"{name}: {line}", file=sys.stderr)
            return code

        return run

    return decorate
