"""adapt(): offsets and scales from data, undone at a magnitude head."""

import keras
import numpy as np
import pytest
from small import SMALL

import keras_mmdense
from keras_mmdense import SettingsError


@pytest.fixture
def data(rng):
    slope = 1 / (1 + np.arange(64.0))[:, None]
    return [(slope * rng.rayleigh(size=(2, 8, 64, 2))).astype(np.float32) for _ in range(3)]


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({"compression": "none"}, np.array),
        ({"compression": "sqrt"}, np.sqrt),
        ({"compression": "log"}, np.log1p),
        ({"compression": "log", "compression_gain": 50}, lambda x: np.log1p(50 * x)),
    ],
)
def test_mean_and_deviation_are_the_data_s_and_survive_saving(options, plain, data, tmp_path):
    model = keras_mmdense.build(head="mask", **options, **SMALL)
    keras_mmdense.adapt(model, data)
    model.save(tmp_path / "m.keras")
    for made in (model, keras.saving.load_model(tmp_path / "m.keras")):
        read = keras.Model(made.input, made.get_layer("normalization").output)
        normal = np.asarray(read(np.concatenate(data)))
        np.testing.assert_allclose(normal.mean((0, 1, 3)), 0, atol=1e-4)
        np.testing.assert_allclose(normal.std((0, 1, 3)), 1, atol=1e-3)
        expected, found = plain(data[0])[..., 5, :].ravel(), normal[:2][..., 5, :].ravel()
        assert np.corrcoef(found, expected)[0, 1] == pytest.approx(1, abs=1e-6)


def test_the_magnitude_head_undoes_it_also_in_a_compiled_model(data):
    model = keras_mmdense.build(**SMALL)
    before = model.predict(data[0], verbose=0)["vocals"]
    keras_mmdense.adapt(model, data)
    there = model.get_layer("normalization")(data[0])
    back = np.asarray(model.get_layer("denormalization")(there))
    np.testing.assert_allclose(back, data[0], atol=1e-5)
    after = model.predict(data[0], verbose=0)["vocals"]
    np.testing.assert_allclose(after, model(data[0])["vocals"], atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_batches_with_targets_and_a_limit(data):
    model = keras_mmdense.build(**SMALL)
    keras_mmdense.adapt(model, [(x, {"vocals": x}) for x in data], max_batches=2)
    expected = np.concatenate(data[:2]).mean((0, 1, 3))
    found = np.ravel(model.get_layer("normalization").mean)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_empty_bin_does_not_blow_up(data):
    for x in data:
        x[:, :, 60:] = 0
    model = keras_mmdense.build(**SMALL)
    keras_mmdense.adapt(model, data)
    loud = np.ones((1, 8, 64, 2), np.float32)
    normal = np.asarray(model.get_layer("normalization")(loud))
    assert np.isfinite(normal).all()
    assert np.abs(normal[:, :, 60:]).max() <= 1000 / data[0][:, :, 0].std() * 1.1


@pytest.mark.parametrize(
    "wrong",
    [[], [np.zeros((8, 64, 2))], [np.zeros((1, 8, 32, 2))], [np.full((1, 8, 64, 2), np.nan)]],
)
def test_wrong_data_is_refused(wrong):
    with pytest.raises(SettingsError, match="received"):
        keras_mmdense.adapt(keras_mmdense.build(**SMALL), wrong)
