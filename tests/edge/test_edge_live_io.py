"""Files, pipes and keys of a live run."""

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
from mmdense_edge.live import streams
from mmdense_edge.live.controls import keys
from mmdense_edge.live.streams import LiveInput, file_output, limited, open_stdin, raw_output


@contextlib.contextmanager
def opened(data: bytes, *form):
    """Opens the reading end of a pipe that holds `data` and is closed for writing."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        os.write(writing, data)
        os.close(writing)
        yield open_stdin(1000, *(form or (None, 2, "s16le")), reading)


def wav(audio, subtype="PCM_16", file_format="WAV", rate=22050) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, audio, rate, subtype, format=file_format)
    return stream.getvalue()


@contextlib.contextmanager
def file(path, length=sys.maxsize, rate=44100, overwrite=False):
    """Gives what writes to a stereo file, and what counts clipped samples."""
    stats = types.SimpleNamespace(clipped=0)
    source = LiveInput("input", rate, 2, iter(()), length)
    with file_output(path, source, stats, overwrite) as write:
        yield write, stats


@pytest.mark.parametrize("length", [None, 0, 0x7FFFF000, 0xFFFFFFFF])
@pytest.mark.parametrize(
    ("channels", "subtype", "file_format"),
    [
        (1, "PCM_U8", "WAV"), (1, "PCM_16", "WAVEX"), (2, "PCM_24", "WAV"), (2, "PCM_32", "WAVEX"),
        (2, "FLOAT", "WAV"), (1, "DOUBLE", "WAVEX"), (2, "PCM_16", "RF64"),
    ],
)  # fmt: skip
def test_wav_on_stdin(noise, channels, subtype, length, file_format):
    audio = noise(2500, channels)
    data = wav(audio, subtype, file_format) + b"LIST\4\0\0\0four"
    if length is not None:  # as a recorder writes it that does not know its length
        data = data.replace(b"ds64", b"none")
        at, number = data.index(b"data") + 4, length.to_bytes(4, "little")
        data = data[:4] + number + data[8:at] + number + data[at + 4 : -12]
    with opened(data) as source:
        assert (source.name, source.sample_rate, source.channels) == ("stdin", 22050, channels)
        assert source.num_samples == (sys.maxsize if length is not None else 2500)
        blocks = [*source.blocks]
    assert [len(block) for block in blocks] == [1000, 1000, 500]
    assert np.abs(np.concatenate(blocks) - audio).max() < (2**-6 if "8" in subtype else 2**-15)


def test_long_chunks_before_the_samples_are_skipped_in_blocks(noise, monkeypatch):
    audio, read, asked = noise(500), os.read, []
    chunk = b"LIST" + (30001).to_bytes(4, "little") + bytes(30002)
    monkeypatch.setattr(streams, "BLOCK", 1000)
    monkeypatch.setattr(os, "read", lambda *given: asked.append(given[1]) or read(*given))
    with opened(wav(audio).replace(b"data", chunk + b"data")) as source:
        assert np.abs(np.concatenate([*source.blocks]) - audio).max() < 2**-15
    assert max(asked) == 1000


@pytest.mark.parametrize(
    ("sample_format", "kind", "scale", "error"),
    [("s16le", "<i2", 32768, 2**-16), ("f32le", "<f4", 1, 1e-7)],
)
def test_raw_samples_on_stdin(noise, sample_format, kind, scale, error):
    audio = noise(3000)
    data = (audio * scale).round(0 if scale > 1 else 9).astype(kind).tobytes()
    with opened(data, 48000, 2, sample_format) as source:
        assert (source.sample_rate, source.channels) == (48000, 2)
        assert np.abs(np.concatenate([*source.blocks]) - audio).max() <= error


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not audio" * 100, "no WAV header"),
        (b"", "no WAV header"),
        (wav(np.zeros((300, 2)), None, "FLAC"), "no WAV header"),
        (wav(np.zeros((300, 2)))[:30], "no WAV header"),
        (b"RIFF....WAVEdata....", "the sample format is missing"),
        (wav(np.zeros((300, 2)), "MS_ADPCM"), "PCM or floats; received .* format 2"),
        (wav(np.zeros((10, 3))), "must have 1 or 2 channels; received 3"),
        (wav(np.zeros((10, 2)), rate=100), "rate must be from 1000 to 768000 Hz; received 100"),
    ],
)
def test_stdin_that_cannot_be_read(data, words):
    with pytest.raises(AudioError, match=words), opened(data):
        pass


@pytest.mark.parametrize(
    ("seconds", "known", "expected"),
    [(None, 250, 250), (0.125, 250, 250), (0.01625, 250, 130), (0.01625, 90, 130)],
)
def test_a_limited_input(noise, seconds, known, expected):
    """A file's length may be an estimate: it never cuts the signal."""
    audio = noise(250, 1)
    source = limited(LiveInput("a", 8000, 1, even([audio], 100), known), seconds)
    assert source.num_samples == min(known, expected)
    assert np.array_equal(np.concatenate([*source.blocks]), audio[:expected])


