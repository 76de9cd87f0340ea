"""MUSDB18's stem files: order of streams, damage, what is missing; ffmpeg must be on PATH."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import trees

from keras_mmdense.data import DatasetError, TrackError, musdb18, open_dataset
from keras_mmdense.data.musdb18hq import VALIDATION_TRACKS


def test_musdb18_streams_are_in_order(tmp_path: Path) -> None:
    track = open_dataset(trees.make_musdb18(tmp_path, 1, 0))[0]
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


def test_musdb_validation_list_is_musdbs_own(tmp_path: Path) -> None:
    import musdb

    (tmp_path / "train").mkdir()
    setup = musdb.DB(root=str(tmp_path), subsets=["train"]).setup
    assert sorted(setup["validation_tracks"]) == sorted(VALIDATION_TRACKS)


def test_musdb18_faults(tmp_path: Path) -> None:
    root = trees.make_musdb18(tmp_path, num_train=5, num_test=0)
    good, data, header, text, few = sorted((root / "train").iterdir())
    data.write_bytes(data.read_bytes()[:-5000])
    header.write_bytes(b"")
    text.write_text("no video\n" * 100)
    wav = root / "x.wav"
    trees.write(wav, np.zeros((4410, 2)))
    few.unlink()
    trees.make_stem(few, [wav, wav])
    (root / "train" / "Folder - Song.stem.mp4").mkdir()
    dataset = open_dataset(root)
    assert [track.path for track in dataset] == [good]
    reasons = {fault.path: fault.reason for fault in dataset.faults}
    assert len(reasons) == len(dataset.faults) == 5
    assert "is cut short" in reasons[data]
    assert "not a readable stem file" in reasons[header]
    assert "not a readable stem file" in reasons[text]
    assert "must begin with five audio streams" in reasons[few]
    assert reasons[root / "train" / "Folder - Song.stem.mp4"] == "is not a file"
    assert dataset[0].read("vocals", 44000, 100).shape == (100, 2)


def test_musdb18_without_ffmpeg_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = trees.make_musdb18(tmp_path, num_train=1, num_test=0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatasetError, match="ffmpeg and ffprobe on PATH: install ffmpeg"):
        open_dataset(root)


def test_musdb18_without_musdb_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = trees.make_musdb18(tmp_path, num_train=1, num_test=0)
    monkeypatch.setitem(sys.modules, "musdb", None)
    with pytest.raises(DatasetError, match="pip install musdb"):
        open_dataset(root)


def test_musdb18_read_of_a_vanished_file(tmp_path: Path) -> None:
    track = open_dataset(trees.make_musdb18(tmp_path, num_train=1, num_test=0))[0]
    track.path.unlink()
    musdb18._multitrack.cache_clear()
    with pytest.raises(TrackError, match=r"samples 5 to 15 cannot be decoded"):
        track.read("bass", 5, 10)
