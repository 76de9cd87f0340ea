"""Fuzzes what comes from outside: contracts, model files, audio files, command lines.

Every example must end in a result or in one of the package's own errors, of one printable line;
command lines moreover must leave every file that was there as it was.

Run: python tests/edge/fuzz.py --examples 5000
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmdense_edge.audio import reading
from mmdense_edge.cli import main as cli
from mmdense_edge.errors import AudioError, MMDenseError, ModelError
from mmdense_edge.model import contract

MODEL = Path(__file__).with_name("data") / "mono.tflite"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
NUMBERS = st.sampled_from([0, 1, 2, 16, 1024, 2048, -1, 2**31, 2**63, 10**40, 1e308, True, "1"])

Outcomes = Counter


def configured(examples: int) -> settings:
    """Returns the settings of a run: no deadline, no memory of earlier ones."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def one_line(error: MMDenseError) -> str:
    """Checks an error's text and returns the name of its type."""
    text = str(error)
    assert text.isprintable(), repr(text)
    assert 10 < len(text) < 500, repr(text)
    return type(error).__name__


def values() -> dict[str, object]:
    """Returns the entries of a good contract."""
    with zipfile.ZipFile(MODEL) as archive:
        return json.loads(archive.read("contract.json"))


def fuzz_contracts(examples: int) -> Outcomes:
    """Feeds changed contracts, and other JSON, to the parser."""
    seen: Outcomes = Counter()
    good = values()
    keys = st.sampled_from([*good, "scores", "macs_per_second", "colour", "x"])

    def check(text: bytes) -> None:
        try:
            contract.parse(text)
            seen["parsed"] += 1
        except ModelError as error:
            seen[one_line(error)] += 1

    @configured(examples // 2)
    @given(
        changes=st.dictionaries(keys, JSON | NUMBERS, min_size=1, max_size=3), inner=st.booleans()
    )
    @example(changes={"colour": 1}, inner=False)
    def changed(changes: dict[str, object], inner: bool) -> None:
        entries = dict(good)
        if inner:
            entries["transform"] = {**good["transform"], "n_fft": next(iter(changes.values()))}
        else:
            entries.update(changes)
        check(json.dumps(entries).encode())

    @configured(examples - examples // 2)
    @given(text=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
    def other(text: bytes) -> None:
        check(text)

    changed()
    other()
    return seen


def fuzz_models(examples: int) -> Outcomes:
    """Feeds damaged model files to the loader."""
    seen: Outcomes = Counter()
    data = MODEL.read_bytes()
    # Most damage goes where the structure is: the two heads, and the archive.
    places = st.integers(0, 64) | st.integers(-1800, -1) | st.integers(0, len(data) - 1)
    edits = st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tflite"

        @configured(examples)
        @given(
            edits=edits, cut=st.none() | st.integers(-3000, len(data)), more=st.binary(max_size=60)
        )
        @example(edits=[], cut=None, more=b"")
        def damaged(edits: list[tuple[int, int]], cut: int | None, more: bytes) -> None:
            changed = bytearray(data)
            for place, value in edits:
                changed[place] = value
            path.write_bytes(bytes(changed[:cut]) + more)
            try:
                contract.load_model(path)
                seen["loaded"] += 1
            except ModelError as error:
                seen[one_line(error)] += 1

        damaged()
    return seen


def fuzz_audio(examples: int) -> Outcomes:
    """Feeds damaged audio files to the reader; the program ffmpeg is hidden from it."""
    seen: Outcomes = Counter()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (400, 2))

    with tempfile.TemporaryDirectory() as folder, hidden_programs():
        path = Path(folder) / "a.wav"
        files = []
        for form in ("WAV", "FLAC", "OGG", "AIFF", "MP3", "W64", "CAF", "AU"):
            sf.write(path, samples, 44100, format=form)
            files.append(path.read_bytes())
        edits = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4)

        @configured(examples)
        @given(data=st.sampled_from(files), edits=edits, cut=st.none() | st.integers(0, 2000))
        @example(data=files[0], edits=[], cut=None)
        @example(data=files[0], edits=[], cut=20)
        def damaged(data: bytes, edits: list[tuple[int, int]], cut: int | None) -> None:
            changed = bytearray(data)
            for place, value in edits:
                changed[place % len(changed)] = value
            path.write_bytes(changed[:cut])
            try:
                reading.audio_info(path)
                count = sum(map(len, reading.read_blocks(path)))
                seen["read" if count else "no samples"] += 1
            except AudioError as error:
                seen[one_line(error)] += 1

        damaged()
    return seen


@contextlib.contextmanager
def hidden_programs():
    """Takes the search path away, and brings it back."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = ""
    try:
        yield
    finally:
        os.environ["PATH"] = before


class Piped(io.TextIOWrapper):
    """Text over bytes in memory, which closes neither."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", errors="backslashreplace")


