"""Separates songs from file to files: all of a song's stems, or nothing."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mmdense_edge import picture as pictures
from mmdense_edge.audio import FORMATS, AudioInfo, StemFiles, audio_info, read_blocks
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.pipeline import RESIDUAL
from mmdense_edge.report import SongReport, StemReport
from mmdense_edge.score import Score, score_files
from mmdense_edge.separator import OnProgress, Separator

PICTURE = "spectrogram.png"


@dataclass(frozen=True)
class Job:
    """One song and where its results go.

    Args:
        song: the audio file.
        folder: the folder for the results, named after the song.
        stems: for each stem the name of its file.
        picture: True draws a spectrogram beside the stems.
        references: for some sources the file to score against.
    """

    song: Path
    folder: Path
    stems: Mapping[str, str]
    picture: bool = False
    references: Mapping[str, Path] = field(default_factory=dict)

    @property
    def targets(self) -> list[Path]:
        """All files that the job writes."""
        names = [*self.stems.values(), *([PICTURE] if self.picture else [])]
        return [self.folder / name for name in names]


def plan(
    songs: Sequence[Path],
    out: Path,
    sources: Sequence[str],
    *,
    residual: bool = False,
    file_format: str = "wav",
    picture: bool = False,
    references: Mapping[str, Path] | None = None,
) -> list[Job]:
    """Returns a job for each song: OUT/<song's name>/<source>.<format>.

    Args:
        songs: audio files.
        out: the folder for all results; made when the first song is done.
        sources: the sources wanted.
        residual: also write the residual.
        file_format: "wav" or "flac".
        picture: also draw spectrograms.
        references: for some sources the file to score against; for one song only.

    Raises:
        UsageError: two songs would write to the same folder, a result would replace a file that
            is read, a song's name names no folder, several songs with references.
    """
    if file_format not in FORMATS:
        raise UsageError(f"the format must be one of {', '.join(FORMATS)}, got {file_format!r}")
    if references and len(songs) > 1:
        raise UsageError(f"references belong to one song, got {len(songs)} songs")
    names = [*sources, *([RESIDUAL] if residual else [])]
    stems = {name: f"{name}.{file_format}" for name in names}
    jobs = [Job(song, _folder(song, out), stems, picture, references or {}) for song in songs]
    _check_apart(jobs)
    return jobs


def _folder(song: Path, out: Path) -> Path:
    if song.stem in ("", ".", ".."):
        raise UsageError(f"{song}: rename the song, {song.stem!r} cannot name a folder")
    return out / song.stem


def _check_apart(jobs: Sequence[Job]) -> None:
    seen: dict[str, Path] = {}
    for job in jobs:
        # Some file systems do not tell upper from lower case.
        key = job.folder.name.casefold()
        if key in seen:
            raise UsageError(
                f"{seen[key]} and {job.song} would both write to {job.folder}: "
                "rename one, or separate them into different folders"
            )
        seen[key] = job.song
    read = {path.resolve() for job in jobs for path in (job.song, *job.references.values())}
    for target in (target for job in jobs for target in job.targets):
        if target.resolve() in read:
            raise UsageError(f"{target} is read and would be replaced: choose another folder (-o)")


def separate_file(
    separator: Separator,
    job: Job,
    *,
    overwrite: bool = False,
    progress: Callable[[AudioInfo], OnProgress] | None = None,
) -> SongReport:
    """Separates one song, in memory that does not depend on its length.

    All results are written into a temporary folder within the output folder, and moved to their
    places when they are complete.

    Args:
        separator: the model.
        job: from `plan`.
        overwrite: replace results that exist.
        progress: called with the song's form, returns what is called with the samples done.

    Returns:
        What was written.

    Raises:
        AudioError: the song cannot be read, or a result exists or cannot be written.
        ModelError: the model fails on this song.
        OSError: a folder cannot be made or written.
    """
    _check_targets(job, overwrite)
    info = audio_info(job.song)
    with _staging(job.folder.parent) as staging:
        start = time.perf_counter()
        files = _write_stems(separator, job, info, staging, progress)
        seconds = time.perf_counter() - start
        report = _report(job, info, files, seconds, _score(job, staging))
        if job.picture:
            rows = {"mixture": job.song, **_paths(job, staging)}
            pictures.draw(rows, files.num_samples, staging / PICTURE)
        _publish(job, staging, overwrite)
    return report


def _paths(job: Job, folder: Path) -> dict[str, Path]:
    return {name: folder / file for name, file in job.stems.items()}


def _check_targets(job: Job, overwrite: bool) -> None:
    if os.path.lexists(job.folder) and not job.folder.is_dir():
        raise AudioError(f"{job.folder} is not a folder: choose another folder (-o)")
    for target in job.targets:
        if target.is_dir():
            raise AudioError(f"{target} is a folder: choose another folder (-o)")
        if os.path.lexists(target) and not overwrite:
            raise AudioError(f"{target} exists: choose another folder (-o) or pass --overwrite")


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """Makes a temporary folder in `out`; takes it away again, and after an error `out` too."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".mmdense-", dir=out) as staging:
            yield Path(staging)
    except BaseException:
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _write_stems(
    separator: Separator,
    job: Job,
    info: AudioInfo,
    staging: Path,
    progress: Callable[[AudioInfo], OnProgress] | None,
) -> StemFiles:
    sources = [name for name in job.stems if name != RESIDUAL]
    file_format = next(iter(job.stems.values())).rpartition(".")[2]
    blocks = separator.stream(
        read_blocks(job.song),
        info.sample_rate,
        info.channels,
        sources=sources,
        residual=RESIDUAL in job.stems,
        progress=progress(info) if progress else None,
    )
    with StemFiles(_paths(job, staging), info, file_format) as files:
        for stems in blocks:
            files.write(stems)
    return files


def _score(job: Job, staging: Path) -> dict[str, Score]:
    return {
        name: score_files(job.references[name], path, job.song)
        for name, path in _paths(job, staging).items()
        if name in job.references
    }


def _report(
    job: Job, info: AudioInfo, files: StemFiles, seconds: float, scores: Mapping[str, Score]
) -> SongReport:
    stems = []
    for name, path in _paths(job, job.folder).items():
        score = scores.get(name, Score(None, None))
        stems.append(
            StemReport(
                source=name,
                file=str(path),
                level_dbfs=files.level_dbfs(name),
                clipped=files.clipped[name],
                scored=name in scores,
                sdr_db=score.sdr_db,
                mixture_sdr_db=score.mixture_sdr_db,
            )
        )
    return SongReport(
        song=str(job.song),
        sample_rate=info.sample_rate,
        channels=info.channels,
        num_samples=files.num_samples,
        seconds=seconds,
        stems=tuple(stems),
        picture=str(job.folder / PICTURE) if job.picture else None,
    )


def _publish(job: Job, staging: Path, overwrite: bool) -> None:
    """Moves the results to their places."""
    _check_targets(job, overwrite)
    job.folder.mkdir(exist_ok=True)
    for target in job.targets:
        os.replace(staging / target.name, target)
