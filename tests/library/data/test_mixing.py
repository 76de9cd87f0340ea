"""Which excerpts make an example and what is done to them: reproducible, in range, as asked."""

import pickle

import numpy as np
import pytest
import soundfile as sf

from keras_mmdense.data import DatasetError, TrackError, open_dataset
from keras_mmdense.data.augmentation import POINTS, SPEED_STEPS
from keras_mmdense.data.mixing import ExcerptSampler, Mixing, song_bank

RATE = 44100
WHOLE = {"level": (0, 0), "pan": 0, "balance": 0, "offset": 0}
PLAIN = {"gain": (1.0, 1.0), "swap": False, "silent_share": 1.0, **WHOLE}


def write_songs(folder, make, subtype="PCM_16", songs=2):
    for song in range(songs):
        (folder / f"song{song}").mkdir()
        for number, source in enumerate(("bass", "vocals")):
            path = folder / f"song{song}" / f"{source}.wav"
            sf.write(path, make(2 * song + number), RATE, subtype)
    return list(open_dataset(folder))


@pytest.fixture
def tracks(tmp_path):
    """Two songs; every sample tells song, source, channel and place: exact in int16."""
    place = np.arange(2000) + 1
    return write_songs(tmp_path, lambda k: np.stack([place + 3000 * k, -place], 1).astype(np.int16))


def decode(stem):
    """Song, source and place of an excerpt as stored."""
    value = int(stem[0, 0]) - 1
    return value // 6000, value // 3000 % 2, value % 3000


def stems_of(sampler):
    """Return a function: number of an example -> its excerpts as stored."""
    return lambda index: sampler(index)["stems"]


def test_the_same_number_gives_the_same_example_anywhere(tracks):
    sampler = ExcerptSampler(tracks, 500, seed=1, mixing=Mixing(equalizer=6, speed=0.2, width=0.5))
    first = [sampler(i) for i in range(6)]
    again = pickle.loads(pickle.dumps(sampler))
    for index in (5, 0, 3):
        found = again(index)
        assert found.keys() == {"stems", "channel_mix", "speeds", "curves", "level", "offset"}
        for name, value in found.items():
            np.testing.assert_array_equal(value, first[index][name])
    other = ExcerptSampler(tracks, 500, seed=2, mixing=Mixing(equalizer=6, speed=0.2, width=0.5))(0)
    for name in ("stems", "channel_mix", "speeds", "curves"):
        assert not np.array_equal(first[0][name], first[1][name])
        assert not np.array_equal(first[0][name], other[name])


def test_examples_stay_those_of_earlier_versions(tracks):
    """A run that is resumed after an update goes on with the same examples."""
    sampler = ExcerptSampler(tracks, 500, seed=3, mixing=Mixing(gain=(0.25, 1.25)))
    places, _, gains, swaps = zip(*(sampler.draw(index) for index in range(3)), strict=True)
    assert [[(track.name, start) for track, start in each] for each in places] == [
        [("song1", 1304), ("song1", 1304)],
        [("song0", 226), ("song0", 226)],
        [("song1", 161), ("song0", 189)],
    ]
    assert [each.tolist() for each in swaps] == [[True] * 2, [True, False], [True] * 2]
    np.testing.assert_allclose(gains[0], [0.34412864, 0.6831269])


def test_real_mixes_come_from_one_place_and_others_do_not(tracks):
    real = stems_of(ExcerptSampler(tracks, 500, mixing=Mixing(real_share=1.0, **PLAIN)))
    for index in range(20):
        (song_a, a, place_a), (song_b, b, place_b) = map(decode, real(index))
        assert (a, b) == (0, 1)
        assert (song_a, place_a) == (song_b, place_b)
    mixed = stems_of(ExcerptSampler(tracks, 500, mixing=Mixing(real_share=0.0, **PLAIN)))
    pairs = [[decode(stem)[::2] for stem in mixed(index)] for index in range(20)]
    assert sum(a != b for a, b in pairs) > 15
    assert {song for pair in pairs for song, _ in pair} == {0, 1}
    some = stems_of(ExcerptSampler(tracks, 500, mixing=Mixing(real_share=0.3, **PLAIN)))
    same = [decode(a)[::2] == decode(b)[::2] for a, b in map(some, range(300))]
    assert 0.2 < np.mean(same) < 0.4


