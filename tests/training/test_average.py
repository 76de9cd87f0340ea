"""The mean of models' weights: against NumPy, and what is refused."""

import keras
import numpy as np
import pytest
from small import SMALL, disturb

import keras_mmdense
from training.average import main


@pytest.fixture
def files(tmp_path):
    paths = []
    for number in range(2):
        model = keras_mmdense.build("mdensenet", **SMALL)
        disturb(model, seed=number)
        paths.append(str(tmp_path / f"{number}.keras"))
        model.save(paths[-1])
    return paths


def weights(path):
    return keras.saving.load_model(path, compile=False).get_weights()


def test_mean_by_shares(files, tmp_path):
    out = str(tmp_path / "mean.keras")
    assert main([*files, "--shares", "3", "1", "--out", out]) == 0
    for first, second, mean in zip(*map(weights, (*files, out)), strict=True):
        np.testing.assert_allclose(mean, 0.75 * first + 0.25 * second, rtol=1e-5, atol=1e-6)
    assert keras_mmdense.settings_of(out) == keras_mmdense.settings_of(files[0])


def test_what_is_refused(files, tmp_path, capsys):
    out = tmp_path / "mean.keras"
    command = [*files, "--out", str(out)]
    assert main([*command, "--shares", "1"]) == 2
    assert "2 models and shares [1.0]" in capsys.readouterr().err
    other = str(tmp_path / "other.keras")
    keras_mmdense.build("mdensenet", **SMALL | {"growth_rate": 4}).save(other)
    assert main([*files, other, "--out", str(out)]) == 2
    assert "the same architecture" in capsys.readouterr().err
    assert not out.exists()
    assert main([*files, "--out", files[0]]) == 2
    assert "new .keras file" in capsys.readouterr().err
