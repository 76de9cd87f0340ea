"""Songs in raw files: what goes in comes out, and nothing is left of it."""

import gc
import warnings

import numpy as np
import pytest
from trees import make_folder

from keras_mmdense.data import TrackError, open_dataset
from training.evaluation.errors import EvaluationError
from training.evaluation.metrics import METRICS
from training.evaluation.rows import Row
from training.evaluation.runner import write_estimates
from training.evaluation.songs import (
    SignalFile,
    StoredSignal,
    check_accompaniment,
    open_song,
)


def stored(folder, audio, block=700):
    with SignalFile(folder, audio.shape[1]) as signal:
        for start in range(0, len(audio), block):
            signal.write(audio[start : start + block])
        return signal.stored()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_signal_is_read_back_by_slices(tmp_path, rng, channels):
    audio = rng.standard_normal((5000, channels)).astype(np.float32)
    signal = stored(tmp_path, audio)
    assert (signal.shape, len(signal), signal.ndim, signal.dtype) == (audio.shape, 5000, 2, "f4")
    for part in (slice(None), slice(10, 20), slice(4990, 6000), slice(-3, None), slice(7, 7),
                 slice(9, 3), slice(6000, 7000)):  # fmt: skip
        assert np.array_equal(signal[part], audio[part])
    assert np.array_equal(np.asarray(signal), audio)
    with pytest.raises(ValueError, match="with step 1"):
        signal[::2]


def test_nothing_is_left_in_the_folder_and_no_file_stays_open(tmp_path, rng):
    audio = rng.standard_normal((50, 2)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signal = stored(tmp_path, audio)
        assert list(tmp_path.iterdir()) == []
        file = signal._file
        del signal
        gc.collect()
        assert file.closed
        with SignalFile(tmp_path, 2) as half:
            half.write(audio)  # and never handed on, as after an error
        del half
        gc.collect()


def test_a_signal_is_handed_on_once(tmp_path):
    with SignalFile(tmp_path, 1) as signal:
        signal.write(np.ones((3, 1), np.float32))
        signal.stored()
        for call in (signal.stored, lambda: signal.write(np.ones((3, 1), np.float32))):
            with pytest.raises(ValueError, match="handed on"):
                call()


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics_take_stored_signals(tmp_path, rng, name):
    references = {s: rng.standard_normal((1500, 2)).astype(np.float32) for s in ("a", "b")}
    estimates = {s: x + rng.standard_normal((1500, 2)).astype("f4") for s, x in references.items()}
    expected = METRICS[name].score(references, estimates, 1000)
    files = [
        {s: stored(tmp_path, x) for s, x in group.items()} for group in (references, estimates)
    ]
    assert all(isinstance(x, StoredSignal) for group in files for x in group.values())
    assert METRICS[name].score(*files, 1000) == expected


@pytest.fixture
def track(tmp_path):
    make_folder(tmp_path / "tree", num_tracks=1, seconds=7)  # more than one block
    return open_dataset(tmp_path / "tree")[0]


def test_a_song_has_what_the_track_has(tmp_path, track):
    song = open_song(track, True, tmp_path)
    assert list(song.references) == ["bass", "drums", "other", "vocals", "accompaniment"]
    assert np.array_equal(song.mixture[:], track.read("mixture"))
    for source in track.sources:
        assert np.array_equal(song.references[source][:], track.read(source))
    others = sum(track.read(source).astype(float) for source in ("bass", "drums", "other"))
    assert np.abs(song.references["accompaniment"][:] - others).max() < 1e-7
    assert "accompaniment" not in open_song(track, False, tmp_path).references


def test_a_song_that_cannot_be_read_leaves_nothing(tmp_path, track):
    data = (track.path / "vocals.wav").read_bytes()
    (track.path / "vocals.wav").write_bytes(data[: len(data) // 2])
    (tmp_path / "report").mkdir()
    with pytest.raises(TrackError, match="vocals"):
        open_song(track, False, tmp_path / "report")
    assert list((tmp_path / "report").iterdir()) == []


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.zeros((100, 2))], "gave 100"),
        ([np.full((100, 2), np.inf)], "NaN or infinity in bass of mine, between samples 0 and 100"),
        ([], "gave 0"),
    ],
)
def test_wrong_estimates_are_refused(tmp_path, track, blocks, message):
    class Estimator:
        def stream(self, song):
            return ({"bass": block.astype(np.float32)} for block in blocks)

    row = Row("mine", "folder", (tmp_path,), ("bass",), "", 0, "")
    with pytest.raises(EvaluationError, match=message):
        write_estimates(Estimator(), row, open_song(track, False, tmp_path), tmp_path)


@pytest.mark.parametrize(
    "sources", [("vocals",), ("bass", "drums"), ("vocals", "accompaniment"), ()]
)
def test_data_that_have_no_accompaniment(sources):
    with pytest.raises(EvaluationError, match="--accompaniment needs data with vocals"):
        check_accompaniment(sources)
    check_accompaniment(("piano", "vocals"))
