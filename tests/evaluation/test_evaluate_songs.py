"""Songs in raw files: what goes in comes out, and nothing is left of it."""

import numpy as np
import pytest
from trees import make_folder

from keras_mmdense.data import TrackError, open_dataset
from training.evaluate.songs import open_song


@pytest.fixture
def track(tmp_path):
    make_folder(tmp_path / "tree", num_tracks=1, seconds=7)  # more than one block
    return open_dataset(tmp_path / "tree")[0]


def test_a_song_has_what_the_track_has(tmp_path, track):
    (tmp_path / "report").mkdir()
    song = open_song(track, True, tmp_path / "report")
    assert list((tmp_path / "report").iterdir()) == []
    assert list(song.references) == ["bass", "drums", "other", "vocals", "accompaniment"]
    assert np.array_equal(song.mixture, track.read("mixture"))
    for source in track.sources:
        assert np.array_equal(song.references[source], track.read(source))
    others = sum(track.read(source).astype(float) for source in ("bass", "drums", "other"))
    assert np.abs(song.references["accompaniment"] - others).max() < 1e-7
    assert "accompaniment" not in open_song(track, False, tmp_path).references


def test_a_song_that_cannot_be_read_leaves_nothing(tmp_path, track):
    data = (track.path / "vocals.wav").read_bytes()
    (track.path / "vocals.wav").write_bytes(data[: len(data) // 2])
    (tmp_path / "report").mkdir()
    with pytest.raises(TrackError, match="vocals"):
        open_song(track, False, tmp_path / "report")
    assert list((tmp_path / "report").iterdir()) == []
