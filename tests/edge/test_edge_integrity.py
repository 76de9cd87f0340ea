"""Files of all formats: the whole of the sound, or a line that says what is missing."""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmdense_edge.audio import integrity, mpeg
from mmdense_edge.audio.parts import Joined
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError

ID3 = b"ID3\x04\0\0" + bytes([0, 2, 0, 0]) + bytes(32768)
FOOTED = b"ID3\x04\0\x10" + ID3[6:] + b"3DI\x04\0\x10" + bytes([0, 2, 0, 0])
FORMATS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
    "wav": ("WAV", "PCM_16"),
    "float": ("WAV", "FLOAT"),
    "wavex": ("WAVEX", "PCM_24"),
    "aiff": ("AIFF", "PCM_24"),
    "caf": ("CAF", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
}
COMPRESSED = ("mp3", "ogg", "opus", "flac")
TAGS = {"title": "Tä", "artist": "A", "comment": "C"}
TAGGED = ("wav", "aiff", "flac", "ogg", "rf64", "caf")


@cache
def encoded(
    kind: str, num_samples: int, seed: int = 0, *, rate: int = 0, channels: int = 2
) -> bytes:
    """Returns a file with a tone in noise, with tags where the format has them."""
    file_format, subtype = FORMATS[kind]
    rate = rate or (48000 if kind == "opus" else 44100)
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, (num_samples, channels))
    tone = 0.3 * np.sin(2 * np.pi * (220 + 50 * seed) / rate * np.arange(num_samples))
    with io.BytesIO() as file:
        with sf.SoundFile(file, "w", rate, channels, subtype, format=file_format) as sound:
            for tag, text in TAGS.items() if kind in TAGGED else ():
                setattr(sound, tag, text)
            sound.write(noise + tone[:, None])
        return file.getvalue()


def plain(data: bytes, dtype: str = "float32") -> np.ndarray:
    """Returns the samples of an undamaged file."""
    return sf.read(io.BytesIO(data), dtype=dtype, always_2d=True)[0]


def read(path: Path, **options: object) -> np.ndarray:
    return np.concatenate(list(read_blocks(path, **options)))


