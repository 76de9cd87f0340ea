"""A wrong header of a source is corrected or told: readers take what the runner takes."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from keras_mmdense.data import TrackError
from keras_mmdense.data.audio_files import open_audio_file

NUM_SAMPLES = 30000
ID3 = b"ID3\x04\0\0" + bytes([0, 10, 0, 0]) + bytes(10 << 14)


def encoded(file_format, num_samples=NUM_SAMPLES):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (num_samples, 2))
    with io.BytesIO() as file:
        sf.write(file, noise, 44100, format=file_format)
        return file.getvalue()


def put(data, at, form, value):
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


WAV, FLAC, AIFF, CAF = (encoded(name) for name in ("WAV", "FLAC", "AIFF", "CAF"))
TOTAL = int.from_bytes(FLAC[18:26], "big") - NUM_SAMPLES


@pytest.mark.parametrize(
    ("plain", "changed"),
    {
        "riff too large": (WAV, put(WAV, 4, "<I", 10**6)),
        "riff 0": (WAV, put(WAV, 4, "<I", 0)),
        "riff of a pipe": (WAV, put(WAV, 4, "<I", 0x80000024)),
        "data 0": (WAV, put(WAV, 40, "<I", 0)),
        "data of a pipe": (WAV, put(WAV, 40, "<I", 0x7FFFF000)),
        "aiff 0": (AIFF, put(AIFF, AIFF.index(b"SSND") + 4, ">I", 8)),
        "caf unknown": (CAF, put(CAF, CAF.index(b"data") + 4, ">q", -1)),
        "flac unknown": (FLAC, put(FLAC, 18, ">Q", TOTAL)),
        "flac too small": (FLAC, put(FLAC, 18, ">Q", TOTAL + 999)),
        "flac with a tag in front": (FLAC, ID3 + FLAC),
        "wav with a tag in front": (WAV, ID3 + WAV),
    }.values(),
)  # fmt: skip
def test_a_header_that_is_wrong_is_corrected(tmp_path, plain, changed):
    path = tmp_path / "bass"
    path.write_bytes(changed)
    stored = open_audio_file(path)
    assert stored.num_samples == NUM_SAMPLES
    expected = sf.read(io.BytesIO(plain), dtype="int16")[0]
    for start, count in ((0, NUM_SAMPLES), (12345, 6789), (NUM_SAMPLES - 1, 1)):
        audio = stored.read(start, count, "int16")
        np.testing.assert_array_equal(audio, expected[start : start + count])


@pytest.mark.parametrize(
    ("data", "match"),
    {
        "joined wav": (WAV + WAV, "is 2 files joined into one: decode it to one WAV"),
        "joined flac": (FLAC + encoded("FLAC", 5000), "is 2 files joined into one"),
        "joined ogg": (encoded("OGG", 5000) + encoded("OGG"), "is 2 files joined into one"),
        "more sound": (put(WAV, 40, "<I", 4000), "promises 4000 bytes of sound, and 116000 follow"),
        "less sound": (WAV[:-400], "cut short: its header promises 120000 bytes, the file holds"),
        "flac too large": (put(FLAC, 18, ">Q", TOTAL + 40000), "ends after 30000 of 40000 samples"),
        "ogg without its end": (encoded("OGG")[:-300], "cut short: the Ogg stream has no end"),
    }.values(),
)  # fmt: skip
def test_what_is_joined_or_missing_is_told(tmp_path, data, match):
    path = tmp_path / "bass"
    path.write_bytes(data)
    with pytest.raises(TrackError, match=match):
        open_audio_file(path)
