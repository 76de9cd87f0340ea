"""Laws that hold for every reader."""

import pickle
import shutil
from functools import partial

import numpy as np
import pytest
import soundfile as sf
import trees

from keras_mmdense.data import SUBSETS, TrackError, open_dataset, to_channels

folder = partial(trees.make_folder, num_tracks=3, seconds=0.5)
MAKERS = {
    "dsd100": trees.make_dsd100,
    "musdb18": trees.make_musdb18,
    "musdb18hq": trees.make_musdb18hq,
    "folder": folder,
    "folder-subsets": partial(trees.make_folder, num_tracks=1, subsets=SUBSETS),
    "folder-flac": partial(folder, suffix="flac"),
    "folder-ogg-sum": partial(folder, suffix="ogg", mixture=False),
    "folder-two-sources": partial(folder, sources=("piano", "Stimme ü"), mixture=False),
}


@pytest.fixture(scope="module", params=MAKERS)
def tree(request, tmp_path_factory):
    root = MAKERS[request.param](tmp_path_factory.mktemp(request.param))
    dataset = open_dataset(root)
    assert dataset.kind == request.param.partition("-")[0]
    return dataset


def test_everything_is_found_in_a_fixed_order(tree):
    assert len(tree) == 3
    assert tree.faults == tree.notes == ()
    assert tree.sources in (trees.SOURCES, ("Stimme ü", "piano"))
    seconds = 0.5 if tree.kind == "folder" and not tree[0].subset else 1.0
    for track in tree:
        assert (track.channels, track.sample_rate, track.sources) == (2, 44100, tree.sources)
        lengths = [round(seconds * 44100) + 13 + 101 * k for k in range(3)]
        tolerance = 44 if tree.kind == "musdb18" else 0  # MP4 counts in milliseconds
        assert min(abs(track.num_samples - length) for length in lengths) <= tolerance
    total = sum(track.num_samples for track in tree)
    assert tree.duration == pytest.approx(total / 44100)
    # the deep check of a good tree changes nothing
    calls = []
    assert tree.check(lambda *progress: calls.append(progress)) == tree
    assert calls[-1] == (total, total)
    order = [((*SUBSETS, "").index(track.subset), track.name) for track in tree]
    assert order == sorted(order)
    assert tree[1:] == tree.tracks[1:]


def test_an_excerpt_is_that_part_of_the_whole(tree):
    rng = np.random.default_rng(0)
    for track in tree:
        n = track.num_samples
        starts = rng.integers(0, n - 1, 4)
        places = [(int(start), int(rng.integers(1, n - start + 1))) for start in starts]
        for source in (track.sources[-1], "mixture"):
            whole = track.read(source)
            assert (whole.shape, whole.dtype) == ((n, 2), np.float32)
            assert np.abs(whole).max() > 0.05
            for start, count in [*places, (0, 1), (n - 1, 1), (n - 4000, None)]:
                excerpt = track.read(source, start, count)
                stop = n if count is None else start + count
                np.testing.assert_array_equal(excerpt, whole[start:stop])
                given = np.full_like(excerpt, np.nan)
                assert track.read(source, start, count, out=given) is given
                np.testing.assert_array_equal(given, excerpt)


def test_int16_is_the_same_signal(tree):
    track, source = tree[-1], tree.sources[0]
    assert track.pcm16 == tree.pcm16 == (".ogg" not in track.streams[source].path.name)
    if track.pcm16:
        integers = np.full((5000, 2), 9999, np.int16)
        assert track.read(source, 17, 5000, dtype="int16", out=integers) is integers
        assert integers.dtype == np.int16
        np.testing.assert_array_equal(
            track.read(source, 17, 5000), integers.astype(np.float32) / 32768
        )
    else:
        with pytest.raises(TrackError, match="16-bit"):
            track.read(source, 17, 5000, dtype="int16")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("mixture", -1, 10), TrackError, "has samples 0 to .*; 10 samples from -1 were"),
        (("bass", 0, 0), TrackError, "samples 0 to "),
        (("bass", 0, -5), TrackError, "samples 0 to "),
        (("bass", 44000, 10**6), TrackError, "samples 0 to "),
        (("bass", 10**6, 1), TrackError, "samples 0 to "),
        (("bass", 10**6), TrackError, "samples 0 to "),
        (("kazoo",), TrackError, "no source 'kazoo': it has bass, drums, other, vocals, mixture"),
        (("mixture", 0, 9, "float64"), TrackError, "float32 or int16, not 'float64'"),
        (("mixture", 0.5), TypeError, "interpreted as an integer"),
        (("bass", 0, 9, "float32", 1), TrackError, "has 2 channels, and 1 were asked for"),
        (("mixture", 0, 9, "float32", 1), TrackError, "has 2 channels, and 1 were asked for"),
        (("bass", 0, 9, "float32", 3), TrackError, "channels must be 1 or 2, not 3"),
    ],
)
@pytest.mark.parametrize("mixture", [True, False])
def test_what_cannot_be_read_is_refused(tmp_path, mixture, arguments, error, words):
    (track,) = open_dataset(trees.make_folder(tmp_path, 1, 0.3, mixture=mixture))
    with pytest.raises(error, match=words) as caught:
        track.read(*arguments)
    assert error is TypeError or str(track.path) in str(caught.value)


