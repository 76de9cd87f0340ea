"""Reading: every format to its end, what is cut short is told, what is no audio is refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError

SAMPLES = 50000
TAGS = {"title": "Tä", "artist": "A", "comment": "C"}


@pytest.fixture
def write(tmp_path, noise):
    """Writes seeded noise in a format, with tags where it has them."""

    def make(name: str, file_format: str | None = None, subtype: str | None = None) -> Path:
        path = tmp_path / name
        rate = 48000 if subtype == "OPUS" else 44100
        with sf.SoundFile(path, "w", rate, 2, format=file_format, subtype=subtype) as file:
            if file_format not in ("W64", "AU"):
                for tag, text in TAGS.items():
                    setattr(file, tag, text)
            file.write(noise(SAMPLES))
        return path

    return make


FORMATS = [
    ("a.wav", "WAV", "PCM_16"),
    ("f.wav", "WAV", "FLOAT"),
    ("x.wav", "WAVEX", "PCM_24"),
    ("a.rf64", "RF64", "PCM_16"),
    ("a.w64", "W64", "PCM_16"),
    ("a.aiff", "AIFF", "PCM_16"),
    ("a.au", "AU", "PCM_16"),
    ("a.caf", "CAF", "PCM_24"),
    ("a.flac", "FLAC", "PCM_16"),
    ("a.ogg", "OGG", "VORBIS"),
    ("a.opus", "OGG", "OPUS"),
    ("a.mp3", "MP3", "MPEG_LAYER_III"),
]


def read(path: Path, **options) -> np.ndarray:
    return np.concatenate(list(read_blocks(path, **options)))


@pytest.mark.parametrize(("name", "file_format", "subtype"), FORMATS)
def test_a_whole_file_is_read_whole(write, name, file_format, subtype):
    path = write(name, file_format, subtype)
    info = audio_info(path)
    assert (info.channels, info.num_samples, info.subtype) == (2, SAMPLES, subtype)
    if name in ("a.wav", "a.aiff", "a.flac", "a.ogg", "a.rf64", "a.caf"):
        assert info.tags == TAGS
    audio = read(path)
    assert audio.shape == (SAMPLES, 2)
    assert audio.dtype == np.float32
    np.testing.assert_array_equal(read(path, dtype="float64"), sf.read(path)[0])


@pytest.mark.parametrize(("name", "file_format", "subtype"), FORMATS)
def test_a_file_cut_short_is_refused_or_told(write, name, file_format, subtype):
    path = write(name, file_format, subtype)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    if file_format == "CAF" or subtype == "OPUS":
        # libsndfile itself refuses these.
        with pytest.raises(AudioError, match=f"{name}: cannot be read as audio"):
            read(path)
        return
    with pytest.raises(AudioError, match=f"{name}: .*--allow-truncated to use what can be read"):
        read(path)
    told: list[str] = []
    audio = read(path, damaged=told.append)
    assert len(told) == 1
    assert told[0].startswith(f"{path}: ")
    assert 0.2 * SAMPLES < len(audio) < SAMPLES


@pytest.mark.parametrize("missing", [1, 5])
@pytest.mark.parametrize(("name", "file_format", "subtype"), FORMATS[:8])
def test_one_missing_sample_is_noticed(write, name, file_format, subtype, missing):
    path = write(name, file_format, subtype)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(AudioError, match=f"{name}: (cut short|cannot be read)"):
        read(path)


@pytest.mark.parametrize(
    ("size", "known"),
    [
        (0xFFFFFFFF, False), (0x7FFFF000, False), (0x7FFFFFFF, False), (0x80000000, False),
        (3_000_000_000, True),  # near no limit
    ],
)  # fmt: skip
def test_a_wav_file_that_was_piped_is_whole(write, size, known):
    path = write("a.wav")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = data[4:8] = struct.pack("<I", size)
    path.write_bytes(data)
    if known:
        with pytest.raises(AudioError, match=f"promises {size} bytes, the file holds 200000"):
            read(path)
    else:
        assert len(read(path)) == SAMPLES


def test_what_follows_the_audio_is_no_damage(write):
    for name, file_format, subtype in FORMATS[:2]:
        path = write(name, file_format, subtype)
        path.write_bytes(path.read_bytes() + b"junk" * 100)
        assert len(read(path)) == SAMPLES
    path = write("riff.wav")
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<I", len(data) + 1000)  # some programs count wrongly
    path.write_bytes(data)
    assert len(read(path)) == SAMPLES


def test_what_is_no_audio_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, content, words in (
        ("a.wav", b"hello, this is text\n" * 50, "cannot be read as audio"),
        ("a", b"hello, this is text\n" * 50, "cannot be read as audio"),
        ("a.mp3", b"RIFF\0\0\0\0WAVE", "cannot be read as audio"),
        ("a.raw", b"", "cannot be read as audio: the file is empty"),
        ("none.wav", None, "no such file"),
        ("", None, "not a regular file"),
        ("fifo", None, "not a regular file"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(AudioError, match=f"{path}: {words}"):
            audio_info(path)