def test_an_accompaniment_is_of_one_place_and_changed_alike_and_its_voice_is_of_another(tmp_path):
    place, rng = np.arange(2000) + 1, np.random.default_rng(0)
    for number, song in enumerate(("songs/a", "songs/b", "more/band")):
        (tmp_path / song).mkdir(parents=True)
        for k, source in enumerate(("bass", "drums", "vocals")[: 2 if number == 2 else 3]):
            audio = [place + 3000 * (3 * number + k), rng.integers(-30000, 30000, 2000)]
            sf.write(tmp_path / song / f"{source}.wav", np.int16(audio).T, RATE)
    songs, band = (list(open_dataset(tmp_path / tree)) for tree in ("songs", "more"))
    share = {"real_share": 0.2, "accompaniment_share": 0.5}
    options = {"mixing": Mixing(speed=0.2, equalizer=6, width=0.5, **share, offset=0)}
    few = ExcerptSampler(songs, 500, **options, accompaniments=band)
    seen = []
    for index in range(300):
        example = few(index)
        values = example["stems"][:, 0, 0].astype(int) - 1
        bass, drums, vocals = zip(values // 9000, values % 3000, strict=True)
        kind = "mixed" if bass != drums else "real" if bass == vocals else "band"
        seen.append(kind)
        for name in ("channel_mix", "curves"):
            assert np.array_equal(*example[name][:2]) == (kind == "band")
            assert not np.array_equal(*example[name][1:])
        assert example["speeds"][0] == example["speeds"][1] or kind == "mixed"
        assert (bass[0] == 2) == (kind == "band")
        assert drums[0] == bass[0] or kind == "mixed"
        assert vocals[0] < 2
    assert 0.15 < seen.count("real") / 300 < 0.25
    assert 0.4 < seen.count("band") / 300 < 0.6
    bank, peaks = song_bank([*songs, *band], few.num_read)
    held = ExcerptSampler(songs, 500, **options, peaks=peaks, accompaniments=band)
    for index in range(40):
        places = zip(bank, held(index)["starts"], strict=True)
        stems = [song[start : start + few.num_read] for song, start in places]
        np.testing.assert_array_equal(stems, few(index)["stems"])
    own = ExcerptSampler(songs, 500, mixing=Mixing(**share, **PLAIN))
    assert {own(index)["stems"][0, 0, 0] // 9000 for index in range(60)} == {0, 1}
    with pytest.raises(DatasetError, match="accompaniments must have the sources of the tracks"):
        ExcerptSampler(songs, 500, accompaniments=songs)
    assert Mixing(real_share=0.9, accompaniment_share=0.1).real_share == 0.9
    with pytest.raises(DatasetError, match=r"1 or less together; received 0\.5 and 0\.6"):
        Mixing(accompaniment_share=0.6)
    with pytest.raises(DatasetError, match="swap must be True or False; received 2"):
        Mixing(swap=2)


def test_excerpts_stay_inside_and_reach_both_ends(tracks):
    stems = stems_of(ExcerptSampler(tracks, 1990, mixing=Mixing(real_share=1.0, **PLAIN)))
    places = {decode(stems(i)[0])[2] for i in range(200)}
    assert places == set(range(11))


def test_gain_and_swap_are_in_range_and_both_ways(tracks):
    sampler = ExcerptSampler(tracks, 500, mixing=Mixing(silent_share=1.0, **WHOLE))
    matrices = np.concatenate([sampler(index)["channel_mix"] for index in range(60)])
    swapped = matrices[:, 0, 0] == 0
    gains = np.where(swapped, matrices[:, 0, 1], matrices[:, 0, 0])
    either = np.where(swapped[:, None, None], np.eye(2)[::-1], np.eye(2))
    np.testing.assert_array_equal(matrices, gains[:, None, None] * either)
    assert 0.1 <= min(gains) < 0.2
    assert 1.1 < max(gains) <= 1.25 + 1e-6
    assert 0.35 < np.mean(swapped) < 0.65


def test_silent_sources_are_drawn_again_as_often_as_asked(tmp_path):
    audio = np.zeros((20000, 2), np.int16)
    audio[15000:] = 8000
    tracks = write_songs(tmp_path, lambda _: audio, songs=1)

    def silent(share):
        stems = stems_of(ExcerptSampler(tracks, 100, mixing=Mixing(silent_share=share)))
        return np.mean([not stems(i).any() for i in range(200)])

    assert silent(0.0) < 0.2  # eight attempts at one quarter: 10 % stay silent
    assert silent(1.0) > 0.5


@pytest.mark.parametrize(
    ("sounding", "length"), [(slice(30000, 45000), 20000), (slice(0, None, 1500), 1100)]
)
def test_the_same_places_are_drawn_for_songs_that_a_device_holds(sounding, length, tmp_path):
    """Sources may be silent where an excerpt begins, throughout, or but for its first samples."""
    audio = np.zeros((60000, 2), np.int16)
    audio[sounding] = -8000
    tracks = write_songs(tmp_path, lambda _: audio)
    plain = ExcerptSampler(tracks, length)
    bank, peaks = song_bank(tracks, length)
    held = ExcerptSampler(tracks, length, peaks=peaks)
    for index in range(60):
        expected, found = plain(index), held(index)
        stems = [
            song[start : start + length]
            for song, start in zip(bank, found.pop("starts"), strict=True)
        ]
        np.testing.assert_array_equal(stems, expected.pop("stems"))
        assert found.keys() == expected.keys()


def test_a_short_track_is_followed_by_silence(tracks):
    stems = ExcerptSampler(tracks, 2500, mixing=Mixing(real_share=1.0, **PLAIN))(0)["stems"]
    assert stems.shape == (2, 2500, 2)
    assert stems[:, :2000].all()
    assert not stems[:, 2000:].any()


def test_a_file_that_breaks_later_is_named_once_and_left_out(tracks, caplog):
    broken = tracks[0].path / "bass.wav"
    broken.write_bytes(broken.read_bytes()[:1000])
    for share in (0.0, 1.0):
        stems = stems_of(ExcerptSampler(tracks, 500, mixing=Mixing(real_share=share, **PLAIN)))
        caplog.clear()
        assert all(stems(index).shape == (2, 500, 2) for index in range(30))
        (record,) = caplog.records
        assert "bass.wav" in record.getMessage()
    (tracks[1].path / "bass.wav").unlink()
    with pytest.raises(TrackError, match=r"bass\.wav"):
        [stems(index) for index in range(30)]


def test_one_channel_is_the_mean(tracks):
    calm = Mixing(width=0.5, pan=0, balance=0)
    two = ExcerptSampler(tracks, 50, mixing=calm)(3)["channel_mix"]
    one = ExcerptSampler(tracks, 50, channels=1, mixing=Mixing(width=0.5))(3)["channel_mix"]
    assert one.shape == (2, 1, 2)
    np.testing.assert_allclose(one[:, 0], two.mean(1), atol=1e-7)
    np.testing.assert_allclose(one[:, 0, 0], one[:, 0, 1], atol=1e-7)
    fixed = ExcerptSampler(tracks, 50, channels=1).fixed(tracks[0], 7)
    np.testing.assert_array_equal(fixed["channel_mix"], np.full((2, 1, 2), 0.5))
    assert decode(fixed["stems"][1]) == (0, 1, 7)


def test_stems_of_more_than_16_bits_are_float(tmp_path):
    rng = np.random.default_rng(0)
    audio = rng.uniform(-1, 1, (4, 900, 2)).astype(np.float32)
    tracks = write_songs(tmp_path, lambda k: audio[k], "FLOAT")
    stems = ExcerptSampler(tracks, 900, mixing=Mixing(**PLAIN)).fixed(tracks[1], 0)["stems"]
    assert stems.dtype == np.float32
    np.testing.assert_array_equal(stems, audio[2:])


def test_wrong_tracks_are_refused(tracks, tmp_path):
    with pytest.raises(DatasetError, match="at least one track"):
        ExcerptSampler([], 100)
    (tmp_path / "other" / "song").mkdir(parents=True)
    sf.write(tmp_path / "other" / "song" / "piano.wav", np.ones((2000, 2)) * 0.1, RATE)
    with pytest.raises(DatasetError, match="same sources"):
        ExcerptSampler([*tracks, *open_dataset(tmp_path / "other")], 100)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"real_share": 1.5}, "real_share must be 0 to 1; received 1.5"),
        ({"silent_share": -1}, "silent_share must be 0 to 1"),
        ({"equalizer": -1}, "equalizer must be 0 to 24"),
        ({"speed": 0.5}, r"speed must be 0 to 0\.3"),
        ({"width": 2}, "width must be 0 to 1"),
        ({"gain": (0, 1)}, r"0 < low <= high; received \(0, 1\)"),
        ({"gain": (2, 1)}, "received"),
        ({"gain": (1,)}, "received"),
        ({"level": (0, 30)}, r"-90 <= low <= high <= 20 dB; received \(0, 30\)"),
        ({"level": (6, -45)}, "level must be"),
        ({"pan": 25}, "pan must be 0 to 24"),
        ({"balance": 2}, "balance must be 0 to 1"),
        ({"offset": -1}, "offset must be 0 to 1"),
    ],
)
def test_wrong_mixing_is_refused(wrong, words):
    with pytest.raises(DatasetError, match=words):
        Mixing(**wrong)


