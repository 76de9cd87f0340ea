"""Arrangements of chord charts by MMA, Musical MIDI Accompaniment.

Source: Bob van der Poel, https://www.mellowood.ca/mma/
"""

import re
import subprocess
from functools import lru_cache
from pathlib import Path

from training.corpus.dsp import Rng, chance, pick
from training.corpus.material import CorpusError
from training.corpus.score import DRUMS, QUALITIES, SECTION_BARS, Chart, Note, Part
from training.corpus.score import NAMES as KEYS

STDLIB = Path("/usr/share/mma/lib/stdlib")
IN_FOUR = re.compile(r"^\s*TimeSig\s+4[ /]+4", re.I | re.M)
ANY_METER = re.compile(r"^\s*TimeSig\s+(\S+)[ /]+(\S+)", re.I | re.M)
DEFINITION = re.compile(r"^\s*DefGroove\s+(\S+)", re.I | re.M)
NO_BAND = re.compile(r"metronome|^none$|waltz", re.I)
PARTIAL = re.compile(r"(intro|end|fill|\dfill)\d*$", re.I)
MODERN = re.compile(r"rock|pop|8beat|ballad|soul|funk|blues|rb|folk|ska|trance|fusion|twist", re.I)
SECONDS = 60


@lru_cache(maxsize=1)
def grooves(library: Path = STDLIB) -> dict[str, tuple[str, ...]]:
    """Return the grooves in 4/4 by style, one style for each file of the installed library.

    Only names that the library itself defines are returned, so MMA finds all of them.

    Raises:
        CorpusError: The library is missing.

    Example:
        >>> grooves()["8beat"][0]  # doctest: +SKIP
        '8Beat'
    """
    found = {}
    for path in sorted(library.glob("*.mma")):
        text = path.read_text("latin-1")
        meters = {match.groups() for match in ANY_METER.finditer(text)}
        names = tuple(name for name in DEFINITION.findall(text) if not PARTIAL.search(name))
        in_four = meters <= {("4", "4")} and IN_FOUR.search(text)
        if names and in_four and not NO_BAND.search(path.stem):
            found[path.stem] = names
    if not found:
        raise CorpusError(f"MMA's grooves are not in {library}: install Debian's package mma.")
    return found


def write_mma(rng: Rng, chart: Chart, folder: Path) -> tuple[list[Part], str]:
    """Return MMA's arrangement of a chart, and the name of the groove.

    Raises:
        CorpusError: MMA fails, or plays no drums, no bass or nothing else in five grooves.
    """
    table = grooves()
    styles = [style for style in table for _ in range(3 if MODERN.search(style) else 1)]
    groove = ""
    for _ in range(5):
        names = table[pick(rng, styles)]
        groove, second = pick(rng, names[:2]), pick(rng, names)
        lines = [f"RndSeed {int(rng.integers(10000))}", f"Tempo {chart.tempo:g}"]
        for bar, degree in enumerate(chart.degrees):
            if bar % SECTION_BARS == 0:
                lines.append(f"Groove {second if chart.second(bar) else groove}")
            quality = QUALITIES[chart.minor][degree]
            seventh = "7" if quality == "m" or degree == 4 else "M7"
            extension = seventh if quality != "dim" and chance(rng, 0.25) else ""
            lines.append(f"{bar + 1} {KEYS[chart.chord(bar)[0]]}{quality}{extension}")
        source, target = folder / "song.mma", folder / "song.mid"
        source.write_text("\n".join(lines) + "\n", "ascii")
        command = ["mma", "-f", str(target), str(source)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CorpusError(f"mma does not run: {error}") from error
        if done.returncode:
            raise CorpusError(f"mma refuses the grooves {groove}, {second}: {done.stdout[-300:]}")
        parts = read_midi(target)
        if {part.source for part in parts} == {"drums", "bass", "other"}:
            return parts, groove
    raise CorpusError(f"five grooves without drums, bass or accompaniment; the last is {groove}.")


def read_midi(path: Path) -> list[Part]:
    """Read a MIDI file of constant tempo; each program and kind of part becomes one part."""
    import mido

    file = mido.MidiFile(path)
    tempos = (m.tempo for track in file.tracks for m in track if m.type == "set_tempo")
    tempo = next(tempos, 500_000)  # MIDI's own
    tick = tempo / 1e6 / file.ticks_per_beat
    parts: dict[tuple[str, int], list[Note]] = {}
    for track in file.tracks:
        time, program = 0, 0
        sounding: dict[int, tuple[int, int]] = {}
        for message in track:
            time += message.time
            if message.type == "program_change":
                program = message.program
            if message.type not in ("note_on", "note_off"):
                continue
            if message.note in sounding:
                begin, velocity = sounding.pop(message.note)
                duration = max(time - begin, 1) * tick
                if message.channel == 9:
                    key = ("drums", DRUMS)
                elif re.match("bass|walk", track.name, re.I) or 32 <= program < 40:
                    key = ("bass", program)
                else:
                    key = ("other", program)
                note = Note(begin * tick, duration, message.note, velocity)
                parts.setdefault(key, []).append(note)
            if message.type == "note_on" and message.velocity:
                sounding[message.note] = (time, message.velocity)
    return [Part(source, program, tuple(notes)) for (source, program), notes in parts.items()]
