"""The commands behind `keras-mmdense`: each takes its arguments and returns the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from keras_mmdense.cli.env import environment
from keras_mmdense.cli.models import form, open_model, start_backend
from keras_mmdense.errors import ExportError


def summary(arguments: argparse.Namespace) -> int:
    """Print what a network is made of and what it costs."""
    model = open_model(arguments.model, trained=False)
    from keras_mmdense.summary import summarize

    found = summarize(model, window_frames=arguments.window_frames, by_layer=arguments.layers)
    print(json.dumps(asdict(found), indent=1) if arguments.json else found)
    return 0


def plot(arguments: argparse.Namespace) -> int:
    """Draw a network from its settings alone: neither Keras nor a backend is loaded."""
    from keras_mmdense.plot import architecture
    from keras_mmdense.plot.style import check_targets

    targets = check_targets(arguments.out, arguments.overwrite)
    settings = form(arguments.model)
    architecture(settings, arguments.out, title=arguments.title, overwrite=arguments.overwrite)
    print(" ".join(map(str, targets)))
    return 0


def separate(arguments: argparse.Namespace) -> int:
    """Separate songs into files with a Keras model, as the runner does."""
    from mmdense_edge.cli import separate_command
    from mmdense_edge.separator import Separator

    def opened() -> Separator:
        from keras_mmdense.separation import KerasNetwork

        model = open_model(arguments.model)
        name = Path(arguments.model).stem
        return Separator(KerasNetwork([model], arguments.window_frames, name))

    return separate_command.run(arguments, opened)


def export(arguments: argparse.Namespace) -> int:
    """Write a model as `.tflite` and print what the files reach."""
    thresholds: dict[str, dict[str, float]] = {}
    for text in arguments.threshold:
        key, value = assignment("--threshold", text, "PRECISION:FIGURE=NUMBER", "int8:snr_db=15")
        precision, _, figure = key.partition(":")
        thresholds.setdefault(precision, {})[figure] = value
    scores = dict(
        assignment("--score", text, "SOURCE=NUMBER", "vocals=5.04") for text in arguments.score
    )
    model = open_model(arguments.model)
    from keras_mmdense.tflite import export as tflite

    contracts = tflite.export(
        model,
        arguments.out,
        precision=[name.strip() for name in arguments.precision.split(",")],
        music=arguments.music,
        window_frames=arguments.window_frames,
        name=arguments.name,
        scores=scores,
        thresholds=thresholds,
        report=arguments.report,
        overwrite=arguments.overwrite,
        progress=lambda text: print(text, file=sys.stderr),
    )
    for name, contract in contracts.items():
        parity = contract["parity"]
        loss = f", SDR lost {parity['sdr_loss_db']:.3f} dB" if "sdr_loss_db" in parity else ""
        print(f"{arguments.out.replace('{precision}', name)}: SNR {parity['snr_db']:.1f} dB{loss}")
    return 0


def assignment(option: str, text: str, rule: str, example: str) -> tuple[str, float]:
    """Read KEY=NUMBER."""
    key, _, number = text.partition("=")
    try:
        return key, float(number)
    except ValueError as error:
        raise ExportError(
            f"{option} is {rule}; received {text!r}. Pass for example {example}."
        ) from error


def env(arguments: argparse.Namespace) -> int:
    """Print what is installed and what it runs on."""
    found = environment()
    if arguments.devices:
        start_backend()
        import keras

        known = keras.backend.backend() in ("tensorflow", "jax")
        found["devices"] = keras.distribution.list_devices() if known else ["unknown"]
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, text in value.items():
                print(f"  {key:18} {'not installed' if text is None else text}")
        else:
            print(f"{name:20} {(', '.join(value) or 'none') if isinstance(value, list) else value}")
    return 0


def completion(arguments: argparse.Namespace) -> int:
    """Print a shell's completion script."""
    return int(arguments.run(arguments))