def test_effects_are_in_range_and_leave_the_places_as_they_are(tracks):
    plain = ExcerptSampler(tracks, 500, mixing=Mixing(**PLAIN))
    mixing = Mixing(equalizer=6, speed=0.25, width=0.5, **PLAIN)
    effects = ExcerptSampler(tracks, 500, mixing=mixing)
    calm = ExcerptSampler(tracks, 500, mixing=Mixing(equalizer=6, width=0.5, **PLAIN))
    assert effects.num_read >= 500 * 1.25
    examples = [effects(index) for index in range(40)]
    for index in range(5):
        assert plain.draw(index)[0] == calm.draw(index)[0]
    curves = np.stack([example["curves"] for example in examples])
    assert curves.shape == (40, 2, POINTS)
    assert 5 < curves.max() <= 6
    assert -6 <= curves.min() < -5
    # the middle stays, the side is scaled
    matrices = np.concatenate([example["channel_mix"] for example in examples])
    np.testing.assert_allclose(matrices.sum(2), 1, atol=1e-6)
    side = (matrices @ [1, -1])[:, 0]
    assert 0.5 <= side.min() < 0.6
    assert 1.4 < side.max() <= 1.5
    speeds = np.stack([example["speeds"] for example in examples]) / SPEED_STEPS
    assert 0.75 <= speeds.min() < 0.8
    assert 1.2 < speeds.max() <= 1.25


