"""`keras-mmdense plot`: the network as a drawing."""

from __future__ import annotations

import argparse

from keras_mmdense.cli.models import form
from keras_mmdense.plot import architecture
from keras_mmdense.plot.style import check_targets


def run(arguments: argparse.Namespace) -> int:
    """Draw from the settings alone: neither Keras nor a backend is loaded."""
    targets = check_targets(arguments.out, arguments.overwrite)
    settings = form(arguments.model)
    architecture(settings, arguments.out, title=arguments.title, overwrite=arguments.overwrite)
    print(" ".join(map(str, targets)))
    return 0