def test_tracks_can_be_pickled_and_found_again(tree):
    copy = pickle.loads(pickle.dumps(tree))
    assert copy == tree == open_dataset(tree.root)
    for track, again in zip(tree, copy, strict=True):
        assert hash(track) == hash(again)
        np.testing.assert_array_equal(track.read("mixture", 5, 100), again.read("mixture", 5, 100))


def test_a_choice_of_sources_keeps_the_mixture(tree):
    chosen = tuple(reversed(tree.sources))[:2]
    some = open_dataset(tree.root, sources=chosen)
    assert some.sources == chosen == some[0].sources
    np.testing.assert_array_equal(some[0].read("mixture"), tree[0].read("mixture"))
    one = open_dataset(tree.root, sources=chosen[0])
    assert one.sources == chosen[:1]
    with pytest.raises(TrackError, match="has no source"):
        one[0].read(chosen[1])


def test_sources_are_what_was_written_and_add_up(tree):
    for track in tree if tree.kind != "musdb18" and tree.pcm16 else ():
        total = sum(track.read(source) for source in track.sources)
        np.testing.assert_array_equal(total, track.read("mixture"))
        source = track.sources[0]
        plain = sf.read(track.streams[source].path, dtype="float32")[0]
        np.testing.assert_array_equal(track.read(source), plain)


def test_a_sum_is_float_only_and_not_clipped(tmp_path):
    loud = np.full((1000, 2), 30000, np.int16)
    for source in ("a", "b", "c"):
        trees.write(tmp_path / "Song" / f"{source}.wav", loud)
    track = open_dataset(tmp_path)[0]
    assert not track.has_mixture
    np.testing.assert_array_equal(track.read("mixture"), loud * np.float32(3 / 32768))
    with pytest.raises(TrackError, match="sum of its sources can exceed int16"):
        track.read("mixture", dtype="int16")


@pytest.mark.parametrize("mixture", [True, False])
def test_mono_tracks_are_mono_unless_stereo_is_asked_for(tmp_path, mixture):
    for source in ("a", "b") + ("mixture",) * mixture:
        trees.write(tmp_path / "Song" / f"{source}.wav", np.full(1000, 0.25))
    dataset = open_dataset(tmp_path)
    assert dataset.notes == ()
    assert dataset[0].channels == 1
    for source in ("a", "mixture"):
        mono = dataset[0].read(source)
        assert mono.shape == (1000, 1)
        np.testing.assert_array_equal(
            dataset[0].read(source, channels=2, out=np.ones((1000, 2), np.float32)),
            np.repeat(mono, 2, axis=1),
        )
    with pytest.raises(ValueError, match="channels must be 1 or 2, not 0"):
        to_channels(mono, 0)


def test_subsets_of_dsd100_are_disjoint_and_complete(tmp_path):
    trees.make_dsd100(tmp_path, num_dev=9, seconds=0.2)
    names = {
        subset: [track.name[:3] for track in open_dataset(tmp_path, subset=subset)]
        for subset in SUBSETS
    }
    assert names["valid"] == ["056", "063"]
    assert names["train"] == ["055", "057", "058", "059", "060", "061", "062"]
    assert names["test"] == ["001"]
    both = open_dataset(tmp_path, subset=("train", "valid"))
    assert [track.name[:3] for track in both] == names["train"] + names["valid"]


@pytest.mark.parametrize("make", [trees.make_musdb18, trees.make_musdb18hq])
def test_the_validation_tracks_of_musdb_lie_in_train(make, tmp_path):
    make(tmp_path, seconds=0.2)
    found = {s: [track.name for track in open_dataset(tmp_path, subset=s)] for s in SUBSETS}
    assert found["valid"] == ["Leaf - Summerghost"]
    assert found["train"] == ["Artist 1 - Song"]


def test_names_may_hold_any_character(tmp_path):
    names = ["[a] {b} %s * ?", "line\nbreak\ttab", "ümlaut 日本", " lead", "-dash", "quote'\"$(x)"]
    names.append(b"not utf-8 \xff".decode("utf-8", "surrogateescape"))
    root = tmp_path / "root \udcfe [x]"
    song = trees.make_folder(tmp_path / "one", 1, 0.2) / "Song 0"
    for name in names:
        shutil.copytree(song, root / name)
    dataset = open_dataset(root)
    assert sorted(track.name for track in dataset) == sorted(names)
    assert all(track.read("mixture", 3, 10).shape == (10, 2) for track in dataset)
    assert dataset.report().encode("utf-8")
    assert "\n" not in dataset.report()


def test_hidden_files_are_ignored(tmp_path):
    trees.make_folder(tmp_path, seconds=0.2)
    for path in (tmp_path / ".cache" / "x.wav", tmp_path / "Song 0" / "._bass.wav"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"junk")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    assert dataset.faults == dataset.notes == ()


def test_relative_roots_survive_a_change_of_folder(tmp_path, monkeypatch):
    trees.make_folder(tmp_path / "set", seconds=0.2)
    monkeypatch.chdir(tmp_path)
    track = open_dataset("set")[0]
    monkeypatch.chdir("/")
    assert track.read("bass", 0, 5).shape == (5, 2)
