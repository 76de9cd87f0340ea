"""Laws that hold for every reader."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import trees

from keras_mmdense.data import Dataset, Track, TrackError, open_dataset

Maker = Callable[[Path], Path]
MAKERS: dict[str, tuple[str, Maker]] = {
    "dsd100": ("dsd100", trees.make_dsd100),
    "musdb18": ("musdb18", trees.make_musdb18),
    "musdb18hq": ("musdb18hq", trees.make_musdb18hq),
    "folder": ("folder", partial(trees.make_folder, num_tracks=3)),
    "folder-subsets": ("folder", partial(trees.make_folder, subsets=("train", "valid", "test"))),
    "folder-flac": ("folder", partial(trees.make_folder, num_tracks=3, suffix="flac")),
    "folder-ogg-sum": (
        "folder",
        partial(trees.make_folder, num_tracks=3, suffix="ogg", mixture=False),
    ),
    "folder-two-sources": (
        "folder",
        partial(trees.make_folder, num_tracks=3, sources=("piano", "Stimme ü"), mixture=False),
    ),
}
LOSSLESS = [form for form in MAKERS if form not in ("musdb18", "folder-ogg-sum")]


@pytest.fixture(scope="session", params=MAKERS)
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    kind, make = MAKERS[request.param]
    dataset = open_dataset(make(tmp_path_factory.mktemp(request.param)))
    assert dataset.kind == kind
    return dataset


def excerpts(track: Track, num: int = 5) -> list[tuple[int, int]]:
    rng = np.random.default_rng(track.num_samples)
    starts = rng.integers(0, track.num_samples - 1, num)
    inner = [(int(s), int(rng.integers(1, track.num_samples - s + 1))) for s in starts]
    return [*inner, (0, 1), (track.num_samples - 1, 1)]


def test_everything_is_found(tree: Dataset) -> None:
    assert len(tree) in (3, 6)
    assert tree.faults == tree.notes == ()
    assert tree.num_left_out == 0
    assert all(track.channels == 2 and track.sample_rate == 44100 for track in tree)
    assert all(track.sources == tree.sources for track in tree)
    assert tree.sources in (trees.SOURCES, ("Stimme ü", "piano"), ("piano", "Stimme ü"))
    assert tree.duration == pytest.approx(len(tree) * 1.002, abs=0.01 * len(tree))


def test_length_is_that_of_the_signal(tree: Dataset) -> None:
    # MP4 counts the length of its streams in milliseconds.
    tolerance = 44 if tree.kind == "musdb18" else 0
    for track in tree:
        distances = [abs(track.num_samples - 44100 - 13 - 101 * k) for k in range(3)]
        assert min(distances) <= tolerance
        assert track.duration == track.num_samples / 44100


def test_random_access_equals_the_whole_read(tree: Dataset) -> None:
    for track in tree:
        for source in (track.sources[-1], "mixture"):
            whole = track.read(source)
            assert whole.shape == (track.num_samples, 2)
            assert whole.dtype == np.float32
            assert np.abs(whole).max() > 0.05
            for start, count in excerpts(track):
                excerpt = track.read(source, start, count)
                assert excerpt.shape == (count, 2)
                np.testing.assert_array_equal(excerpt, whole[start : start + count])


def test_open_end_reads_the_rest(tree: Dataset) -> None:
    track = tree[0]
    whole = track.read(tree.sources[0])
    np.testing.assert_array_equal(track.read(tree.sources[0], 40000), whole[40000:])


def test_int16_is_the_same_signal(tree: Dataset) -> None:
    track = tree[-1]
    source = track.sources[0]
    if track.pcm16:
        integers = track.read(source, 17, 5000, dtype="int16")
        assert integers.dtype == np.int16
        floats = track.read(source, 17, 5000)
        np.testing.assert_array_equal(floats, integers.astype(np.float32) / 32768)
    else:
        with pytest.raises(TrackError, match="16-bit"):
            track.read(source, 17, 5000, dtype="int16")
    assert track.pcm16 == (".ogg" not in track.streams[source].path.name)


@pytest.mark.parametrize(
    ("start", "count"), [(-1, 10), (0, 0), (0, -5), (44000, 10**6), (10**6, 1), (10**6, None)]
)
def test_out_of_range_names_the_track_and_the_range(
    tree: Dataset, start: int, count: int | None
) -> None:
    track = tree[0]
    for source in (track.sources[0], "mixture"):
        with pytest.raises(TrackError, match=f"samples 0 to {track.num_samples}") as caught:
            track.read(source, start, count)
        assert str(track.path) in str(caught.value)
        assert str(start) in str(caught.value)


def test_unknown_source_and_dtype(tree: Dataset) -> None:
    with pytest.raises(TrackError, match=r"no source 'kazoo': it has .*mixture"):
        tree[0].read("kazoo")
    with pytest.raises(TrackError, match="float32 or int16, not 'float64'"):
        tree[0].read("mixture", dtype="float64")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        tree[0].read("mixture", 0.5)  # type: ignore[arg-type]


def test_stereo_is_never_mixed_down(tree: Dataset) -> None:
    for source in (tree.sources[0], "mixture"):
        with pytest.raises(TrackError, match="has 2 channels, and 1 were asked for"):
            tree[0].read(source, channels=1)
        with pytest.raises(TrackError, match="channels must be 1 or 2, not 3"):
            tree[0].read(source, channels=3)


def test_pickling_keeps_the_track(tree: Dataset) -> None:
    copy = pickle.loads(pickle.dumps(tree))
    assert copy == tree
    for track, again in zip(tree, copy, strict=True):
        assert hash(track) == hash(again)
        np.testing.assert_array_equal(track.read("mixture", 5, 100), again.read("mixture", 5, 100))


def test_order_is_fixed(tree: Dataset) -> None:
    again = open_dataset(tree.root)
    assert [track.path for track in again] == [track.path for track in tree]
    order = [(["train", "valid", "test", ""].index(track.subset), track.name) for track in tree]
    assert order == sorted(order)
    assert tree[1:] == tree.tracks[1:]


def test_choice_of_sources_keeps_the_mixture(tree: Dataset) -> None:
    chosen = tuple(reversed(tree.sources))[:2]
    some = open_dataset(tree.root, sources=chosen)
    assert some.sources == chosen == some[0].sources
    np.testing.assert_array_equal(some[0].read("mixture"), tree[0].read("mixture"))
    one = open_dataset(tree.root, sources=chosen[0])
    assert one.sources == chosen[:1]
    with pytest.raises(TrackError, match="has no source"):
        one[0].read(chosen[1])


def test_deep_check_of_a_good_tree_changes_nothing(tree: Dataset) -> None:
    calls: list[tuple[int, int]] = []
    assert tree.check(lambda done, total: calls.append((done, total))) == tree
    total = sum(track.num_samples for track in tree)
    assert len(calls) == len(tree)
    assert calls[-1] == (total, total)


@pytest.mark.parametrize("form", LOSSLESS)
def test_sources_are_what_was_written_and_add_up(form: str, tmp_path: Path) -> None:
    for track in open_dataset(MAKERS[form][1](tmp_path)):
        total = sum(track.read(source) for source in track.sources)
        np.testing.assert_array_equal(total, track.read("mixture"))
        source = track.sources[0]
        plain = sf.read(track.streams[source].path, dtype="float32")[0]
        np.testing.assert_array_equal(track.read(source), plain)


def test_sum_without_a_mixture_file_is_float_only_and_not_clipped(tmp_path: Path) -> None:
    loud = np.full((1000, 2), 30000, np.int16)
    for source in ("a", "b", "c"):
        trees.write(tmp_path / "Song" / f"{source}.wav", loud)
    track = open_dataset(tmp_path)[0]
    assert not track.has_mixture
    np.testing.assert_array_equal(track.read("mixture"), loud * np.float32(3 / 32768))
    with pytest.raises(TrackError, match="sum of its sources can exceed int16"):
        track.read("mixture", dtype="int16")


def test_subsets_are_disjoint_and_complete(tmp_path: Path) -> None:
    trees.make_dsd100(tmp_path, num_dev=9)
    names = {
        subset: [track.name[:3] for track in open_dataset(tmp_path, subset=subset)]
        for subset in ("train", "valid", "test")
    }
    assert names["valid"] == ["056", "063"]
    assert names["train"] == ["055", "057", "058", "059", "060", "061", "062"]
    assert names["test"] == ["001"]
    both = open_dataset(tmp_path, subset=("train", "valid"))
    assert [track.name[:3] for track in both] == names["train"] + names["valid"]


@pytest.mark.parametrize("make", [trees.make_musdb18, trees.make_musdb18hq])
def test_musdb_validation_tracks_are_taken_from_train(make: Maker, tmp_path: Path) -> None:
    make(tmp_path)
    assert [track.name for track in open_dataset(tmp_path, subset="valid")] == [
        "Leaf - Summerghost"
    ]
    assert [track.name for track in open_dataset(tmp_path, subset="train")] == ["Artist 1 - Song"]


def test_names_may_hold_any_character(tmp_path: Path) -> None:
    names = ["[a] {b} %s * ?", "line\nbreak\ttab", "ümlaut 日本", " lead", "-dash", "quote'\"$(x)"]
    names.append(b"not utf-8 \xff".decode("utf-8", "surrogateescape"))
    root = tmp_path / "root \udcfe [x]"
    song = trees.make_folder(tmp_path / "one", num_tracks=1) / "Song 0"
    for name in names:
        shutil.copytree(song, root / name)
    dataset = open_dataset(root)
    assert sorted(track.name for track in dataset) == sorted(names)
    assert all(track.read("mixture", 3, 10).shape == (10, 2) for track in dataset)
    assert dataset.report().encode("utf-8")
    assert "\n" not in dataset.report()


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    trees.make_folder(tmp_path)
    for path in (tmp_path / ".cache" / "x.wav", tmp_path / "Song 0" / "._bass.wav"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"junk")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    assert dataset.faults == dataset.notes == ()
