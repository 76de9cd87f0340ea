"""What counts as a source, as the mixture and as a subset: the mixture holds everything once."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import trees

from keras_mmdense.data import DatasetError, open_dataset

FOUR = trees.SOURCES
BACKING = ("bass", "drums", "other")


@pytest.fixture
def root(tmp_path):
    return trees.make_folder(tmp_path / "tree", num_tracks=3, mixture=False)


def songs(root):
    return sorted({path.parent for path in root.rglob("bass.*")})


def add(root, name, parts, gain=1.0):
    """Write the sum of some sources next to them, in every song."""
    for song in songs(root):
        total = sum(sf.read(song / f"{part}.wav")[0] for part in parts)
        sf.write(song / name, gain * total, trees.SAMPLE_RATE)


def assert_once(dataset):
    """The mixture of every track is the sum of the four sources, and so is that of training."""
    for track in dataset:
        truth = sum(sf.read(track.path / f"{name}.wav", dtype="float32")[0] for name in FOUR)
        np.testing.assert_allclose(track.read("mixture"), truth, atol=1e-4)
        total = sum(track.read(name) for name in track.sources)
        np.testing.assert_allclose(total, truth, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["mixture.wav", "MIXTURE.WAV", "mix.wav", "Full Mix.flac", "full_mix.wav", "Mixdown.wav"],
)
def test_a_mixture_is_known_by_its_usual_names(name, root):
    add(root, name, FOUR)
    dataset = open_dataset(root)
    assert dataset.sources == FOUR
    assert all(track.has_mixture for track in dataset)
    assert dataset.faults == dataset.notes == ()
    assert_once(dataset)


@pytest.mark.parametrize(
    ("name", "parts", "gain"),
    [
        ("instrumental.wav", BACKING, 1.0),
        ("accompaniment.flac", BACKING, 0.7),
        ("everything.wav", FOUR, 0.7),
        ("rhythm.wav", ("bass", "drums"), 1.0),
        ("vocals 2.wav", ("vocals",), 0.7),
    ],
)
def test_a_sum_of_others_is_no_source(name, parts, gain, root):
    add(root, name, parts, gain)
    dataset, stem = open_dataset(root), Path(name).stem
    (note,) = [note.describe(root) for note in dataset.notes]
    assert note in dataset.report()
    is_sum = f"the sum of {', '.join(parts)}" if len(parts) > 1 else "a copy of vocals"
    assert f"{stem} is {is_sum}; not used as a source: {stem}" in note
    assert dataset.sources == FOUR
    assert_once(dataset)


def test_two_stems_stay_two_stems(root):
    """A sum whose parts are not there is a source like any other."""
    add(root, "instrumental.wav", BACKING)
    for song in songs(root):
        for part in BACKING:
            (song / f"{part}.wav").unlink()
    dataset = open_dataset(root)
    assert dataset.sources == ("instrumental", "vocals")
    assert dataset.notes == ()


def test_what_is_asked_for_decides(root):
    add(root, "accompaniment.wav", BACKING)
    for options in ({"sources": ["vocals", "accompaniment"]}, {"needed": ["accompaniment"]}):
        dataset = open_dataset(root, **options)
        assert sorted(dataset.sources) == ["accompaniment", "vocals"]
        assert_once(dataset)
    vocals = open_dataset(root, sources=["vocals"])
    assert vocals.sources == ("vocals",)
    np.testing.assert_allclose(
        vocals[0].read("mixture"), open_dataset(root)[0].read("mixture"), atol=1e-4
    )
    with pytest.raises(DatasetError, match="is the sum of bass, drums, other; received"):
        open_dataset(root, sources=["bass", "accompaniment"])


def test_silence_and_clicks_are_no_sums(root):
    for song in songs(root):
        silence = np.zeros(sf.info(song / "bass.wav").frames)
        sf.write(song / "choir.wav", silence, trees.SAMPLE_RATE)
        silence[::4000] = 0.5
        sf.write(song / "click.wav", silence, trees.SAMPLE_RATE)
    dataset = open_dataset(root)
    assert dataset.sources == ("bass", "choir", "click", *FOUR[1:])
    assert not [note for note in dataset.notes if "sum" in note.reason]


def test_a_mixture_that_is_no_sum_is_noted(root):
    add(root, "mixture.wav", FOUR)
    path = songs(root)[1] / "mixture.wav"
    audio, rate = sf.read(path)
    sf.write(path, np.tanh(20 * audio), rate)  # mastered, loudly
    (note,) = open_dataset(root).notes
    assert note.describe(root).startswith("Song 1/mixture.wav: is not the sum of its sources")


def test_of_several_mixtures_one_is_used(root):
    add(root, "mixture.wav", FOUR)
    add(root, "mix.wav", ("bass",))
    dataset = open_dataset(root)
    assert dataset.sources == FOUR
    assert_once(dataset)
    assert {note.reason for note in dataset.notes} == {"is not used: mixture.wav is"}


def test_faults_and_notes_of_folders(tmp_path):
    root = trees.make_folder(tmp_path, num_tracks=5, seconds=0.5)
    (root / "Song 0" / "bass.wav").unlink()
    shutil.copy(root / "Song 1" / "bass.wav", root / "Song 1" / "bass.FLAC")
    (root / "Song 2" / "mixture.wav").unlink()
    (root / "Song 2" / "mixture.wav").mkdir()
    shutil.copy(root / "Song 3" / "bass.wav", root / "Song 3" / "notes.wav")
    (root / "texts").mkdir()
    (root / "texts" / "readme.txt").write_text("hello")
    dataset = open_dataset(root)
    assert [track.name for track in dataset] == ["Song 3", "Song 4"]
    assert dataset.sources == trees.SOURCES
    assert [fault.describe(root).split(" (")[0] for fault in dataset.faults] == [
        "Song 0: has no bass",
        "Song 1: has bass more than once: bass.FLAC and bass.wav",
        "Song 2/mixture.wav: is a folder, an audio file is expected here",
        "texts: holds no audio file",
    ]
    assert [note.path.name for note in dataset.notes] == ["notes.wav"]
    # a rare source counts if it is asked for
    asked = open_dataset(root, sources=["notes"])
    assert [track.name for track in asked] == ["Song 3"]
    assert "Song 4: has no notes" in asked.report()


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "aiff", "opus"])
def test_a_source_in_another_form_is_a_fault_a_preview_is_none(suffix, root):
    for song in songs(root):
        for name in (f"mix.{suffix}", f"{song.name}.{suffix}", "cover.jpg"):
            (song / name).write_bytes(b"")
    dataset = open_dataset(root)
    assert (len(dataset), dataset.sources, dataset.faults) == (3, FOUR, ())
    assert_once(dataset)
    for song in songs(root):
        (song / "vocals.wav").rename(song / f"vocals.{suffix}")
    words = rf"has vocals as vocals\.{suffix}, which is not read: convert it"
    with pytest.raises(DatasetError, match=words) as caught:
        open_dataset(root)
    assert len(caught.value.faults) == 3


def test_letter_case_does_not_matter(root):
    first, second, _ = songs(root)
    (first / "vocals.wav").rename(first / "Vocals.wav")
    (second / "bass.wav").rename(second / "BASS.WAV")
    (second / "vocals.wav").rename(second / "Vocals.wav")
    dataset = open_dataset(root)
    assert (len(dataset), dataset.sources, dataset.faults) == (3, FOUR, ())
    assert open_dataset(root, sources=["Vocals"]).sources == ("Vocals",)
    shutil.copy(first / "bass.wav", first / "Bass.wav")
    (fault,) = open_dataset(root).faults
    assert "has bass more than once: Bass.wav and bass.wav" in fault.reason


def test_both_forms_of_unicode_are_one_source(root):
    forms = [unicodedata.normalize(form, "Café Über.wav") for form in ("NFC", "NFD", "NFC")]
    for song, name in zip(songs(root), forms, strict=True):
        (song / "vocals.wav").rename(song / name)
    dataset = open_dataset(root)
    assert (len(dataset), len(dataset.sources), dataset.faults) == (3, 4, ())


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "Dev", "Test"),
        ("training", "validation", "testing"),
        ("trainset", "development", "testset"),
    ],
)
@pytest.mark.parametrize("make", [trees.make_folder, trees.make_musdb18hq, trees.make_musdb18])
def test_subsets_are_known_by_their_usual_names_and_other_folders_are_faults(make, names, tmp_path):
    if make is trees.make_folder:
        make(tmp_path / "set", 1, 0.2, subsets=("train", "valid", "test"))
    else:
        make(tmp_path / "set", 2, 1, 0.2)
        (tmp_path / "set" / "valid").mkdir()
        song = next((tmp_path / "set" / "train").glob("Artist*"))
        song.rename(tmp_path / "set" / "valid" / song.name)
    moved = tmp_path / "moved"
    moved.mkdir()
    for old, new in zip(("train", "valid", "test"), names, strict=True):
        (tmp_path / "set" / old).rename(moved / new)
    dataset = open_dataset(moved)
    assert dataset.faults == ()
    assert {t.path.parent.name for t in dataset if t.subset == "test"} == {names[2]}
    assert names[1] in {t.path.parent.name for t in dataset if t.subset == "valid"}
    shutil.copytree(moved / names[2], moved / "holdout")
    (moved / "docs").mkdir()
    (fault,) = open_dataset(moved).faults
    assert fault.path.name == "holdout"
    assert "is none of the folders train, valid (or val, validation, dev) and test" in fault.reason


def test_two_folders_for_one_subset_are_refused(tmp_path):
    trees.make_folder(tmp_path, 1, 0.2, subsets=("train", "valid"))
    shutil.copytree(tmp_path / "valid", tmp_path / "val")
    with pytest.raises(DatasetError, match="both val and valid are 'valid'"):
        open_dataset(tmp_path)
