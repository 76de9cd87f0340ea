"""Estimators give what their definitions and the calls of users give; songs lie in raw files."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mmdense_edge import Separator
from scipy.signal import istft, stft
from signals import joined, make_song
from small import disturb
from trees import make_folder

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.data import TrackError, open_dataset
from training.evaluate import EvaluationError
from training.evaluate.estimators import MASKS, mask_estimates, open_estimator
from training.evaluate.rows import REST, Row
from training.evaluate.songs import open_song

TFLITE = Path(__file__).parents[2] / "edge" / "data"
FORM = {"window": "hann", "nperseg": 2048, "noverlap": 1024}


def masked(song, mask):
    return joined(mask_estimates(song, MASKS[mask], tuple(song.references)))


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_masks_are_those_of_their_definition(mask, rng):
    song = make_song(rng, num_samples=30011)
    estimates = masked(song, mask)
    spectra = {
        name: stft(x.T, boundary="even", padded=True, **FORM)[2]
        for name, x in {**song.references, "mixture": song.mixture}.items()
    }
    magnitudes = {name: np.abs(s) for name, s in spectra.items()}
    whole = magnitudes.pop("mixture")
    for source, own in magnitudes.items():
        values = {
            "irm": own / sum(magnitudes.values()),
            "iwf": own**2 / sum(m**2 for m in magnitudes.values()),
            "ibm": (own / whole >= 0.5).astype(float),
        }[mask]
        expected = istft(values * spectra["mixture"], boundary=True, **FORM)[1].T
        assert np.abs(estimates[source] - expected[: len(song.mixture)]).max() < 1e-5
        assert np.abs(expected).max() > 0.05


@pytest.mark.parametrize("mask", ["irm", "iwf"])
@pytest.mark.parametrize("num_samples", [1, 1023, 5000, 600000])
def test_ratio_masks_share_out_the_mixture(mask, num_samples, rng):
    song = make_song(rng, num_samples=num_samples)
    total = sum(estimate.astype(np.float64) for estimate in masked(song, mask).values())
    assert total.shape == song.mixture.shape
    assert np.abs(total - song.mixture).max() < 1e-5


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_a_source_that_is_alone_comes_back_whole(mask, rng):
    song = make_song(rng, 9000, silent=("bass", "other"))
    estimates = masked(song, mask)
    assert np.abs(estimates["vocals"] - song.references["vocals"]).max() < 1e-5
    assert not estimates["bass"].any()
    with np.errstate(all="raise"):
        silence = np.zeros((2, 3, 4), np.float32)
        assert not MASKS[mask](silence, silence[0]).any()


TINY = {
    "bins": 64,
    "growth_rate": 2,
    "num_layers": 1,
    "scales": 1,
    "final_growth_rate": 2,
    "head": "mask",
}


def model_file(folder, name, seed=0, **kwargs):
    model = keras_mmdense.build("mdensenet", **{**TINY, **kwargs})
    disturb(model, seed)
    model.save(folder / f"{name}.keras")
    return model


def estimates_of(song, *paths, sources, wiener=0):
    kind = paths[0].suffix[1:]
    row = Row("model", kind, "", tuple(sources), paths, str(paths), wiener)
    return joined(open_estimator(row)(song))


def test_keras_rows_are_what_separate_gives(tmp_path, rng):
    models = [
        model_file(tmp_path, "bass", 1, sources=("bass",), frames=16),
        model_file(tmp_path, "vocals", 2, sources=("vocals",), scales=2),
    ]
    song = make_song(rng, 30000)
    paths = (tmp_path / "bass.keras", tmp_path / "vocals.keras")
    estimates = estimates_of(song, *paths, sources=["vocals"], wiener=1)
    expected = keras_mmdense.separate(models, song.mixture, 44100, wiener=1)
    assert set(estimates) == {"vocals"}
    assert np.abs(estimates["vocals"] - expected["vocals"]).max() < 1e-5


@pytest.mark.parametrize("wiener", [0, 1])
def test_a_tflite_row_is_what_the_runner_gives(rng, wiener):
    song = make_song(rng, 50000)
    path = TFLITE / "shares.tflite"
    estimates = estimates_of(song, path, sources=["bass", "vocals"], wiener=wiener)
    expected = Separator(path).separate(song.mixture, 44100, wiener=wiener)
    assert set(estimates) == {"bass", "vocals"}
    assert all(np.array_equal(estimates[source], expected[source]) for source in estimates)


def test_the_rest_of_the_mixture_is_the_accompaniment_in_every_block(rng):
    song = make_song(rng, 300000, sources=("bass", "vocals"))
    sources, files = ("vocals", "accompaniment"), (TFLITE / "shares.tflite",)
    row = Row("shares", "tflite", "", sources, files, accompaniment=REST)
    estimates = joined(open_estimator(row)(song))
    assert np.abs(estimates["vocals"]).max() > 0.01
    assert np.abs(sum(estimates.values()) - song.mixture).max() < 1e-6


def test_models_that_cannot_be_used_are_refused(tmp_path):
    """Joined models must fit together, and a damaged file is named."""
    model_file(tmp_path, "a", sources=("bass",))
    model_file(tmp_path, "b", sources=("bass", "vocals"))
    model_file(tmp_path, "c", sources=("drums",), channels=1)
    data = bytearray((tmp_path / "a.keras").read_bytes())
    start = data.index(b"model.weights.h5") + 40
    data[start : start + 200] = bytes(200)
    (tmp_path / "broken.keras").write_bytes(data)
    keras = {name: tmp_path / f"{name}.keras" for name in ("a", "b", "c", "broken")}
    for paths, error, message in (
        ((keras["a"], keras["b"]), SettingsError, "different sources and the same transform"),
        ((keras["a"], keras["c"]), SettingsError, "different sources and the same transform"),
        ((keras["broken"],), SettingsError, r"received .*broken.keras"),
        ((TFLITE / "identity.tflite", TFLITE / "mono.tflite"), EvaluationError, "the same rate"),
    ):
        with pytest.raises(error, match=message):
            estimates_of(None, *paths, sources=["bass"])


@pytest.mark.parametrize(
    "row",
    [
        Row("irm", "baseline", "", ("bass", "vocals")),
        Row("shares", "tflite", "", ("bass", "vocals"), (TFLITE / "shares.tflite",)),
    ],
)
def test_memory_does_not_grow_with_the_song(row, rng):
    peaks = []
    for seconds in (13, 39):
        stream = open_estimator(row)(make_song(rng, 44100 * seconds, sources=("bass", "vocals")))
        tracemalloc.start()
        for _ in stream:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


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
