"""The commands behind `mmdense`: each takes its arguments and returns the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from mmdense_edge import __version__, bundled, picture
from mmdense_edge.audio import AudioInfo
from mmdense_edge.contract import load_model
from mmdense_edge.errors import AudioError, MMDenseError, UsageError, printable
from mmdense_edge.files import Job, plan, separate_file
from mmdense_edge.progress import Progress
from mmdense_edge.report import SongReport, table
from mmdense_edge.score import find_references
from mmdense_edge.separator import Separator

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def separate(arguments: argparse.Namespace) -> int:
    """Separates songs into files and prints what was done; see `mmdense separate --help`."""
    if arguments.picture:
        picture.check_available()
    separator = Separator(arguments.model, arguments.threads)
    sources = separator.select(_split(arguments.sources))
    jobs = plan(
        [Path(song) for song in arguments.songs],
        Path(arguments.out),
        sources,
        residual=arguments.residual,
        file_format=arguments.format,
        picture=arguments.picture,
        references=_references(arguments.reference, sources),
    )
    reports = [_one_song(separator, job, arguments) for job in jobs]
    if arguments.json:
        print(json.dumps(_as_json(separator, reports), indent=2))
    elif not arguments.quiet:
        print("\n".join(map(table, reports)))
    failed = [report for report in reports if report.error is not None]
    if failed and len(reports) > 1:
        print(f"mmdense: {len(failed)} of {len(reports)} songs failed", file=sys.stderr)
    return FAILED if failed else OK


def _split(sources: str | None) -> list[str] | None:
    return None if sources is None else [name.strip() for name in sources.split(",")]


def _references(folder: str | None, sources: tuple[str, ...]) -> dict[str, Path]:
    if folder is None:
        return {}
    try:
        return find_references(Path(folder), sources)
    except AudioError as error:
        raise UsageError(str(error)) from error


def _one_song(separator: Separator, job: Job, arguments: argparse.Namespace) -> SongReport:
    """Separates one song; what goes wrong with it goes into its report."""
    started: list[Progress] = []

    def progress(info: AudioInfo) -> Callable[[int], None]:
        shown = Progress(str(job.song), info.num_samples, info.sample_rate, sys.stderr)
        started.append(shown)
        return shown

    try:
        return separate_file(
            separator,
            job,
            overwrite=arguments.overwrite,
            progress=None if arguments.quiet else progress,
        )
    except (MMDenseError, OSError) as error:
        return _failure(job, error)
    finally:
        for shown in started:
            shown.close()


def _failure(job: Job, error: Exception) -> SongReport:
    """Prints what went wrong with a song, with its name, and returns it."""
    name, text = printable(f"{job.song}: "), printable(str(error))
    text = text if text.startswith(name) else name + text
    print(f"mmdense: {text}", file=sys.stderr)
    return SongReport(str(job.song), error=text)


def _as_json(separator: Separator, reports: list[SongReport]) -> dict[str, object]:
    return {
        "version": __version__,
        "model": separator.contract.name,
        "runtime": separator.runtime,
        "threads": separator.network.num_threads,
        "songs": [report.as_json() for report in reports],
    }


def models(arguments: argparse.Namespace) -> int:
    """Prints the bundled models."""
    names = bundled.names()
    if not names:
        print("no models are bundled: give a model file with --model FILE")
    for name in names:
        model = load_model(bundled.find(name))
        mark = " (default)" if name == bundled.default() else ""
        print(
            f"{name}{mark}: {', '.join(model.contract.sources)}; {model.contract.precision}, "
            f"{model.file_bytes / 1e6:.2f} MB, licence {printable(model.contract.licence)}"
        )
    return OK


def info(arguments: argparse.Namespace) -> int:
    """Prints what a model's contract says."""
    model = load_model(bundled.find(arguments.model))
    contract, transform = model.contract, model.contract.transform
    step_seconds = contract.step_frames * transform.hop_length / contract.sample_rate
    lines = {
        "file": f"{model.path} ({model.file_bytes} bytes)",
        "name": contract.name,
        "sources": ", ".join(contract.sources),
        "sample rate": f"{contract.sample_rate} Hz, {contract.channels} channel(s)",
        "transform": f"n_fft {transform.n_fft}, hop_length {transform.hop_length}, "
        f"{transform.window} window, {contract.bins} bins",
        "window": f"{contract.frames} frames, {contract.context_frames} of them context on each "
        f"side; {step_seconds:.2f} s new in each window",
        "output": f"{contract.output}, {contract.precision}",
        "licence": contract.licence,
        "training data": contract.training_data,
        "parity": ", ".join(f"{key} {value:g}" for key, value in contract.parity.items()) or "-",
        "sha256": contract.model_sha256,
    }
    for key, value in lines.items():
        print(f"{key + ':':15}{printable(value)}")
    return OK


def live(arguments: argparse.Namespace) -> int:
    """Separates and remixes while it plays; see `mmdense live --help`."""
    from mmdense_edge import live_command

    return live_command.run(arguments)
