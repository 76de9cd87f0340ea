"""The command `python -m training.corpus`.

Exit code 0: all songs are there; 1: a file cannot be written; 2: nothing could be done, or a song
failed; 130: stopped.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import training.corpus
from keras_mmdense.data import SUBSETS
from training import command
from training.corpus.render import FORMATS, Order, render
from training.corpus.studio import ABILITIES


@command("corpus", "complete songs are kept, and the same command continues")
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus",
        description=training.corpus.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus")
    add("--songs", type=int, required=True, metavar="N", help="number of songs")
    add("--seconds", type=float, default=40.0, metavar="S", help="length of each song (40)")
    add("--seed", type=int, default=0, metavar="K", help="seed of the first song (0)")
    add("--subset", choices=SUBSETS, default="train", help="subset of the songs (train)")
    add("--material", type=Path, nargs="+", action="extend", default=[], metavar="DIR",
        help="folders of recordings")  # fmt: skip
    add(
        "--use",
        default=",".join(ABILITIES),
        metavar="NAMES",
        help="what may be used (all), see above",
    )
    add("--format", choices=FORMATS, default="wav", help="format of the 16-bit audio files (wav)")
    add("--bands", action="store_true",
        help="voices over recordings of whole bands, for models of the vocals only")  # fmt: skip
    add("--jobs", type=int, default=1, metavar="N", help="number of processes (1)")
    args = vars(parser.parse_args(argv))
    args["use"] = tuple(name for name in args["use"].split(",") if name)
    args["material"] = tuple(args["material"])
    begin = time.monotonic()

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def progress(done: int, total: int, line: str) -> None:
        left = (time.monotonic() - begin) * (total - done) / done
        tell(f"{done}/{total}, {left / 60:.1f} min left: {line}")

    manifest = render(Order(**args), tell, progress)
    shared = ", ".join(manifest["share_alike"]) or "none"
    print(f"{args['out']}: {manifest['num_songs']} songs; share-alike sources: {shared}")


if __name__ == "__main__":
    sys.exit(main())
