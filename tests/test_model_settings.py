"""One `.keras` file holds everything, and opens where this package is not installed."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from small import SMALL

import keras_mmdense
from keras_mmdense import SettingsError


@pytest.fixture
def saved(small_model, tmp_path):
    path = tmp_path / "model.keras"
    small_model.save(path)
    return path


def test_settings_from_model_file_and_loaded_model(small_model, saved):
    settings = keras_mmdense.settings_of(small_model)
    assert settings.sources == ("bass", "vocals")
    assert keras_mmdense.settings_of(saved) == settings
    assert keras_mmdense.settings_of(str(saved)) == settings
    again = keras.saving.load_model(saved)
    assert keras_mmdense.settings_of(again) == settings
    again.save(saved)  # a second round through plain Keras
    assert keras_mmdense.settings_of(keras.models.clone_model(again)) == settings


def test_annotation_travels_with_the_file(tmp_path):
    model = keras_mmdense.build(**SMALL)
    keras_mmdense.annotate(model, license="CC0-1.0")
    keras_mmdense.annotate(model, training_data="DSD100 Dev")
    model.save(tmp_path / "m.keras")
    settings = keras_mmdense.settings_of(keras.saving.load_model(tmp_path / "m.keras"))
    assert (settings.licence, settings.training_data) == ("CC0-1.0", "DSD100 Dev")


def test_opens_without_this_package_and_predicts_the_same(small_model, saved, rng, tmp_path):
    x = rng.random((1, 16, 64, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys\n"
        "sys.modules['keras_mmdense'] = None\n"  # importing it would fail
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "y = model.predict(np.load('x.npy'), verbose=0)\n"
        "np.savez('y.npz', **y)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = small_model.predict(x, verbose=0)
    found = np.load(tmp_path / "y.npz")
    for source, y in expected.items():
        np.testing.assert_allclose(found[source], y, atol=1e-6)


def test_settings_layer_changes_nothing(small_model, rng):
    x = rng.random((1, 8, 64, 2)).astype(np.float32)
    layer = small_model.get_layer("settings")
    assert (np.asarray(layer(x)) == x).all()
    assert not layer.trainable_weights


def test_other_models_are_refused(tmp_path):
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    for thing in (other, tmp_path / "other.keras", tmp_path / "none.keras", object()):
        with pytest.raises(SettingsError, match="received"):
            keras_mmdense.settings_of(thing)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 1000])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "m.keras"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"received .*m\.keras"):
        keras_mmdense.settings_of(path)


@pytest.mark.parametrize(
    "config", ["", "[]", '{"config": {"layers": [3]}}', '{"config": {}}', "[" * 100000, b"\xff"]
)
def test_strange_archives_are_refused(tmp_path, config):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
    with pytest.raises(SettingsError, match="received"):
        keras_mmdense.settings_of(path)


def test_settings_of_a_file_needs_no_keras(saved):
    code = (
        "import sys, keras_mmdense\n"
        f"print(keras_mmdense.settings_of({json.dumps(str(saved))}).sources)\n"
        "sys.exit('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "('bass', 'vocals')")
