"""List the tracks and the faults of a data set: `python -m keras_mmdense.data ROOT`.

Exit code 0: all tracks are usable; 1: there are faults; 2: ROOT cannot be used.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdense_edge.cli.main import carry_out, prepare
from mmdense_edge.errors import printable
from tqdm import tqdm

from keras_mmdense.data.dataset import KINDS, open_dataset
from keras_mmdense.data.problems import DatasetError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        argv: Arguments without the program's name; None: those of the process.
    """
    prepare(own_process=argv is None)
    parser = argparse.ArgumentParser(
        prog="python -m keras_mmdense.data",
        description="List the tracks and the faults of a source separation data set.",
        epilog="Exit code 0: all tracks are usable; 1: there are faults; 2: ROOT cannot be used.",
    )
    parser.add_argument("root", metavar="ROOT", help="root of the data set")
    parser.add_argument("--kind", choices=KINDS, default="auto", help="form of the tree")
    parser.add_argument(
        "--sample-rate", type=int, default=44100, metavar="HZ", help="rate of every file"
    )
    parser.add_argument(
        "--deep", action="store_true", help="read every sample instead of the headers only"
    )
    args = parser.parse_args(argv)

    def show() -> int:
        try:
            dataset = open_dataset(args.root, kind=args.kind, sample_rate=args.sample_rate)
            if args.deep:
                total = sum(track.num_samples for track in dataset)
                with tqdm(total=total, unit="samples", unit_scale=True, desc="reading") as bar:
                    dataset = dataset.check(lambda done, _: bar.update(done - bar.n))
        except DatasetError as error:
            for fault in error.faults:
                print(f"fault: {fault.describe(Path(args.root).absolute())}")
            print(f"error: {error}", file=sys.stderr)
            return 2
        width = max(len(printable(track.name)) for track in dataset)
        print(f"{'track':<{width}}  subset    seconds      Hz  channels")
        for t in dataset:
            print(
                f"{printable(t.name):<{width}}  {t.subset:<6}  {t.duration:>9.3f}  "
                f"{t.sample_rate:>6}  {t.channels:>8}"
            )
        print(dataset.report())
        return 1 if dataset.faults else 0

    return carry_out("data", show, ": nothing was changed", own_process=argv is None)


if __name__ == "__main__":
    sys.exit(main())
