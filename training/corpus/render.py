"""Render a corpus: check what is needed, then render songs in one or several processes."""

from __future__ import annotations

import importlib.util
import multiprocessing
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from keras_mmdense.data import SUBSETS
from training.corpus import tree
from training.corpus.material import (
    CorpusError,
    Item,
    Soundfont,
    find_material,
    find_soundfonts,
    fingerprint,
)
from training.corpus.song import render_band, render_song
from training.corpus.studio import ABILITIES, SCORES, VOICES, Studio
from training.corpus.units import labelled_units, save_units

REVISION = 4  # raise it when the same seed gives another song
PROGRAMS = {"mma": "mma", "soundfonts": "fluidsynth", "espeak": "espeak-ng"}
PACKAGES = {"mma": "mido", "soundfonts": "mido", "espeak": "pyworld", "units": "pyworld"}
MATERIAL = {"takes": ("takes", "units"), "units": ("units",), "songs": ("songs",)}
MATERIAL |= {"samples": ("notes", "hits")}
UNITS = ".units.npz"
FORMATS = ("wav", "flac")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Order:
    """What is to be rendered.

    Args:
        songs: Number of songs, 1 or more.
        seconds: Length of each, 4 to 600.
        seed: Seed of the first song, 0 or more; the next has the next seed.
        subset: "train", "valid" or "test".
        material: Folders.
        use: Names of `training.corpus.studio.ABILITIES`.
        format: "wav" or "flac", 16 bits.
        bands: A voice over recordings of whole bands, which are `other`.
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
    bands: bool = False
    jobs: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        unknown = sorted(set(self.use) - set(ABILITIES))
        checks = (
            (self.songs >= 1 and self.jobs >= 1, "--songs and --jobs must be 1 or more",
             (self.songs, self.jobs)),
            (4 <= self.seconds <= 600, "--seconds must be 4 to 600", self.seconds),
            (0 <= self.seed < 1 << 62, "--seed must be 0 or more, below 2**62", self.seed),
            (not unknown, f"--use must be names of {', '.join(ABILITIES)}", unknown),
            (self.bands or bool(set(self.use) & set(SCORES)),
             "--use must contain patterns or mma", self.use),
        )  # fmt: skip
        for holds, rule, received in checks:
            if not holds:
                raise CorpusError(f"{rule}; received {received!r}.")


def render(order: Order, tell: Callable[[str], None], progress: Progress) -> dict[str, Any]:
    """Render the missing songs of an order.

    Args:
        order: What to render.
        tell: Called with remarks before the first song.
        progress: Called after each song: songs done, songs of this run, a line about the song.

    Returns:
        The manifest. It is also written if a song fails or the run is stopped.

    Raises:
        CorpusError: Something is missing or fails; complete songs are kept.
        OSError: `order.out` cannot be written.
    """
    items, notes = find_material(order.material)
    for note in notes:
        tell(f"note: {note}")
    # over recorded bands there is only singing
    means = tuple(name for name in order.use if not order.bands or name in VOICES)
    fonts = find_soundfonts() if "soundfonts" in means else []
    check_means(means, items, fonts)
    if order.bands:
        bands = [item for item in items if item.use == "bands"]
        if not bands:
            raise CorpusError(
                "--bands needs --material of use bands; received "
                f"{', '.join(item.name for item in items) or 'none'}. "
                "python -m training.corpus --help names some."
            )
        for item in bands:
            item.recordings()
    settings = {  # what must agree for songs to be of one corpus
        "revision": REVISION,
        "seconds": order.seconds,
        "seed": order.seed,
        "subset": order.subset,
        "use": sorted(order.use),
        "format": order.format,
        "bands": order.bands,
        "material": fingerprint(items, fonts),
        "programs": {p: version_of(p) for n, p in PROGRAMS.items() if n in means},
    }
    tree.start(order.out, settings)
    sung = [item for item in items if item.use == "units"] if "units" in order.use else []
    units = order.out / UNITS if sung else None
    if units is not None and not units.exists():  # it takes minutes, so it is kept
        tell(f"analyzing the syllables of {', '.join(item.name for item in sung)}, once")
        hidden = order.out / f"{tree.PARTIAL}units.npz"
        save_units([unit for item in sung for unit in labelled_units(item)], hidden)
        hidden.rename(units)
    studio = Studio(frozenset(order.use), tuple(items), tuple(fonts), units)
    studio.voices()
    for source in () if order.bands else ("bass", "drums", "other"):
        studio.instruments(source)
    places = [order.out / order.subset / f"song-{order.seed + k:09d}" for k in range(order.songs)]
    missing = [place for place in places if not place.exists()]
    tell(f"{order.out}: {len(missing)} songs to render, {len(places) - len(missing)} are there")
    work = partial(render_place, order, studio)
    try:
        if order.jobs == 1:
            for done, place in enumerate(missing, 1):
                progress(done, len(missing), work(place))
        else:
            # spawned, not forked: a fork of a process with threads can hang; Ctrl-C is the parent's
            ignored = (signal.SIGINT, signal.SIG_IGN)
            spawned = multiprocessing.get_context("spawn")
            with spawned.Pool(order.jobs, signal.signal, ignored) as pool:
                for done, name in enumerate(pool.imap_unordered(work, missing), 1):
                    progress(done, len(missing), name)
                pool.close()
                pool.join()
    finally:
        tree.clean(order.out)
        manifest = tree.write_manifest(order.out, settings, [*items, *fonts])
    return manifest


def check_means(use: tuple[str, ...], items: list[Item], fonts: list[Soundfont]) -> None:
    """Check that programs, packages and material are there; name all that are missing.

    Raises:
        CorpusError: Something is missing.
    """
    missing = [
        f"the program {program} ({name})"
        for name, program in PROGRAMS.items()
        if name in use and not shutil.which(program)
    ]
    missing += [
        f"the Python package {package} ({name})"
        for name, package in {"always": "scipy", **PACKAGES}.items()
        if name in (*use, "always") and not importlib.util.find_spec(package)
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


def version_of(program: str) -> str:
    """Return the version of a program, which the songs depend on."""
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


def render_place(order: Order, studio: Studio, place: Path) -> str:
    """Render a song and return a line about it; its folder appears when it is complete."""
    seed = int(place.name.partition("-")[2])
    seeds = (SUBSETS.index(order.subset), seed)
    begin = time.monotonic()
    place.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=tree.PARTIAL) as folder:
        if order.bands:
            stems, facts = render_band(seeds, studio, order.seconds)
        else:
            stems, facts = render_song(seeds, studio, order.seconds, Path(folder))
    tree.write_song(place, stems, {"seed": seed, **facts}, order.format)
    tempo = f"{facts['key']} {facts['tempo']:g} bpm, " if "key" in facts else ""
    return f"{place.name}: {facts['score']}, {tempo}{time.monotonic() - begin:.1f} s"