@pytest.mark.parametrize(
    ("name", "length", "form"),
    [
        ("a.wav", 3000, ("WAV", "FLOAT", 0)),
        ("a.wav", sys.maxsize, ("RF64", "FLOAT", 0)),
        ("a.WAV", 1 << 29, ("RF64", "FLOAT", 0)),
        ("a.flac", sys.maxsize, ("FLAC", "PCM_24", 3)),
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
    limit = 2**-23 if name == "a.flac" else 0
    expected = np.clip(audio, -1, 1 - limit) if limit else audio
    assert np.abs(sf.read(path)[0] - expected).max() <= limit


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


@pytest.mark.parametrize(("sample_format", "clipped"), [("s16le", 3), ("f32le", 0)])
def test_stdout_takes_raw_samples(noise, monkeypatch, sample_format, clipped):
    """Even if a write takes only a part of what it is given; then the pipe is closed."""
    audio, taken, stats = noise(1000) * 0.5, [], types.SimpleNamespace(clipped=0)
    audio[:3, 1] = [1.0, -1.5, 2]
    expected = audio
    if sample_format == "s16le":
        expected = np.rint(np.clip(audio, -1, 1 - 2**-15) * 32768).astype("<i2")

    def part(data):
        if sum(map(len, taken)) == expected.nbytes:
            raise BrokenPipeError
        taken.append(bytes(data[:999]))
        return len(taken[-1])

    stream = contextlib.nullcontext(types.SimpleNamespace(write=part))
    monkeypatch.setattr(streams, "open", lambda *_, **__: stream, raising=False)
    with raw_output(1, sample_format, stats) as write:
        write(audio[:400])
        write(audio[400:])
        assert (b"".join(taken), stats.clipped) == (expected.tobytes(), clipped)
        with pytest.raises(AudioError, match="the output pipe was closed"):
            write(audio)


def test_keys_of_a_terminal_come_one_by_one():
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    with open(slave, encoding="utf-8") as stream:
        with keys(stream) as read:
            flags = termios.tcgetattr(slave)[3]
            assert not flags & (termios.ICANON | termios.ECHO)
            assert flags & termios.ISIG
            assert read() == ""
            os.write(master, b"vq")
            assert (read(), read(), read()) == ("v", "q", "")
        assert termios.tcgetattr(slave) == before
        with pytest.raises(KeyError), keys(stream):
            raise KeyError
        assert termios.tcgetattr(slave) == before
    os.close(master)


def test_keys_on_windows_and_no_stdin(monkeypatch):
    pressed = ["q"]
    fake = types.SimpleNamespace(kbhit=lambda: bool(pressed), getwch=pressed.pop)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(os, "name", "nt")
    with keys(types.SimpleNamespace(isatty=lambda: True)) as read:
        assert (read(), read()) == ("q", "")
    with pytest.raises(UsageError, match="needs Linux or macOS"):
        open_stdin(100, None, 2, "s16le")
