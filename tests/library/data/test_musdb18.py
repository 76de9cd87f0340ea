"""MUSDB18's stem files: order of streams, where samples lie, damage, what is missing."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import musdb
import numpy as np
import pytest
import trees
import yaml

import keras_mmdense
from keras_mmdense.data import DatasetError, TrackError, open_dataset
from keras_mmdense.data.audio_files import to_int16
from keras_mmdense.data.readers import musdb18
from keras_mmdense.data.readers.musdb18hq import VALIDATION_TRACKS


@pytest.fixture
def track(tmp_path):
    """A track of 1 s, from trees.make_signals(1.0 + 13 / 44100, 0)."""
    (track,) = open_dataset(trees.make_musdb18(tmp_path, 1, 0))
    return track


def test_streams_are_in_order_and_sample_0_is_the_first_presented(track):
    written = trees.make_signals(1.0 + 13 / 44100, 0)
    for name in (*track.sources, "mixture"):
        audio = track.read(name)
        errors = {
            other: np.mean((audio - signal[: track.num_samples] / 32768) ** 2)
            for other, signal in written.items()
        }
        assert min(errors, key=errors.__getitem__) == name
        # ffmpeg's AAC writes noise, which drums are here, as noise of its own.
        assert errors[name] < (0.6 if name == "drums" else 0.1) * np.mean(audio**2)
    vocals, audio = written["vocals"] / 32768, track.read("vocals", 1500, 40000)
    errors = {
        lag: np.mean((audio - vocals[1500 + lag : 41500 + lag]) ** 2)
        for lag in (-1024, *range(-3, 4), 1024)
    }
    assert min(errors, key=errors.__getitem__) == 0


def test_blocks_join_without_a_seam(tmp_path):
    track = open_dataset(trees.make_musdb18(tmp_path, 1, 0, seconds=1.7))[0]
    for name in ("bass", "vocals"):
        with av.open(str(track.path)) as container:
            stream = container.streams[musdb18.STEM_INDEX[name]]
            frames = [frame.to_ndarray() for frame in container.decode(stream)]
        plain = np.concatenate(frames, axis=1).T[: track.num_samples]
        assert track.num_samples > 2 * musdb18.BLOCK
        np.testing.assert_allclose(track.read(name), plain, rtol=0, atol=0.51 / 32768)


def patch(path, box, offset, number):
    """Write a number into every MP4 box of a type."""
    data = bytearray(path.read_bytes())
    for found in re.finditer(box, bytes(data)):
        at = found.start() + offset
        data[at : at + 4] = number.to_bytes(4, "big")
    path.write_bytes(data)


def test_an_edit_list_may_cut_inside_a_packet(track, tmp_path):
    before = track.read("vocals")
    patch(track.path, b"elst", 16, 1024 + 64)
    again = open_dataset(tmp_path)[0]
    np.testing.assert_array_equal(again.read("vocals", 0, 30000), before[64:30064])


def test_the_length_ends_where_the_packets_end(track, tmp_path):
    patch(track.path, b"mdhd", 20, 50000)
    patch(track.path, b"elst", 12, 1100)
    track = open_dataset(tmp_path)[0]
    assert track.num_samples == 44 * 1024  # 45 packets, less the encoder's delay
    assert track.read("vocals", track.num_samples - 1, 1).shape == (1, 2)


def test_a_lost_packet_is_reported(tmp_path):
    path = tmp_path / "train" / "a.stem.mp4"
    trees.make_stem(path, list(trees.make_signals(1.0, 0).values()), lost_packet=20)
    track = open_dataset(tmp_path)[0]
    assert track.read("bass", 0, 15000).shape == (15000, 2)
    for start, count in ((0, track.num_samples), (19000, 2000), (25000, 10)):
        with pytest.raises(TrackError, match="the file is truncated or has changed"):
            track.read("bass", start, count)


def test_an_excerpt_is_not_decoded_from_the_start(tmp_path, monkeypatch):
    track = open_dataset(trees.make_musdb18(tmp_path, 1, 0, seconds=4.0))[0]
    decoded = []
    frames = musdb18._frames
    monkeypatch.setattr(
        musdb18, "_frames", lambda *args: (decoded.append(f[0]) or f for f in frames(*args))
    )
    track.read("bass", track.num_samples - 1000, 1000)
    assert 1 <= len(decoded) <= (musdb18.BLOCK + musdb18.PREROLL) // 1024 + 1
    assert min(decoded) > 0
    del decoded[:]
    track.read("bass", 100, 1000)
    assert decoded[-1] <= 2048


def test_several_threads_may_read(track):
    jobs = [(name, start) for name in track.sources for start in range(0, 44000, 9000)] * 2
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda job: track.read(*job, 100), jobs))
    for job, audio in zip(jobs, results, strict=True):
        np.testing.assert_array_equal(audio, track.read(*job, 100))


def test_the_validation_list_is_that_of_musdb():
    package = Path(musdb.__file__).parent
    listed = yaml.safe_load((package / "configs" / "mus.yaml").read_text("utf-8"))
    assert sorted(listed["validation_tracks"]) == sorted(VALIDATION_TRACKS)


def test_to_int16_rounds_to_even_and_clips():
    steps = np.array([[0.5, 1.5, -0.5, -1.4, 40000, -40000, 32767]], np.float32)
    assert to_int16(steps / np.float32(32768))[0].tolist() == [[0, 2, 0, -1, 32767, -32768, 32767]]
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            to_int16(np.array([0.0, bad]))


SILENCE = np.zeros((4410, 2), np.int16)
# what is done to a stem file, what the fault says
DAMAGE = {
    "data": (lambda p: p.write_bytes(p.read_bytes()[:-5000]), "is cut short"),
    "header": (lambda p: p.write_bytes(b""), "not a readable stem file"),
    "text": (lambda p: p.write_text("no video\n" * 100), "not a readable stem file"),
    "few": (lambda p: trees.make_stem(p, [SILENCE] * 2), "must begin with five audio streams"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), "is not a file"),
    "codec": (
        lambda p: trees.make_stem(p, [SILENCE] * 5, codec="alac"),
        "must hold AAC that counts time in samples (1/44100 s); stream 0 is alac",
    ),
    "channels": (
        lambda p: trees.make_stem(p, [SILENCE] * 4 + [SILENCE[:, :1]]),
        "of the same number of channels",
    ),
}


def test_faults(track, tmp_path):
    for name, (damage, _) in DAMAGE.items():
        path = track.path.with_name(f"{name}.stem.mp4")
        path.write_bytes(track.path.read_bytes())
        damage(path)
    dataset = open_dataset(tmp_path)
    assert [found.path for found in dataset] == [track.path]
    faults = {fault.path.name.partition(".")[0]: fault.reason for fault in dataset.faults}
    assert len(faults) == len(dataset.faults) == len(DAMAGE)
    for name, (_, words) in DAMAGE.items():
        assert words in faults[name]
    assert dataset[0].read("vocals", 44000, 100).shape == (100, 2)


def test_mono_is_read_as_stereo_on_request(tmp_path):
    signal = trees.make_signals(0.2, 0)["other"][:, :1]
    trees.make_stem(tmp_path / "train" / "a.stem.mp4", [signal] * 5)
    track = open_dataset(tmp_path)[0]
    assert (track.channels, track.num_samples) == (1, len(signal))
    stereo = track.read("other", 5, 1000, channels=2)
    np.testing.assert_array_equal(stereo, np.repeat(track.read("other", 5, 1000), 2, axis=1))


def test_without_pyav_a_line_says_what_to_install(track, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DatasetError, match=r'pip install "\.\[musdb18\]"'):
        open_dataset(tmp_path)


def test_damage_after_opening_is_reported(track):
    whole = track.path.read_bytes()
    middle = len(whole) // 2
    noise = np.random.default_rng(0).bytes(20000)
    track.path.write_bytes(whole[:middle] + noise + whole[middle + len(noise) :])
    with pytest.raises(TrackError, match="samples 0 to 44100 cannot be decoded: Invalid data"):
        track.read("bass")
    track.path.write_bytes(whole[:-5000])
    with pytest.raises(TrackError, match="is cut short"):
        track.read("bass", 5, 10)
    trees.make_stem(track.path, [np.zeros((20000, 2), np.int16)] * 5)
    with pytest.raises(TrackError, match="the file is truncated or has changed"):
        track.read("bass", 15000, 29000)


@pytest.mark.parametrize("is_wav", [False, True])
def test_tracks_of_musdb_are_those_of_the_folder(tmp_path, is_wav):
    (trees.make_musdb18hq if is_wav else trees.make_musdb18)(tmp_path, 2, 1, seconds=0.3)
    whole = musdb.DB(tmp_path, is_wav=is_wav)
    assert open_dataset(whole) == open_dataset(tmp_path)
    for split, subset in {"train": "train", "valid": "valid"}.items():
        db = musdb.DB(tmp_path, is_wav=is_wav, subsets="train", split=split)
        assert open_dataset(db) == open_dataset(tmp_path, subset=subset)
        assert open_dataset(list(db), sources="bass")[0].label == open_dataset(db)[0].label
    db.setup["validation_tracks"] = ["Artist 1 - Song"]
    assert {t.subset for t in open_dataset(db)} == {"train"}
    path = tmp_path / "test" / "Artist 0 - Test Song"
    path = path / "vocals.wav" if is_wav else path.with_name(f"{path.name}.stem.mp4")
    path.write_bytes(path.read_bytes()[:-999])
    assert {fault.path for fault in open_dataset(whole).faults} == {path}
    if is_wav:
        path.unlink()  # which musdb passes over
        assert len(open_dataset(musdb.DB(tmp_path, is_wav=True)).faults) == 1


def test_tracks_of_musdb_that_cannot_be_read_as_they_are_asked_for(tmp_path):
    trees.make_musdb18(tmp_path, 1, 0, seconds=0.3)
    db = musdb.DB(tmp_path)
    for given, words in (
        (musdb.DB(tmp_path, sample_rate=22050), r"whole, at the sample rate .*\(0, None, 22050\)"),
        ([], "a musdb.DB or a list"),
        (open_dataset(db), "a musdb.DB or a list"),
        (db[0], "a musdb.DB or a list"),
    ):
        with pytest.raises(DatasetError, match=words):
            open_dataset(given)
    with pytest.raises(DatasetError, match="must be auto or musdb18; received 'folder'"):
        open_dataset(db, kind="folder")
    db[0].chunk_duration = 0.1
    with pytest.raises(DatasetError, match="must be whole"):
        open_dataset(db)


@pytest.mark.parametrize("rate", [None, 22050])
def test_a_track_of_musdb_is_separated(tmp_path, small_model, rate):
    (track,) = open_dataset(trees.make_musdb18(tmp_path, 1, 0, seconds=0.3))
    (theirs,) = musdb.DB(tmp_path, sample_rate=rate)
    for given, audio in ((theirs, theirs.audio), (track, track.read("mixture"))):
        expected = keras_mmdense.separate(
            small_model, audio, 44100 if given is track else rate or 44100
        )
        found = keras_mmdense.separate(small_model, given)
        for source, stem in expected.items():
            assert stem.shape == audio.shape
            np.testing.assert_array_equal(found[source], stem)
        with pytest.raises(keras_mmdense.AudioError, match="is its own; received 44100"):
            keras_mmdense.separate(small_model, given, 44100)
