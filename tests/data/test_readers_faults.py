"""Damaged and unclear trees: every fault is named, and what is left can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import trees

from keras_mmdense.data import DatasetError, TrackError, open_dataset
from keras_mmdense.data.problems import Fault

DEV = Path("Sources") / "Dev"


def cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def shorten(path: Path, num_samples: int) -> None:
    audio, rate = sf.read(path, dtype="int16")
    sf.write(path, audio[:-num_samples], rate)


def rewrite(path: Path, channels: int = 2, sample_rate: int = 44100, num: int = 44113) -> None:
    sf.write(path, np.full((num, channels), 0.1), sample_rate)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# file to damage, how, what the fault says
DAMAGE = {
    "truncated header": ("bass", lambda p: p.write_bytes(p.read_bytes()[:20]), "not a readable"),
    "zero bytes": ("drums", lambda p: p.write_bytes(b""), "not a readable audio file"),
    "zero length": ("other", lambda p: rewrite(p, num=0), "holds no samples"),
    "8 kHz": ("vocals", lambda p: rewrite(p, sample_rate=8000, num=8000), "8000 Hz, not 44100 Hz"),
    "three channels": ("bass", lambda p: rewrite(p, channels=3), "3 channels: 1 or 2 are read"),
    "missing stem": ("drums", Path.unlink, "is missing"),
    "lengths": ("other", lambda p: rewrite(p, num=22050), "differ in length by more than 0.1 s"),
    "folder": ("mixture", replace_by_folder, "is a folder, an audio file is expected"),
    "text": ("vocals", lambda p: p.write_text("to be done\n" * 99), "not a readable audio file"),
    "cut data": ("mixture", lambda p: cut(p, 0.97), "cut short: its header promises"),
    "dangling link": ("bass", lambda p: (p.unlink(), p.symlink_to("nowhere")), "is missing"),
}


@pytest.fixture(scope="session")
def dsd100_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.make_dsd100(tmp_path_factory.mktemp("dsd100"), num_dev=len(DAMAGE) + 2)


def file_of(root: Path, index: int, source: str) -> Path:
    top = "Mixtures" if source == "mixture" else "Sources"
    return root / top / "Dev" / f"{55 + index:03d} - Artist {index} - Song" / f"{source}.wav"


def test_all_faults_are_listed_and_the_rest_reads(dsd100_template: Path, tmp_path: Path) -> None:
    root = shutil.copytree(dsd100_template, tmp_path / "tree")
    for index, (source, damage, _) in enumerate(DAMAGE.values()):
        damage(file_of(root, index, source))
    dataset = open_dataset(root)
    assert [track.name[:3] for track in dataset] == ["066", "067", "001"]
    assert dataset.num_left_out == len(dataset.faults) == len(DAMAGE)
    report = dataset.report()
    assert report.count("\n") == len(DAMAGE)
    assert f"{len(DAMAGE)} tracks left out, {len(DAMAGE)} faults" in report
    for index, (case, (source, _, reason)) in enumerate(DAMAGE.items()):
        path = file_of(root, index, source)
        (fault,) = [f for f in dataset.faults if path.parent.name in f.track]
        assert reason in fault.reason
        assert fault.path == (path.parent if case == "lengths" else path)
        assert f"fault: {fault.describe(root)}" in report
        assert str(root) not in fault.describe(root)
    for track in dataset:
        for source in (*track.sources, "mixture"):
            assert track.read(source).shape == (track.num_samples, 2)


def test_every_fault_of_one_track_is_found(dsd100_template: Path, tmp_path: Path) -> None:
    root = shutil.copytree(dsd100_template, tmp_path / "tree")
    file_of(root, 0, "bass").unlink()
    rewrite(file_of(root, 0, "drums"), sample_rate=48000, num=100)
    file_of(root, 0, "vocals").write_bytes(b"")
    dataset = open_dataset(root)
    assert dataset.num_left_out == 1
    assert [fault.path.stem for fault in dataset.faults[:3]] == ["bass", "vocals", "drums"]
    assert "differ in length" in dataset.faults[3].reason


def test_a_dsd100_track_must_be_in_both_halves(dsd100_template: Path, tmp_path: Path) -> None:
    root = shutil.copytree(dsd100_template, tmp_path / "tree")
    shutil.rmtree(file_of(root, 0, "mixture").parent)
    shutil.rmtree(file_of(root, 1, "bass").parent)
    faults = open_dataset(root).faults
    assert [fault.reason for fault in faults] == ["is missing"] * 5
    assert {fault.path.stem for fault in faults[1:]} == set(trees.SOURCES)


@pytest.mark.parametrize(("num_samples", "usable"), [(1, True), (4410, True), (4411, False)])
def test_small_differences_in_length_are_noted_larger_are_faults(
    tmp_path: Path, num_samples: int, usable: bool
) -> None:
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
        assert dataset.report().count("note: ") == 4


def test_mono_among_stereo_is_read_in_both_channels(tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path)
    rewrite(root / "Song 0" / "bass.wav", channels=1)
    dataset = open_dataset(root)
    assert dataset.faults == ()
    mono, mixture = dataset.notes
    assert (mono.path.name, mixture.path.name) == ("bass.wav", "mixture.wav")
    bass = dataset[0].read("bass")
    assert bass.shape == (44113, 2)
    np.testing.assert_array_equal(bass[:, 0], bass[:, 1])


@pytest.mark.parametrize("mixture", [True, False])
def test_mono_tracks_are_mono_unless_stereo_is_asked_for(tmp_path: Path, mixture: bool) -> None:
    for source in ("a", "b") + ("mixture",) * mixture:
        trees.write(tmp_path / "Song" / f"{source}.wav", np.full(1000, 0.25))
    dataset = open_dataset(tmp_path)
    assert dataset.notes == ()
    assert dataset[0].channels == 1
    for source in ("a", "mixture"):
        mono = dataset[0].read(source)
        assert mono.shape == (1000, 1)
        stereo = dataset[0].read(source, channels=2)
        np.testing.assert_array_equal(stereo, np.repeat(mono, 2, axis=1))


def test_folder_faults_and_notes(tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path, num_tracks=5)
    (root / "Song 0" / "bass.wav").unlink()
    shutil.copy(root / "Song 1" / "bass.wav", root / "Song 1" / "bass.FLAC")
    replace_by_folder(root / "Song 2" / "mixture.wav")
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


def test_a_rare_source_counts_when_it_is_asked_for(tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path, num_tracks=5, mixture=False)
    shutil.copy(root / "Song 3" / "bass.wav", root / "Song 3" / "choir.wav")
    assert len(open_dataset(root)) == 5
    dataset = open_dataset(root, sources=["choir"])
    assert [track.name for track in dataset] == ["Song 3"]
    assert len(dataset.faults) == 4


def test_a_track_beside_the_subsets_is_a_fault(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, subsets=("train", "valid"))
    shutil.copytree(tmp_path / "train" / "Song 0", tmp_path / "lost")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 4
    assert [fault.path.name for fault in dataset.faults] == ["lost"]
    assert len(open_dataset(tmp_path, subset="valid")) == 2


def test_file_changes_after_opening_are_errors(tmp_path: Path) -> None:
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
def test_not_finite_samples(tmp_path: Path, value: float) -> None:
    root = trees.make_folder(tmp_path)
    audio = np.zeros((44113, 2), np.float32)
    audio[30000, 1] = value
    sf.write(root / "Song 0" / "bass.wav", audio, 44100, subtype="FLOAT")
    sf.write(root / "Song 1" / "bass.wav", np.zeros((44214, 2)), 44100, subtype="FLOAT")
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


def test_deep_check_finds_damage_inside_a_file(tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path, suffix="flac", mixture=False)
    path = root / "Song 1" / "vocals.flac"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    dataset = open_dataset(root)
    assert len(dataset) == 2
    checked = dataset.check()
    assert [track.name for track in checked] == ["Song 0"]
    assert [fault.path for fault in checked.faults] == [path]


def test_check_without_a_survivor_is_an_error_with_faults(tmp_path: Path) -> None:
    trees.write(tmp_path / "Song" / "a.wav", np.full((100, 2), np.nan), subtype="FLOAT")
    # the last sample is read when a file is opened
    with pytest.raises(DatasetError, match=r"no usable track; the first of 1 faults: Song/a\.wav"):
        open_dataset(tmp_path)
    audio = np.zeros((100, 2))
    audio[50] = np.nan
    trees.write(tmp_path / "Song" / "a.wav", audio, subtype="FLOAT")
    with pytest.raises(DatasetError, match="no usable track") as caught:
        open_dataset(tmp_path).check()
    assert isinstance(caught.value.faults[0], Fault)


@pytest.mark.parametrize(
    ("suffix", "reason"),
    [("flac", "cut short: ends after"), ("ogg", "cut short: the Ogg stream has no end")],
)
def test_cut_compressed_files_are_found_at_opening(
    tmp_path: Path, suffix: str, reason: str
) -> None:
    root = trees.make_folder(tmp_path, suffix=suffix, seconds=3.0)
    cut(root / "Song 0" / f"drums.{suffix}", 0.6)
    dataset = open_dataset(root)
    assert [track.name for track in dataset] == ["Song 1"]
    (fault,) = dataset.faults
    assert reason in fault.reason