# No separators: nothing may be written elsewhere.
WORDS = st.text(st.characters(blacklist_characters="/\\\0", codec="utf-8"), max_size=12)


def options_of(
    flags: list[str], valued: dict[str, list[str]], words: st.SearchStrategy[str]
) -> st.SearchStrategy[list[str]]:
    """Returns up to four options, with values that are known, or words."""

    def known(name: str) -> st.SearchStrategy[str]:
        return st.sampled_from(valued[name])

    value = st.sampled_from(list(valued)).flatmap(
        lambda name: st.tuples(
            st.just(name), st.integers(0, 5).flatmap(lambda n: known(name) if n else words)
        )
    )
    flag = st.sampled_from(flags).map(lambda name: [name])
    some = st.lists(flag | value.map(list), max_size=4)
    return some.map(lambda parts: [word for part in parts for word in part])


def separations() -> st.SearchStrategy[list[str]]:
    """Returns command lines of `mmdense separate`."""
    song = st.sampled_from(["a.wav", "b.flac", "songs", "*.wav", "-", "none", "text.wav", "[z-a]"])
    valued = {
        "--sources": ["speech", "noise", "speech,noise", "mixture"],
        "--two-stems": ["speech", "residual"],
        "--other": ["sum", "residual"],
        "--format": ["wav", "flac", "ogg", "mp3"],
        "--bit-depth": ["16", "24", "32f", "8"],
        "--clip": ["scale", "clamp"],
        "--filename": [
            "{stem}.{ext}",
            "{track} {stem}.{ext}",
            "{trackext}/{stem}.{ext}",
            "{",
            "..",
        ],
        "--threads": ["1", "0"],
        "--wiener": ["1", "-1"],
        "--reference": ["songs", "none"],
    }
    flags = ["--residual", "--sum-to-mixture", "--overwrite", "--quiet", "--json"]
    options = options_of([*flags, "--allow-truncated"], valued, WORDS)
    out = st.sampled_from([["-o", "out"]] * 5 + [["-o", "-"], ["-o", "."], ["-o", "a.wav"], []])
    songs = st.lists(song, min_size=1, max_size=3) | st.lists(song | WORDS, max_size=3)
    return st.tuples(songs, out, options).map(
        lambda parts: ["separate", *parts[0], *parts[1], *parts[2]]
    )


def live_runs() -> st.SearchStrategy[list[str]]:
    """Returns command lines of `mmdense live`, none of them paced."""
    # The standard streams are those of this process here.
    words = WORDS.filter(lambda word: word != "-")
    song = st.sampled_from(["a.wav", "b.flac", "songs", "none", "text.wav", "card"]) | words
    valued = {
        "--output": ["o.wav", "o.flac", "a.wav", "songs", "none/o.wav", "o.mp3", "card"],
        "--mix": ["all", "karaoke", "speech=0", "noise=-6dB,speech=2", "speech=nan", "=", ","],
        "--seconds": ["0.01", "0", "nan", "inf", "-1", "1e300"],
        "--block": ["64", "16384", "1"],
        "--step-frames": ["4", "8", "3"],
        "--lookahead": ["0", "4", "-4"],
        "--buffer": ["0", "30", "nan", "inf"],
        "--rate": ["44100", "0"],
        "--channels": ["1", "3"],
        "--threads": ["1", "0"],
    }
    options = options_of(["--quiet", "--json"], valued, words)
    return st.tuples(song, options).map(
        lambda parts: ["live", parts[0], "--output", "null", *parts[1], "--pace", "fast"]
    )


