"""The command of the library: `keras-mmdense`, or `python -m keras_mmdense`.

Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from keras_mmdense.cli.parser import parser
from keras_mmdense.errors import (
    AudioError,
    ExportError,
    PlotError,
    SettingsError,
    what_to_install,
)

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: The arguments; default those of the process.
    """
    arguments = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow, where it is needed, is silent
    os.environ["MPLBACKEND"] = "agg"  # files only; a notebook's may be absent here, or no backend
    try:
        command = importlib.import_module(f"keras_mmdense.cli.{arguments.command}")
        code = int(command.run(arguments))
        sys.stdout.flush()  # here, where it can be told that nobody reads any more
        return code
    except BrokenPipeError:
        # Python flushes once more at its end: into nothing, or it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        message, code = "what reads the standard output has ended", 1
    except ModuleNotFoundError as error:
        message, code = what_to_install(error), 1
    except (
        *(AudioError, ExportError, PlotError, SettingsError), ImportError, OSError, ValueError
    ) as error:  # fmt: skip
        message, code = " ".join(str(error).split()), 1
    except KeyboardInterrupt:
        message, code = "interrupted: what was in work was not written", 130
    print(f"keras-mmdense: {message}", file=sys.stderr)
    return code
