"""The rows and tracks of a report: what the arguments MODEL and --tracks stand for."""

import fnmatch
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdense_edge import read_contract
from mmdense_edge.errors import printable
from mmdense_edge.model import bundled
from mmdense_edge.signal.wiener import MAX_ITERATIONS

from keras_mmdense import settings_of
from keras_mmdense.data import Dataset, Track, TrackError
from keras_mmdense.data.audio_files import open_audio_file
from keras_mmdense.data.readers import composed, entries, folded, subfolders
from keras_mmdense.data.tracks import LENGTH_TOLERANCE
from keras_mmdense.errors import require
from keras_mmdense.weights import find_weights
from training.evaluate.metrics.source_score import ACCOMPANIMENT, VOCALS

MAX_NAME = 100  # bytes
SUFFIXES = (".wav", ".flac", ".ogg")  # of estimates made elsewhere
SHOWN = 5  # faults that a message lists
BASELINES = {
    "mixture": "the unprocessed mixture (baseline)",
    "irm": "ideal ratio mask, |S| / sum |S|",
    "ibm": "ideal binary mask, 1 where |S| >= |X| / 2",
    "iwf": "ideal single-channel Wiener filter, |S|^2 / sum |S|^2",
}
OWN, SUM, REST = "its own estimate", "the sum of the others", "the mixture less the vocals"


@dataclass(frozen=True)
class Row:
    """One row of the tables: a model, a folder of estimates or a baseline. Small; can be pickled.

    Args:
        name: Its name in the report, a plain file name.
        kind: "baseline", "keras", "tflite" or "folder".
        description: What it is, in words.
        sources: The sources to score, in the order of the data set, the accompaniment last.
        paths: The model files, or the folder; none for a baseline.
        sha256: Checksum of the model files.
        wiener: Iterations of the multichannel Wiener filter; models only.
        accompaniment: How the accompaniment is computed; empty without one.
        missing: Labels of the tracks of which a folder has no estimates.
        fitted: Labels of the tracks whose estimates had to be cut or padded.
    """

    name: str
    kind: str
    description: str
    sources: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    sha256: str = ""
    wiener: int = 0
    accompaniment: str = ""
    missing: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()

    @property
    def estimated(self) -> tuple[str, ...]:
        """The sources that the estimator itself provides."""
        return self.sources if self.accompaniment in ("", OWN) else self.sources[:-1]


def choose_tracks(
    dataset: Dataset, patterns: Sequence[str] = (), limit: int | None = None
) -> tuple[Track, ...]:
    """Return the tracks to score.

    Args:
        dataset: The data set.
        patterns: Names of tracks; wildcards such as "Artist*" are allowed. Default: all tracks.
        limit: Use only the first ones, at most this many.

    Raises:
        SettingsError: A pattern matches no track, or the limit is below 1.
    """
    require(
        limit is None or limit >= 1, "--limit must be 1 or more", limit, "Leave it out for all."
    )
    chosen: set[Track] = set()
    for pattern in map(composed, patterns or ["*"]):
        # a name may contain brackets, which have a meaning in patterns
        matches = {
            track
            for track in dataset
            if pattern == composed(track.name) or fnmatch.fnmatchcase(composed(track.name), pattern)
        }
        require(
            bool(matches),
            f"--tracks must name some of the {len(dataset)} tracks of the data set",
            pattern,
            "python -m keras_mmdense.data lists them.",
        )
        chosen |= matches
    return tuple(track for track in dataset if track in chosen)[:limit]


