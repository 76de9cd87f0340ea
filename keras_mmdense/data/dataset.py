"""One interface to all data sets: open a tree, get its usable tracks and a list of faults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, overload

import numpy as np
from mmdense_edge.errors import printable

from keras_mmdense.data.problems import DatasetError, Fault, TrackError
from keras_mmdense.data.readers import MIXTURE, SOURCES, SUBSETS, dsd100, folder, musdb18, musdb18hq
from keras_mmdense.data.sums import leave_out_sums, note_mixtures
from keras_mmdense.data.tracks import Track, check_track
from keras_mmdense.errors import require

READERS: Mapping[str, ModuleType] = {
    "dsd100": dsd100,
    "musdb18": musdb18,
    "musdb18hq": musdb18hq,
    "folder": folder,
}
KINDS = ("auto", *READERS)
ORDER = (*SUBSETS, "")
SHOWN = 8  # entries of a folder that a message lists


@dataclass(frozen=True, repr=False)
class Dataset(Sequence[Track]):
    """The usable tracks of a tree, in a fixed order, and the faults of the others.

    Made by `open_dataset`. Never empty. The order is train, valid, test, then by name.

    Args:
        root: The tree.
        kind: "dsd100", "musdb18", "musdb18hq" or "folder".
        sources: The sources that every track has.
        sample_rate: In Hz, of every track.
        tracks: The usable tracks.
        faults: Why tracks were left out; a track can have several.
        notes: Remarks on the usable tracks.
    """

    root: Path
    kind: str
    sources: tuple[str, ...]
    sample_rate: int
    tracks: tuple[Track, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[Fault, ...] = ()

    def __repr__(self) -> str:
        return f"<Dataset {self.report().splitlines()[0]}>"

    def __len__(self) -> int:
        """Return the number of usable tracks."""
        return len(self.tracks)

    @overload
    def __getitem__(self, index: int) -> Track: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Track, ...]: ...

    def __getitem__(self, index: int | slice) -> Track | tuple[Track, ...]:
        """Return a track, or a tuple of tracks for a slice."""
        return self.tracks[index]

    @property
    def duration(self) -> float:
        """Length of all tracks together in seconds."""
        return sum(track.duration for track in self.tracks)

    @property
    def pcm16(self) -> bool:
        """True if every track can be read as int16 without loss."""
        return all(track.pcm16 for track in self.tracks)

    @property
    def num_left_out(self) -> int:
        """Number of tracks that faults rule out."""
        return len({fault.track for fault in self.faults})

    def report(self) -> str:
        """Return what was found, as text: a summary, then one line per fault and per note."""
        subsets = [track.subset for track in self.tracks]
        counts = ", ".join(f"{s or 'no subset'} {subsets.count(s)}" for s in ORDER if s in subsets)
        lines = [
            f"{printable(self.root)} ({self.kind}): {len(self)} tracks ({counts}), "
            f"{self.duration / 60:.1f} min at {self.sample_rate} Hz, "
            f"sources {printable(', '.join(self.sources))}; "
            f"{self.num_left_out} tracks left out, {len(self.faults)} faults"
        ]
        lines += [f"fault: {fault.describe(self.root)}" for fault in self.faults]
        lines += [f"note: {note.describe(self.root)}" for note in self.notes]
        return "\n".join(lines)

    def check(self, progress: Callable[[int, int], None] | None = None) -> Dataset:
        """Read every sample of every track and leave out the tracks that fail.

        Opening reads headers only. This also finds damage inside the files: missing data, NaN or
        infinite samples. Sources that are silent throughout are noted.

        Args:
            progress: Called after each track with the samples read and the samples in all.

        Returns:
            The data set without the tracks that fail, with the faults and notes found.

        Raises:
            DatasetError: No track is left; `faults` says why.
        """
        total, done = sum(track.num_samples for track in self.tracks), 0
        faults, notes, good = list(self.faults), list(self.notes), []
        for track in self.tracks:
            wrong, noted = check_samples(track)
            faults += wrong
            notes += noted
            good += [] if wrong else [track]
            done += track.num_samples
            if progress:
                progress(done, total)
        _require_tracks(self.root, self.kind, good, faults)
        return replace(self, tracks=tuple(good), faults=tuple(faults), notes=tuple(notes))


def check_samples(track: Track) -> tuple[list[Fault], list[Fault]]:
    """Read every sample of a track; return its faults, and notes on silent sources."""
    faults, notes = [], []
    for name, stream in track.streams.items():
        try:
            sounds = [block.any() for block in stream.blocks()]
        except TrackError as error:
            faults.append(Fault(error.path, error.reason, track.label))
            continue
        if not any(sounds):
            notes.append(Fault(stream.path, f"{name} is silent throughout", track.label))
    return faults, notes


def open_dataset(
    root: str | os.PathLike[str] | Any,
    kind: str = "auto",
    subset: str | Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    sample_rate: int = 44100,
    needed: Sequence[str] = (),
) -> Dataset:
    """Open a tree of separated music.

    Every file is checked by its header (and WAV, FLAC and Ogg files by their last sample), so
    that reading does not fail later. A track with any fault is left out, and each fault is listed.
    All files of a track must have `sample_rate` and at most two channels. Lengths may differ by up
    to 0.1 s; the track is then the part that all files have, which is noted. Mono files among
    stereo files are duplicated, which is noted. In a folder of songs, a source whose samples are
    the sum of others is left out, which is noted, as is a stored mixture that is not the sum of its
    sources.

    Args:
        root: The tree. Or a `musdb.DB`, or a list of its tracks: those tracks are opened, with the
            validation tracks of its setup, and their files are read and checked as in a folder.
        kind: "auto" (default, detects the tree's form), "dsd100", "musdb18", "musdb18hq", "folder".
        subset: "train", "valid", "test", several of them, or None (default) for all.
        sources: Names of the sources to offer, in this order, or one name; None (default): all
            of the tree, in alphabetical order. The mixture holds all of them in any case.
        sample_rate: In Hz. Nothing is resampled.
        needed: The sources of a model. In a folder of songs they are used however few songs have
            them; if one of them is the sum of others, the others are left out instead.

    Returns:
        A `Dataset` with at least one track.

    Raises:
        DatasetError: The form of the tree is unknown or ambiguous, a subset or source is unknown,
            no track is usable, or PyAV is missing for MUSDB18.

    Example:
        >>> import tempfile, numpy, soundfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     (Path(root) / "My Song").mkdir()
        ...     for source in ("piano", "voice"):
        ...         audio = numpy.full((4410, 2), 0.25)
        ...         soundfile.write(Path(root) / "My Song" / f"{source}.wav", audio, 44100)
        ...     dataset = open_dataset(root)
        ...     mixture = dataset[0].read("mixture", start=100, num_samples=50)
        >>> dataset.sources, mixture.shape, float(mixture[0, 0])
        (('piano', 'voice'), (50, 2), 0.5)
    """
    subsets = (subset,) if isinstance(subset, str) else subset if subset is None else tuple(subset)
    require(
        subsets is None or set() < set(subsets) <= {*SUBSETS},
        f"subset must be of {', '.join(SUBSETS)} or None",
        subset,
        "",
        DatasetError,
    )
    whole = isinstance(sample_rate, int | np.integer) and sample_rate >= 1
    require(bool(whole), "sample_rate must be a whole number of Hz", sample_rate, "", DatasetError)
    require(kind in KINDS, f"kind must be one of {', '.join(KINDS)}", kind, "", DatasetError)
    asked = (sources,) if isinstance(sources, str) else tuple(sources or ())
    try:
        if isinstance(root, str | os.PathLike):
            root = Path(root).absolute()
            rule = "root must be the folder of a data set"
            way_out = "Check the path; docs/reference/datasets.md says where to get data sets."
            require(root.is_dir(), rule, printable(root), way_out, DatasetError)
            kind = _kind(root) if kind == "auto" else kind
            candidates = READERS[kind].find(root, (*asked, *needed))
        else:
            root, form, candidates = musdb18.from_musdb(root, sample_rate)
            rule = f"kind of these tracks of musdb must be auto or {form}"
            require(kind in ("auto", form), rule, kind, "", DatasetError)
            kind = form
        rule = f"{printable(root)} must have tracks of kind {_forms([kind])}"
        require(bool(candidates), rule, _seen(root), "", DatasetError)
    except OSError as error:
        raise DatasetError(f"{printable(root)} cannot be read: {error}") from error
    known = tuple(sorted({n for c in candidates for n in c.files} - {MIXTURE})) or SOURCES
    names = known if sources is None else asked
    require(
        bool(names) and len(set(names)) == len(names) and set(names) <= set(known),
        f"sources of {printable(root)} must be different names out of {', '.join(known)}",
        names,
        "",
        DatasetError,
    )
    chosen = [c for c in candidates if subsets is None or c.subset in subsets]
    present = {c.subset for c in candidates}
    require(
        bool(chosen),
        f"{printable(root)} must have tracks of the subset",
        subset,
        f"It has subsets: {', '.join(s or 'none' for s in ORDER if s in present)}.",
        DatasetError,
    )
    tracks: list[Track] = []
    faults: list[Fault] = []
    notes: list[Fault] = []
    for candidate in sorted(chosen, key=lambda c: (ORDER.index(c.subset), c.name)):
        streams, unreadable = READERS[kind].open_streams(candidate)
        track, wrong, noted = check_track(candidate, streams, names, int(sample_rate))
        own = [*candidate.faults, *unreadable, *wrong]
        tracks += [track] if track and not own else []
        faults += own
        notes += [*candidate.notes, *([] if own else noted)]
    _require_tracks(root, kind, tracks, faults)
    if kind == "folder":
        tracks, noted = leave_out_sums(tracks, asked, needed)
        notes += noted
    if kind != "musdb18":  # whose streams are lossy, and slow to read
        notes += note_mixtures(tracks)
    sources, rate = tracks[0].sources, int(sample_rate)
    return Dataset(root, kind, sources, rate, tuple(tracks), tuple(faults), tuple(notes))


def _kind(root: Path) -> str:
    """Return the kind of a tree by its form."""
    found = [name for name, reader in READERS.items() if reader.recognizes(root)]
    if "folder" in found and ("musdb18hq" in found or "dsd100" in found):
        found.remove("folder")  # MUSDB18-HQ is a special case of it
    require(
        len(found) == 1,
        f"{printable(root)} must have exactly one of the forms {_forms(found or READERS)}",
        " and ".join(found) or _seen(root),
        "Choose one with kind=." if found else "",
        DatasetError,
    )
    return found[0]


def _seen(root: Path) -> str:
    names = sorted(os.listdir(root))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(map(printable, names[:SHOWN])) or 'nothing'}{more}"


def _forms(kinds: Iterable[str]) -> str:
    return "; ".join(f"{kind}: {READERS[kind].FORM}" for kind in kinds)


def _require_tracks(
    root: Path, kind: str, tracks: Sequence[Track], faults: Sequence[Fault]
) -> None:
    if not tracks:
        raise DatasetError(
            f"{printable(root)} ({kind}) has no usable track; the first of {len(faults)} faults: "
            f"{faults[0].describe(root)}",
            faults,
        )
