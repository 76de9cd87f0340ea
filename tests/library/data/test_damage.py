"""Damaged and odd files: every fault is named, what is whole is read, what is left can be read."""

import io
import os
import pickle
import shutil
import struct

import numpy as np
import pytest
import soundfile as sf
import trees

from keras_mmdense.data import DatasetError, TrackError, audio_files, open_dataset
from keras_mmdense.data.audio_files import open_audio_file

NUM_SAMPLES = 30000
ID3 = b"ID3\x04\0\0" + bytes([0, 10, 0, 0]) + bytes(10 << 14)


def shorten(path, num_samples):
    audio, rate = sf.read(path, dtype="int16")
    sf.write(path, audio[:-num_samples], rate)


def rewrite(path, channels=2, sample_rate=44100, num=44113):
    sf.write(path, np.full((num, channels), 0.1), sample_rate)


# file to damage, how, what the fault says
DAMAGE = {
    "truncated header": ("bass", lambda p: p.write_bytes(p.read_bytes()[:20]), "not a readable"),
    "zero bytes": ("drums", lambda p: p.write_bytes(b""), "not a readable audio file"),
    "zero length": ("other", lambda p: rewrite(p, num=0), "holds no samples"),
    "8 kHz": ("vocals", lambda p: rewrite(p, sample_rate=8000, num=8000), "8000 Hz, not 44100 Hz"),
    "three channels": ("bass", lambda p: rewrite(p, channels=3), "3 channels: 1 or 2 are read"),
    "missing stem": ("drums", lambda p: p.unlink(), "is missing"),
    "lengths": ("other", lambda p: rewrite(p, num=22050), "differ in length by more than 0.1 s"),
    "folder": ("mixture", lambda p: (p.unlink(), p.mkdir()), "is a folder, an audio file is"),
    "text": ("vocals", lambda p: p.write_text("to be done\n" * 99), "not a readable audio file"),
    "cut data": ("mixture", lambda p: os.truncate(p, 171000), "cut short: its header promises"),
    "dangling link": ("bass", lambda p: (p.unlink(), p.symlink_to("nowhere")), "is missing"),
}


@pytest.fixture
def dsd100(tmp_path):
    """A tree, and its files by number of the track and source."""

    def file(index, source):
        top = "Mixtures" if source == "mixture" else "Sources"
        folder = tmp_path / top / "Dev" / f"{55 + index:03d} - Artist {index} - Song"
        return folder / f"{source}.wav"

    return trees.make_dsd100(tmp_path, num_dev=len(DAMAGE) + 2), file


def test_all_faults_are_listed_and_the_rest_reads(dsd100):
    root, file = dsd100
    for index, (source, damage, _) in enumerate(DAMAGE.values()):
        damage(file(index, source))
    dataset = open_dataset(root)
    assert [track.name[:3] for track in dataset] == ["066", "067", "001"]
    assert dataset.num_left_out == len(dataset.faults) == len(DAMAGE)
    head, *faults = dataset.report().splitlines()
    assert f"{len(DAMAGE)} tracks left out, {len(DAMAGE)} faults" in head
    for index, (case, (source, _, reason)) in enumerate(DAMAGE.items()):
        path = file(index, source)
        (fault,) = [f for f in dataset.faults if path.parent.name in f.track]
        assert reason in fault.reason
        assert fault.path == (path.parent if case == "lengths" else path)
        assert f"fault: {fault.describe(root)}" in faults
        assert str(root) not in fault.describe(root)
    for track in dataset:
        for source in (*track.sources, "mixture"):
            assert track.read(source).shape == (track.num_samples, 2)


