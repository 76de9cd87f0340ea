"""The rows of a report: what the MODEL arguments of the command stand for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmdense_edge import read_contract
from mmdense_edge.errors import printable
from mmdense_edge.model import bundled
from mmdense_edge.signal.wiener import MAX_ITERATIONS

from keras_mmdense import settings_of
from keras_mmdense.data import Track, TrackError
from keras_mmdense.data.audio_files import open_audio_file
from keras_mmdense.data.readers import entries, folded, subfolders
from keras_mmdense.data.tracks import LENGTH_TOLERANCE
from keras_mmdense.weights import find_weights
from training.evaluate import EvaluationError
from training.evaluate.metrics.source_score import ACCOMPANIMENT, VOCALS
from training.evaluate.songs import label

Kind = Literal["baseline", "keras", "tflite", "folder"]
MODEL_KINDS: dict[str, Kind] = {".keras": "keras", ".tflite": "tflite"}
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
        sources: What is scored, in the order of the data; the accompaniment last.
        paths: The model files, or the folder; none for a baseline.
        sha256: Checksum of the model files.
        wiener: Iterations of the multichannel Wiener filter; models only.
        accompaniment: How the accompaniment is computed; empty without one.
        missing: Labels of the tracks that a folder has no estimates of.
        fitted: Labels of the tracks whose estimates had to be cut or filled up.
    """

    name: str
    kind: Kind
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
        """The sources that its estimator is asked for."""
        return self.sources if self.accompaniment in ("", OWN) else self.sources[:-1]


def open_rows(
    texts: Sequence[str],
    tracks: Sequence[Track],
    *,
    accompaniment: bool = False,
    wiener: int = 0,
    allow_missing: bool = False,
) -> tuple[Row, ...]:
    """Interpret the MODEL arguments, and check them as far as headers allow.

    Args:
        texts: Each a baseline's name, a `.keras` or `.tflite` file, a bundled model's name, a
            folder of estimates, or several model files joined by "+"; with "NAME=" before it to
            give the row a name.
        tracks: The tracks to be scored.
        accompaniment: Score the accompaniment of every row.
        wiener: Iterations of the Wiener filter after the models.
        allow_missing: Leave out the tracks that a folder lacks.

    Raises:
        EvaluationError: An argument is none of these, has no source of the data or cannot provide
            the accompaniment, or two rows have the same name.
        SettingsError, MMDenseError: A model file cannot be used.
    """
    if not 0 <= wiener <= MAX_ITERATIONS:
        raise EvaluationError(
            f"--wiener must be 0 to {MAX_ITERATIONS} iterations; received {wiener}. Try 1."
        )
    sources = tracks[0].sources
    if accompaniment and (VOCALS not in sources or len(sources) < 2 or ACCOMPANIMENT in sources):
        raise EvaluationError(
            "--accompaniment needs data with vocals and other sources, and none of that name; "
            f"received data with {', '.join(sources)}. Leave it out."
        )
    wanted = (*sources, ACCOMPANIMENT) if accompaniment else sources
    rows = tuple(_open(text, tracks, wanted, wiener, allow_missing) for text in texts)
    names = [row.name.lower() for row in rows]
    twice = sorted({row.name for row in rows if names.count(row.name.lower()) > 1})
    if twice:
        raise EvaluationError(
            f"rows need different names, and not only in case; received {', '.join(twice)} more "
            "than once. Name them: first=runs/a/best.keras second=runs/b/best.keras"
        )
    return rows


