"""`keras-mmdense separate`: the runner's command, with a Keras model."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmdense_edge import separate_command
from mmdense_edge.separator import Separator

from keras_mmdense.cli.models import open_model


def run(arguments: argparse.Namespace) -> int:
    """Separate songs into files and print what was done."""

    def opened() -> Separator:
        from keras_mmdense.separation import KerasNetwork

        model = open_model(arguments.model)
        name = Path(arguments.model).stem
        return Separator(KerasNetwork([model], arguments.window_frames, name))

    return separate_command.run(arguments, opened)