def test_every_fault_of_a_track_is_found(dsd100):
    root, file = dsd100
    file(0, "bass").unlink()
    rewrite(file(0, "drums"), sample_rate=48000, num=100)
    file(0, "vocals").write_bytes(b"")
    shutil.rmtree(file(1, "mixture").parent)  # a track of DSD100 must be in both halves
    shutil.rmtree(file(2, "bass").parent)
    dataset = open_dataset(root)
    assert dataset.num_left_out == 3
    assert [fault.path.stem for fault in dataset.faults[:3]] == ["bass", "vocals", "drums"]
    assert "differ in length" in dataset.faults[3].reason
    assert [fault.reason for fault in dataset.faults[4:]] == ["is missing"] * 5
    assert [fault.path.stem for fault in dataset.faults[4:]] == [*trees.SOURCES, "mixture"]


@pytest.mark.parametrize(("num_samples", "usable"), [(1, True), (4410, True), (4411, False)])
def test_small_differences_in_length_are_noted_larger_are_faults(tmp_path, num_samples, usable):
    root = trees.make_folder(tmp_path)
    shorten(root / "Song 0" / "bass.wav", num_samples)
    dataset = open_dataset(root)
    assert [track.name for track in dataset] == ["Song 0", "Song 1"][not usable :]
    assert len(dataset.faults) == (not usable)
    if usable:
        assert dataset[0].num_samples == 44113 - num_samples
        assert [note.path.stem for note in dataset.notes] == ["drums", "mixture", "other", "vocals"]
        assert f"{num_samples} samples longer than the shortest" in dataset.notes[0].reason
        assert dataset[0].read("mixture").shape == dataset[0].read("bass").shape


def test_mono_among_stereo_is_read_in_both_channels(tmp_path):
    root = trees.make_folder(tmp_path)
    rewrite(root / "Song 0" / "bass.wav", channels=1)
    dataset = open_dataset(root)
    assert dataset.faults == ()
    assert [note.path.name for note in dataset.notes] == ["bass.wav", "mixture.wav"]
    bass = dataset[0].read("bass")
    assert bass.shape == (44113, 2)
    np.testing.assert_array_equal(bass[:, 0], bass[:, 1])


def test_files_that_change_after_opening_are_errors(tmp_path):
    track = open_dataset(trees.make_folder(tmp_path))[0]
    bass, drums = track.path / "bass.wav", track.path / "drums.wav"
    shorten(bass, 100)
    with pytest.raises(TrackError, match=r"bass.wav: samples 44000 to 44113 .* 13 samples of 2"):
        track.read("bass", 44000)
    assert track.read("bass", 43000, 50).shape == (50, 2)
    drums.unlink()
    with pytest.raises(TrackError, match=r"drums\.wav: samples 0 to 10 cannot be read"):
        track.read("drums", 0, 10)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(tmp_path, monkeypatch, value):
    monkeypatch.setattr(audio_files, "BLOCK", 20000)
    root = trees.make_folder(tmp_path)
    audio = np.zeros((44113, 2), np.float32)
    audio[30000, 1] = value
    sf.write(root / "Song 0" / "bass.wav", audio, 44100, subtype="FLOAT")
    silence = np.zeros((44214, 2))
    sf.write(root / "Song 1" / "bass.wav", silence, 44100, subtype="FLOAT")
    silence[:100] = 0.5  # heard in the first of three blocks
    sf.write(root / "Song 1" / "drums.wav", silence, 44100, subtype="FLOAT")
    dataset = open_dataset(root)
    assert not dataset.pcm16
    assert dataset[0].read("bass", 0, 30000).shape == (30000, 2)
    with pytest.raises(TrackError, match=r"bass\.wav: samples 29990 to 30010 hold NaN or infinite"):
        dataset[0].read("bass", 29990, 20)
    checked = dataset.check()
    assert [track.name for track in checked] == ["Song 1"]
    assert checked.faults[0].path == root / "Song 0" / "bass.wav"
    notes = [note.reason for note in checked.notes if "is not the sum" not in note.reason]
    assert notes == ["bass is silent throughout"]