def _open(
    text: str, tracks: Sequence[Track], wanted: Sequence[str], wiener: int, allow_missing: bool
) -> Row:
    name, equals, target = text.partition("=")
    named = equals and not Path(text).exists() and not re.search(r"[/\\]", name)
    target = target if named else text
    kind, paths = _find(target)
    facts: dict[str, Any] = {"description": " + ".join(printable(path.name) for path in paths)}
    available: Sequence[str]
    if kind == "baseline":
        available = wanted if target == "mixture" else tracks[0].sources
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
    sources = tuple(source for source in tracks[0].sources if source in available)
    if not sources:
        raise EvaluationError(
            f"{printable(target)} must have a source of the data; received "
            f"{', '.join(available)} for data with {', '.join(tracks[0].sources)}."
        )
    if wanted != tracks[0].sources:
        ways = {
            OWN: ACCOMPANIMENT in available,
            SUM: set(wanted) - {VOCALS, ACCOMPANIMENT} <= set(available),
            REST: VOCALS in available,
        }
        if not any(ways.values()):
            raise EvaluationError(
                "--accompaniment is scored for all rows or none, and needs an estimate of it, of "
                f"the vocals or of all other sources; received {printable(target)} with "
                f"{', '.join(available)}. Leave out the row or the option."
            )
        sources = (*sources, ACCOMPANIMENT)
        facts["accompaniment"] = next(way for way, given in ways.items() if given)
    name = name if named else "+".join(path.stem for path in paths) or target
    if (
        # rows have a folder each in the report
        not re.fullmatch(r"[^\x00-\x1f/\\:*?\"<>|]+", name)
        or name.startswith((".", " "))
        or len(name.encode("utf-8", "surrogateescape")) > MAX_NAME
        or (name if name in BASELINES else "") != (target if kind == "baseline" else "")
    ):
        raise EvaluationError(
            f"the name of a row must be a plain file name of at most {MAX_NAME} bytes, and a "
            f"baseline keeps its own name; received {printable(text)}. Give another: NAME=MODEL"
        )
    return Row(name, kind, sources=sources, paths=paths, **facts)


def _find(target: str) -> tuple[Kind, tuple[Path, ...]]:
    path = Path(target)
    names = (*bundled.MODELS, *bundled.names())
    if target in BASELINES:
        return "baseline", ()
    if path.is_dir():
        return "folder", (path,)
    paths = (path,) if path.exists() else tuple(Path(part) for part in target.split("+"))
    if target in names and not path.exists():
        device = bundled.MODELS.get(target) != ()  # a file was exported from it
        paths = (bundled.find(target) if device else find_weights(target),)
    kinds = {MODEL_KINDS.get(part.suffix) for part in paths}
    gone = [part for part in paths if not part.is_file()]
    kind = kinds.pop()
    if gone or kinds or kind is None:
        raise EvaluationError(
            "MODEL must be a .keras or .tflite file, several of one kind joined by +, a folder of "
            f"estimates, a bundled model ({', '.join(names)}) or one of "
            f"{', '.join(BASELINES)}; received {printable(target)}"
            f"{', and there is no file ' + printable(gone[0]) if gone else ''}."
        )
    return kind, paths


def check_estimates(
    path: Path, tracks: Sequence[Track], sources: Sequence[str], allow_missing: bool
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Check a folder of estimates by the files' headers.

    Args:
        path: The folder.
        tracks: The tracks to be scored.
        sources: The sources to look for; those that no track has are left out.
        allow_missing: Leave out the tracks that lack an estimate, instead of refusing.

    Returns:
        The sources that it has estimates of; the labels of the tracks without all of them; the
        labels of the tracks whose files differ from the track in length, by 0.1 s at most: they
        are cut, or filled up with zeros.

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
    faults: list[str] = []
    fitted: dict[str, None] = {}
    for track in tracks:
        for place in () if label(track) in missing else found[label(track)].values():
            try:
                file = open_audio_file(place)
            except TrackError as error:
                faults.append(str(error))
                continue
            apart = file.num_samples - track.num_samples
            if (file.sample_rate, file.channels) != (track.sample_rate, track.channels):
                faults.append(
                    f"{printable(place)} has {file.sample_rate} Hz and {file.channels} channels, "
                    f"not {track.sample_rate} and {track.channels}"
                )
            elif abs(apart) > LENGTH_TOLERANCE * track.sample_rate:
                faults.append(
                    f"{printable(place)} has {file.num_samples} samples, not {track.num_samples}"
                )
            elif apart:
                fitted[label(track)] = None
    if faults:
        raise EvaluationError(
            f"estimates must have the rate, channels and length of their tracks: {_listed(faults)}"
        )
    return known, missing, tuple(fitted)


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
    by_suffix = [f for suffix in SUFFIXES for f in files if f.suffix.lower() == suffix]
    stems = {folded(file.stem): file for file in reversed(by_suffix)}  # the first suffix wins
    return {source: stems[folded(source)] for source in sources if folded(source) in stems}


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{'; '.join(map(printable, texts[:SHOWN]))}{more}"
