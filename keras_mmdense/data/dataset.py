"""One interface to the data sets: open a tree, get tracks that can be read and a list of faults."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from mmdense_edge.errors import printable

from keras_mmdense.data.problems import DatasetError, Fault
from keras_mmdense.data.readers import (
    SOURCES,
    Candidate,
    Reader,
    dsd100,
    folder,
    musdb18,
    musdb18hq,
)
from keras_mmdense.data.sums import find_sums, mixtures_apart
from keras_mmdense.data.tracks import MIXTURE, SUBSETS, Track, open_track, scan_track

READERS: Mapping[str, Reader] = {
    "dsd100": dsd100,
    "musdb18": musdb18,
    "musdb18hq": musdb18hq,
    "folder": folder,
}
KINDS = ("auto", *READERS)


@dataclass(frozen=True)
class Dataset(Sequence[Track]):
    """The usable tracks of a tree, in a fixed order, and what is wrong with the others.

    Made by `open_dataset`. Never empty. The order is train, valid, test, then by name.

    Args:
        root: the tree.
        kind: "dsd100", "musdb18", "musdb18hq" or "folder".
        sources: tuple of str, the sources that every track has.
        sample_rate: int, Hz, of every track.
        tracks: the usable tracks.
        faults: why tracks were left out; a track can have several.
        notes: what is worth knowing of tracks that are used.
    """

    root: Path
    kind: str
    sources: tuple[str, ...]
    sample_rate: int
    tracks: tuple[Track, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[Fault, ...] = ()

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
        """True where every track can be read as int16 without loss."""
        return all(track.pcm16 for track in self.tracks)

    @property
    def num_left_out(self) -> int:
        """Number of tracks that faults rule out."""
        return len({fault.track for fault in self.faults})

    def report(self) -> str:
        """Return what was found, as text: a summary, then one line per fault and per note."""
        subsets = [track.subset for track in self.tracks]
        counts = ", ".join(f"{s or 'no subset'} {subsets.count(s)}" for s in ordered(set(subsets)))
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

        Opening reads headers only; this finds damage inside the files: data that end early, NaN
        or infinite samples. A source that is silent throughout is noted.

        Args:
            progress: called after each track with the samples read and the samples in all.

        Returns:
            The data set without the tracks that fail, with the faults and notes found.

        Raises:
            DatasetError: no track is left; its `faults` tell why.
        """
        total, done = sum(track.num_samples for track in self.tracks), 0
        good, faults, notes = [], list(self.faults), list(self.notes)
        for track in self.tracks:
            track_faults, track_notes = scan_track(track)
            good += [] if track_faults else [track]
            faults += track_faults
            notes += track_notes
            done += track.num_samples
            if progress:
                progress(done, total)
        _require_tracks(self.root, self.kind, good, faults)
        return replace(self, tracks=tuple(good), faults=tuple(faults), notes=tuple(notes))


