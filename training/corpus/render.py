"""Rendering a corpus: what is asked for is there, songs in several processes, progress."""

from __future__ import annotations

import importlib.util
import multiprocessing
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from keras_mmdense.data.tracks import SUBSETS
from training.corpus import tree
from training.corpus.material import (
    CorpusError,
    Item,
    Soundfont,
    find_material,
    find_soundfonts,
    fingerprint,
)
from training.corpus.song import render_band, render_solo, render_song
from training.corpus.studio import ABILITIES, SCORES, VOICES, Studio
from training.corpus.units import labelled_units, save_units

REVISION = 4  # to be raised when the same seed gives another song
PROGRAMS = {"mma": "mma", "soundfonts": "fluidsynth", "espeak": "espeak-ng"}
PACKAGES = {"mma": "mido", "soundfonts": "mido", "espeak": "pyworld", "units": "pyworld"}
MATERIAL = {"takes": ("takes", "units"), "units": ("units",), "songs": ("songs",)}
MATERIAL |= {"samples": ("notes", "hits")}
UNITS = ".units.npz"
FORMATS = ("wav", "flac")
KINDS = ("songs", "solo", "bands")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Order:
    """What is to be rendered.

    Args:
        out: The corpus.
        songs: Number of songs, 1 or more.
        seconds: Length of each, 4 to 600.
        seed: Seed of the first song, 0 or more; the next has the next seed.
        subset: "train", "valid" or "test".
        material: Folders.
        use: Names of `training.corpus.studio.ABILITIES`.
        format: "wav" or "flac", 16 bits.
        kind: "songs"; "solo", recordings of one source, the others silent; "bands", a voice over
            recordings of whole bands, which are `other`.
        jobs: Processes.
    """

    out: Path
    songs: int
    seconds: float = 40.0
    seed: int = 0
    subset: str = "train"
    material: tuple[Path, ...] = ()
    use: tuple[str, ...] = ABILITIES
    format: str = "wav"
    kind: str = "songs"
    jobs: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        unknown = sorted(set(self.use) - set(ABILITIES))
        checks = (
            (self.songs >= 1 and self.jobs >= 1, "--songs and --jobs must be 1 or more",
             (self.songs, self.jobs)),
            (4 <= self.seconds <= 600, "--seconds must be 4 to 600", self.seconds),
            (0 <= self.seed < 1 << 62, "--seed must be 0 or more, below 2**62", self.seed),
            (self.subset in SUBSETS, f"--subset must be one of {', '.join(SUBSETS)}", self.subset),
            (self.format in FORMATS, f"--format must be one of {', '.join(FORMATS)}", self.format),
            (self.kind in KINDS, f"kind must be one of {', '.join(KINDS)}", self.kind),
            (not unknown, f"--use must be names of {', '.join(ABILITIES)}", unknown),
            (self.kind == "bands" or bool(set(self.use) & set(SCORES)),
             "--use must contain patterns or mma", self.use),
        )  # fmt: skip
        for holds, rule, received in checks:
            if not holds:
                raise CorpusError(f"{rule}; received {received!r}.")

    @property
    def means(self) -> tuple[str, ...]:
        """What of `use` this kind of song needs: over recorded bands there is only singing."""
        return tuple(n for n in self.use if self.kind != "bands" or n in VOICES)


def render(order: Order, tell: Callable[[str], None], progress: Progress) -> dict[str, Any]:
    """Render the songs of an order that are not there yet.

    Args:
        order: What is asked for.
        tell: Called with lines on what is found and what is done before the first song.
        progress: Called after each song with songs done and songs in all of this run, and its name.

    Returns:
        The manifest, which is written in any case, also when a song fails or the run is stopped.

    Raises:
        CorpusError: Something is missing, or fails; songs that are complete are kept.
        OSError: `order.out` cannot be written.
    """
    items, notes = find_material(order.material)
    for note in notes:
        tell(f"note: {note}")
    fonts = find_soundfonts() if "soundfonts" in order.means else []
    check_means(order.means, items, fonts)
    if order.kind == "bands":
        check_bands(items)
    settings = _settings(order, items, fonts)
    tree.start(order.out, settings)
    studio = Studio(frozenset(order.use), tuple(items), tuple(fonts), _units(order, items, tell))
    if order.kind != "solo":
        studio.voices()
    if order.kind == "songs":
        for source in ("bass", "drums", "other"):
            studio.instruments(source)
    places = [order.out / order.subset / f"song-{order.seed + k:09d}" for k in range(order.songs)]
    missing = [place for place in places if not place.exists()]
    tell(f"{order.out}: {len(missing)} songs to render, {len(places) - len(missing)} are there")
    try:
        with _workers(order.jobs) as apply:
            for done, name in enumerate(apply(partial(_render, order, studio), missing), 1):
                progress(done, len(missing), name)
    finally:
        tree.clean(order.out)
        manifest = tree.write_manifest(order.out, settings, [*items, *fonts])
    return manifest


