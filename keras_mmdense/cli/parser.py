"""The arguments of the command; reading them needs neither Keras nor NumPy."""

from __future__ import annotations

import argparse
from typing import Any

from mmdense_edge.cli import separate_command
from mmdense_edge.cli.main import add_completion

from keras_mmdense import __version__
from keras_mmdense.tflite.precisions import PRECISIONS

EPILOG = "Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 130 interrupted."
MODEL = "a .keras file, or the name of a model that comes with the package (see mmdense models)"
PRESET = "a preset (mmdensenet, mdensenet, mmdensenet-edge, mmdensenet-micro), or a MODEL as " \
    "keras-mmdense separate takes it"  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="keras-mmdense", description="Music source separation in Keras.", epilog=EPILOG
    )
    top.add_argument("--version", action="version", version=f"keras-mmdense {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add_command in (_summary, _plot, _separate, _export, _env):
        add_command(commands)
    add_completion(top, commands)
    return top


def _summary(commands: Any) -> None:
    one = commands.add_parser("summary", help="weights, multiply-adds, memory, receptive field",
                              epilog=EPILOG)  # fmt: skip
    add = one.add_argument
    add("model", metavar="PRESET|FILE", help=PRESET)
    add("--layers", action="store_true", help="a row for each layer instead of each block")
    add("--window-frames", type=int, metavar="N", help="frames that a window keeps (default: 128)")
    add("--json", action="store_true", help="print JSON instead of a table")


def _plot(commands: Any) -> None:
    one = commands.add_parser("plot", help="draw the network: bands, scales, receptive field",
                              epilog=EPILOG)  # fmt: skip
    add = one.add_argument
    add("model", metavar="PRESET|FILE", help=PRESET)
    add("-o", "--out", required=True, metavar="FILE",
        help="a .png or .svg file; without either ending both are written")  # fmt: skip
    add("--title", help="title above the drawing (default: the preset's name)")
    add("--overwrite", action="store_true", help="replace existing files")


def _separate(commands: Any) -> None:
    one = commands.add_parser(
        "separate", help="separate songs with a Keras model", epilog=EPILOG,
        description=f"{separate_command.DESCRIPTION} On a device, and for many songs, export the "
        "model and take the command mmdense, which is faster.",
    )  # fmt: skip
    one.add_argument("model", metavar="MODEL", help=MODEL)
    separate_command.add_options(one)
    one.add_argument("--window-frames", type=int, default=256, metavar="N", help="frames that a "
        "window keeps; does not change the result (default: 256)")  # fmt: skip
    one.set_defaults(jobs=1)


def _export(commands: Any) -> None:
    one = commands.add_parser("export", help="write a trained model as .tflite", epilog=EPILOG)
    add = one.add_argument
    add("model", metavar="MODEL", help=MODEL)
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
    add("--score", action="append", default=[], metavar="SOURCE=NUMBER",
        help="SDR in dB that the file states, as vocals=5.04; may be repeated")  # fmt: skip
    add("--report", action="store_true", help="also write the parity report beside the files")
    add("--overwrite", action="store_true", help="replace existing files")


def _env(commands: Any) -> None:
    one = commands.add_parser("env", help="versions and devices, for a bug report", epilog=EPILOG)
    add = one.add_argument
    add("--devices", action="store_true",
        help="also load the backend and list the devices that it sees; takes seconds")  # fmt: skip
    add("--json", action="store_true", help="print JSON instead of lines")
