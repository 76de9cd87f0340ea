"""`keras-mmdense export`: a trained model as `.tflite`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from keras_mmdense.cli.models import open_model
from keras_mmdense.errors import ExportError


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print what they reach."""
    given = thresholds(arguments.threshold)
    model = open_model(arguments.model)
    from keras_mmdense.tflite import export

    contracts = export(
        model,
        arguments.out,
        precision=[name.strip() for name in arguments.precision.split(",")],
        music=arguments.music,
        window_frames=arguments.window_frames,
        name=arguments.name,
        thresholds=given,
        report=arguments.report,
        overwrite=arguments.overwrite,
        progress=lambda text: print(text, file=sys.stderr),
    )
    for name, contract in contracts.items():
        parity = contract["parity"]
        loss = f", SDR lost {parity['sdr_loss_db']:.3f} dB" if "sdr_loss_db" in parity else ""
        print(f"{arguments.out.replace('{precision}', name)}: SNR {parity['snr_db']:.1f} dB{loss}")
    return 0


def thresholds(given: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read PRECISION:FIGURE=NUMBER."""
    found: dict[str, dict[str, float]] = {}
    for text in given:
        precision, _, rest = text.partition(":")
        figure, _, number = rest.partition("=")
        try:
            found.setdefault(precision, {})[figure] = float(number)
        except ValueError as error:
            raise ExportError(
                f"--threshold is PRECISION:FIGURE=NUMBER; received {text!r}. "
                "Pass for example int8:snr_db=15."
            ) from error
    return found
