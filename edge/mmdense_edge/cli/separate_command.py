"""The command `mmdense separate`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdense_edge import __version__
from mmdense_edge.errors import printable, refuse_if

if TYPE_CHECKING:
    from mmdense_edge.separate.jobs import Job
    from mmdense_edge.separate.song_report import SongReport
    from mmdense_edge.separator import Separator

LOST = ": the current song was not written"
STDOUT = "-"

DESCRIPTION = """
Write OUT/<song>/<stem>.wav for each song. Stems have the song's sample rate, channels, exact
length, tags and bit depth (16 bits for lossy and 8-bit files). A song's stems appear when all of
them are complete, or not at all. Memory use does not depend on the song's length. With more than
two channels, left and right pairs are separated together and other channels individually.
"""


def add_parser(commands: Any, epilog: str) -> None:
    """Add the command to the command line's parser."""
    separate = commands.add_parser(
        "separate", help="separate songs into files", description=DESCRIPTION, epilog=epilog
    )
    add_options(separate)
    add = separate.add_argument
    add("--model", metavar="NAME|FILE", help="a bundled model or a model file")
    add("--threads", type=int, default=1, metavar="N", help="no more than free cores (default: 1)")
    add("--jobs", type=int, default=1, metavar="N", help="songs at a time, each with --threads")
    add(
        "--cluster",
        metavar="ADDRESS",
        help="separate on the workers of a Dask scheduler, HOST:PORT on this machine or "
        "tls://HOST:PORT",
    )
    separate.set_defaults(run=run)


def add_options(separate: argparse.ArgumentParser) -> None:
    """Add the options of every command that separates: songs, output, stems and files."""
    # The program's name in messages is the first word of the parser's.
    separate.set_defaults(program=separate.prog.split()[0], lost=LOST)
    add = separate.add_argument
    add(
        "songs",
        nargs="+",
        metavar="SONG",
        help="a file, a folder (searched recursively), a pattern such as '*.flac', or - for "
        "stdin; wav, flac, ogg, opus, mp3, aiff, and with ffmpeg m4a, aac and videos",
    )
    add(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        help="output folder, or - for one stem on stdout",
    )
    add("--reference", metavar="DIR", help="score against DIR/<stem>.wav, .flac or .ogg (SDR)")
    add("--picture", action="store_true", help="also draw spectrogram.png (needs matplotlib)")
    add(
        "--allow-truncated",
        action="store_true",
        help="separate what can be read of a damaged song, and warn",
    )
    add("--overwrite", action="store_true", help="replace existing results")
    add("--quiet", action="store_true", help="print errors only")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add = separate.add_argument_group("stems").add_argument
    add("--sources", metavar="A,B", help="only these sources (default: all of the model's)")
    add("--two-stems", metavar="SOURCE", help="write this source and no_<source>")
    add(
        "--other",
        choices=("residual", "sum"),
        help="what no_<source> is: mixture minus source (default), or the sum of the others",
    )
    add("--residual", action="store_true", help="also write the mixture minus the stems")
    add(
        "--sum-to-mixture",
        action="store_true",
        help="make the stems add up to the mixture: distribute the difference in proportion to "
        "their power, and report a null test",
    )
    add(
        "--wiener",
        type=int,
        default=0,
        metavar="N",
        help="apply N iterations of the multichannel Wiener filter to all of the model's sources: "
        "1 to 10, 0 for none (default)",
    )
    add = separate.add_argument_group("files").add_argument
    add(
        "--format",
        dest="file_format",
        choices=("wav", "flac", "ogg"),
        default="wav",
        help="(default: wav)",
    )
    add("--bit-depth", choices=("16", "24", "32f"), help="(default: the song's); no dither")
    add(
        "--clip",
        choices=("clamp", "scale"),
        default="clamp",
        help="samples beyond full scale: clamp and count them (default), or scale all stems of the "
        "song down by one gain",
    )
    add(
        "--filename",
        metavar="TEMPLATE",
        default="{folder}/{track}/{stem}.{ext}",
        help="path below OUT; fields: {folder} (within the searched folder), {track}, "
        "{trackext}, {stem}, {ext}, {model} (default: %(default)s)",
    )


