"""Which excerpts make an example and what is done to them: reproducible, in range, as asked."""

import pickle

import numpy as np
import pytest
import soundfile as sf

from keras_mmdense.data import DatasetError, TrackError, open_dataset
from keras_mmdense.data.mixing import POINTS, ExcerptReader, Mixing, equalize, respeed, widen

RATE = 44100
PLAIN = {"gain": (1.0, 1.0), "swap": False, "silent_share": 1.0}


def write_songs(folder, make, songs=2):
    for song in range(songs):
        (folder / f"song{song}").mkdir()
        for number, source in enumerate(("bass", "vocals")):
            sf.write(folder / f"song{song}" / f"{source}.wav", make(2 * song + number), RATE)
    return list(open_dataset(folder))


@pytest.fixture
def tracks(tmp_path):
    """Two songs; every sample tells song, source, channel and place: exact in int16."""
    place = np.arange(2000) + 1
    return write_songs(tmp_path, lambda k: np.stack([place + 3000 * k, -place], 1).astype(np.int16))


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


def test_examples_stay_those_of_earlier_versions(tracks):
    """A run that is resumed after an update goes on with the same examples."""
    reader = ExcerptReader(tracks, 500, seed=3)
    examples = [reader.draw(index)[0] for index in range(3)]
    places = [[(track.name, start) for track, start in example.places] for example in examples]
    assert places == [
        [("song1", 1304), ("song1", 1304)],
        [("song0", 226), ("song0", 226)],
        [("song1", 161), ("song0", 189)],
    ]
    assert [example.swaps.tolist() for example in examples] == [
        [True] * 2,
        [True, False],
        [True] * 2,
    ]
    np.testing.assert_allclose(examples[0].gains, [0.34412864, 0.6831269])


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
    some = ExcerptReader(tracks, 500, mixing=Mixing(real_share=0.3, **PLAIN))
    same = [decode(a)[::2] == decode(b)[::2] for a, b in map(some, range(300))]
    assert 0.2 < np.mean(same) < 0.4


def test_excerpts_stay_inside_and_reach_both_ends(tracks):
    reader = ExcerptReader(tracks, 1990, mixing=Mixing(real_share=1.0, **PLAIN))
    places = {decode(reader(i)[0])[2] for i in range(200)}
    assert places == set(range(11))


def test_gain_and_swap_are_in_range_and_both_ways(tracks):
    plain = ExcerptReader(tracks, 500, mixing=Mixing(real_share=1.0, **PLAIN))
    changed = ExcerptReader(tracks, 500, mixing=Mixing(real_share=1.0, silent_share=1.0))
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
    tracks = write_songs(tmp_path, lambda _: audio, songs=1)

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


def test_wrong_tracks_are_refused(tracks, tmp_path):
    with pytest.raises(DatasetError, match="at least one track"):
        ExcerptReader([], 100)
    (tmp_path / "other" / "song").mkdir(parents=True)
    sf.write(tmp_path / "other" / "song" / "piano.wav", np.ones((2000, 2)) * 0.1, RATE)
    with pytest.raises(DatasetError, match="same sources"):
        ExcerptReader([*tracks, *open_dataset(tmp_path / "other")], 100)


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
    ],
)
def test_wrong_mixing_is_refused(wrong, words):
    with pytest.raises(DatasetError, match=words):
        Mixing(**wrong)


def sine(frequency, num_samples=RATE):
    wave = np.sin(2 * np.pi * frequency * np.arange(num_samples) / RATE)
    return np.stack([wave, 0.5 * wave], 1).astype(np.float32)


def pitch(stem):
    spectrum = np.abs(np.fft.rfft(stem[:, 0] * np.hanning(len(stem))))
    return spectrum.argmax() * RATE / len(stem)


def test_the_equalizer_reaches_its_gains_at_its_frequencies_and_no_delay():
    decibels = np.array([-6, 3, 0, 6, -3, 1, 2], float)
    for frequency, gain in zip(np.geomspace(40, 16000, POINTS), decibels, strict=True):
        tone = sine(round(frequency))
        found = equalize(tone, decibels, RATE)
        assert found.dtype == np.float32
        # in phase with the tone, so least squares gives the gain
        factor = (found * tone).sum() / (tone * tone).sum()
        assert 20 * np.log10(factor) == pytest.approx(gain, abs=0.3)


@pytest.mark.parametrize("length", [1, 4096, 4099, 20011])
def test_a_flat_curve_scales_stems_of_any_length(length):
    stem = np.random.default_rng(length).standard_normal((length, 2)).astype(np.float32)
    before = stem.copy()
    flat = np.full(POINTS, 20 * np.log10(0.5))
    np.testing.assert_allclose(equalize(stem, flat, RATE), stem / 2, atol=1e-6)
    np.testing.assert_array_equal(stem, before)


def test_speed_moves_pitch_and_keeps_the_length():
    tone = sine(1000, 2 * RATE)
    for factor in (0.8, 1.0, 1.3):
        played = respeed(tone, factor, RATE)
        assert played.shape == (RATE, 2)
        assert pitch(played) == pytest.approx(1000 * factor, abs=2)
    np.testing.assert_allclose(respeed(tone, 1.0, RATE), tone[:RATE], atol=1e-6)
    played = respeed(np.ones((500, 1), np.float32), 1.25, 1000)  # what is missing is silence
    assert played.shape == (1000, 1)
    assert np.abs(played[500:]).max() == 0


def test_width_keeps_the_middle_and_scales_the_side():
    stem = np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32)
    wide = widen(stem, 1.5)
    np.testing.assert_allclose(wide.mean(1), stem.mean(1), atol=1e-6)
    np.testing.assert_allclose(np.diff(wide), 1.5 * np.diff(stem), atol=1e-6)
    np.testing.assert_array_equal(widen(stem[:, :1], 0.3), stem[:, :1])


@pytest.fixture
def tones(tmp_path):
    """Two songs, each source a tone of its own: 300, 500, 700 and 900 Hz."""
    return write_songs(tmp_path, lambda k: 0.5 * sine(300 + 200 * k, 2 * RATE))


def test_examples_are_made_of_the_same_places_with_and_without_effects(tones):
    plain = ExcerptReader(tones, 20000, mixing=Mixing(**PLAIN))
    effects = ExcerptReader(tones, 20000, mixing=Mixing(equalizer=6, width=0.5, **PLAIN))
    for index in range(5):
        assert plain.draw(index)[0].places == effects.draw(index)[0].places
        assert not np.allclose(plain(index), effects(index))
        np.testing.assert_array_equal(effects(index), effects(index))


def test_sources_of_one_place_change_their_speed_together(tones):
    def factors(share):
        reader = ExcerptReader(tones, RATE, mixing=Mixing(real_share=share, speed=0.2, **PLAIN))
        for index in range(6):
            songs = [int(track.name[-1]) for track, _ in reader.draw(index)[0].places]
            written = [300 + 200 * (2 * song + number) for number, song in enumerate(songs)]
            yield [pitch(stem) / tone for stem, tone in zip(reader(index), written, strict=True)]

    together, apart = np.array([*factors(1.0)]), np.array([*factors(0.0)])
    np.testing.assert_allclose(together[:, 0], together[:, 1], atol=0.01)
    assert np.ptp(together[:, 0]) > 0.05
    assert np.abs(together - 1).max() < 0.21
    assert np.abs(np.diff(apart)).max() > 0.03
