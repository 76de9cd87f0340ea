"""The jobs of a run: each song, the paths of its results and how they are written."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter

from mmdense_edge.audio.mixture_sum import Parts
from mmdense_edge.errors import UsageError, refuse_if
from mmdense_edge.separate.inputs import Song
from mmdense_edge.signal.wiener import MAX_ITERATIONS

PICTURE = "spectrogram"
FIELDS = ("folder", "track", "trackext", "stem", "ext", "model")


@dataclass(frozen=True)
class Options:
    """How the stems of all songs are written.

    Args:
        file_format: "wav", "flac" or "ogg".
        bit_depth: "16", "24" or "32f"; None means the song's.
        clip: What happens to integer stems beyond full scale: "clamp" sets the samples to full
            scale and counts them; "scale" makes all stems of the song quieter by one gain, so
            that none is clipped.
        sum_to_mixture: Correct the stems so that they add up to the mixture; see
            `mixture_sum.corrected`.
        wiener: Iterations of the multichannel Wiener filter, 0 (none) to 10.
        filename: The template of the results' names; see `check_template`.
        picture: Also draw spectrograms.
        overwrite: Replace existing results.
        allow_truncated: Separate what can be read of a damaged song, with a warning.

    Raises:
        UsageError: Options contradict each other, or a value or the template is not allowed.
    """

    file_format: str = "wav"
    bit_depth: str | None = None
    clip: str = "clamp"
    sum_to_mixture: bool = False
    wiener: int = 0
    filename: str = "{folder}/{track}/{stem}.{ext}"
    picture: bool = False
    overwrite: bool = False
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        """Check the choices."""
        refuse_if(
            self.file_format == "ogg" and (self.bit_depth or self.sum_to_mixture),
            "ogg files are lossy: they have no --bit-depth and cannot --sum-to-mixture. "
            "Use --format wav or flac.",
        )
        refuse_if(
            (self.file_format, self.bit_depth) == ("flac", "32f"),
            "flac files have no floats. Use --bit-depth 24 or --format wav.",
        )
        refuse_if(
            not 0 <= self.wiener <= MAX_ITERATIONS,
            f"wiener must be 0 to {MAX_ITERATIONS} iterations; received {self.wiener}",
        )
        check_template(self.filename)


def check_template(template: str) -> None:
    """Check a template: fields in braces, folders separated by "/", ending in ".{ext}".

    Args:
        template: Fields are folder (of the song, relative to a folder that was searched), track
            (the song's name without suffix), trackext (its suffix), stem, ext (the format's
            suffix) and model.

    Raises:
        UsageError: An unknown field, a field with a format, no ".{ext}" at the end, a path that
            leads elsewhere.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(
            f"--filename must be a template; received {template!r}: {error}"
        ) from error
    literal = "".join(text if name is None else text + "x" for text, name, *_ in parts)
    fields = [(name, any(more)) for _, name, *more in parts if name is not None]
    rules = (
        (
            any(name not in FIELDS or has_format for name, has_format in fields),
            "have no fields but " + ", ".join(f"{{{name}}}" for name in FIELDS),
        ),
        (not template.endswith(".{ext}"), "end in .{ext}"),
        (
            template.startswith(("/", "\\"))
            or ".." in re.split(r"[/\\]", literal)
            or {*":\0"} & {*literal},
            "stay below the output folder",
        ),
        ("\\" in literal, "separate folders with /, on Windows too"),
    )
    for broken, rule in rules:
        refuse_if(broken, f"--filename must {rule}; received {template!r}")


@dataclass(frozen=True)
class Job:
    """One song and where its results go.

    Args:
        song: The song.
        out: The output folder.
        parts: The sources whose sum each stem is, from `mixture_sum.choose`.
        stems: The file of each stem.
        options: How the stems are written.
        picture: The file of the spectrogram, if one is drawn.
        references: The files to score stems against, if any.
    """

    song: Song
    out: Path
    parts: Parts
    stems: Mapping[str, Path]
    options: Options
    picture: Path | None = None
    references: Mapping[str, Path] = field(default_factory=dict)

    @property
    def targets(self) -> list[Path]:
        """All files that the job writes."""
        return [*self.stems.values(), *([self.picture] if self.picture else [])]


def plan(
    songs: Sequence[Song],
    out: Path,
    parts: Parts,
    options: Options | None = None,
    *,
    model: str = "",
    references: Mapping[str, Path] | None = None,
) -> list[Job]:
    """Return a job for each song: OUT/<song's name>/<stem>.<format>, or as the template says.

    Args:
        songs: The songs.
        out: The folder for all results; made when the first song is done.
        parts: The stems, from `mixture_sum.choose`.
        options: How they are written.
        model: The model's name, for the template; folder separators in it become "_".
        references: The files to score stems against; for a single song only.

    Raises:
        UsageError: Two results would be the same file, a result would replace an input file, a
            song's name yields no valid name, or several songs were given with references.
    """
    options = options or Options()
    refuse_if(
        references and len(songs) > 1,
        f"--reference needs exactly one song; received {len(songs)} songs",
    )

    def place(song: Song, stem: str, ext: str) -> Path:
        name = options.filename.format(
            folder=song.folder, track=song.path.stem, trackext=song.path.suffix[1:],
            stem=stem, ext=ext,
            # The name comes from the model file and must not lead to another folder, on any system.
            model=re.sub(r'[/\\:*?"<>|]', "_", model),
        )  # fmt: skip
        levels = [level for level in name.split("/") if level]  # an empty folder adds no level
        refuse_if(
            any(level in (".", "..") or "\0" in level for level in levels),
            f"{'/'.join(levels)} names no file below the output folder. Rename the song, or "
            "give another --filename.",
        )
        return out.joinpath(*levels)

    jobs = [
        Job(
            song,
            out,
            parts,
            {stem: place(song, stem, options.file_format) for stem in parts},
            options,
            place(song, PICTURE, "png") if options.picture else None,
            references or {},
        )
        for song in songs
    ]
    writers: dict[str, Song] = {}
    read = [path for job in jobs for path in (job.song.path, *job.references.values())]
    known = {key for path in read for key in _identities(path)}
    for job in jobs:
        for target in job.targets:
            # Some file systems ignore letter case and Unicode normalization forms.
            key = unicodedata.normalize("NFC", str(target)).casefold()
            if key in writers:
                raise UsageError(
                    f"{writers[key].label} and {job.song.label} would both write to {target}. "
                    "Rename one, separate them into different folders, or give another --filename."
                )
            writers[key] = job.song
            refuse_if(
                known.intersection(_identities(target)),
                f"{target} is an input file and would be replaced. Choose another folder (-o).",
            )
    return jobs


def _identities(path: Path) -> set[object]:
    """Return what identifies a file: its path, and its inode if it exists."""
    try:
        found = path.stat()
    except OSError:
        return {path.resolve()}
    return {path.resolve(), (found.st_dev, found.st_ino)} if found.st_ino else {path.resolve()}
