"""Odd and malformed inputs: each ends in one clear line or a right result, and nothing is lost."""

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from command_runs import contents
from mmdense_edge.errors import printable

SOURCES = ("drums", "bass", "vocals")


def tone(num_samples: int = 3000, channels: int = 2, level: float = 0.5) -> np.ndarray:
    generator = np.random.default_rng(num_samples)
    return generator.uniform(-level, level, (num_samples, channels))


def song(
    name: str | bytes = "song.wav",
    audio: np.ndarray | None = None,
    *,
    edit: Callable[[bytes], bytes] = bytes,
    rate: int = 44100,
    **form: str,
) -> Callable[[Path], Path]:
    """A song, perhaps with its bytes changed."""

    def make(folder: Path) -> Path:
        path = folder / os.fsdecode(name)
        samples = tone() if audio is None else audio
        sf.write(folder / "plain", samples, rate, **{"format": "WAV", **form})
        path.write_bytes(edit((folder / "plain").read_bytes()))
        (folder / "plain").unlink()
        return path

    return make


def raw(name: str, data: bytes) -> Callable[[Path], Path]:
    """A file of given bytes."""
    return song(name, edit=lambda _: data)


def patched(offset: int, form: str, value: int) -> Callable[[Path], Path]:
    """A WAV file with a number in its header changed."""
    end = offset + struct.calcsize(form)
    return song(edit=lambda data: data[:offset] + struct.pack(form, value) + data[end:])


def special(make: Callable[[Path], object], name: str) -> Callable[[Path], Path]:
    """What is no regular file."""
    return lambda folder: (make(folder), folder / name)[1]


def nan_at(value: float) -> np.ndarray:
    audio = tone()
    audio[1234, 1] = value
    return audio


RIGHT = {
    "1 sample": song(audio=tone(1)),
    "mono": song(audio=tone(channels=1)),
    "3 channels": song(audio=tone(channels=3)),
    "192 kHz": song(rate=192000),
    "1 kHz": song(rate=1000),
    "silence": song(audio=np.zeros((3000, 2))),
    "full scale": song(audio=np.ones((3000, 2))),
    "beyond full scale": song(audio=tone(level=4), subtype="FLOAT"),
    "denormal": song(audio=tone(level=1e-42), subtype="FLOAT"),
    "24 bits": song(subtype="PCM_24"),
    "32 bits": song(subtype="PCM_32"),
    "mu law": song(subtype="ULAW"),
    "adpcm": song(audio=tone(4064), subtype="MS_ADPCM"),
    "aiff": song("song.aiff", rate=48000, format="AIFF"),
    "wav called mp3": song("song.mp3"),
    "mp3 called wav": song("song.wav", format="MP3"),
    "no suffix": song("song"),
    "newline": song("two\nlines.wav"),
    "no text": song(b"\xff\xfe.wav"),
    "braces": song("{stem} {0} %s $HOME.wav"),
    "pattern": song("[a-z]*?.wav"),
    "dash": song("-o.wav"),
    "long name": song("n" * 240 + ".wav"),
    "junk behind": song(edit=lambda data: data + b"junk" * 9),
    "piped header": patched(4, "<I", 0xFFFFFFFF),
    "wrong count": patched(4, "<I", 13036),  # of all bytes, 1000 too many
    "link": special(lambda f: os.symlink(song("a.wav")(f), f / "link.wav"), "link.wav"),
}