def open_rows(
    texts: Sequence[str],
    tracks: Sequence[Track],
    *,
    accompaniment: bool = False,
    wiener: int = 0,
    allow_missing: bool = False,
) -> tuple[Row, ...]:
    """Interpret the MODEL arguments and check them as far as possible without reading audio.

    Args:
        texts: Each is the name of a baseline, a `.keras` or `.tflite` file, the name of a bundled
            model, a folder of estimates, or several model files joined by "+". "NAME=" before it
            names the row.
        tracks: The tracks to score.
        accompaniment: Score the accompaniment of every row.
        wiener: Iterations of the Wiener filter after the models.
        allow_missing: Leave out the tracks of which a folder has no estimates.

    Raises:
        SettingsError: An argument is none of these, has no source of the data set or cannot
            provide the accompaniment, or two rows have the same name.
        SettingsError, MMDenseError: A model file cannot be used.
    """
    require(
        0 <= wiener <= MAX_ITERATIONS,
        f"--wiener must be 0 to {MAX_ITERATIONS} iterations",
        wiener,
        "Try 1.",
    )
    sources = tracks[0].sources
    require(
        not accompaniment
        or (VOCALS in sources and len(sources) > 1 and ACCOMPANIMENT not in sources),
        "--accompaniment needs data with vocals and other sources, none of them called "
        "accompaniment",
        sources,
        "Leave it out.",
    )
    rows = tuple(_open(text, tracks, accompaniment, wiener, allow_missing) for text in texts)
    names = [row.name.lower() for row in rows]
    twice = sorted({row.name for row in rows if names.count(row.name.lower()) > 1})
    require(
        not twice,
        "the names of rows must differ, and not only in case",
        twice,
        "Name them: first=runs/a/best.keras second=runs/b/best.keras",
    )
    return rows


def _open(
    text: str, tracks: Sequence[Track], accompaniment: bool, wiener: int, allow_missing: bool
) -> Row:
    prefix, equals, target = text.partition("=")
    named = equals and not Path(text).exists() and not re.search(r"[/\\]", prefix)
    target = target if named else text
    kind, paths = _find(target)
    stored = tracks[0].sources
    wanted = (*stored, ACCOMPANIMENT) if accompaniment else stored
    facts: dict[str, Any] = {"description": " + ".join(printable(path.name) for path in paths)}
    available: Sequence[str] = wanted if target == "mixture" else stored
    if kind == "baseline":
        facts["description"] = BASELINES[target]
    elif kind == "folder":
        available, facts["missing"], facts["fitted"] = check_estimates(
            paths[0], tracks, wanted, allow_missing
        )
    else:
        read = settings_of if kind == "keras" else read_contract
        available = [source for path in paths for source in read(path).sources]
        own = [hashlib.sha256(path.read_bytes()) for path in paths]
        whole = own[0] if len(own) == 1 else hashlib.sha256(b"".join(x.digest() for x in own))
        facts |= {"sha256": whole.hexdigest(), "wiener": wiener}
    sources = tuple(source for source in stored if source in available)
    require(
        bool(sources),
        f"{printable(target)} must have a source of the data set",
        available,
        f"The data has {', '.join(stored)}.",
    )
    if accompaniment:
        others = set(stored) - {VOCALS}
        ways = {
            OWN: ACCOMPANIMENT in available,
            SUM: others <= set(available),
            REST: VOCALS in available,
        }
        require(
            any(ways.values()),
            "--accompaniment applies to all rows and needs an estimate of the accompaniment, of "
            "the vocals or of all other sources",
            {target: available},
            "Leave out the row or the option.",
        )
        sources = (*sources, ACCOMPANIMENT)
        facts["accompaniment"] = next(way for way, possible in ways.items() if possible)
    name = prefix if named else "+".join(path.stem for path in paths) or target
    require(
        # rows have a folder each in the report
        re.fullmatch(r"[^\x00-\x1f/\\:*?\"<>|]+", name) is not None
        and not name.startswith((".", " "))
        and len(name.encode("utf-8", "surrogateescape")) <= MAX_NAME
        and (name if name in BASELINES else "") == (target if kind == "baseline" else ""),
        f"the name of a row must be a plain file name of at most {MAX_NAME} bytes, and a baseline "
        "keeps its own name",
        text,
        "Give another: NAME=MODEL",
    )
    return Row(name, kind, sources=sources, paths=paths, **facts)