def open_dataset(
    root: str | os.PathLike[str],
    kind: str = "auto",
    subset: str | Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    sample_rate: int = 44100,
    needed: Sequence[str] = (),
) -> Dataset:
    """Open a tree of separated music.

    Every file is checked by its header (and WAV, FLAC and Ogg files by their last sample), so
    that reading later does not fail half-way. A track with any fault is left out, and each fault
    is listed. The rules: all files of a track have `sample_rate` and at most two channels; lengths
    may differ by up to 0.1 s, and then the part that all files have is the track, which is noted;
    mono among stereo is read in both channels, which is noted. In a folder of songs a source that
    is the sum of others, by its samples, is left out, which is noted, as is a stored mixture that
    is not the sum of its sources.

    Args:
        root: the tree.
        kind: "auto" (default: by the tree's form), "dsd100", "musdb18", "musdb18hq", "folder".
        subset: "train", "valid", "test", several of them, or None (default) for all.
        sources: names of the sources to offer, in this order, or one name; None (default): all
            of the tree, in alphabetical order. The mixture holds all of them in any case.
        sample_rate: int, Hz, default 44100. Nothing is resampled.
        needed: the sources of a model. In a folder of songs they count however few songs have
            them, and where one is the sum of others, these are left out instead.

    Returns:
        A `Dataset` with at least one track.

    Raises:
        DatasetError: no or an unclear form of tree, unknown subset or sources, no usable track,
            PyAV missing where needed.

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
    root = Path(root).absolute()
    subsets = _subsets(subset)
    sources = (sources,) if isinstance(sources, str) else sources
    asked = None if sources is None else tuple(sources)
    rate = _sample_rate(sample_rate)
    try:
        kind = _kind(root, kind)
        candidates = READERS[kind].find(root, (*(asked or ()), *needed))
    except OSError as error:
        raise DatasetError(f"{printable(root)} cannot be read: {error}") from error
    names = _sources(root, candidates, asked)
    chosen = _choose(root, kind, candidates, subsets)
    outcomes = [open_track(READERS[kind], candidate, names, rate) for candidate in chosen]
    tracks = [outcome.track for outcome in outcomes if outcome.track]
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    notes = [note for outcome in outcomes for note in outcome.notes]
    _require_tracks(root, kind, tracks, faults)
    if kind == "folder":
        names, tracks, sum_notes = _without_sums(tracks, names, asked, needed)
        notes += sum_notes
    if kind != "musdb18":  # whose streams are lossy, and slow to read
        notes += [
            Fault(
                track.streams[MIXTURE].path,
                "is not the sum of its sources, which training mixes: the difference is at "
                f"{10 * math.log10(share):.0f} dB",
                track.name,
            )
            for track, share in mixtures_apart(tracks).items()
        ]
    return Dataset(root, kind, names, rate, tuple(tracks), tuple(faults), tuple(notes))


def _without_sums(
    tracks: list[Track],
    names: tuple[str, ...],
    asked: tuple[str, ...] | None,
    needed: Sequence[str],
) -> tuple[tuple[str, ...], list[Track], list[Fault]]:
    """Leave out sources that are in others, so that the mixture holds everything once.

    Returns:
        The sources to offer, the tracks, and notes.

    Raises:
        DatasetError: Both a sum and its parts are asked for.
    """
    wanted, notes = {*(asked or ()), *needed}, []
    for total, parts in find_sums(tracks, {*SOURCES, *wanted}).items():
        is_sum = f"{total} is {'the sum' if len(parts) > 1 else 'a copy'} of {', '.join(parts)}"
        if total in (asked or ()) and set(parts) & set(asked or ()):
            raise DatasetError(
                f"sources must not hold each other, but {is_sum}: ask for one or the other"
            )
        keep = total in wanted and not set(parts) & wanted
        left_out = set(parts) if keep else {total}
        notes.append(
            Fault(
                tracks[0].streams[total].path,
                f"{is_sum}; not used as a source: {', '.join(sorted(left_out))}",
                tracks[0].name,
            )
        )
        names = tuple(name for name in names if name not in left_out)
        tracks = [
            replace(
                track,
                sources=names,
                streams={n: s for n, s in track.streams.items() if n not in left_out},
            )
            for track in tracks
        ]
    return names, tracks, notes


def ordered(subsets: Iterable[str]) -> list[str]:
    """Return subset names in the order train, valid, test, ""."""
    return sorted(subsets, key=(*SUBSETS, "").index)


def _kind(root: Path, kind: str) -> str:
    if kind not in KINDS:
        raise DatasetError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if not root.is_dir():
        raise DatasetError(f"{printable(root)} is not a folder: give the root of a data set")
    if kind != "auto":
        return kind
    found = [name for name, reader in READERS.items() if reader.recognizes(root)]
    if "folder" in found and ("musdb18hq" in found or "dsd100" in found):
        found.remove("folder")  # MUSDB18-HQ is a special case of it
    if not found:
        raise DatasetError(
            f"{printable(root)} is no data set: {_seen(root)}; known forms: {_forms(READERS)}"
        )
    if len(found) > 1:
        raise DatasetError(
            f"{printable(root)} can be read as {' and '.join(found)}: choose one with kind=; "
            f"forms: {_forms(found)}"
        )
    return found[0]


def _seen(root: Path, limit: int = 8) -> str:
    names = sorted(os.listdir(root))
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"it holds {', '.join(map(printable, names[:limit])) or 'nothing'}{more}"


def _forms(kinds: Iterable[str]) -> str:
    return "; ".join(f"{kind}: {READERS[kind].FORM}" for kind in kinds)


def _subsets(subset: str | Sequence[str] | None) -> tuple[str, ...]:
    if subset is None:
        return ()
    subsets = (subset,) if isinstance(subset, str) else tuple(subset)
    if not subsets or any(name not in SUBSETS for name in subsets):
        raise DatasetError(f"subset must be of {', '.join(SUBSETS)} or None, not {subset!r}")
    return subsets


def _sample_rate(sample_rate: int) -> int:
    try:
        rate = operator.index(sample_rate)
    except TypeError:
        rate = 0
    if rate < 1:
        raise DatasetError(f"sample_rate must be a whole number of Hz, not {sample_rate!r}")
    return rate


def _sources(
    root: Path, candidates: Sequence[Candidate], asked: tuple[str, ...] | None
) -> tuple[str, ...]:
    found = {name for candidate in candidates for name in candidate.files}
    known = tuple(sorted(found - {MIXTURE})) or SOURCES
    if asked is None:
        return known
    if not asked or len(set(asked)) != len(asked) or not set(asked) <= set(known):
        raise DatasetError(
            f"sources must be different names out of {', '.join(known)}, not {asked!r} "
            f"({printable(root)})"
        )
    return asked


def _choose(
    root: Path, kind: str, candidates: Sequence[Candidate], subsets: tuple[str, ...]
) -> list[Candidate]:
    if not candidates:
        raise DatasetError(
            f"{printable(root)} has no tracks of kind {kind}: {_seen(root)}; the form: "
            f"{_forms([kind])}"
        )
    chosen = [c for c in candidates if not subsets or c.subset in subsets]
    if not chosen:
        present = ", ".join(s or "none" for s in ordered({c.subset for c in candidates}))
        raise DatasetError(
            f"{printable(root)} has no tracks of subset {' or '.join(subsets)}; it has subsets: "
            f"{present}"
        )
    order = (*SUBSETS, "")
    return sorted(chosen, key=lambda c: (order.index(c.subset), c.name))


def _require_tracks(
    root: Path, kind: str, tracks: Sequence[Track], faults: Sequence[Fault]
) -> None:
    if not tracks:
        raise DatasetError(
            f"{printable(root)} ({kind}) has no usable track; the first of {len(faults)} faults: "
            f"{faults[0].describe(root)}",
            faults,
        )