def check_means(use: tuple[str, ...], items: list[Item], fonts: list[Soundfont]) -> None:
    """Refuse an order for which programs, packages or material are missing; name all of them.

    Raises:
        CorpusError: Something is missing.
    """
    missing = [
        f"the program {PROGRAMS[name]} ({name})"
        for name in use
        if name in PROGRAMS and not shutil.which(PROGRAMS[name])
    ]
    if not importlib.util.find_spec("scipy"):
        missing.append("the Python package scipy (always)")
    missing += [
        f"the Python package {PACKAGES[name]} ({name})"
        for name in use
        if name in PACKAGES and not importlib.util.find_spec(PACKAGES[name])
    ]
    missing += [
        f"--material of use {' or '.join(uses)} ({name})"
        for name, uses in MATERIAL.items()
        if name in use and not any(item.use in uses for item in items)
    ]
    if "soundfonts" in use and not any(not font.kit for font in fonts):
        missing.append("a soundfont of catalogue.toml in /usr/share/sounds (soundfonts)")
    if missing:
        left = ",".join(n for n in use if not any(m.endswith(f"({n})") for m in missing))
        raise CorpusError(
            f"missing: {'; '.join(missing)}. Install them (python -m training.corpus --help), or "
            f"do without: --use {left}"
        )


def check_bands(items: list[Item]) -> None:
    """Refuse an order for a voice over bands without bands, or with one that cannot be read.

    Raises:
        CorpusError: Says which.
    """
    bands = [item for item in items if item.use == "bands"]
    if not bands:
        received = ", ".join(item.name for item in items) or "none"
        raise CorpusError(
            f"--bands needs --material of use bands; received {received}. "
            "python -m training.corpus --help names some."
        )
    for item in bands:
        item.recordings()


def _settings(order: Order, items: list[Item], fonts: list[Soundfont]) -> dict[str, Any]:
    """What must agree for songs to be of one corpus."""
    return {
        "revision": REVISION,
        "seconds": order.seconds,
        "seed": order.seed,
        "subset": order.subset,
        "use": sorted(order.use),
        "format": order.format,
        "solo": order.kind == "solo",
        **({"bands": True} if order.kind == "bands" else {}),
        "material": fingerprint(items, fonts),
        "programs": {p: _version(p) for n, p in PROGRAMS.items() if n in order.means},
    }


def _version(program: str) -> str:
    option = "-v" if program == "mma" else "--version"
    try:
        done = subprocess.run(
            [program, option], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CorpusError(f"{program} does not run: {error}") from error
    number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    if not number:
        raise CorpusError(f"{program} {option} does not tell its version.")
    return number[0]


def _units(order: Order, items: list[Item], tell: Callable[[str], None]) -> Path | None:
    """The file of syllables: analysed once, for it takes minutes, and kept in the corpus."""
    sung = [item for item in items if item.use == "units"]
    if "units" not in order.use or order.kind == "solo" or not sung:
        return None
    path = order.out / UNITS
    if not path.exists():
        tell(f"analysing the syllables of {', '.join(item.name for item in sung)}, once")
        hidden = path.with_name(f"{tree.PARTIAL}units.npz")
        save_units([unit for item in sung for unit in labelled_units(item)], hidden)
        hidden.rename(path)
    return path


def _render(order: Order, studio: Studio, place: Path) -> str:
    seed = int(place.name.partition("-")[2])
    seeds = (SUBSETS.index(order.subset), seed)
    begin = time.monotonic()
    place.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=tree.PARTIAL) as folder:
        if order.kind == "solo":
            stems, facts = render_solo(seeds, studio, order.seconds)
        elif order.kind == "bands":
            stems, facts = render_band(seeds, studio, order.seconds)
        else:
            stems, facts = render_song(seeds, studio, order.seconds, Path(folder))
    tree.write_song(place, stems, {"seed": seed, **facts}, order.format)
    tempo = f"{facts['key']} {facts['tempo']:g} bpm, " if "key" in facts else ""
    return f"{place.name}: {facts['score']}, {tempo}{time.monotonic() - begin:.1f} s"


@contextmanager
def _workers(jobs: int) -> Iterator[Callable[[Callable[[Path], str], list[Path]], Iterator[str]]]:
    """Give a map over processes that end with this one; in this process where there is one job."""
    if jobs == 1:
        yield lambda function, places: map(function, places)
        return
    # spawned, not forked: a fork of a process with threads can hang
    pool = multiprocessing.get_context("spawn").Pool(jobs, _leave_stopping_to_the_parent)
    try:
        yield pool.imap_unordered
        pool.close()
    finally:
        pool.terminate()
        pool.join()


def _leave_stopping_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
