"""Inputs, outputs and keys of a live run."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import termios
import types

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.audio.mixture_sum import even
from mmdense_edge.errors import AudioError, CardStopped, UsageError
from mmdense_edge.live import input as live_input
from mmdense_edge.live import output
from mmdense_edge.live.controls import keys
from mmdense_edge.live.input import LiveInput, limited, open_stdin
from mmdense_edge.live.output import file_output, raw_output


@contextlib.contextmanager
def piped(data: bytes):
    """Gives the reading end of a pipe that holds `data` and is closed for writing."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        yield reading
    finally:
        os.close(reading)


def wav(audio, rate=22050, subtype="PCM_16", file_format="WAV") -> bytes:
    stream = io.BytesIO()
    sf.write(stream, audio, rate, subtype, format=file_format)
    return stream.getvalue()


@contextlib.contextmanager
def file(path, length=None, rate=44100, overwrite=False):
    """Gives what writes to a stereo file, and what counts clipped samples."""
    stats = types.SimpleNamespace(clipped=0)
    source = LiveInput("input", rate, 2, iter(()), length)
    with file_output(path, source, stats, overwrite) as write:
        yield write, stats


@pytest.mark.parametrize("length", [None, 0, 0x7FFFF000, 0xFFFFFFFF])
@pytest.mark.parametrize(
    ("channels", "subtype"),
    [(1, "PCM_U8"), (1, "PCM_16"), (2, "PCM_24"), (2, "PCM_32"), (2, "FLOAT"), (1, "DOUBLE")],
)
@pytest.mark.parametrize("file_format", ["WAV", "WAVEX"])
def test_wav_on_stdin(noise, channels, subtype, length, file_format):
    audio = noise(2500, channels)
    data = wav(audio, 22050, subtype, file_format) + b"LIST\4\0\0\0four"
    if length is not None:  # as a recorder writes it that does not know its length
        at = data.index(b"data") + 4
        number = length.to_bytes(4, "little")
        data = data[:4] + number + data[8:at] + number + data[at + 4 : -12]
    with piped(data) as fileno:
        source = open_stdin(1000, None, 2, "s16le", fileno)
        assert (source.name, source.sample_rate, source.channels) == ("stdin", 22050, channels)
        blocks = [*source.blocks]
    assert [len(block) for block in blocks] == [1000, 1000, 500]
    assert np.abs(np.concatenate(blocks) - audio).max() < (2**-6 if "8" in subtype else 2**-15)


def test_long_chunks_before_the_samples_are_skipped_in_blocks(noise, monkeypatch):
    audio, read, asked = noise(500), os.read, []
    data = wav(audio)
    at, chunk = data.index(b"data"), b"LIST" + (30001).to_bytes(4, "little") + bytes(30002)
    monkeypatch.setattr(live_input, "_BLOCK", 1000)
    monkeypatch.setattr(os, "read", lambda *given: asked.append(given[1]) or read(*given))
    with piped(data[:at] + chunk + data[at:]) as fileno:
        blocks = [*open_stdin(1000, None, 2, "s16le", fileno).blocks]
    assert np.abs(np.concatenate(blocks) - audio).max() < 2**-15
    assert max(asked) == 1000


@pytest.mark.parametrize(
    ("sample_format", "kind", "scale", "error"),
    [("s16le", "<i2", 32768, 2**-16), ("f32le", "<f4", 1, 1e-7)],
)
def test_raw_samples_on_stdin(noise, sample_format, kind, scale, error):
    audio = noise(3000)
    with piped((audio * scale).round(0 if scale > 1 else 9).astype(kind).tobytes()) as fileno:
        source = open_stdin(700, 48000, 2, sample_format, fileno)
        assert (source.sample_rate, source.channels) == (48000, 2)
        assert np.abs(np.concatenate([*source.blocks]) - audio).max() <= error


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not audio" * 100, "no WAV header"),
        (b"", "no WAV header"),
        (wav(np.zeros((300, 2)), subtype=None, file_format="FLAC"), "no WAV header"),
        (wav(np.zeros((300, 2)), subtype=None, file_format="MP3"), "no WAV header"),
        (wav(np.zeros((300, 2)))[:30], "no WAV header"),
        (b"RIFF....WAVEdata....", "the sample format is missing"),
        (wav(np.zeros((300, 2)), subtype="MS_ADPCM"), "PCM or floats; received .* format 2"),
        (wav(np.zeros((10, 3))), "must have 1 or 2 channels; received 3"),
    ],
)
def test_stdin_that_cannot_be_read(data, words):
    with piped(data) as fileno, pytest.raises(AudioError, match=words):
        open_stdin(100, None, 2, "s16le", fileno)


def test_stdin_from_a_file_that_is_no_audio():
    with open(__file__, "rb") as text, pytest.raises(AudioError, match="no WAV header"):
        open_stdin(100, None, 2, "s16le", text.fileno())


