"""`keras-mmdense export`: a trained model as `.tflite`."""

from __future__ import annotations

import argparse
import sys

from keras_mmdense.cli.models import open_model
from keras_mmdense.errors import ExportError


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print what they reach."""
    thresholds: dict[str, dict[str, float]] = {}
    for text in arguments.threshold:
        key, value = assignment("--threshold", text, "PRECISION:FIGURE=NUMBER", "int8:snr_db=15")
        precision, _, figure = key.partition(":")
        thresholds.setdefault(precision, {})[figure] = value
    scores = dict(
        assignment("--score", text, "SOURCE=NUMBER", "vocals=5.04") for text in arguments.score
    )
    model = open_model(arguments.model)
    from keras_mmdense.tflite import export

    contracts = export(
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


def assignment(option: str, text: str, form: str, example: str) -> tuple[str, float]:
    """Read KEY=NUMBER."""
    key, _, number = text.partition("=")
    try:
        return key, float(number)
    except ValueError as error:
        raise ExportError(
            f"{option} is {form}; received {text!r}. Pass for example {example}."
        ) from error
