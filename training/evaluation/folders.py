"""Folders of estimates made elsewhere: FOLDER/[SUBSET/]TRACK/SOURCE.wav, .flac or .ogg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmdense_edge.errors import printable

from keras_mmdense.data import Track, TrackError
from keras_mmdense.data.audio_files import AudioFile, open_audio_file
from keras_mmdense.data.readers import entries, folded, subfolders
from keras_mmdense.data.tracks import LENGTH_TOLERANCE
from training.evaluation.errors import EvaluationError
from training.evaluation.songs import Samples, Song, blocks, label

SUFFIXES = (".wav", ".flac", ".ogg")
SHOWN = 5  # faults that a message lists


@dataclass(frozen=True)
class EstimateFolder:
    """A folder of estimates, checked by the files' headers.

    Args:
        path: The folder.
        sources: The sources that it has estimates of.
        missing: Labels of the tracks without all of them.
        fitted: Labels of the tracks whose files differ from the track in length, by 0.1 s at most:
            they are cut, or filled up with zeros.
    """

    path: Path
    sources: tuple[str, ...]
    missing: tuple[str, ...]
    fitted: tuple[str, ...]


class FolderEstimator:
    """Reads the estimates of a folder.

    Args:
        path: The folder.
        sources: The sources to read.
    """

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        self._path, self._sources = path, tuple(sources)

    def stream(self, song: Song) -> Iterator[dict[str, Samples]]:
        """Yield the estimates, in blocks.

        Raises:
            TrackError: A file has changed, ends early or holds NaN.
        """
        places = find_estimates(self._path, song.track, self._sources)
        files = {source: open_audio_file(path) for source, path in places.items()}
        for start, count in blocks(song.num_samples):
            yield {source: _excerpt(file, start, count) for source, file in files.items()}


def open_folder(
    path: Path, tracks: Sequence[Track], sources: Sequence[str], allow_missing: bool
) -> EstimateFolder:
    """Check a folder of estimates against the tracks, by the files' headers.

    Args:
        path: The folder.
        tracks: The tracks to be scored.
        sources: The sources to look for; those that no track has are left out.
        allow_missing: Leave out the tracks that lack an estimate, instead of refusing.

    Raises:
        EvaluationError: No estimate of these tracks, tracks that are missing, or files of another
            rate, number of channels or length.
    """
    found = {label(track): find_estimates(path, track, sources) for track in tracks}
    known = tuple(s for s in sources if any(s in files for files in found.values()))
    if not known:
        raise EvaluationError(
            f"{printable(path)} holds no estimate of these tracks; expected for example "
            f"{printable(Path(tracks[0].name, sources[0]))}.wav. Check the names of tracks and "
            "sources."
        )
    missing = tuple(name for name, files in found.items() if set(files) != set(known))
    if missing and not allow_missing:
        raise EvaluationError(
            f"{printable(path)} must hold {', '.join(known)} of every track; not so in "
            f"{_listed(missing)}. Add them, or pass --allow-missing to leave these tracks out."
        )
    whole = [track for track in tracks if label(track) not in missing]
    faults: list[str] = []
    fitted: list[str] = []
    for track in whole:
        fits = [_fits(file, track, faults) for file in found[label(track)].values()]
        fitted += [] if all(fits) else [label(track)]
    if faults:
        raise EvaluationError(
            f"estimates must have the rate, channels and length of their tracks: {_listed(faults)}"
        )
    return EstimateFolder(path, known, missing, tuple(fitted))


def find_estimates(path: Path, track: Track, sources: Sequence[str]) -> dict[str, Path]:
    """Return the files of a track by source; those in a folder of the subset come first.

    Letter case and Unicode form do not matter. The runner writes the stems of `X.stem.mp4` into
    `X.stem`.

    Args:
        path: The folder of estimates.
        track: The track.
        sources: The sources to look for.
    """
    names = {folded(track.name), folded(f"{track.name}.stem")}
    tops = dict.fromkeys((path / track.subset, path / track.path.parent.name, path))
    places = [
        place
        for top in tops
        for place in sorted(subfolders(top), key=lambda place: place.name != track.name)
        if folded(place.name) in names
    ]
    files = [file for file in entries(places[0]) if file.is_file()] if places else []
    found = {}
    for source in sources:
        own = [file for file in files if folded(file.stem) == folded(source)]
        choice = [f for suffix in SUFFIXES for f in own if f.suffix.lower() == suffix]
        if choice:
            found[source] = choice[0]
    return found


def file_facts(files: Mapping[str, Path]) -> dict[str, list[int]]:
    """Return size and time of change of files: what tells that they are the ones scored before."""
    stats = {name: path.stat() for name, path in files.items()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _fits(path: Path, track: Track, faults: list[str]) -> bool:
    """Tell whether a file has exactly the track's length; add to the faults what is too far off."""
    try:
        file = open_audio_file(path)
    except TrackError as error:
        faults.append(str(error))
        return True
    form = (file.sample_rate, file.channels)
    apart = file.num_samples - track.num_samples
    if form != (track.sample_rate, track.channels):
        faults.append(
            f"{printable(path)} has {form[0]} Hz and {form[1]} channels, not {track.sample_rate} "
            f"and {track.channels}"
        )
    elif abs(apart) > LENGTH_TOLERANCE * track.sample_rate:
        faults.append(f"{printable(path)} has {file.num_samples} samples, not {track.num_samples}")
    return apart == 0


def _excerpt(file: AudioFile, start: int, count: int) -> Samples:
    """Read an excerpt that may reach past the end of the file: zeros follow."""
    there = max(0, min(count, file.num_samples - start))
    audio: Samples = file.read(start, there) if there else np.zeros((0, file.channels), np.float32)
    return np.pad(audio, ((0, count - there), (0, 0)))


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{'; '.join(map(printable, texts[:SHOWN]))}{more}"
