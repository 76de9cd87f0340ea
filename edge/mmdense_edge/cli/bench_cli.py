"""Options of `mmdense bench`; importing this loads nothing else."""

from __future__ import annotations

import argparse

_DESCRIPTION = """
Measures models on this machine, each in a process of its own: real-time factor, processor time,
time of a window, latency of a live run, memory and load time. Let nothing else run meanwhile.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], epilog: str) -> None:
    """Adds the command to the command line's parser."""
    bench = commands.add_parser(
        "bench", help="measure models on this machine", description=_DESCRIPTION, epilog=epilog
    )
    add = bench.add_argument
    add("models", nargs="*", metavar="MODEL", help="bundled names or files (default: the default)")
    add("--threads", default="1", metavar="N,M", help="numbers of threads (default: 1)")
    add("--seconds", type=float, default=30.0, metavar="S", help="of audio (default: 30)")
    add("--song", metavar="FILE", help="audio to separate (default: generated)")
    add(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="measure two models in turns, and print the ratio of their processor times",
    )
    add("--rounds", type=int, default=5, metavar="N", help="of --compare (default: 5)")
    add(
        "--lookahead",
        nargs="?",
        const="",
        metavar="N,M",
        help="print what a shorter look-ahead costs on --song, as a difference from file "
        "processing in dB (default: up to nine values)",
    )
    add("--step-frames", type=int, metavar="N", help="of --lookahead (default: two multiples)")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--quiet", action="store_true", help="no progress")
