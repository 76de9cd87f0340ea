"""The command line of bench_peers."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import NAMES, PEERS, Peer

MOST_ROUNDS, MOST_SECONDS = 20, 3600
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "keras-mmdense-peers"


def _peers(parser: argparse.ArgumentParser, name: str, given: str) -> list[Peer]:
    wanted = given.split(",")
    unknown = sorted(set(wanted) - set(NAMES))
    if unknown:
        parser.error(f"{name} must be some of {', '.join(NAMES)}, got {', '.join(unknown)}")
    return [peer for peer in PEERS if peer.name in wanted]


def _numbers(
    parser: argparse.ArgumentParser, name: str, given: str, kind: Any, most: int
) -> list[Any]:
    try:
        values = [kind(part) for part in given.split(",")]
    except ValueError:
        values = []
    if not values or not all(1 <= value <= most for value in values):
        parser.error(f"{name} must be numbers from 1 to {most}, as in 1,2, got {given}")
    return values


def arguments(description: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the checked arguments.

    Args:
        description: of the command.
        argv: None for the process's own.

    Returns:
        `peers` and `long_peers` are `Peer`s; seconds, threads and long_threads lists of numbers;
        `given` is what was typed.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--peers", default=",".join(NAMES), metavar="A,B", help="default: %(default)s"
    )
    parser.add_argument(
        "--long-peers",
        default=",".join(NAMES),
        metavar="A,B",
        help="those of --peers to measure at further lengths; default: all",
    )
    parser.add_argument("--seconds", default="30,180", metavar="A,B", help="default: %(default)s")
    parser.add_argument("--threads", default="1,2", metavar="A,B", help="default: %(default)s")
    parser.add_argument(
        "--long-threads", metavar="A,B", help="of further lengths; default: --threads"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--steps", type=int, default=2, metavar="N", help="of training, 0 to 20; default: 2"
    )
    parser.add_argument(
        "--torch", default="torch==2.13.0", metavar="SPEC", help="default: %(default)s"
    )
    parser.add_argument(
        "--cache", type=Path, default=CACHE, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="make all environments and models anew"
    )
    parser.add_argument(
        "--install-only", action="store_true", help="make environments and models only"
    )
    args = parser.parse_args(argv)
    args.given = list(sys.argv[1:] if argv is None else argv)
    args.peers = _peers(parser, "--peers", args.peers)
    args.long_peers = _peers(parser, "--long-peers", args.long_peers)
    args.long_threads = args.long_threads or args.threads
    cores = len(os.sched_getaffinity(0))
    args.seconds = _numbers(parser, "--seconds", args.seconds, float, MOST_SECONDS)
    args.threads = _numbers(parser, "--threads", args.threads, int, cores)
    args.long_threads = _numbers(parser, "--long-threads", args.long_threads, int, cores)
    for name, least, most in (("rounds", 1, MOST_ROUNDS), ("steps", 0, MOST_ROUNDS)):
        if not least <= getattr(args, name) <= most:
            parser.error(f"--{name} must be from {least} to {most}, got {getattr(args, name)}")
    if args.out.exists():
        parser.error(f"--out must name a new folder, got {args.out}")
    return args
