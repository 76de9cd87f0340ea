"""Which excerpts make an example: reproducible, in range, mixed and augmented as asked."""

import pickle

import numpy as np
import pytest
import soundfile as sf

from keras_mmdense.data import DatasetError, TrackError, open_dataset
from keras_mmdense.data.mixing import ExcerptReader, Mixing

PLAIN = {"gain": (1.0, 1.0), "swap": False, "silent_share": 1.0}


@pytest.fixture
def tracks(tmp_path):
    """Two songs; every sample tells song, source, channel and place: exact in int16."""
    for song in range(2):
        for number, source in enumerate(("bass", "vocals")):
            place = np.arange(2000) + 1
            audio = np.stack([place + 3000 * (2 * song + number), -place], 1).astype(np.int16)
            path = tmp_path / f"song{song}" / f"{source}.wav"
            path.parent.mkdir(exist_ok=True)
            sf.write(path, audio, 44100)
    return list(open_dataset(tmp_path))


def decode(stem):
    """Song, source and place of an unchanged excerpt."""
    value = round(float(stem[0, 0]) * 32768) - 1
    return value // 6000, value // 3000 % 2, value % 3000


def test_the_same_number_gives_the_same_example_anywhere(tracks):
    reader = ExcerptReader(tracks, 500, seed=1)
    first = [reader(i) for i in range(6)]
    again = pickle.loads(pickle.dumps(reader))
    for index in (5, 0, 3):
        np.testing.assert_array_equal(again(index), first[index])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], ExcerptReader(tracks, 500, seed=2)(0))


def test_real_mixes_come_from_one_place_and_others_do_not(tracks):
    real = ExcerptReader(tracks, 500, mixing=Mixing(real_share=1.0, **PLAIN))
    for index in range(20):
        (song_a, a, place_a), (song_b, b, place_b) = map(decode, real(index))
        assert (a, b) == (0, 1)
        assert (song_a, place_a) == (song_b, place_b)
    mixed = ExcerptReader(tracks, 500, mixing=Mixing(real_share=0.0, **PLAIN))
    pairs = [[decode(stem)[::2] for stem in mixed(index)] for index in range(20)]
    assert sum(a != b for a, b in pairs) > 15
    assert {song for pair in pairs for song, _ in pair} == {0, 1}


def test_share_of_real_mixes(tracks):
    reader = ExcerptReader(tracks, 500, mixing=Mixing(real_share=0.3, **PLAIN))
    real = [decode(a)[::2] == decode(b)[::2] for a, b in (reader(i) for i in range(300))]
    assert 0.2 < np.mean(real) < 0.4


def test_excerpts_stay_inside_and_reach_both_ends(tracks):
    reader = ExcerptReader(tracks, 1990, mixing=Mixing(real_share=1.0, **PLAIN))
    places = {decode(reader(i)[0])[2] for i in range(200)}
    assert places == set(range(11))


def test_gain_and_swap_are_in_range_and_both_ways(tracks):
    mixing = Mixing(real_share=1.0, silent_share=1.0)
    plain = ExcerptReader(tracks, 500, mixing=Mixing(real_share=1.0, **PLAIN))
    changed = ExcerptReader(tracks, 500, mixing=mixing)
    gains, swaps = [], []
    for index in range(60):
        for before, after in zip(plain(index), changed(index), strict=True):
            swapped = np.sign(after[0, 0]) < 0
            gains.append(abs(after[0, int(swapped)] / before[0, 0]))
            swaps.append(swapped)
    assert 0.25 <= min(gains) < 0.4
    assert 1.1 < max(gains) <= 1.25 + 1e-6
    assert 0.35 < np.mean(swaps) < 0.65


def test_silent_sources_are_drawn_again_as_often_as_asked(tmp_path):
    audio = np.zeros((20000, 2), np.int16)
    audio[15000:] = 8000
    for source in ("bass", "vocals"):
        sf.write(tmp_path / f"{source}.wav", audio, 44100)
    (tmp_path / "song").mkdir()
    for source in ("bass", "vocals"):
        (tmp_path / f"{source}.wav").rename(tmp_path / "song" / f"{source}.wav")
    tracks = list(open_dataset(tmp_path))

    def silent(share):
        reader = ExcerptReader(tracks, 100, mixing=Mixing(silent_share=share))
        return np.mean([not reader(i).any() for i in range(200)])

    assert silent(0.0) < 0.2  # eight attempts at one quarter: 10 % stay silent
    assert silent(1.0) > 0.5


def test_a_short_track_is_followed_by_silence(tracks):
    stems = ExcerptReader(tracks, 2500, mixing=Mixing(real_share=1.0, **PLAIN))(0)
    assert stems.shape == (2, 2500, 2)
    assert stems[:, :2000].all()
    assert not stems[:, 2000:].any()


def test_a_file_that_breaks_later_is_named_once_and_left_out(tracks, caplog):
    broken = tracks[0].path / "bass.wav"
    broken.write_bytes(broken.read_bytes()[:1000])
    for share in (0.0, 1.0):
        reader = ExcerptReader(tracks, 500, mixing=Mixing(real_share=share, **PLAIN))
        caplog.clear()
        assert all(np.isfinite(reader(index)).all() for index in range(30))
        (record,) = caplog.records
        assert "bass.wav" in record.getMessage()
    (tracks[1].path / "bass.wav").unlink()
    with pytest.raises(TrackError, match=r"bass\.wav"):
        [reader(index) for index in range(30)]


def test_one_channel_is_the_mean(tracks):
    two = ExcerptReader(tracks, 50, mixing=Mixing(**PLAIN))(3)
    one = ExcerptReader(tracks, 50, channels=1, mixing=Mixing(**PLAIN))(3)
    np.testing.assert_allclose(one[..., 0], two.mean(-1), atol=1e-7)


def test_wrong_tracks_and_mixing_are_refused(tracks, tmp_path):
    with pytest.raises(DatasetError, match="at least one track"):
        ExcerptReader([], 100)
    other = tmp_path / "other" / "song"
    other.mkdir(parents=True)
    sf.write(other / "piano.wav", np.ones((2000, 2)) * 0.1, 44100)
    with pytest.raises(DatasetError, match="same sources"):
        ExcerptReader([*tracks, *open_dataset(other.parent)], 100)
    for wrong in (
        {"real_share": 1.5},
        {"silent_share": -1},
        {"gain": (0, 1)},
        {"gain": (2, 1)},
        {"gain": (1,)},
    ):
        with pytest.raises(DatasetError, match="received"):
            Mixing(**wrong)
    with pytest.raises(DatasetError, match="received"):
        Mixing(gain=(1,))
