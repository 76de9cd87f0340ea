"""The command of the library: `keras-mmdense`, or `python -m keras_mmdense`.

Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 129 terminal closed; 130 interrupted;
143 terminated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmdense_edge.cli.main import carry_out, prepare

from keras_mmdense.cli.parser import parser
from keras_mmdense.errors import ExportError, PlotError, SettingsError, what_to_install

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: The arguments; default those of the process.
    """
    prepare(argv is None)
    arguments = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow, where it is needed, is silent
    os.environ["MPLBACKEND"] = "agg"  # files only; a notebook's may be absent here, or no backend

    def work() -> int:
        try:
            from keras_mmdense.cli import commands

            return int(getattr(commands, arguments.command)(arguments))
        except ModuleNotFoundError as error:
            raise SettingsError(what_to_install(error)) from error

    lost = ": what was in work was not written"
    errors = (ExportError, PlotError, SettingsError, ImportError, ValueError)
    return carry_out("keras-mmdense", work, lost, errors, own_process=argv is None)
