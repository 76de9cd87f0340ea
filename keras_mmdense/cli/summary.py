"""`keras-mmdense summary`: what a network is made of and what it costs."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from keras_mmdense.cli.models import network


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or JSON."""
    model = network(arguments.model)
    from keras_mmdense.summary import summarize

    found = summarize(model, window_frames=arguments.window_frames, by_layer=arguments.layers)
    print(json.dumps(asdict(found), indent=1) if arguments.json else found)
    return 0
