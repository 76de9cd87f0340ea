"""Options of `mmdense separate`; importing this loads nothing else."""

from __future__ import annotations

import argparse

DESCRIPTION = """
Writes OUT/<song>/<stem>.wav for each song. Stems have the song's sample rate, channels, exact
length, tags and bit depth (16 bits for lossy and 8-bit files). A song's stems appear when all of
them are complete, or not at all. Memory does not depend on length. Of more than two channels,
left and right pairs are separated together, the others each by itself.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], epilog: str) -> None:
    """Adds the command to the command line's parser."""
    separate = commands.add_parser(
        "separate", help="separate songs into files", description=DESCRIPTION, epilog=epilog
    )
    add_options(separate, "mmdense")
    separate.set_defaults(run=_run, lost=": the song in work was not written")
    add = separate.add_argument
    add("--model", metavar="NAME|FILE", help="a bundled model or a model file")
    add("--threads", type=int, default=1, metavar="N", help="no more than free cores (default: 1)")
    add("--jobs", type=int, default=1, metavar="N", help="songs at a time, each with the threads")


def _run(arguments: argparse.Namespace) -> int:
    from mmdense_edge.cli import separate_command
    from mmdense_edge.separator import Separator

    return separate_command.run(arguments, lambda: Separator(arguments.model, arguments.threads))


def add_options(separate: argparse.ArgumentParser, program: str) -> None:
    """Adds what every command that separates takes: songs, the output, stems and files.

    Args:
        separate: the command's parser.
        program: its name in messages.
    """
    separate.set_defaults(program=program)
    add = separate.add_argument
    add(
        "songs",
        nargs="+",
        metavar="SONG",
        help="a file, a folder (searched with all below), a pattern such as '*.flac', or - for "
        "stdin; wav, flac, ogg, opus, mp3, aiff, and with ffmpeg m4a, aac and videos",
    )
    add("-o", "--out", required=True, metavar="OUT", help="the folder, or - for one stem on stdout")
    add("--reference", metavar="DIR", help="score against DIR/<stem>.wav, .flac or .ogg (SDR)")
    add("--picture", action="store_true", help="also draw spectrogram.png (needs matplotlib)")
    add("--allow-truncated", action="store_true", help="take what a damaged song holds, and warn")
    add("--overwrite", action="store_true", help="replace results that exist")
    add("--quiet", action="store_true", help="print errors only")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    _add_stems(separate)
    _add_files(separate)


def _add_stems(separate: argparse.ArgumentParser) -> None:
    add = separate.add_argument_group("stems").add_argument
    add("--sources", metavar="A,B", help="only these sources (default: all of the model's)")
    add("--two-stems", metavar="SOURCE", help="this source, and no_<source>")
    add(
        "--other",
        choices=("residual", "sum"),
        help="what no_<source> is: the mixture less the source (default), or the sum of the others",
    )
    add("--residual", action="store_true", help="also write the mixture less the stems")
    add(
        "--sum-to-mixture",
        action="store_true",
        help="share out what is missing to the mixture in proportion to the stems' power, and "
        "report the null test",
    )
    add(
        "--wiener",
        type=int,
        default=0,
        metavar="N",
        help="filter all of the model's sources together, N iterations of the multichannel Wiener "
        "filter: 1 to 10, 0 for none (default)",
    )


def _add_files(separate: argparse.ArgumentParser) -> None:
    add = separate.add_argument_group("files").add_argument
    add("--format", choices=("wav", "flac", "ogg"), default="wav", help="(default: wav)")
    add("--bit-depth", choices=("16", "24", "32f"), help="(default: the song's); no dither")
    add(
        "--clip",
        choices=("clamp", "scale"),
        default="clamp",
        help="beyond full scale: set samples to full scale and count them (default), or make all "
        "stems of the song quieter by one gain",
    )
    add(
        "--filename",
        metavar="TEMPLATE",
        default="{folder}/{track}/{stem}.{ext}",
        help="below OUT; fields: {folder} (below a folder that was searched), {track}, "
        "{trackext}, {stem}, {ext}, {model} (default: %(default)s)",
    )
