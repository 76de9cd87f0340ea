"""Keras models and .tflite files as rows: the same numbers as the calls that users make."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mmdense_edge import Separator
from signals import joined, make_song
from small import disturb

import keras_mmdense
from keras_mmdense import SettingsError
from training.evaluate import EvaluationError
from training.evaluate.estimators import open_estimator
from training.evaluate.rows import Row

TFLITE = Path(__file__).parents[1] / "edge" / "data"


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
    for seconds in (15, 60):
        stream = open_estimator(row)(make_song(rng, 44100 * seconds, sources=("bass", "vocals")))
        tracemalloc.start()
        for _ in stream:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