def _find(target: str) -> tuple[str, tuple[Path, ...]]:
    path = Path(target)
    names = (*bundled.MODELS, *bundled.names())
    if target in BASELINES:
        return "baseline", ()
    if path.is_dir():
        return "folder", (path,)
    paths = (path,) if path.exists() else tuple(map(Path, target.split("+")))
    if target in names and not path.exists():
        paths = (
            find_weights(target) if bundled.MODELS.get(target) == () else bundled.find(target),
        )
    gone = [part for part in paths if not part.is_file()]
    kinds = {part.suffix for part in paths}
    require(
        not gone and len(kinds) == 1 and kinds <= {".keras", ".tflite"},
        "MODEL must be a .keras or .tflite file, several of one kind joined by +, a folder of "
        f"estimates, a bundled model ({', '.join(names)}) or one of {', '.join(BASELINES)}",
        target,
        f"There is no file {printable(gone[0])}." if gone else "",
    )
    return kinds.pop()[1:], paths


def check_estimates(
    path: Path, tracks: Sequence[Track], sources: Sequence[str], allow_missing: bool
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Check the headers of the files in a folder of estimates.

    Args:
        path: The folder.
        tracks: The tracks to score.
        sources: The sources to look for; those that no track has are left out.
        allow_missing: Leave out tracks that lack an estimate, instead of refusing them.

    Returns:
        The sources of which the folder has estimates; the labels of the tracks that lack one of
        them; and the labels of the tracks whose files differ from the track in length by at most
        0.1 s: these are cut, or padded with zeros.

    Raises:
        SettingsError: The folder has no estimate of these tracks, tracks are missing, or files
            have another rate, number of channels or length.
    """
    found = {track.label: find_estimates(path, track, sources) for track in tracks}
    known = tuple(s for s in sources if any(s in files for files in found.values()))
    require(
        bool(known),
        f"{printable(path)} must have estimates of these tracks, for example "
        f"{printable(Path(tracks[0].name, sources[0]))}.wav",
        "none",
        "Check the names of tracks and sources.",
    )
    missing = tuple(name for name, files in found.items() if set(files) != set(known))
    require(
        allow_missing or not missing,
        f"{printable(path)} must have {', '.join(known)} of every track",
        f"{_listed(missing)} without one of them",
        "Add them, or pass --allow-missing to leave these tracks out.",
    )
    faults: list[str] = []
    fitted: dict[str, None] = {}
    for track in tracks:
        for place in () if track.label in missing else found[track.label].values():
            try:
                file = open_audio_file(place)
            except TrackError as error:
                faults.append(str(error))
                continue
            difference = abs(file.num_samples - track.num_samples)
            if (file.sample_rate, file.channels) != (track.sample_rate, track.channels):
                faults.append(
                    f"{printable(place)} has {file.sample_rate} Hz and {file.channels} channels, "
                    f"not {track.sample_rate} and {track.channels}"
                )
            elif difference > LENGTH_TOLERANCE * track.sample_rate:
                faults.append(
                    f"{printable(place)} has {file.num_samples} samples, not {track.num_samples}"
                )
            elif difference:
                fitted[track.label] = None
    require(
        not faults,
        "estimates must have the rate, channels and length of their tracks",
        _listed(faults),
        "",
    )
    return known, missing, tuple(fitted)


def find_estimates(path: Path, track: Track, sources: Sequence[str]) -> dict[str, Path]:
    """Return the files of a track by source; a folder named after the subset comes first.

    Letter case and Unicode form are ignored. The runner writes the stems of `X.stem.mp4` to
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
    by_suffix = [f for suffix in SUFFIXES for f in files if f.suffix.lower() == suffix]
    stems = {folded(file.stem): file for file in reversed(by_suffix)}  # the first suffix wins
    return {source: stems[folded(source)] for source in sources if folded(source) in stems}


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{'; '.join(texts[:SHOWN])}{more}"