def command_lines() -> st.SearchStrategy[list[str]]:
    """Returns command lines of known and unknown words."""
    valued = {
        "--threads": ["1", "0", "1,2", ","],
        "--seconds": ["1", "0", "nan", "inf"],
        "--rounds": ["1", "0"],
        "--lookahead": ["0", "1,2"],
        "--song": ["a.wav", "none"],
    }
    # No such model: nothing is measured.
    bench = options_of(["--quiet", "--json"], valued, WORDS).map(
        lambda options: ["bench", "none", *options]
    )
    other = st.tuples(st.sampled_from(["models", "info", "", "-h"]), st.lists(WORDS, max_size=2))
    others = bench | other.map(lambda parts: [parts[0], *parts[1]])
    return separations() | live_runs() | others


def fuzz_command_lines(examples: int) -> Outcomes:
    """Runs command lines in a folder of songs."""
    seen: Outcomes = Counter()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name, hidden_programs():
        folder = Path(name)
        (folder / "songs").mkdir()
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 1))
        for song in ("a.wav", "b.flac", "songs/c.wav", "songs/speech.wav"):
            sf.write(folder / song, samples, 16000)
        (folder / "text.wav").write_text("text")
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

        @configured(examples)
        @given(argv=command_lines())
        @example(argv=["separate", "a.wav", "-o", "out", "--overwrite"])
        @example(argv=["separate", "none", "-o", "out"])
        @example(argv=["live", "a.wav", "--output", "o.wav", "--pace", "fast"])
        @example(argv=["bench", "none"])
        def run(argv: list[str]) -> None:
            # The model comes last: the default one takes its time.
            model = ["--model", str(MODEL)] if argv[0] in ("separate", "live") else []
            seen[outcome([*argv, *model], before[folder / "a.wav"])] += 1
            for path, data in before.items():
                assert path.read_bytes() == data, path
            for path in folder.rglob("*"):
                assert not path.name.startswith(".mmdense-"), path

        os.chdir(folder)
        try:
            run()
        finally:
            os.chdir(here)
    return seen


def outcome(argv: list[str], stdin: bytes) -> str:
    """Runs one command line and returns its exit code in words."""
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = Piped(stdin), Piped(), Piped()
    try:
        code = cli.main(argv)
    except SystemExit as error:
        code = error.code
    finally:
        sys.stderr.flush()
        said = sys.stderr.buffer.getvalue().decode()
        sys.stdin, sys.stdout, sys.stderr = streams
    assert code in (0, 1, 2), code
    assert "Traceback" not in said, said
    assert (code == 0) or said.strip(), argv
    return f"exit code {code}"


FUZZERS: dict[str, Callable[[int], Outcomes]] = {
    "contracts": fuzz_contracts,
    "model files": fuzz_models,
    "audio files": fuzz_audio,
    "command lines": fuzz_command_lines,
}


def main() -> None:
    """Runs all fuzzers and prints what they saw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000, help="of each kind (default: 1000)")
    examples = parser.parse_args().examples
    for name, fuzz in FUZZERS.items():
        seen = fuzz(examples)
        told = ", ".join(f"{outcome} {count}" for outcome, count in seen.most_common())
        print(f"{name}: {sum(seen.values())} examples: {told}", flush=True)


if __name__ == "__main__":
    main()
