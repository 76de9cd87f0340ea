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
from training.evaluation.baselines import MaskEstimator
from training.evaluation.errors import EvaluationError
from training.evaluation.model_networks import ModelEstimator

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


def test_keras_rows_are_what_separate_gives(tmp_path, rng):
    models = [
        model_file(tmp_path, "bass", 1, sources=("bass",), frames=16),
        model_file(tmp_path, "vocals", 2, sources=("vocals",), scales=2),
    ]
    song = make_song(rng, 30000)
    estimator = ModelEstimator(
        [tmp_path / "bass.keras", tmp_path / "vocals.keras"], ["vocals"], 1, 1
    )
    expected = keras_mmdense.separate(models, song.mixture, 44100, wiener=1)
    estimates = joined(estimator.stream(song))
    assert set(estimates) == {"vocals"}
    assert np.abs(estimates["vocals"] - expected["vocals"]).max() < 1e-5


def test_a_tflite_row_is_what_the_runner_gives(rng):
    song = make_song(rng, 50000)
    path = TFLITE / "shares.tflite"
    estimates = joined(ModelEstimator([path], ["bass", "vocals"], 0, 1).stream(song))
    expected = Separator(path).separate(song.mixture, 44100)
    assert set(estimates) == {"bass", "vocals"}
    for source, estimate in estimates.items():
        assert np.array_equal(estimate, expected[source])


def test_the_wiener_filter_is_the_runner_s(rng):
    song = make_song(rng, 50000)
    path = TFLITE / "shares.tflite"
    filtered, plain = (
        joined(ModelEstimator([path], ["bass", "vocals"], wiener, 1).stream(song))["bass"]
        for wiener in (1, 0)
    )
    expected = Separator(path).separate(song.mixture, 44100, wiener=1)
    assert np.array_equal(filtered, expected["bass"])
    assert np.abs(filtered - plain).max() > 1e-3


def test_joined_models_must_fit_together(tmp_path):
    model_file(tmp_path, "a", sources=("bass",))
    model_file(tmp_path, "b", sources=("bass", "vocals"))
    model_file(tmp_path, "c", sources=("drums",), channels=1)
    for names in ("ab", "ac"):
        with pytest.raises(SettingsError, match="different sources and the same transform"):
            ModelEstimator([tmp_path / f"{name}.keras" for name in names], ["bass"], 0, 1)
    files = [TFLITE / "identity.tflite", TFLITE / "mono.tflite"]
    with pytest.raises(EvaluationError, match="the same rate"):
        ModelEstimator(files, ["everything"], 0, 1)


def test_a_damaged_keras_file_is_told_in_one_line(tmp_path):
    model_file(tmp_path, "whole")
    data = bytearray((tmp_path / "whole.keras").read_bytes())
    start = data.index(b"model.weights.h5") + 40
    data[start : start + 200] = bytes(200)
    (tmp_path / "broken.keras").write_bytes(data)
    with pytest.raises(SettingsError, match=r"received .*broken.keras"):
        ModelEstimator([tmp_path / "broken.keras"], ["vocals"], 0, 1)


@pytest.mark.parametrize("kind", ["tflite", "mask"])
def test_memory_does_not_grow_with_the_song(kind, rng):
    def estimator():
        if kind == "mask":
            return MaskEstimator("irm", ("bass", "vocals"))
        return ModelEstimator([TFLITE / "shares.tflite"], ["bass", "vocals"], 0, 1)

    peaks = []
    for seconds in (15, 60):
        song = make_song(rng, 44100 * seconds, sources=("bass", "vocals"))
        stream = estimator().stream(song)
        tracemalloc.start()
        for _ in stream:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
