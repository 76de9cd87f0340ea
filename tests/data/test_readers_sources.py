"""What counts as a source, as the mixture and as a subset: the mixture holds everything once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import trees

from keras_mmdense.data import Dataset, DatasetError, open_dataset
from training.train.split import open_tracks

FOUR = trees.SOURCES
BACKING = ("bass", "drums", "other")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.make_folder(tmp_path / "tree", num_tracks=3, mixture=False)


def songs(root: Path) -> list[Path]:
    return sorted({path.parent for path in root.rglob("bass.*")})


def add(root: Path, name: str, parts: tuple[str, ...], gain: float = 1.0, **kwargs: str) -> None:
    """Write the sum of some sources beside them, in every song."""
    for song in songs(root):
        total = sum(sf.read(song / f"{part}.wav")[0] for part in parts)
        sf.write(song / name, gain * total, trees.SAMPLE_RATE, **kwargs)


def assert_once(dataset: Dataset) -> None:
    """The mixture of every track is the sum of the four sources, and so is that of training."""
    for track in dataset:
        truth = sum(sf.read(track.path / f"{name}.wav", dtype="float32")[0] for name in FOUR)
        np.testing.assert_allclose(track.read("mixture"), truth, atol=1e-4)
        total = sum(track.read(name) for name in track.sources)
        np.testing.assert_allclose(total, truth, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["mixture.wav", "Mixture.wav", "MIXTURE.WAV", "mix.wav", "Full Mix.flac", "full_mix.wav",
     "Mixdown.wav"],
)  # fmt: skip
def test_a_mixture_is_known_by_its_usual_names(name: str, root: Path) -> None:
    add(root, name, FOUR)
    dataset = open_dataset(root)
    assert dataset.sources == FOUR
    assert all(track.has_mixture for track in dataset)
    assert dataset.faults == dataset.notes == ()
    assert_once(dataset)


@pytest.mark.parametrize("gain", [1.0, 0.7])
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("instrumental.wav", BACKING),
        ("accompaniment.flac", BACKING),
        ("everything.wav", FOUR),
        ("rhythm.wav", ("bass", "drums")),
        ("vocals 2.wav", ("vocals",)),
    ],
)
def test_a_sum_of_others_is_no_source(
    name: str, parts: tuple[str, ...], gain: float, root: Path
) -> None:
    add(root, name, parts, gain)
    dataset = open_dataset(root)
    stem = Path(name).stem
    (note,) = [note.describe(root) for note in dataset.notes]
    assert note in dataset.report()
    assert ", ".join(parts) in note or len(parts) == 1
    assert stem in note
    if len(parts) > 1:
        assert f"{stem} is the sum of {', '.join(parts)}; not used as a source: {stem}" in note
        assert dataset.sources == FOUR
        assert_once(dataset)
    else:
        assert len(dataset.sources) == 4


def test_hq_with_an_accompaniment_and_a_valid_folder(tmp_path: Path) -> None:
    trees.make_musdb18hq(tmp_path, 2, 1)
    shutil.move(tmp_path / "train" / "Leaf - Summerghost", tmp_path / "valid" / "Leaf")
    add(tmp_path, "accompaniment.wav", BACKING)
    dataset = open_dataset(tmp_path)
    assert dataset.sources == FOUR
    assert [track.subset for track in dataset] == ["train", "valid", "test"]
    assert_once(dataset)


def test_two_stems_stay_two_stems(root: Path) -> None:
    """A sum whose parts are not there is a source like any other."""
    add(root, "instrumental.wav", BACKING)
    for song in songs(root):
        for part in BACKING:
            (song / f"{part}.wav").unlink()
    dataset = open_dataset(root)
    assert dataset.sources == ("instrumental", "vocals")
    assert dataset.notes == ()


def test_what_is_asked_for_decides(root: Path) -> None:
    add(root, "accompaniment.wav", BACKING)
    for options in ({"sources": ["vocals", "accompaniment"]}, {"needed": ["accompaniment"]}):
        dataset = open_dataset(root, **options)
        assert sorted(dataset.sources) == ["accompaniment", "vocals"]
        assert_once(dataset)
    vocals = open_dataset(root, sources=["vocals"])
    assert vocals.sources == ("vocals",)
    assert vocals[0].read("mixture").shape == vocals[0].read("vocals").shape
    np.testing.assert_allclose(
        vocals[0].read("mixture"), open_dataset(root)[0].read("mixture"), atol=1e-4
    )
    with pytest.raises(DatasetError, match="accompaniment is the sum of bass, drums, other: ask"):
        open_dataset(root, sources=["bass", "accompaniment"])


def test_silence_and_clicks_are_no_sums(root: Path) -> None:
    for song in songs(root):
        silence = np.zeros(sf.info(song / "bass.wav").frames)
        sf.write(song / "choir.wav", silence, trees.SAMPLE_RATE)
        silence[::4000] = 0.5
        sf.write(song / "click.wav", silence, trees.SAMPLE_RATE)
    dataset = open_dataset(root)
    assert dataset.sources == ("bass", "choir", "click", *FOUR[1:])
    assert not [note for note in dataset.notes if "sum" in note.reason]


def test_a_mixture_that_is_no_sum_is_told(root: Path) -> None:
    add(root, "mixture.wav", FOUR)
    path = songs(root)[1] / "mixture.wav"
    audio, rate = sf.read(path)
    sf.write(path, np.tanh(20 * audio), rate)  # mastered, loudly
    dataset = open_dataset(root)
    (note,) = dataset.notes
    assert note.path == path
    assert "is not the sum of its sources" in note.reason


def test_several_mixtures(root: Path) -> None:
    add(root, "mixture.wav", FOUR)
    add(root, "mix.wav", ("bass",))
    dataset = open_dataset(root)
    assert dataset.sources == FOUR
    assert_once(dataset)
    assert {note.reason for note in dataset.notes} == {"is not used: mixture.wav is"}


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "aiff", "opus"])
def test_a_source_in_another_form_is_a_fault_not_a_loss(suffix: str, root: Path) -> None:
    for song in songs(root):
        (song / "vocals.wav").rename(song / f"vocals.{suffix}")
    with pytest.raises(DatasetError) as told:
        open_dataset(root)
    assert f"has vocals as vocals.{suffix}, which is not read: convert it" in str(told.value)
    assert len(told.value.faults) == 3


def test_a_preview_in_another_form_is_no_fault(root: Path) -> None:
    for song in songs(root):
        (song / "mix.mp3").write_bytes(b"")
        (song / f"{song.name}.mp3").write_bytes(b"")
        (song / "cover.jpg").write_bytes(b"")
    dataset = open_dataset(root)
    assert (len(dataset), dataset.sources, dataset.faults) == (3, FOUR, ())
    assert_once(dataset)


def test_letter_case_does_not_matter(root: Path) -> None:
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


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("train", "validation", "test"),
        ("Train", "Dev", "Test"),
        ("training", "development", "testing"),
    ],
)
@pytest.mark.parametrize("make", [trees.make_folder, trees.make_musdb18hq, trees.make_musdb18])
def test_subsets_are_known_by_their_usual_names(names, make, tmp_path: Path) -> None:
    if make is trees.make_folder:
        make(tmp_path, 2, subsets=("train", "valid", "test"))
    else:
        make(tmp_path, 2, 2)
        (tmp_path / "valid").mkdir()
        song = next((tmp_path / "train").glob("Artist*"))
        song.rename(tmp_path / "valid" / song.name)
    moved = tmp_path / "moved"
    moved.mkdir()
    for old, new in zip(("train", "valid", "test"), names, strict=True):
        (tmp_path / old).rename(moved / new)
    dataset = open_dataset(moved)
    assert dataset.faults == ()
    assert {track.subset for track in dataset} >= {"valid", "test"}
    assert {t.path.parent.name for t in dataset if t.subset == "test"} == {names[2]}
    assert names[1] in {t.path.parent.name for t in dataset if t.subset == "valid"}


@pytest.mark.parametrize("make", [trees.make_folder, trees.make_musdb18hq, trees.make_musdb18])
def test_any_other_folder_of_songs_is_a_fault(make, tmp_path: Path) -> None:
    if make is trees.make_folder:
        make(tmp_path, 2, subsets=("train", "test"))
    else:
        make(tmp_path, 2, 1)
    shutil.copytree(tmp_path / "test", tmp_path / "holdout")
    (tmp_path / "docs").mkdir()
    dataset = open_dataset(tmp_path)
    (fault,) = dataset.faults
    assert fault.path.name == "holdout"
    assert "lies beside the folders train, valid (or val, validation, dev) and test" in fault.reason


def test_two_folders_for_one_subset_are_refused(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, subsets=("train", "valid"))
    shutil.copytree(tmp_path / "valid", tmp_path / "val")
    with pytest.raises(DatasetError, match="both val and valid are 'valid'"):
        open_dataset(tmp_path)


def test_songs_in_training_and_validation_are_told(tmp_path: Path, capsys) -> None:
    tree = trees.make_folder(tmp_path, 3, 0.5)
    open_tracks([str(tree)])
    assert capsys.readouterr().err == ""
    open_tracks([str(tree)], [str(tree)])
    assert "3 songs to validate on are, by name and length, songs to train on" in (
        capsys.readouterr().err
    )