def test_level_balance_and_offset_are_in_range_and_of_the_whole_mixture(tracks):
    mixing = Mixing(**PLAIN | {"level": (-45, 6), "pan": 6, "balance": 0.5, "offset": 0.3})
    examples = [ExcerptSampler(tracks, 500, mixing=mixing)(index) for index in range(400)]
    gains = np.stack([example["level"] for example in examples])
    levels = 20 * np.log10(gains.max(axis=1))
    assert 0.4 < np.mean(levels != 0) < 0.6
    assert -45 <= levels.min() < -43
    assert 5 < levels.max() <= 6.001
    offsets = np.stack([example["offset"] for example in examples])
    assert 0.02 < np.mean(offsets.any(axis=1)) < 0.12
    assert 0.2 < np.abs(offsets).max() <= 0.3
    even = gains[:, 0] == gains[:, 1]
    assert 0.4 < np.mean(even) < 0.6
    balances = gains.min(axis=1) / gains.max(axis=1)
    assert 0.14 < np.mean(balances == 0) < 0.26
    assert 0.01 <= balances[balances > 0].min() < 0.015
    for side in range(2):
        assert (gains[:, side] == 0).any()
    left, right = np.moveaxis([np.diagonal(e["channel_mix"], 0, 1, 2) for e in examples], 2, 0)
    pans = 20 * np.log10(left / right)
    assert 5 < np.abs(pans).max() <= 6.001
    assert (np.sign(pans[:, 0]) != np.sign(pans[:, 1])).any()  # each source has its own


def test_sources_of_one_place_change_their_speed_together(tracks):
    def speeds(share):
        mixing = Mixing(real_share=share, speed=0.2, **PLAIN)
        sampler = ExcerptSampler(tracks, 500, mixing=mixing)
        return np.array([sampler(index)["speeds"] for index in range(9)])

    together = speeds(1.0)
    np.testing.assert_array_equal(together[:, 0], together[:, 1])
    assert len({*together[:, 0]}) > 5
    assert (np.diff(speeds(0.0)) != 0).any()