REFUSED = {
    "zero bytes": (raw("a.wav", b""), "the file is empty"),
    "one byte": (raw("a.flac", b"f"), "cannot be read as audio"),
    "text, no suffix": (raw("a", b"some text\n" * 99), "cannot be read as audio"),
    "zeros": (raw("a.mp3", bytes(9999)), "cannot be read as audio"),
    "wav mark only": (raw("a.wav", b"RIFF"), "cannot be read as audio"),
    "header without data": (song(edit=lambda data: data[:36]), "cannot be read as audio"),
    "header alone": (song(edit=lambda data: data[:44]), "cut short|at least 1 sample"),
    "wav cut short": (song(edit=lambda data: data[:-5]), "cut short: its header promises"),
    "flac cut short": (song(edit=lambda data: data[:-500], format="FLAC"), "damaged after"),
    "ogg cut short": (
        song(edit=lambda data: data[:-300], format="OGG"),
        "cut short|cannot be read",
    ),
    "mp3 cut short": (
        song(edit=lambda data: data[: len(data) // 2], format="MP3", audio=tone(60000)),
        "ends after",
    ),
    "aiff cut short": (song(edit=lambda data: data[:-5], format="AIFF"), "cut short"),
    "0 samples": (song(audio=tone(0)), "at least 1 sample; received 0"),
    "not a number": (
        song(audio=nan_at(np.nan), subtype="FLOAT"),
        "sample 1234 .* channel 2 is nan",
    ),
    "huge": (song(audio=nan_at(1e300), subtype="DOUBLE"), "sample 1234 .* is inf"),
    "0 channels": (patched(22, "<H", 0), "cannot be read as audio"),
    "65 channels": (song(audio=tone(10, 65)), "1 to 64 channels; received 65"),
    "999 Hz": (song(rate=999), "1000 to 768000 Hz; received 999"),
    "4 GHz": (patched(24, "<I", 0xFFFFFFFF), "cannot be read as audio|1000 to 768000 Hz"),
    "lines in its name": (raw("two\nlines\x1b.wav", b"text"), "cannot be read as audio"),
    "no file": (lambda folder: folder / "none.wav", "no such file"),
    "pipe": (special(lambda f: os.mkfifo(f / "p.wav"), "p.wav"), "not a regular file"),
    "device": (lambda folder: Path("/dev/null"), "not a regular file"),
    "dead link": (special(lambda f: os.symlink("x", f / "d.wav"), "d.wav"), "no such file"),
    "too long a name": (lambda folder: folder / ("n" * 300 + ".wav"), "no such file|too long"),
}


@pytest.fixture
def run(tmp_path, model_path, mmdense):
    """Runs the command; checks that nothing that was there changes; returns (code, stderr)."""
    folder = tmp_path / "songs"
    folder.mkdir()

    def separate(path: Path, *arguments: object, out: object = None) -> tuple[int, list[str]]:
        before = contents(tmp_path)
        out = tmp_path / "out" if out is None else out
        model = model_path("shares")
        code, _, err = mmdense("separate", path, "-o", out, "--model", model, *arguments)
        after = contents(tmp_path)
        assert {name: after.get(name) for name in before} == before
        if code:
            assert after == before
        return code, err

    separate.folder = folder
    return separate


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_result(run, tmp_path, case):
    path = RIGHT[case](run.folder)
    info = sf.SoundFile(os.fsencode(path))
    assert run(path, "--residual") == (0, [])
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == path.stem
    total = 0.0
    for stem in (*SOURCES, "residual"):
        audio, rate = sf.read(os.fsencode(folder / f"{stem}.wav"), always_2d=True)
        assert (rate, audio.shape) == (info.samplerate, (info.frames, info.channels))
        total = total + audio
    mixture = info.read(always_2d=True)
    info.close()
    step = 2.0**-23 if case in ("24 bits", "32 bits") else 2.0**-15
    tolerance = 2.0**-21 if case in ("beyond full scale", "denormal") else step
    assert np.abs(total - mixture).max() <= tolerance


@pytest.mark.parametrize("case", REFUSED)
def test_one_clear_line(run, case):
    make, match = REFUSED[case]
    path = make(run.folder)
    code, said = run(path)
    assert (code, len(said)) == (1, 1)
    assert said[0].startswith(f"mmdense: {printable(str(path))}: ")
    assert said[0].isprintable()
    assert re.search(match, said[0]), said[0]


@pytest.mark.parametrize(
    ("out", "arguments", "words"),
    [
        ("file", [], "cannot write to"),
        ("file/x", [], "cannot write to"),
        ("/proc/nothing", [], "/proc/nothing"),
        ("taken", [], "exists. Choose another folder (-o) or pass --overwrite"),
        ("folders", ["--overwrite"], "is a folder"),
        ("blocked", [], "song"),
        ("long", ["--filename", "n" * 300 + "{stem}.{ext}"], "File name too long"),
    ],
)
def test_outputs_that_cannot_be(run, out, arguments, words):
    path, folder = song()(run.folder), run.folder
    (folder / "file").write_text("mine")
    (folder / "taken" / "song").mkdir(parents=True)
    (folder / "taken" / "song" / "bass.wav").write_text("mine")
    (folder / "folders" / "song" / "bass.wav").mkdir(parents=True)
    (folder / "blocked").mkdir()
    (folder / "blocked" / "song").write_text("mine")
    code, said = run(path, *arguments, out=folder / out)
    assert (code, len(said)) == (1, 1)
    assert words in said[0]
