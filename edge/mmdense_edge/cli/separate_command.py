"""The command `mmdense separate`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from mmdense_edge import __version__
from mmdense_edge.audio import AudioInfo
from mmdense_edge.audio.mixture_sum import Parts, choose
from mmdense_edge.errors import AudioError, UsageError, printable
from mmdense_edge.separate import picture
from mmdense_edge.separate.inputs import Found, Song, find_songs, spool
from mmdense_edge.separate.jobs import Job, Options, plan
from mmdense_edge.separate.pool import attempt, check_processes, separate_all
from mmdense_edge.separate.reference_scores import find_references
from mmdense_edge.separate.song_report import SongReport, table
from mmdense_edge.separator import OnProgress, Separator

OK, FAILED = 0, 1
STDOUT = "-"


def run(arguments: argparse.Namespace, opened: Callable[[], Separator]) -> int:
    """Separates songs into files and prints what was done; see `mmdense separate --help`.

    Args:
        arguments: of `separate_cli.add_options`, with jobs and threads.
        opened: returns the separator; called when the options are checked.
    """
    options = _options(arguments)
    separator = opened()
    parts = _parts(arguments, separator)
    piped = arguments.out == STDOUT
    with ExitStack() as stack:
        out = stack.enter_context(_folder()) if piped else Path(arguments.out)
        found = find_songs(arguments.songs, None if piped else out)
        if piped:
            _check_piped(arguments, found, parts)
        for number, song in enumerate(found.songs):
            if song.piped:
                found.songs[number] = _stdin(stack.enter_context(_folder()))
        jobs = plan(
            found.songs,
            out,
            parts,
            options,
            model=separator.contract.name,
            references=_references(arguments.reference, [name for name in parts if parts[name]]),
        )
        reports = _reports(separator, jobs, arguments)
        if piped and reports[0].error is None:
            _copy_to_stdout(jobs[0].targets[0])
            reports = [replace(reports[0], stems=(replace(reports[0].stems[0], file=STDOUT),))]
        _print(arguments, separator, reports, found)
    return FAILED if any(report.error is not None for report in reports) else OK


def _options(arguments: argparse.Namespace) -> Options:
    """Checks what can be checked before the model is loaded."""
    check_processes(arguments.jobs)
    if arguments.two_stems is None and arguments.other is not None:
        raise UsageError("--other goes with --two-stems SOURCE")
    if arguments.two_stems is not None and arguments.sources is not None:
        raise UsageError("--two-stems writes its two stems: drop --sources")
    if arguments.picture:
        # Matplotlib refuses to start with a backend that is not installed, as a notebook's shell
        # may name one; a file needs none but this.
        os.environ["MPLBACKEND"] = "agg"
        picture.check_available()
    return Options(
        file_format=arguments.format,
        bit_depth=arguments.bit_depth,
        clip=arguments.clip,
        sum_to_mixture=arguments.sum_to_mixture,
        wiener=arguments.wiener,
        filename=arguments.filename,
        picture=arguments.picture,
        overwrite=arguments.overwrite,
        allow_truncated=arguments.allow_truncated,
    )


def _parts(arguments: argparse.Namespace, separator: Separator) -> Parts:
    listed = arguments.sources
    names = None if listed is None else [name.strip() for name in listed.split(",")]
    return choose(
        separator.sources,
        separator.select(names),
        two_stems=arguments.two_stems,
        other=arguments.other or "residual",
        residual=arguments.residual,
        sum_to_mixture=arguments.sum_to_mixture,
    )


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mmdense-") as name:
        yield Path(name)


def _check_piped(arguments: argparse.Namespace, found: Found, parts: Parts) -> None:
    if len(found.songs) != 1 or len(parts) != 1:
        raise UsageError(
            f"-o - writes one stem of one song, got {len(parts)} stems of {len(found.songs)} "
            "songs: name one with --sources"
        )
    if arguments.json or arguments.picture:
        raise UsageError("-o - puts the stem on stdout: drop --json and --picture")
    if sys.stdout.isatty():
        raise UsageError("-o - puts the stem on stdout, which is a terminal: redirect it")


def _stdin(folder: Path) -> Song:
    if sys.stdin.isatty():
        raise UsageError("- reads a song from stdin, which is a terminal: pipe one in")
    return spool(sys.stdin.buffer, folder)


def _copy_to_stdout(path: Path) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
    sys.stdout.buffer.flush()


def _references(folder: str | None, names: Sequence[str]) -> dict[str, Path]:
    if folder is None:
        return {}
    try:
        return find_references(Path(folder), tuple(names))
    except AudioError as error:
        raise UsageError(str(error)) from error


def _reports(
    separator: Separator, jobs: Sequence[Job], arguments: argparse.Namespace
) -> list[SongReport]:
    if arguments.jobs > 1 and len(jobs) > 1:
        return _parallel(separator, jobs, arguments)
    reports = []
    for number, job in enumerate(jobs, 1):
        name = job.song.label if len(jobs) == 1 else f"{job.song.label} ({number}/{len(jobs)})"
        reports.append(_one_song(separator, job, name, quiet=arguments.quiet))
        _tell(reports[-1], arguments)
    return reports


def _one_song(separator: Separator, job: Job, name: str, *, quiet: bool) -> SongReport:
    with _bar(name, quiet=quiet) as bar:

        def progress(info: AudioInfo) -> OnProgress:
            bar.reset(round(info.num_samples / info.sample_rate) or None)
            return lambda done: bar.update(done // info.sample_rate - bar.n)

        return attempt(separator, job, progress)


def _bar(label: str, *, quiet: bool) -> tqdm[None]:
    """Returns a bar of seconds of music on stderr; it is shown on a terminal only, then goes."""
    return tqdm(
        desc=printable(label), unit=" s", leave=False, disable=quiet or None, dynamic_ncols=True
    )


def _parallel(
    separator: Separator, jobs: Sequence[Job], arguments: argparse.Namespace
) -> list[SongReport]:
    with _bar("songs", quiet=arguments.quiet) as bar:

        def progress(songs: int, done: float, expected: float) -> None:
            bar.set_description(f"{songs} of {len(jobs)} songs", refresh=False)
            bar.total = round(expected) or None
            bar.update(int(done) - bar.n)

        reports = separate_all(
            jobs, separator.model.path, arguments.threads, arguments.jobs, progress
        )
    for report in reports:
        _tell(report, arguments)
    return reports


def _tell(report: SongReport, arguments: argparse.Namespace) -> None:
    """Prints what went wrong with a song."""
    if report.error is not None:
        print(f"{arguments.program}: {report.error}", file=sys.stderr)
    if report.picture_error is not None:
        told = f"{report.song}: no picture was drawn ({report.picture_error}), the stems are whole"
        print(f"{arguments.program}: {printable(told)}", file=sys.stderr)


def _print(
    arguments: argparse.Namespace,
    separator: Separator,
    reports: Sequence[SongReport],
    found: Found,
) -> None:
    failed = sum(report.error is not None for report in reports)
    if arguments.json:
        print(json.dumps(_as_json(separator, arguments, reports, found), indent=2))
    elif not arguments.quiet:
        stream = sys.stderr if arguments.out == STDOUT else sys.stdout
        lines = [*map(table, reports), f"model {separator.contract.name}, {separator.engine}"]
        if found.others:
            lines.append(f"{found.others} files that are not audio were left alone")
        print("\n".join(lines), file=stream)
    if failed and len(reports) > 1:
        print(f"{arguments.program}: {failed} of {len(reports)} songs failed", file=sys.stderr)


def _as_json(
    separator: Separator,
    arguments: argparse.Namespace,
    reports: Sequence[SongReport],
    found: Found,
) -> dict[str, object]:
    return {
        "version": __version__,
        "model": separator.contract.name,
        "runtime": separator.runtime,
        "engine": separator.engine,
        "threads": separator.network.num_threads,
        "jobs": arguments.jobs,
        "wiener": arguments.wiener,
        "left_alone": found.others,
        "songs": [report.as_json() for report in reports],
    }