def test_stdin_on_windows(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(UsageError, match="needs Linux or macOS"):
        open_stdin(100, None, 2, "s16le")


@pytest.mark.parametrize(
    ("limit", "expected"), [(sys.maxsize, 250), (1000, 250), (250, 250), (130, 130)]
)
def test_a_limited_input(noise, limit, expected):
    audio = noise(250, 1)
    source = limited(LiveInput("a", 8000, 1, even([audio], 100), 250), limit)
    assert source.num_samples == expected
    assert np.array_equal(np.concatenate([*source.blocks]), audio[:expected])


@pytest.mark.parametrize(
    ("name", "length", "form"),
    [
        ("a.wav", 3000, ("WAV", "FLOAT", 0)),
        ("a.wav", None, ("RF64", "FLOAT", 0)),
        ("a.WAV", 1 << 29, ("RF64", "FLOAT", 0)),
        ("a.flac", None, ("FLAC", "PCM_24", 3)),
    ],
)
def test_an_output_file_appears_when_it_is_complete(tmp_path, noise, name, length, form):
    audio = noise(3000) * 1.5
    audio[:3, 0] = [1.25, 1.25, 1]
    path = tmp_path / name
    with file(path, length) as (write, stats):
        write(audio[:1000])
        write(audio[1000:])
        assert not path.exists()
    assert [*tmp_path.iterdir()] == [path]
    assert (sf.info(path).format, sf.info(path).subtype, stats.clipped) == form
    read = sf.read(path)[0]
    expected = audio if form[1] == "FLOAT" else np.clip(audio, -1, 1 - 2**-23)
    assert np.abs(read - expected).max() <= (0 if form[1] == "FLOAT" else 2**-23)


@pytest.mark.parametrize(
    ("length", "error", "frames"),
    [
        (0, None, 0), (100, ValueError, 0), (100, AudioError, 0),
        (100, KeyboardInterrupt, 100), (100, SystemExit, 100), (100, CardStopped, 100),
    ],
)  # fmt: skip
def test_an_output_file_is_kept_after_an_end_from_outside_only(
    tmp_path, noise, length, error, frames
):
    ending = contextlib.nullcontext() if error is None else pytest.raises(error)
    with ending, file(tmp_path / "a.wav") as (write, _):
        write(noise(length))
        if error is not None:
            raise error("it ends")
    assert [sf.info(path).frames for path in tmp_path.iterdir()] == [frames] * bool(frames)


def test_output_files_that_cannot_be(tmp_path, noise, small_disk):
    path = tmp_path / "b.wav"
    with pytest.raises(AudioError, match=r"b.flac: cannot be written"):
        file(tmp_path / "b.flac", rate=700000).__enter__()
    full = pytest.raises(AudioError, match=r"b.wav: .*Is there space left")
    with full, file(path) as (write, _), small_disk(1000):
        write(noise(1 << 16))
    assert not [*tmp_path.iterdir()]
    taken = pytest.raises(AudioError, match=r"b.wav exists\. Choose another --output")
    with taken, file(path) as (write, _):
        write(noise(10))
        path.write_bytes(b"mine")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("b.wav", b"mine")]
    with file(path, overwrite=True) as (write, _):
        write(noise(10))
    assert sf.info(path).frames == 10


@pytest.mark.parametrize(
    ("sample_format", "kind", "clipped"), [("s16le", "<i2", 3), ("f32le", "<f4", 0)]
)
def test_stdout_takes_raw_samples(noise, sample_format, kind, clipped):
    audio, stats = noise(1000) * 0.5, types.SimpleNamespace(clipped=0)
    audio[:3, 1] = [1.0, -1.5, 2]
    reading, writing = os.pipe()
    with raw_output(writing, sample_format, stats) as write:
        write(audio[:400])
        write(audio[400:])
    os.close(writing)
    with open(reading, "rb") as stream:
        read = np.frombuffer(stream.read(), kind).reshape(-1, 2)
    scale, most = (1, np.inf) if kind == "<f4" else (32768, 1)
    expected = np.clip(audio, -most, most)
    assert np.abs(read / scale - expected).max() <= (0 if scale == 1 else 2**-15)
    assert stats.clipped == clipped


def test_a_closed_output_pipe_is_one_line(noise):
    reading, writing = os.pipe()
    os.close(reading)
    closed = pytest.raises(AudioError, match="the output pipe was closed")
    with closed, raw_output(writing, "s16le", types.SimpleNamespace(clipped=0)) as write:
        write(noise(100))
    os.close(writing)


def test_writes_that_take_a_part_only_go_on(noise, monkeypatch):
    taken, audio = [], noise(20)
    part = lambda data: taken.append(bytes(data[:7])) or len(data[:7])  # noqa: E731
    stream = contextlib.nullcontext(types.SimpleNamespace(write=part))
    monkeypatch.setattr(output, "open", lambda *_, **__: stream, raising=False)
    with raw_output(1, "f32le", None) as write:
        write(audio)
    assert b"".join(taken) == audio.tobytes()


def test_keys_of_a_terminal_come_one_by_one():
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    with open(slave, encoding="utf-8") as stream:
        with keys(stream) as read:
            assert not termios.tcgetattr(slave)[3] & termios.ICANON
            assert not termios.tcgetattr(slave)[3] & termios.ECHO
            assert termios.tcgetattr(slave)[3] & termios.ISIG
            assert read() == ""
            os.write(master, b"vq")
            assert (read(), read(), read()) == ("v", "q", "")
        assert termios.tcgetattr(slave) == before
        with pytest.raises(KeyError), keys(stream):
            raise KeyError
        assert termios.tcgetattr(slave) == before
    os.close(master)


def test_keys_on_windows(monkeypatch):
    pressed = ["q"]
    fake = types.SimpleNamespace(kbhit=lambda: bool(pressed), getwch=pressed.pop)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(os, "name", "nt")
    with keys(types.SimpleNamespace(isatty=lambda: True)) as read:
        assert (read(), read()) == ("q", "")
