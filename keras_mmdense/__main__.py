"""The command of the library: `python -m keras_mmdense export MODEL.keras -o FILE.tflite`.

Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from keras_mmdense.precisions import PRECISIONS


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m keras_mmdense", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    export = commands.add_parser("export", help="write a trained model as .tflite")
    add = export.add_argument
    add("model", metavar="MODEL", help="a .keras file of keras_mmdense.build")
    add("-o", "--out", required=True, metavar="FILE", help="the .tflite file; with several "
        "precisions its name holds {precision}")  # fmt: skip
    add("--precision", default="float32", metavar="A,B",
        help=f"one or several of {', '.join(PRECISIONS)} (default: float32)")  # fmt: skip
    add("--music", metavar="DIR", help="data set or folder of songs to calibrate and compare on")
    add("--window-frames", type=int, default=128, metavar="N", help="frames that a window keeps "
        "(default: 128)")  # fmt: skip
    add("--name", help="name of the model in its contract (default: the file's)")
    add("--threshold", action="append", default=[], metavar="PRECISION:FIGURE=NUMBER",
        help="a figure to reach, for example int8:snr_db=15; may be repeated")  # fmt: skip
    add("--report", action="store_true", help="also write the parity report beside the files")
    add("--overwrite", action="store_true", help="replace existing files")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = parser().parse_args(argv)
    from keras_mmdense.errors import ExportError, SettingsError

    try:
        thresholds = _thresholds(arguments.threshold)
        return _export(arguments, thresholds)
    except (ExportError, SettingsError, OSError, ValueError) as error:
        message, code = " ".join(str(error).split()), 1
    except KeyboardInterrupt:
        message, code = "interrupted: nothing was written", 130
    print(f"keras_mmdense: {message}", file=sys.stderr)
    return code


def _thresholds(given: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read PRECISION:FIGURE=NUMBER."""
    from keras_mmdense.errors import ExportError

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


def _export(arguments: argparse.Namespace, thresholds: dict[str, dict[str, float]]) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    from keras_mmdense.model_settings import settings_of
    from keras_mmdense.tflite import export

    settings_of(arguments.model)  # says in one line if it is no file of ours
    contracts = export(
        keras.saving.load_model(arguments.model, compile=False),
        arguments.out,
        precision=[name.strip() for name in arguments.precision.split(",")],
        music=arguments.music,
        window_frames=arguments.window_frames,
        name=arguments.name,
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


if __name__ == "__main__":
    sys.exit(main())
