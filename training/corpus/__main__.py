"""The command `python -m training.corpus`.

Exit code 0: all songs are there; 2: nothing could be done, or a song failed; 130: stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import training.corpus
from keras_mmdense.data.tracks import SUBSETS
from training.corpus.material import CorpusError
from training.corpus.render import FORMATS, Order, render
from training.corpus.studio import ABILITIES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = vars(_parser().parse_args(argv))
    args["use"] = tuple(name for name in args["use"].split(",") if name)
    args["material"] = tuple(args["material"])
    try:
        manifest = render(Order(**args), _tell, progress_printer())
    except CorpusError as error:
        print(f"corpus: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        text = f"{args['out']} cannot be written: {error.strerror or error}"
        print(f"corpus: {text}; songs that are complete are kept", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; complete songs are kept, the same command goes on", file=sys.stderr)
        return 130
    shared = ", ".join(manifest["share_alike"]) or "none"
    print(f"{args['out']}: {manifest['num_songs']} songs; share-alike sources: {shared}")
    return 0


def progress_printer(
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[int, int, str], None]:
    """Return a function that prints songs done and the time left to stderr."""
    begin = clock()

    def show(done: int, total: int, line: str) -> None:
        left = (clock() - begin) * (total - done) / done
        print(f"{done}/{total}, {left / 60:.1f} min left: {line}", file=sys.stderr, flush=True)

    return show


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus",
        description=training.corpus.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="the corpus")
    add("--songs", type=int, required=True, metavar="N", help="number of songs")
    add("--seconds", type=float, default=40.0, metavar="S", help="length of each (40)")
    add("--seed", type=int, default=0, metavar="K", help="seed of the first song (0)")
    add("--subset", choices=SUBSETS, default="train", help="subset of the songs (train)")
    add("--material", type=Path, nargs="+", action="extend", default=[], metavar="DIR",
        help="folders of recordings")  # fmt: skip
    add("--use", default=",".join(ABILITIES), metavar="NAMES", help="what may be used (all)")
    add("--format", choices=FORMATS, default="wav", help="audio files, of 16 bits (wav)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--solo", dest="kind", action="store_const", const="solo", default="songs",
        help="recordings of one source, the others silent")  # fmt: skip
    kinds.add_argument("--bands", dest="kind", action="store_const", const="bands",
        help="a voice over recordings of whole bands, for models of the vocals alone")  # fmt: skip
    add("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
