"""Separates songs from file to files: all of a song's stems, or nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mmdense_edge.audio import AudioInfo, OnDamage, refuse
from mmdense_edge.audio.mixture_sum import Exact, Kept, Shares, even, mixed, null_test
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.audio.writing import StemFiles, StemForm, stem_form
from mmdense_edge.separate import picture as pictures
from mmdense_edge.separate import staging
from mmdense_edge.separate.jobs import Job
from mmdense_edge.separate.reference_scores import Score, score_files
from mmdense_edge.separate.song_report import SongReport, StemReport
from mmdense_edge.separator import Cancel, OnProgress, Separator

# How much smaller a format may be than a WAV file of the same depth: what is surely needed.
_LEAST = {"wav": 1.0, "flac": 0.1, "ogg": 0.01}
_FLOATS = StemForm("wav", "FLOAT")
_NULL_TEST_BITS = 24  # of files that have no steps of their own

Blocks = Iterator[tuple[dict[str, Exact], Exact]]


def separate_file(
    separator: Separator,
    job: Job,
    *,
    progress: Callable[[AudioInfo], OnProgress] | None = None,
    cancel: Cancel | None = None,
) -> SongReport:
    """Separates one song, in memory that does not depend on its length.

    All results are written into a temporary folder within the output folder, and moved to their
    places when they are complete.

    Args:
        separator: the model.
        job: from `plan`.
        progress: called with the song's form, returns what is called with the samples done.
        cancel: asked now and then; True ends the work.

    Returns:
        What was written. A picture that cannot be drawn is told there, and costs no stem.

    Raises:
        AudioError: the song cannot be read, or a result exists or cannot be written.
        ModelError: the model fails on this song.
        Cancelled: `cancel` returned True.
    """
    staging.check_targets(job.targets, job.options.overwrite)
    return _Work(separator, job, progress, cancel).run()


class _Work:
    """One song on its way."""

    def __init__(
        self,
        separator: Separator,
        job: Job,
        progress: Callable[[AudioInfo], OnProgress] | None,
        cancel: Cancel | None,
    ) -> None:
        self._separator, self._job = separator, job
        self._progress, self._cancel = progress, cancel
        self._warnings: list[str] = []
        self._damaged: OnDamage = self._warn if job.options.allow_truncated else refuse
        self._info = audio_info(job.song.path)
        self._form = stem_form(self._info, job.options.file_format, job.options.bit_depth)
        self._scaled = job.options.clip == "scale" and self._form.bits is not None
        self._gain = 1.0

    def run(self) -> SongReport:
        """Does all of it."""
        job = self._job
        staging.check_space(job.out, self._least_bytes())
        with staging.staging(job.out) as aside:
            start = time.perf_counter()
            paths = {
                name: aside / f"{number}.{job.options.file_format}"
                for number, name in enumerate(job.stems)
            }
            files = self._write_scaled(paths, aside) if self._scaled else self._write(paths)
            report = self._report(files, paths, time.perf_counter() - start)
            moves = {path: job.stems[name] for name, path in paths.items()}
            if job.picture:
                drawn = aside / "picture.png"
                rows = {"mixture": job.song.path, **paths}
                try:
                    pictures.draw(rows, files.num_samples, drawn, self._ignore)
                    moves[drawn] = job.picture
                except Exception as error:  # whatever it is, the stems are done and stay
                    reason = f"{type(error).__name__}: {error}"
                    report = replace(report, picture=None, picture_error=reason)
            staging.publish(moves, aside, job.options.overwrite)
        return report

    def _warn(self, message: str) -> None:
        name = f"{self._job.song.path}: "
        self._warnings.append(message[len(name) :] if message.startswith(name) else message)

    def _ignore(self, _: str) -> None:
        """Takes damage that was told when the song was separated, or refused then."""

    def _least_bytes(self) -> int:
        each = self._form.num_bytes(self._info) * _LEAST[self._form.file_format]
        aside = _FLOATS.num_bytes(self._info) if self._scaled else 0
        return int(len(self._job.stems) * (each + aside))

    def _write(self, paths: Mapping[str, Path]) -> StemFiles:
        return self._fill(paths, self._form, self._separated())

    def _write_scaled(self, paths: Mapping[str, Path], aside: Path) -> StemFiles:
        """Writes floats first: the gain is known when the loudest sample is."""
        floats = {name: aside / f"{path.stem}-float.wav" for name, path in paths.items()}
        peak = self._fill(floats, _FLOATS, self._separated()).peak
        full = 1 << ((self._form.bits or _NULL_TEST_BITS) - 1)
        # Rounding moves each stem by half a step at most, and the rest by the others' sum.
        self._gain = min(1.0, (full - 1 - len(floats)) / (full * peak)) if peak else 1.0
        return self._fill(paths, self._form, self._again(floats))

    def _fill(self, paths: Mapping[str, Path], form: StemForm, blocks: Blocks) -> StemFiles:
        job = self._job
        with StemFiles(
            paths,
            self._info,
            form,
            rest=job.rest,
            exact=job.options.sum_to_mixture,
            gain=self._gain,
        ) as files:
            for stems, mixture in blocks:
                files.write(stems, mixture)
        return files

    def _separated(self) -> Blocks:
        """Yields what is to be written of each block, and the mixture."""
        kept, info, job = Kept(), self._info, self._job
        stems = self._separator.stream(
            kept.passing(self._song(self._damaged)),
            info.sample_rate,
            info.channels,
            sources=job.sources,
            wiener=job.options.wiener,
            progress=self._progress(info) if self._progress else None,
            cancel=self._cancel,
        )
        blocks = mixed(stems, kept, job.parts)
        return Shares().correct(blocks) if job.options.sum_to_mixture else blocks

    def _again(self, floats: Mapping[str, Path]) -> Blocks:
        """Yields the same as `_separated`, from files."""
        stems = [even(read_blocks(path, dtype="float64")) for path in floats.values()]
        for mixture, *block in zip(even(self._song(self._ignore)), *stems, strict=True):
            yield dict(zip(floats, block, strict=True)), mixture

    def _song(self, damaged: OnDamage) -> Iterable[Exact]:
        return read_blocks(self._job.song.path, dtype="float64", damaged=damaged)

    def _report(self, files: StemFiles, paths: Mapping[str, Path], seconds: float) -> SongReport:
        job, info = self._job, self._info
        if files.lost_tags:
            self._warnings.append(f"tags too long for the format: {', '.join(files.lost_tags)}")
        return SongReport(
            song=job.song.label,
            sample_rate=info.sample_rate,
            channels=info.channels,
            num_samples=files.num_samples,
            seconds=seconds,
            stems=tuple(self._stem(files, name, path) for name, path in paths.items()),
            picture=str(job.picture) if job.picture else None,
            warnings=tuple(self._warnings),
            gain_db=20 * math.log10(self._gain),
            null_test=self._null_test(list(paths.values())),
            null_test_bits=self._form.bits or _NULL_TEST_BITS,
        )

    def _stem(self, files: StemFiles, name: str, path: Path) -> StemReport:
        job = self._job
        score = Score(None, None)
        if name in job.references:
            score = score_files(job.references[name], path, job.song.path, self._ignore)
        return StemReport(
            source=name,
            file=str(job.stems[name]),
            level_dbfs=files.level_dbfs(name),
            clipped=files.clipped[name],
            scored=name in job.references,
            sdr_db=score.sdr_db,
            mixture_sdr_db=score.mixture_sdr_db,
        )

    def _null_test(self, paths: list[Path]) -> float | None:
        if not self._job.options.sum_to_mixture:
            return None
        bits = self._form.bits or _NULL_TEST_BITS
        return null_test(
            paths, self._job.song.path, gain=self._gain, bits=bits, damaged=self._ignore
        )
