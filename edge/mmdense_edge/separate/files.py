"""Separate a song's file into stem files, all of them or none, and score these by references."""

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from mmdense_edge.audio import AudioInfo, OnDamage, refuse
from mmdense_edge.audio.mixture_sum import Blocks, Exact, corrected, mixed, null_test, together
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.audio.writing import StemFiles, StemForm, stem_form
from mmdense_edge.errors import AudioError, refuse_if
from mmdense_edge.separate import picture, staging
from mmdense_edge.separate.jobs import Job
from mmdense_edge.separate.song_report import SongReport, StemReport
from mmdense_edge.separator import Cancel, Separator
from mmdense_edge.signal.sdr import SDR

# Lower bound of a stem's size, relative to a WAV file of the same depth.
_LEAST = {"wav": 1.0, "flac": 0.1, "ogg": 0.01}
_FLOATS = StemForm("wav", "FLOAT")
_FLOAT_BITS = 24  # for the null test of files without integer steps
REFERENCE_SUFFIXES = (".wav", ".flac", ".ogg")

Progress = Callable[[float, float], object]
Moves = Mapping[Path, Path]


def separate_file(
    separator: Separator,
    job: Job,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    publish: Callable[[Moves, Path, bool], object] = staging.publish,
) -> SongReport:
    """Separate one song, using memory that does not depend on its length.

    All results are written to a temporary folder inside the output folder and moved to their final
    paths when they are complete.

    Args:
        separator: The model.
        job: From `plan`.
        progress: Called with the seconds done and the song's length in seconds, first with 0.
        cancel: Called regularly; returning True ends the work.
        publish: Moves the finished files; called as `staging.publish` is.

    Returns:
        What was written. It also reports a picture that cannot be drawn; the stems are kept.

    Raises:
        AudioError: The song cannot be read, or a result exists or cannot be written.
        ModelError: The model fails on this song.
        Cancelled: `cancel` returned True.
    """
    options, song = job.options, job.song.path
    staging.check_targets(job.targets, options.overwrite)
    info = audio_info(song)
    form = stem_form(info, options.file_format, options.bit_depth)
    bits = form.bits or _FLOAT_BITS
    scaled = options.clip == "scale" and form.bits is not None
    least = form.num_bytes(info) * _LEAST[form.file_format]
    least += _FLOATS.num_bytes(info) if scaled else 0
    staging.check_space(job.out, int(len(job.stems) * least))
    warnings: list[str] = []

    def warn(message: str) -> None:
        warnings.append(message.removeprefix(f"{song}: "))

    def known(_: str) -> None:
        """Ignore damage that was already reported, or refused, when the song was separated."""

    gain = 1.0
    with staging.staging(job.out) as aside:
        start = time.perf_counter()
        paths = {name: aside / f"{n}.{form.file_format}" for n, name in enumerate(job.stems)}
        damaged = warn if options.allow_truncated else refuse
        blocks = _separated(separator, job, info, damaged, progress, cancel)
        if scaled:
            # Write floats first: the gain depends on the loudest sample.
            floats = {name: aside / f"{path.stem}-float.wav" for name, path in paths.items()}
            peak = _write(job, floats, info, _FLOATS, blocks).peak
            full = 1 << (bits - 1)
            # Rounding moves each stem by at most half a step, and the rest by the others' sum.
            gain = min(1.0, (full - 1 - len(floats)) / (full * peak)) if peak else 1.0
            blocks = _read_back(song, floats, known)
        files = _write(job, paths, info, form, blocks, gain)
        seconds = time.perf_counter() - start
        if files.lost_tags:
            warn(f"tags too long for the format: {', '.join(files.lost_tags)}")
        scores = {
            name: (True, *score_files(reference, paths[name], song, known))
            for name, reference in job.references.items()
        }
        stems = tuple(
            StemReport(
                name, str(path), files.level_dbfs(name), files.clipped[name], *scores.get(name, ())
            )
            for name, path in job.stems.items()
        )
        null = (
            null_test(list(paths.values()), song, gain=gain, bits=bits, damaged=known)
            if options.sum_to_mixture
            else None
        )
        moves = {path: job.stems[name] for name, path in paths.items()}
        drawn, failure = aside / "picture.png", None
        if job.picture is not None:
            try:
                picture.draw({"mixture": song, **paths}, files.num_samples, drawn, known)
                moves[drawn] = job.picture
            except Exception as error:  # whatever went wrong, the stems are complete and stay
                failure = f"{type(error).__name__}: {error}"
        publish(moves, aside, options.overwrite)
    return SongReport(
        song=job.song.label,
        sample_rate=info.sample_rate,
        channels=info.channels,
        num_samples=files.num_samples,
        seconds=seconds,
        stems=stems,
        picture=str(job.picture) if drawn in moves else None,
        warnings=tuple(warnings),
        gain_db=20 * math.log10(gain),
        null_test=null,
        null_test_bits=bits,
        picture_error=failure,
    )


