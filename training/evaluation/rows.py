"""The rows of a report: what the MODEL arguments of the command stand for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from mmdense_edge import read_contract
from mmdense_edge.errors import printable
from mmdense_edge.model import bundled
from mmdense_edge.signal.wiener import MAX_ITERATIONS

from keras_mmdense import __version__, settings_of
from keras_mmdense.data import Track
from training.evaluation.baselines import BASELINES, MASKS, MaskEstimator, MixtureEstimator
from training.evaluation.errors import EvaluationError
from training.evaluation.folders import FolderEstimator, open_folder
from training.evaluation.scores import ACCOMPANIMENT, VOCALS
from training.evaluation.songs import Samples, Song

Kind = Literal["baseline", "keras", "tflite", "folder"]
MODEL_KINDS: dict[str, Kind] = {".keras": "keras", ".tflite": "tflite"}
MAX_NAME = 100


class Estimator(Protocol):
    """Makes the estimates of a song."""

    def stream(self, song: Song) -> Iterator[dict[str, Samples]]:
        """Yield for each source its next samples, (any length, channels); all equally long.

        The lengths add up to the song's.
        """


@dataclass(frozen=True)
class Row:
    """One row of the tables: a model, a folder of estimates or a baseline. Small; can be pickled.

    Args:
        name: Its name in the report, a plain file name.
        kind: "baseline", "keras", "tflite" or "folder".
        paths: The model files, or the folder; none for a baseline.
        sources: What is scored, in the order of the data; the accompaniment last.
        rule: How the accompaniment comes about; empty without one.
        wiener: Iterations of the multichannel Wiener filter; models only.
        digest: SHA-256 of the model files.
        missing: Labels of the tracks that a folder has no estimates of.
        fitted: Labels of the tracks whose estimates had to be cut or filled up.
    """

    name: str
    kind: Kind
    paths: tuple[Path, ...]
    sources: tuple[str, ...]
    rule: str
    wiener: int
    digest: str
    missing: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, object]:
        """What its scores depend on, besides the track and the metric."""
        return {
            "kind": self.kind,
            "baseline": self.name if self.kind == "baseline" else "",
            "digest": self.digest,
            "sources": self.sources,
            "rule": self.rule,
            "wiener": self.wiener,
            "version": __version__,
        }

    @property
    def estimated(self) -> tuple[str, ...]:
        """The sources that its estimator is asked for."""
        return self.sources if self.rule in ("", OWN) else self.sources[:-1]

    def describe(self) -> str:
        """Return what it is, in words."""
        if self.kind == "baseline":
            return BASELINES[self.name]
        return " + ".join(printable(path.name) for path in self.paths)


OWN, SUM, REST = "its own estimate", "the sum of the others", "the mixture less the vocals"


def open_rows(
    texts: Sequence[str],
    tracks: Sequence[Track],
    *,
    accompaniment: bool = False,
    wiener: int = 0,
    allow_missing: bool = False,
) -> list[Row]:
    """Find out what the MODEL arguments are, and check them as far as headers tell.

    Args:
        texts: Each a baseline's name, a `.keras` or `.tflite` file, a bundled model's name, a
            folder of estimates, or several model files joined by "+"; with "NAME=" before it to
            give the row a name.
        tracks: The tracks to be scored.
        accompaniment: Score the accompaniment of every row.
        wiener: Iterations of the Wiener filter after the models.
        allow_missing: Leave out the tracks that a folder lacks.

    Raises:
        EvaluationError: Something is none of these, has no source of the data, cannot give the
            accompaniment, or two rows have one name.
        SettingsError, MMDenseError: A model file cannot be used.
    """
    if not 0 <= wiener <= MAX_ITERATIONS:
        raise EvaluationError(
            f"--wiener must be 0 to {MAX_ITERATIONS} iterations; received {wiener}. Try 1."
        )
    wanted = (*tracks[0].sources, *((ACCOMPANIMENT,) if accompaniment else ()))
    rows = [_open(text, tracks, wanted, wiener, allow_missing) for text in texts]
    names = [row.name.lower() for row in rows]
    twice = sorted({row.name for row in rows if names.count(row.name.lower()) > 1})
    if twice:
        raise EvaluationError(
            f"rows need different names, and not only in case; received {', '.join(twice)} more "
            "than once. Name them: first=runs/a/best.keras second=runs/b/best.keras"
        )
    return rows


def open_estimator(row: Row, num_threads: int = 1) -> Estimator:
    """Make ready what gives a row's estimates; models are loaded.

    Args:
        row: The row.
        num_threads: Threads of a TFLite interpreter.

    Raises:
        EvaluationError, MMDenseError, SettingsError: The model cannot be used.
    """
    if row.kind == "folder":
        return FolderEstimator(row.paths[0], row.estimated)
    if row.kind == "baseline":
        mask = row.name in MASKS
        return MaskEstimator(row.name, row.estimated) if mask else MixtureEstimator(row.estimated)
    from training.evaluation.model_networks import ModelEstimator

    return ModelEstimator(row.paths, row.estimated, row.wiener, num_threads)


def _open(
    text: str, tracks: Sequence[Track], wanted: Sequence[str], wiener: int, allow_missing: bool
) -> Row:
    name, target = _split_name(text)
    derived = ACCOMPANIMENT in wanted and ACCOMPANIMENT not in tracks[0].sources
    if target in BASELINES:
        return _baseline(name, target, wanted, derived)
    kind, paths = _paths(target)
    missing: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()
    if kind == "folder":
        folder = open_folder(paths[0], tracks, wanted, allow_missing)
        available, missing, fitted = folder.sources, folder.missing, folder.fitted
    else:
        available = tuple(source for path in paths for source in _sources(kind, path))
    sources = tuple(source for source in tracks[0].sources if source in available)
    if not sources:
        raise EvaluationError(
            f"{printable(target)} must have a source of the data; received "
            f"{', '.join(available)} for data with {', '.join(tracks[0].sources)}."
        )
    rule = _rule(target, available, wanted) if derived else ""
    return Row(
        name=_checked("+".join(path.stem for path in paths) if name is None else name),
        kind=kind,
        paths=paths,
        sources=(*sources, ACCOMPANIMENT) if rule else sources,
        rule=rule,
        wiener=0 if kind == "folder" else wiener,
        digest="" if kind == "folder" else _digest(paths),
        missing=missing,
        fitted=fitted,
    )


def _baseline(name: str | None, target: str, wanted: Sequence[str], derived: bool) -> Row:
    if name is not None:
        raise EvaluationError(
            f"a baseline keeps its own name; received {name}={target}. Write {target}."
        )
    rule = "" if not derived else OWN if target == "mixture" else SUM
    return Row(target, "baseline", (), tuple(wanted), rule, 0, "")


def _split_name(text: str) -> tuple[str | None, str]:
    name, equals, target = text.partition("=")
    named = equals and not Path(text).exists() and not re.search(r"[/\\]", name)
    return (name, target) if named else (None, text)


def _paths(target: str) -> tuple[Kind, tuple[Path, ...]]:
    path = Path(target)
    if path.is_dir():
        return "folder", (path,)
    paths = (path,) if path.exists() else tuple(Path(part) for part in target.split("+"))
    if len(paths) == 1 and target in bundled.names():
        return "tflite", (bundled.find(target),)
    kinds = {MODEL_KINDS.get(part.suffix) for part in paths}
    gone = [part for part in paths if not part.is_file()]
    if gone or len(kinds) > 1 or None in kinds:
        raise EvaluationError(
            "MODEL must be a .keras or .tflite file, several of one kind joined by +, a folder of "
            f"estimates, a bundled model ({', '.join(bundled.names())}) or one of "
            f"{', '.join(BASELINES)}; received {printable(target)}"
            f"{', and there is no file ' + printable(gone[0]) if gone else ''}."
        )
    return MODEL_KINDS[paths[0].suffix], paths


def _sources(kind: Kind, path: Path) -> tuple[str, ...]:
    return settings_of(path).sources if kind == "keras" else read_contract(path).sources


def _rule(target: str, available: Sequence[str], wanted: Sequence[str]) -> str:
    """Return how a row's accompaniment comes about."""
    if ACCOMPANIMENT in available:
        return OWN
    if set(wanted) - {VOCALS, ACCOMPANIMENT} <= set(available):
        return SUM
    if VOCALS in available:
        return REST
    raise EvaluationError(
        "--accompaniment is scored for all rows or none, and needs an estimate of it, of the "
        f"vocals or of all other sources; received {printable(target)} with "
        f"{', '.join(available)}. Leave out the row or the option."
    )


def _checked(name: str) -> str:
    """Refuse what is no file name; rows have a folder each in the report."""
    if not re.fullmatch(r"[^\x00-\x1f/\\:*?\"<>|]+", name) or name.startswith((".", " ")):
        raise EvaluationError(
            f"the name of a row must be a plain file name; received {printable(name)!r}. Give one: "
            "NAME=MODEL"
        )
    if name in BASELINES or len(name.encode("utf-8", "surrogateescape")) > MAX_NAME:
        raise EvaluationError(
            f"the name of a row must have at most {MAX_NAME} bytes and be no baseline's; received "
            f"{printable(name)!r}. Give another: NAME=MODEL"
        )
    return name


def _digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 over the files' own, in order."""
    own = [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    return hashlib.sha256(b"".join(own)).hexdigest() if len(own) > 1 else own[0].hex()
