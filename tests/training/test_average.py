"""The mean of models' weights: against NumPy, and what is refused."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from small import disturb

import keras_mmdense
from training.average import main

TINY = {"bins": 16, "growth_rate": 1, "num_layers": 1, "scales": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two models of the same settings, and one of another rate."""
    paths = [str(tmp_path_factory.mktemp("models") / f"{k}.keras") for k in range(3)]
    for seed, path in enumerate(paths):
        model = keras_mmdense.build("mdensenet", **TINY, sample_rate=44100 + seed // 2)
        disturb(model, seed)
        keras_mmdense.annotate(model, training_data=f"songs {seed}", license="CC0")
        model.save(path)
    return paths


def test_mean(files, tmp_path):
    out = str(tmp_path / "mean.keras")
    assert main([*files[:2], "--out", out]) == 0
    models = [keras.saving.load_model(path, compile=False) for path in (*files[:2], out)]
    for first, second, mean in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(mean, (first + second) / 2, rtol=1e-5, atol=1e-6)
    first, _, mean = map(keras_mmdense.settings_of, models)
    assert mean == replace(first, training_data="songs 0; songs 1", license="CC0")


def test_what_is_refused(files, tmp_path, capsys):
    out = tmp_path / "mean.keras"
    for arguments, message in (
        ([files[0], "--out", str(out)], "two or more models; received 1"),
        ([*files, "--out", str(out)], "the same settings; received 'another sample_rate'"),
        ([*files[:2], "--out", files[0]], "new .keras file"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()