def _separated(
    separator: Separator,
    job: Job,
    info: AudioInfo,
    damaged: OnDamage,
    progress: Progress | None,
    cancel: Cancel | None,
) -> Blocks:
    """Yield the stems to write for each block, and the mixture."""
    rate = info.sample_rate
    adds_up = job.options.sum_to_mixture or () in job.parts.values()
    # Blocks of the song until their stems are ready; itertools.tee would keep up to 57 more.
    waiting: deque[Exact] = deque()

    def passing() -> Iterator[Exact]:
        # Stems that do not add up to the mixture need none of its last bits.
        dtype = "float64" if adds_up else "float32"
        for block in read_blocks(job.song.path, dtype=dtype, damaged=damaged):
            waiting.append(block)
            yield block

    def kept() -> Iterator[Exact]:
        while waiting:
            yield waiting.popleft()

    def show(done: int) -> None:
        if progress is not None:
            progress(done / rate, info.num_samples / rate)

    show(0)
    stems = separator.stream(
        passing(),
        rate,
        info.channels,
        sources=[source for part in job.parts.values() for source in part],
        wiener=job.options.wiener,
        progress=show,
        cancel=cancel,
    )
    blocks = mixed(stems, kept(), job.parts)
    yield from corrected(blocks) if job.options.sum_to_mixture else blocks


def _read_back(song: Path, floats: Mapping[str, Path], damaged: OnDamage) -> Blocks:
    """Yield the same blocks as `_separated`, read from files."""
    stems = [read_blocks(path, dtype="float64") for path in floats.values()]
    mixture = read_blocks(song, dtype="float64", damaged=damaged)
    for whole, *block in together(f"{song}: changed while it was separated", mixture, *stems):
        yield dict(zip(floats, block, strict=True)), whole


def _write(
    job: Job,
    paths: Mapping[str, Path],
    info: AudioInfo,
    form: StemForm,
    blocks: Blocks,
    gain: float = 1.0,
) -> StemFiles:
    """Write the blocks to one file per stem."""
    rest = next((name for name, part in job.parts.items() if not part), None)
    with StemFiles(
        paths, info, form, rest=rest, exact=job.options.sum_to_mixture, gain=gain
    ) as files:
        for stems, mixture in blocks:
            files.write(stems, mixture)
    return files


def find_references(folder: Path, sources: Iterable[str]) -> dict[str, Path]:
    """Return the reference files in a folder: <source>.wav, .flac or .ogg.

    Args:
        folder: The folder.
        sources: The sources to look for.

    Raises:
        UsageError: The folder does not exist or contains no reference.
    """
    names = list(sources)
    found: dict[str, Path] = {}
    for source, suffix in itertools.product(names, REFERENCE_SUFFIXES):
        path = folder / f"{source}{suffix}"
        if path.is_file():
            found.setdefault(source, path)
    refuse_if(
        not found,
        f"{folder} contains no reference. It needs files such as {names[0]}.wav, .flac or .ogg",
    )
    return found


def score_files(
    reference: Path, estimate: Path, mixture: Path, damaged: OnDamage = refuse
) -> tuple[float | None, float | None]:
    """Score one stem, using memory that does not depend on its length.

    Args:
        reference: The true source, an audio file.
        estimate: The stem, with the same sample rate, channels and length.
        mixture: The song, with the same sample rate, channels and length.
        damaged: As for `read_blocks`, for the song.

    Returns:
        The SDR of the stem, and of the unprocessed mixture (baseline), in dB; None if the
        reference is silent.

    Raises:
        AudioError: A file cannot be read, or they differ in rate, channels or length.
    """
    forms = [(info.sample_rate, info.channels) for info in map(audio_info, (reference, mixture))]
    refuse_if(
        forms[0] != forms[1],
        f"{reference}: a reference must have the mixture's sample rate and channels, "
        f"{forms[1]}; received {forms[0]}",
        AudioError,
    )
    stem, baseline = SDR(), SDR()
    files = (read_blocks(reference), read_blocks(estimate), read_blocks(mixture, damaged=damaged))
    for true, estimated, whole in together(
        f"{reference}: a reference must have the mixture's length", *files
    ):
        stem.add(true, estimated)
        baseline.add(true, whole)
    return stem.value(), baseline.value()
