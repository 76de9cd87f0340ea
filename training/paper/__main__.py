"""The paper's table 3 and its figure 5: `python -m training.paper table3`.

table3   size, multiply-adds and training time, beside FNN, BLSTM and their BLEND
figure5  how strongly the up-sampling path reads each map, from a trained .keras file

Each prints Markdown. docs/results/reproduction.md holds the output and tells what it means. Exit
code 0: done; 1: a file cannot be written or a track not be read; 2: wrong usage or input; 130:
stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras_mmdense
from keras_mmdense.data import DatasetError, TrackError
from keras_mmdense.errors import SettingsError
from training.paper.markdown import ReproductionError, check_new, write_new
from training.train.recipe import RecipeError

if TYPE_CHECKING:
    from training.paper.table3 import Timing

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    try:
        if args.out:
            check_new(args.out)  # before the work, not after
        text: str = args.make(args)
        if args.out and args.what != "figure5":
            write_new(args.out, text)
    except (ReproductionError, SettingsError, DatasetError, RecipeError) as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"reproduce: {error}; pip install -e '.[train]'", file=sys.stderr)
        return 2
    except (TrackError, OSError) as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    print(text, end="")
    return 0


def _table3(args: argparse.Namespace) -> str:
    from training.paper import table3

    timing = _timing(args)

    def progress(name: str) -> None:
        print(f"measuring {name}", file=sys.stderr)

    return table3.report(table3.measure_all(tuple(table3.NETWORKS), timing, progress), timing)


def _timing(args: argparse.Namespace) -> Timing:
    from training.paper.table3 import DSD100_SECONDS, Timing
    from training.train.split import open_tracks

    tracks = open_tracks(args.data)[0] if args.data else []
    length = sum(track.num_samples / track.sample_rate for track in tracks) or DSD100_SECONDS
    seconds = length if args.epoch_seconds is None else args.epoch_seconds
    return Timing(args.steps, args.frames, args.batch_size, seconds, tracks)


def _figure5(args: argparse.Namespace) -> str:
    from keras_mmdense.model_settings import settings_of
    from training.paper import figure5

    model = keras_mmdense.build(weights=args.model)
    name, norm = args.model.name, settings_of(model).norm
    found = figure5.blocks(model)
    if args.out:
        figure5.write(found, name, norm, args.out)
    return figure5.report(found, name, norm)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    table3 = what.add_parser("table3", help="size and time")
    table3.set_defaults(make=_table3)
    table3.add_argument("--steps", type=int, default=3, help="training steps timed; default 3")
    table3.add_argument("--frames", type=int, default=128, help="frames of an example; default 128")
    table3.add_argument("--batch-size", type=int, default=4, help="examples of a step; default 4")
    table3.add_argument(
        "--data", nargs="+", default=[], metavar="DIR", help="tracks; default generated magnitudes"
    )
    table3.add_argument(
        "--epoch-seconds", type=float, metavar="N", help="audio of an epoch; default: that of the "
        "data, without them 12500, about DSD100's training half"
    )  # fmt: skip
    figure5 = what.add_parser("figure5", help="weights of the up-sampling path")
    figure5.set_defaults(make=_figure5)
    figure5.add_argument("model", metavar="MODEL.keras", type=Path, help="a trained model")
    table3.add_argument("--out", metavar="FILE", type=Path, help="new file for the output")
    figure5.add_argument(
        "--out", metavar="DIR", type=Path, help="new folder for figure5.png, .svg, .json and .md"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