def test_no_survivor_is_an_error_with_faults(tmp_path):
    audio = np.zeros((100, 2))
    for place, check in ((99, lambda d: d), (50, lambda d: d.check())):  # opening reads the last
        audio[:], audio[place] = 0, np.nan
        trees.write(tmp_path / "Song" / "a.wav", audio, subtype="FLOAT")
        with pytest.raises(DatasetError, match="no usable track; the first of 1 faults: Song/a"):
            check(open_dataset(tmp_path))


def test_links_are_followed(tmp_path):
    root = trees.make_folder(tmp_path / "tree", 2, 0.5, mixture=False)
    (root / "Song 0").rename(tmp_path / "elsewhere")
    (root / "Song 0").symlink_to(tmp_path / "elsewhere")
    assert len(open_dataset(root)) == 2


def encoded(file_format, num_samples=NUM_SAMPLES, **options):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (num_samples, 2))
    with io.BytesIO() as file:
        sf.write(file, noise, 44100, format=file_format, **options)
        return file.getvalue()


def put(data, at, form, value):
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


WAV, FLAC, AIFF, CAF = (encoded(name) for name in ("WAV", "FLAC", "AIFF", "CAF"))
TOTAL = int.from_bytes(FLAC[18:26], "big") - NUM_SAMPLES


@pytest.mark.parametrize(
    ("plain", "changed"),
    {
        "riff too large": (WAV, put(WAV, 4, "<I", 10**6)),
        "riff too small": (WAV, put(WAV, 4, "<I", 36)),
        "riff 0": (WAV, put(WAV, 4, "<I", 0)),
        "riff of a pipe": (WAV, put(WAV, 4, "<I", 0x80000024)),
        "data 0": (WAV, put(WAV, 40, "<I", 0)),
        "data of a pipe": (WAV, put(WAV, 40, "<I", 0x7FFFF000)),
        "data unknown": (WAV, put(put(WAV, 4, "<I", 0xFFFFFFFF), 40, "<I", 0xFFFFFFFF)),
        "aiff 0": (AIFF, put(AIFF, AIFF.index(b"SSND") + 4, ">I", 8)),
        "caf unknown": (CAF, put(CAF, CAF.index(b"data") + 4, ">q", -1)),
        "flac unknown": (FLAC, put(FLAC, 18, ">Q", TOTAL)),
        "flac too small": (FLAC, put(FLAC, 18, ">Q", TOTAL + 999)),
        "flac with a tag in front": (FLAC, ID3 + FLAC),
        "wav with a tag in front": (WAV, ID3 + WAV),
        "wav with a chunk of odd length": (
            WAV, put(WAV[:36] + b"LIST\x03\0\0\0abc\0" + WAV[36:], 4, "<I", len(WAV) + 4)
        ),
        "big-endian wav": (WAV, encoded("WAV", endian="BIG")),
        "extensible wav": (WAV, encoded("WAVEX")),
    }.values(),
)  # fmt: skip
def test_a_header_that_is_wrong_is_corrected(tmp_path, plain, changed):
    path = tmp_path / "bass"
    path.write_bytes(changed)
    stored = pickle.loads(pickle.dumps(open_audio_file(path)))
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
        "more sound": (put(WAV, 40, "<I", 4000), "4000 bytes of audio; the 116000 that follow"),
        "less sound": (WAV[:-400], "cut short: its header promises 120000 bytes, the file holds"),
        "flac too large": (put(FLAC, 18, ">Q", TOTAL + 40000), "ends after 30000 of 40000 samples"),
        "flac cut": (FLAC[: len(FLAC) * 6 // 10], "cut short: ends after"),
        "ogg without its end": (encoded("OGG")[:-300], "cut short: the Ogg stream has no end"),
    }.values(),
)  # fmt: skip
def test_what_is_joined_or_missing_is_reported(tmp_path, data, match):
    path = tmp_path / "bass"
    path.write_bytes(data)
    with pytest.raises(TrackError, match=match):
        open_audio_file(path)
