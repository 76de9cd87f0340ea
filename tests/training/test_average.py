"""The mean of models' weights: against NumPy, and what is refused."""

import keras
import numpy as np
import pytest
from small import disturb

import keras_mmdense
from training.average import main

TINY = {"bins": 16, "growth_rate": 1, "num_layers": 1, "scales": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two models of one architecture, and another one."""
    paths = [str(tmp_path_factory.mktemp("models") / f"{k}.keras") for k in range(3)]
    for seed, path in enumerate(paths):
        model = keras_mmdense.build("mdensenet", **TINY | {"growth_rate": 1 + seed // 2})
        disturb(model, seed)
        model.save(path)
    return paths


def test_mean(files, tmp_path):
    out = str(tmp_path / "mean.keras")
    assert main([*files[:2], "--out", out]) == 0
    models = [keras.saving.load_model(path, compile=False) for path in (*files[:2], out)]
    for first, second, mean in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(mean, (first + second) / 2, rtol=1e-5, atol=1e-6)
    assert keras_mmdense.settings_of(models[2]) == keras_mmdense.settings_of(models[0])


def test_what_is_refused(files, tmp_path, capsys):
    out = tmp_path / "mean.keras"
    for arguments, message in (
        ([files[0], "--out", str(out)], "two or more models; received 1"),
        ([*files, "--out", str(out)], "the same architecture"),
        ([*files[:2], "--out", files[0]], "new .keras file"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()
