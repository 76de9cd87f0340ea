"""The commands `mmdense models` and `mmdense info`."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from mmdense_edge.errors import printable
from mmdense_edge.model import bundled
from mmdense_edge.model.model_file import load_model
from mmdense_edge.separate.song_report import aligned

_MODELS_HEADER = ("model", "sources", "SDR dB", "size", "precision", "speed", "license")


def add_parser(commands: Any, _: str) -> None:
    """Add both commands to the command line's parser."""
    commands.add_parser("models", help="list the bundled models").set_defaults(run=models)
    one = commands.add_parser("info", help="show what a model file says about itself")
    one.add_argument("model", metavar="FILE", help="a model file, or a bundled model's name")
    one.set_defaults(run=info)


def models(_: argparse.Namespace) -> int:
    """Print the bundled models."""
    rows = [_MODELS_HEADER]
    for name in bundled.names():
        model = load_model(bundled.find(name))
        contract = model.contract
        rows.append(
            (
                name + (" (default)" if name == bundled.default() else ""),
                ", ".join(contract.sources),
                _figures(contract.scores, ".1f"),
                f"{model.file_bytes / 1e6:.2f} MB",
                contract.precision,
                contract.speed_class,
                printable(contract.license),
            )
        )
    print(aligned(rows, left=range(len(_MODELS_HEADER))))
    return 0


def info(arguments: argparse.Namespace) -> int:
    """Print a model's contract."""
    from mmdense_edge.live.plan import algorithmic_latency

    model = load_model(bundled.find(arguments.model))
    contract, transform = model.contract, model.contract.transform
    latency = algorithmic_latency(contract, contract.step_frames, contract.context_frames)
    step_seconds = contract.step_frames * transform.hop_length / contract.sample_rate
    lines = {
        "file": f"{model.path} ({model.file_bytes} bytes)",
        "name": contract.name,
        "sources": ", ".join(contract.sources),
        "sample rate": f"{contract.sample_rate} Hz, {contract.channels} channel(s)",
        "transform": f"n_fft {transform.n_fft}, hop_length {transform.hop_length}, "
        f"{transform.window} window, {contract.bins} bins",
        "window": f"{contract.frames} frames, including {contract.context_frames} of context on "
        f"each side; {step_seconds:.2f} s of new audio per window",
        "latency": f"{latency / contract.sample_rate:.3f} s without computation",
        "output": f"{contract.output}, {contract.precision}",
        "license": contract.license,
        "training data": contract.training_data,
        "parity": _figures(contract.parity, "g"),
        "scores": _figures(contract.scores, "g"),
        "speed": contract.speed_class,
        "sha256": contract.model_sha256,
    }
    # Entries of the file that have the name of a line do not replace it.
    extra = [(key, json.dumps(value)) for key, value in contract.extra.items() if key not in lines]
    for key, value in (*lines.items(), *extra):
        print(f"{printable(key) + ':':15}{printable(value) or '-'}")
    return 0


def _figures(figures: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{printable(key)} {value:{form}}" for key, value in figures.items()) or "-"