@pytest.fixture
def write(tmp_path) -> Callable[[str, bytes], Path]:
    def make(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return make


def told_or_refused(path: Path, match: str) -> np.ndarray:
    """Checks that a file is refused with the reason; returns what it gives where it is taken."""
    with pytest.raises(AudioError, match=f"{match}.*--allow-truncated, .*damaged=print"):
        read(path)
    told: list[str] = []
    audio = read(path, damaged=told.append)
    assert len(told) == 1
    assert told[0].startswith(f"{path}: ")
    return audio


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_is_read_whole(write, kind):
    data = encoded(kind, 50000)
    path = write(f"a.{kind}", data)
    info = audio_info(path)
    assert (info.channels, info.num_samples, info.subtype) == (2, 50000, FORMATS[kind][1])
    assert kind not in TAGGED or info.tags == TAGS
    audio = read(path)
    assert audio.dtype == np.float32
    np.testing.assert_array_equal(audio, plain(data))
    np.testing.assert_array_equal(read(path, dtype="float64"), plain(data, "float64"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_is_refused_or_told(write, kind):
    data = encoded(kind, 50000)
    path = write(f"a.{kind}", data[: len(data) * 3 // 5])
    if kind in ("caf", "opus"):  # libsndfile itself refuses these
        with pytest.raises(AudioError, match=f"a.{kind}: cannot be read as audio"):
            read(path)
    else:
        audio = told_or_refused(path, "(cut short|damaged|ends after)")
        assert 0.2 * 50000 < len(audio) < 50000
    for missing in () if kind in COMPRESSED else (1, 5):
        told_or_refused(write(f"a.{kind}", data[:-missing]), "cut short")


@pytest.mark.parametrize("kind", FORMATS)
def test_joined_files_give_all_of_their_sound(write, kind):
    # Mono, so that samples of 24 bits have an odd number of bytes.
    files = [encoded(kind, 30000 + 7001 * number, number, channels=1) for number in range(3)]
    path = write(f"joined.{kind}", b"".join(files))
    expected = np.concatenate([plain(data) for data in files])
    np.testing.assert_array_equal(read(path), expected)
    assert audio_info(path).num_samples == len(expected)


@pytest.mark.parametrize(
    "between",
    [
        ID3,
        b"TAG" + bytes(125),
        b"APETAGEX" + struct.pack("<4I8x", 2000, 64, 1, 0xA0000000) + bytes(2000),
        b"LYRICSBEGIN" + b"x" * 500 + b"000511LYRICS200" + b"TAG" + bytes(125),
        bytes(5000),
        b"junk" * 700,
    ],
)
@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus"])
def test_what_stands_between_is_left_out(write, kind, between):
    files = [encoded(kind, 30000, 0), encoded(kind, 40000, 1)]
    path = write(f"joined.{kind}", between.join(files) + between)
    np.testing.assert_array_equal(read(path), np.concatenate([plain(data) for data in files]))


@pytest.mark.parametrize(
    ("kind", "before"),
    [("mp3", ID3 * 2), ("mp3", b"\xff\xfb\x90\0" + bytes(500)), ("ogg", b"junk" * 99)]
    + [(kind, ID3 + FOOTED) for kind in ("ogg", "flac", "wav")],
)
def test_what_stands_in_front_is_left_out(write, kind, before):
    data = encoded(kind, 50000)
    np.testing.assert_array_equal(read(write(f"a.{kind}", before + data)), plain(data))


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac", "wav"])
@pytest.mark.parametrize("form", [{"rate": 32000}, {"channels": 1}])
def test_a_part_of_another_form_is_refused(write, kind, form):
    files = [encoded(kind, 30000, 0), encoded(kind, 40000, 1, **form)]
    path = write(f"joined.{kind}", b"".join(files))
    audio = told_or_refused(path, r"part 2 of 2 has . channels at .* 40000 samples are skipped")
    np.testing.assert_array_equal(audio, plain(files[0]))


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac"])
def test_a_part_that_is_cut_short_is_named(write, kind):
    first, second = encoded(kind, 90000, 0), encoded(kind, 40000, 1)
    path = write(f"joined.{kind}", first + second[: len(second) // 2])
    audio = told_or_refused(path, "part 2 of 2 (cut short|ends after|damaged)")
    # On Arm, an MP3 decoder's rounding depends on the blocks that are read.
    np.testing.assert_allclose(audio[:90000], plain(first), rtol=0, atol=1e-6)


def test_a_part_that_cannot_be_read_is_named(write):
    first, second = encoded("wav", 30000), encoded("wav", 40000).replace(b"fmt ", b"junk")
    audio = told_or_refused(write("joined.wav", first + second), "part 2 of 2 cannot be read")
    np.testing.assert_array_equal(audio, plain(first))


@pytest.mark.parametrize("kind", ["flac", "ogg", "wav"])
def test_a_quick_look_at_the_ends_finds_what_the_walk_finds(write, kind):
    first, second = encoded(kind, 90000), encoded(kind, 40000, 1)
    half = first[: len(first) // 2]
    for data in (first, ID3 + first, half, first + second, half + second):
        with write("a", data).open("rb") as file:
            assert integrity.streams(file, whole=False) == integrity.streams(file)


def counted(data: bytes, change: int) -> bytes:
    """Returns an MP3 file whose first frame says another number of frames."""
    at = data.index(b"Xing") + 8
    (count,) = struct.unpack(">I", data[at : at + 4])
    return data[:at] + struct.pack(">I", max(0, count + change)) + data[at + 4 :]


def test_an_mp3_file_whose_count_is_too_small_is_read_whole_and_too_large_refused(write):
    data = encoded("mp3", 50000)
    for change in (-99, -20, -1):
        np.testing.assert_array_equal(read(write("a.mp3", counted(data, change))), plain(data))
    told_or_refused(write("a.mp3", counted(data, 3)), "ends after .* samples")
    at = data.index(b"Xing") + 4  # a count without its flag is none
    audio = read(write("a.mp3", data[:at] + bytes(4) + data[at + 4 :]))
    assert len(audio) == pytest.approx(50000, abs=2500)


def frames(level: float, rate: int = 44100, channels: int = 1) -> bytes:
    """Returns MP3 frames of one bit rate, without the one that counts them."""
    with io.BytesIO() as file:
        with sf.SoundFile(
            file, "w", rate, channels, format="MP3", compression_level=level,
            bitrate_mode="CONSTANT",
        ) as sound:  # fmt: skip
            sound.write(np.random.default_rng(0).uniform(-0.5, 0.5, (100000, channels)))
        data = file.getvalue()
    return data[mpeg.frame(data[:4]).length :]


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (44100, 2), (22050, 1), (8000, 2)])
def test_an_mp3_file_without_a_count_is_read_whole(write, rate, channels):
    """The decoder divides the bytes by the first frame's: with two bit rates it would stop."""
    large, small = frames(0.0, rate, channels), frames(0.9, rate, channels)
    for data, number in ((large + 4 * small, 5), (small + large, 2), (large, 1)):
        audio = read(write("joined.mp3", data))
        assert number * 100000 - 600 <= len(audio) < number * (100000 + 4000)
    told_or_refused(
        write("holed.mp3", large + bytes(9000) + small), "9000 bytes at byte .* are not"
    )


def total(data: bytes, samples: int) -> bytes:
    """Returns a FLAC file whose header says another number of samples."""
    number = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
    return data[:18] + number.to_bytes(8, "big") + data[26:]


@pytest.mark.parametrize("length", [100, 4096, 4097, 50000])
def test_a_flac_file_whose_total_is_wrong_gives_all_that_it_holds(write, length):
    data = encoded("flac", length)
    for samples in (0, 1, 90):
        # What follows starts as a frame does, with codes that no frame has.
        path = write("a.flac", total(data, samples) + b"\xff\xf8\x0f\0" + bytes(20))
        assert audio_info(path).num_samples == length
        np.testing.assert_array_equal(read(path), plain(data))
    path = write("a.flac", total(data, 70000))
    audio = told_or_refused(path, f"cut short: ends after {length} of 70000 samples")
    np.testing.assert_array_equal(audio, plain(data))


def lengths(kind: str, data: bytes, *values: int) -> Iterator[bytes]:
    """Yields a file with each of the values for the length of its samples."""
    mark = {"aiff": b"SSND", "rf64": b"ds64", "au": b".snd"}.get(kind, b"data")
    at = data.index(mark) + {"rf64": 16, "au": 8}.get(kind, 4)
    form = {"wav": "<I", "rf64": "<Q", "aiff": ">I", "au": ">I", "caf": ">Q"}[kind]
    for value in values:
        number = struct.pack(form, value % (1 << 8 * struct.calcsize(form)))
        yield data[:at] + number + data[at + len(number) :]


@pytest.mark.parametrize("kind", ["wav", "aiff", "caf", "rf64", "au"])
def test_a_length_that_is_unknown_or_too_small_is_found(write, kind):
    data = encoded(kind, 50000)
    piped = (0x7FFFF000, 0x7FFFFFFF, 0x80000000) if kind in ("wav", "au", "aiff") else ()
    for changed in lengths(kind, data, 0, -1, *piped, *((4,) if kind == "caf" else ())):
        np.testing.assert_array_equal(read(write(f"a.{kind}", changed)), plain(data))
    # Sound behind the length that a header promises.
    (path,) = (write(f"a.{kind}", changed) for changed in lengths(kind, data, 60000))
    audio = told_or_refused(
        path, r"promises \d+ bytes of audio; the \d+ that follow are not a chunk"
    )
    np.testing.assert_array_equal(audio, plain(data))


@pytest.mark.parametrize("kind", ["caf", "rf64", "wav", "au"])
@pytest.mark.parametrize("value", [1 << 45, -(1 << 40), 0xEEEEEEEE])
def test_a_length_beyond_all_files_is_told(write, kind, value):
    (path,) = (write(f"a.{kind}", data) for data in lengths(kind, encoded(kind, 500), value))
    if kind in ("wav", "au") and value % (1 << 32) == 0:
        assert len(read(path)) == 500
    else:
        with pytest.raises(AudioError, match=f"a.{kind}: (cut short|its header promises|cannot)"):
            read(path)


def test_a_wav_file_without_samples_stays_so(write):
    data = encoded("wav", 0) + b"LIST" + struct.pack("<I", 9000) + bytes(9000)
    assert audio_info(write("a.wav", data)).num_samples == 0


def test_a_wav_file_whose_length_went_round_is_read_whole(write, monkeypatch):
    """Some programs let 32 bits overflow; the file here is sparse, and no other starts in it."""
    monkeypatch.setattr(integrity, "find", lambda file, mark, at, stop: stop)
    path = write("long.wav", encoded("wav", 50000))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + (1 << 32))
    assert audio_info(path).num_samples == 50000 + (1 << 30)


def pages(data: bytes) -> list[bytes]:
    return re.split(b"(?=OggS)", data)[1:]


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_an_ogg_page_that_is_missing_or_damaged_is_told(write, kind):
    whole = pages(encoded(kind, 200000))
    middle = len(whole) // 2
    flipped = bytearray(whole[middle])
    flipped[-100] ^= 1
    for instead in (b"", bytes(len(flipped)), bytes(flipped)):
        path = write(f"a.{kind}", b"".join([*whole[:middle], instead, *whole[middle + 1 :]]))
        told_or_refused(path, r"damaged: 1 Ogg pages are missing before byte \d+")
    junk = write(f"b.{kind}", b"".join([*whole[:middle], b"y" * 3000, *whole[middle:]]))
    np.testing.assert_array_equal(read(junk), plain(b"".join(whole)))


def test_a_broadcast_that_goes_on_in_its_middle_is_whole(write):
    """What a listener gets who comes late: the headers, then pages from the middle."""

    def renumbered(page: bytes, number: int) -> bytes:
        page = page[:18] + struct.pack("<I", number) + bytes(4) + page[26:]
        table = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
        checksum = zlib.crc32(page.translate(table), 0xFFFFFFFF) ^ 0xFFFFFFFF
        return page[:22] + struct.pack("<I", int(f"{checksum:032b}"[::-1], 2)) + page[26:]

    data = encoded("ogg", 50000)
    late = [
        page if number < 2 else renumbered(page, number + 777)
        for number, page in enumerate(pages(data))
    ]
    np.testing.assert_array_equal(read(write("late.ogg", b"".join(late))), plain(data))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(list(FORMATS)),
    edits=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4),
    cut=st.none() | st.integers(0, 2000),
)
@example(kind="wav", edits=[], cut=None)
@example(kind="wav", edits=[], cut=20)
@example(kind="caf", edits=[(12, 128)], cut=None)
def test_any_damage_gives_sound_or_one_line(write, monkeypatch, kind, edits, cut):
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    data = bytearray(encoded(kind, 400))
    for place, value in edits:
        data[place % len(data)] = value
    sound_or_one_line(write("a.wav", bytes(data[:cut])))


def sound_or_one_line(path: Path) -> None:
    told = []
    try:
        audio_info(path)
        for block in read_blocks(path):
            assert block.ndim == 2
    except AudioError as error:
        told.append(str(error))
    assert all(line.isprintable() and 10 < len(line) < 500 for line in told)


def test_a_header_that_ends_in_its_middle_gives_sound_or_one_line(write, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    mp3, rf64 = encoded("mp3", 30000), encoded("rf64", 400)
    np.testing.assert_array_equal(read(write("a.mp3", mp3 + b"APETAGEX\0\0")), plain(mp3))
    ds64 = rf64.index(b"ds64")
    empty = rf64[:ds64] + b"ds64\0\0\0\0" + rf64[rf64.index(b"fmt ") : rf64.index(b"data") + 8]
    # A frame of 26 bytes with the mark of a count in its last ones.
    short = (b"\xff\xf3\x10\xc4" + bytes(17) + b"Xing\0") * 3
    for data in (empty, short):
        sound_or_one_line(write("b.wav", data))


@given(
    parts=st.lists(st.binary(max_size=9) | st.tuples(st.integers(0, 50), st.integers(0, 9))),
    moves=st.lists(st.tuples(st.integers(-20, 60), st.integers(0, 2), st.integers(0, 30))),
)
def test_parts_are_read_as_one_file(parts, moves):
    data = bytes(range(60))
    parts = [part if isinstance(part, bytes) else (part[0], sum(part)) for part in parts]
    whole = io.BytesIO(
        b"".join(part if isinstance(part, bytes) else data[slice(*part)] for part in parts)
    )
    joined = Joined(io.BytesIO(data), parts)
    for offset, whence, count in moves:
        base = (0, whole.tell(), len(whole.getvalue()))[whence]
        expected = whole.seek(max(0, offset + base))
        assert joined.seek(expected - base, whence) == joined.tell() == expected
        assert joined.read(count) == whole.read(count)
