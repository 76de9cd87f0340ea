"""Options of `mmdense live`; importing this loads nothing else."""

from __future__ import annotations

import argparse

_DESCRIPTION = """
Separates while it plays and mixes the stems anew. INPUT is a file, - for stdin (WAV, or raw
samples if --rate is given), or "card" for a sound card. When the machine cannot keep
up, the mixture itself is played in place of stems that are late, with cross-fades, and counted:
rule "pass". On a terminal keys change the mix: a stem's first letter silences it or brings it
back, digits choose a named mix, space prints a report, q ends the run. Messages go to stderr.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], epilog: str) -> None:
    """Adds the command to the command line's parser."""
    live = commands.add_parser(
        "live",
        help="separate and remix while it plays",
        description=_DESCRIPTION,
        epilog=f"{epilog} Ctrl-C ends a run as q does, and keeps what was written.",
    )
    add = live.add_argument
    add("input", nargs="?", default="card", metavar="INPUT", help="FILE, - or card (default: card)")
    add(
        "--output",
        default="card",
        metavar="OUT",
        help="card, null, - (raw samples on stdout), a .wav or .flac file (default: card)",
    )
    add(
        "--mix",
        default="karaoke",
        metavar="NAME|GAINS",
        help="all, karaoke, drumless, bassless, acapella, drums-only, bass-only, or gains as in "
        "vocals=0,drums=-6dB; stems not named stay at 1 (default: karaoke)",
    )
    add("--model", metavar="NAME|FILE", help="a bundled model or a model file")
    add("--threads", type=int, default=1, metavar="N", help="no more than free cores (default: 1)")
    _add_timing(live)
    live.set_defaults(run=_run, lost=": what was played until then is kept")
    add("--rate", type=int, metavar="HZ", help="of raw samples on stdin, or wanted of the card")
    add("--channels", type=int, choices=(1, 2), help="of raw samples (default: 2) or the card")
    add(
        "--sample-format",
        choices=("s16le", "f32le"),
        default="s16le",
        help="of raw samples on stdin and stdout (default: s16le)",
    )
    add("--input-device", default="", metavar="DEVICE", help="name or number (see --devices)")
    add("--output-device", default="", metavar="DEVICE", help="name or number (see --devices)")
    add("--devices", action="store_true", help="list the sound cards and end")
    add("--seconds", type=float, metavar="S", help="end after as much input")
    add("--overwrite", action="store_true", help="replace an output file that exists")
    add("--quiet", action="store_true", help="print warnings and errors only")
    add("--json", action="store_true", help="print reports as JSON, one line each")


def _run(arguments: argparse.Namespace) -> int:
    from mmdense_edge.cli import live_command

    return live_command.run(arguments)


def _add_timing(live: argparse.ArgumentParser) -> None:
    add = live.add_argument_group("latency").add_argument
    add(
        "--pace",
        choices=("real", "fast"),
        default="real",
        help="real: as the input sounds; fast: as the machine can, for files (default: real)",
    )
    add(
        "--step-frames",
        type=int,
        metavar="N",
        help="new frames in each window (default: real: what lasts twice as long as a window "
        "takes; fast: what a file gets)",
    )
    add(
        "--lookahead",
        type=int,
        metavar="N",
        help="frames seen beyond the new ones: fewer are faster and less exact (default: all of "
        "the model's context, equal to file processing)",
    )
    add("--buffer", type=float, metavar="S", help="time for the computation (default: a step)")
    add("--block", type=int, default=1024, metavar="N", help="samples in a block (default: 1024)")
