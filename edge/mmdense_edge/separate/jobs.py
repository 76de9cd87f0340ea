"""What is to be done: each song with its results' names and the way they are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmdense_edge.audio.mixture_sum import Parts
from mmdense_edge.audio.writing import BIT_DEPTHS, FORMATS
from mmdense_edge.errors import UsageError
from mmdense_edge.separate import naming
from mmdense_edge.separate.inputs import Song
from mmdense_edge.signal.wiener import MAX_ITERATIONS

PICTURE = "spectrogram"
CLIP_RULES = ("clamp", "scale")


@dataclass(frozen=True)
class Options:
    """How the stems of all songs are written.

    Args:
        file_format: "wav", "flac" or "ogg".
        bit_depth: "16", "24" or "32f"; None: the song's.
        clip: what happens to integer stems beyond full scale: "clamp" sets the samples to full
            scale and counts them; "scale" makes all stems of the song quieter by one gain, so
            that none is clipped.
        sum_to_mixture: correct the stems so that they add up to the mixture; see `sums.Shares`.
        wiener: iterations of the multichannel Wiener filter, 0 (none) to 10.
        filename: the template of the results' names; see `naming.check`.
        picture: also draw spectrograms.
        overwrite: replace results that exist.
        allow_truncated: take what a damaged song holds, with a warning.

    Raises:
        UsageError: an unknown choice, or choices that contradict each other.
    """

    file_format: str = "wav"
    bit_depth: str | None = None
    clip: str = "clamp"
    sum_to_mixture: bool = False
    wiener: int = 0
    filename: str = naming.TEMPLATE
    picture: bool = False
    overwrite: bool = False
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        """Checks the choices."""
        for name, value, known in (
            ("format", self.file_format, FORMATS),
            ("bit depth", self.bit_depth or "16", tuple(BIT_DEPTHS)),
            ("clip rule", self.clip, CLIP_RULES),
        ):
            if value not in known:
                raise UsageError(f"the {name} must be one of {', '.join(known)}, got {value!r}")
        if self.file_format == "ogg" and (self.bit_depth or self.sum_to_mixture):
            raise UsageError(
                "ogg files are lossy: they have no --bit-depth and cannot --sum-to-mixture; "
                "use --format wav or flac"
            )
        if (self.file_format, self.bit_depth) == ("flac", "32f"):
            raise UsageError("flac files have no floats: use --bit-depth 24 or --format wav")
        if not 0 <= self.wiener <= MAX_ITERATIONS:
            raise UsageError(f"wiener must be 0 to {MAX_ITERATIONS} iterations, got {self.wiener}")
        naming.check(self.filename)


@dataclass(frozen=True)
class Job:
    """One song and where its results go.

    Args:
        song: the song.
        out: the output folder.
        parts: for each stem the sources that it is the sum of, from `sums.choose`.
        stems: for each stem its file.
        options: how it is written.
        picture: the file of the spectrogram, if one is drawn.
        references: for some stems the file to score against.
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

    @property
    def rest(self) -> str | None:
        """The stem that is the mixture less all others, if there is one."""
        return next((name for name, part in self.parts.items() if not part), None)

    @property
    def sources(self) -> list[str]:
        """The sources that are needed."""
        return [source for part in self.parts.values() for source in part]


def plan(
    songs: Sequence[Song],
    out: Path,
    parts: Parts,
    options: Options | None = None,
    *,
    model: str = "",
    references: Mapping[str, Path] | None = None,
) -> list[Job]:
    """Returns a job for each song: OUT/<song's name>/<stem>.<format>, or as the template says.

    Args:
        songs: the songs.
        out: the folder for all results; made when the first song is done.
        parts: the stems, from `sums.choose`.
        options: how they are written.
        model: the model's name, for the template.
        references: for some stems the file to score against; for one song only.

    Raises:
        UsageError: two results would be the same file, a result would replace a file that is
            read, a song's name gives no name, several songs with references.
    """
    options = options or Options()
    if references and len(songs) > 1:
        raise UsageError(f"references belong to one song, got {len(songs)} songs")

    def place(song: Song, stem: str, ext: str) -> Path:
        return naming.target(
            options.filename, out, folder=song.folder, track=song.track,
            trackext=song.path.suffix[1:], stem=stem, ext=ext, model=naming.plain(model),
        )  # fmt: skip

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
    _check_apart(jobs)
    return jobs


def _check_apart(jobs: Sequence[Job]) -> None:
    seen: dict[str, Song] = {}
    for job in jobs:
        for target in job.targets:
            # Some file systems do not tell upper from lower case, or forms of one letter.
            key = unicodedata.normalize("NFC", str(target)).casefold()
            if key in seen:
                raise UsageError(
                    f"{seen[key].label} and {job.song.label} would both write to {target}: rename "
                    "one, separate them into different folders, or give another --filename"
                )
            seen[key] = job.song
    read = [path for job in jobs for path in (job.song.path, *job.references.values())]
    known = {key for path in read for key in _identities(path)}
    for target in (target for job in jobs for target in job.targets):
        if known.intersection(_identities(target)):
            raise UsageError(f"{target} is read and would be replaced: choose another folder (-o)")


def _identities(path: Path) -> set[object]:
    """Returns what a file is known by: its path, and its number where it exists."""
    try:
        found = path.stat()
    except OSError:
        return {path.resolve()}
    return {path.resolve(), (found.st_dev, found.st_ino)} if found.st_ino else {path.resolve()}