def run(arguments: argparse.Namespace, opened: Callable[[], Separator] | None = None) -> int:
    """Separate songs into files and print a report; see `mmdense separate --help`.

    Args:
        arguments: The options of `add_options`, with jobs and threads.
        opened: Returns the separator, called once the options are checked; by default it opens
            the model that they name.
    """
    from mmdense_edge.audio.mixture_sum import choose
    from mmdense_edge.separate import files, inputs, pool
    from mmdense_edge.separate.jobs import Options, plan
    from mmdense_edge.separator import Separator

    two_stems = arguments.two_stems
    refuse_if(
        not 1 <= arguments.jobs <= pool.MAX_PROCESSES,
        f"--jobs must be from 1 to {pool.MAX_PROCESSES}; received {arguments.jobs}",
    )
    refuse_if(
        arguments.cluster and arguments.jobs > 1,
        "--cluster separates as many songs at a time as it has workers. Drop --jobs.",
    )
    refuse_if(two_stems is None and arguments.other is not None, "--other needs --two-stems SOURCE")
    refuse_if(
        two_stems is not None and arguments.sources is not None,
        "--two-stems writes its two stems. Drop --sources.",
    )
    if arguments.picture:
        # Matplotlib refuses to start if MPLBACKEND names a backend that is not installed, as a
        # notebook's shell may do. Writing a file needs only this one.
        os.environ["MPLBACKEND"] = "agg"
        refuse_if(
            find_spec("matplotlib") is None,
            'pictures need matplotlib. Run pip install ".[plot]" in a checkout of keras_mmdense.',
        )
    options = Options(**{one.name: getattr(arguments, one.name) for one in fields(Options)})
    separator = opened() if opened else Separator(arguments.model, arguments.threads)
    listed = arguments.sources
    names = None if listed is None else [name.strip() for name in listed.split(",")]
    parts = choose(
        separator.sources,
        separator.select(names),
        two_stems=two_stems,
        other=arguments.other or "residual",
        residual=arguments.residual,
        sum_to_mixture=arguments.sum_to_mixture,
    )
    references = (
        {}
        if arguments.reference is None
        else files.find_references(
            Path(arguments.reference), [name for name, part in parts.items() if part]
        )
    )
    piped = arguments.out == STDOUT
    own = piped or inputs.STDIN in arguments.songs
    refuse_if(own and arguments.cluster, "--cluster takes files and folders; received -")
    with tempfile.TemporaryDirectory(prefix="mmdense-") if own else nullcontext("") as folder:
        out = Path(folder, "stems") if piped else Path(arguments.out)
        songs, others = inputs.find_songs(arguments.songs, None if piped else out)
        if piped:
            refuse_if(
                len(songs) != 1 or len(parts) != 1,
                f"-o - writes one stem of one song; received {len(parts)} stem(s) of "
                f"{len(songs)} song(s). Name one with --sources.",
            )
            refuse_if(
                arguments.json or arguments.picture,
                "-o - writes the stem to stdout. Drop --json and --picture.",
            )
            refuse_if(
                sys.stdout.isatty(),
                "-o - writes the stem to stdout, but stdout is a terminal. Redirect it.",
            )
        for number, song in enumerate(songs):
            refuse_if(
                song.piped and sys.stdin.isatty(),
                "- reads a song from stdin, but stdin is a terminal. Pipe one in.",
            )
            if song.piped:
                songs[number] = inputs.spool(sys.stdin.buffer, Path(folder))
        jobs = plan(
            songs, out, parts, options, model=separator.contract.name, references=references
        )
        reports = []
        for report in _reports(separator, jobs, arguments):
            reports.append(report)
            if report.error is not None:
                print(f"{arguments.program}: {report.error}", file=sys.stderr)
            if report.picture_error is not None:
                text = f"no picture was drawn ({report.picture_error}); the stems are complete"
                print(
                    f"{arguments.program}: {printable(f'{report.song}: {text}')}", file=sys.stderr
                )
        if piped and reports[0].error is None:
            with next(iter(jobs[0].stems.values())).open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
            reports = [replace(reports[0], stems=(replace(reports[0].stems[0], file=STDOUT),))]
    _print(arguments, separator, reports, others)
    return int(any(report.error is not None for report in reports))


def _reports(
    separator: Separator, jobs: Sequence[Job], arguments: argparse.Namespace
) -> Iterator[SongReport]:
    """Separate the songs; on a terminal, show a progress bar in seconds of music."""
    from tqdm import tqdm

    from mmdense_edge.separate import pool

    form = {"unit": " s", "leave": False, "disable": arguments.quiet or None, "dynamic_ncols": True}

    def show(bar: tqdm[None], done: float, expected: float) -> None:
        bar.total = round(expected) or None
        if not done:
            bar.refresh()  # the length is known now
        bar.update(int(done) - bar.n)

    if arguments.cluster:
        from mmdense_edge.separate.cluster import separate_on_cluster

        with tqdm(total=len(jobs), **{**form, "unit": " songs"}) as bar:
            yield from separate_on_cluster(
                jobs, separator.model.path, arguments.threads, arguments.cluster, bar.update
            )
        return
    if arguments.jobs > 1 and len(jobs) > 1:
        with tqdm(desc="songs", **form) as bar:

            def show_all(songs: int, done: float, expected: float) -> None:
                bar.set_description(f"{songs} of {len(jobs)} songs", refresh=False)
                show(bar, done, expected)

            model, threads = separator.model.path, arguments.threads
            reports = pool.separate_all(jobs, model, threads, arguments.jobs, show_all)
        yield from reports
        return
    for number, job in enumerate(jobs, 1):
        name = job.song.label if len(jobs) == 1 else f"{job.song.label} ({number}/{len(jobs)})"
        with tqdm(desc=printable(name), **form) as bar:
            report = pool.attempt(separator, job, progress=partial(show, bar))
        yield report


def _print(
    arguments: argparse.Namespace,
    separator: Separator,
    reports: Sequence[SongReport],
    others: int,
) -> None:
    from mmdense_edge.separate.song_report import table

    failed = sum(report.error is not None for report in reports)
    if arguments.json:
        values = {
            "version": __version__,
            "model": separator.contract.name,
            "runtime": separator.runtime,
            "engine": separator.engine,
            "threads": separator.network.num_threads,
            "jobs": arguments.jobs,
            "wiener": arguments.wiener,
            "left_alone": others,
            "songs": [report.as_json() for report in reports],
        }
        print(json.dumps(values, indent=2))
    elif not arguments.quiet:
        lines = [*map(table, reports), f"{separator.contract.title}; {separator.engine}"]
        if others:
            lines.append(f"skipped {others} file(s) that are not audio")
        print("\n".join(lines), file=sys.stderr if arguments.out == STDOUT else sys.stdout)
    if failed and len(reports) > 1:
        print(f"{arguments.program}: {failed} of {len(reports)} songs failed", file=sys.stderr)
