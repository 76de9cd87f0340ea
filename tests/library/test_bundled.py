"""The models that come with the package: the files open, and separate the example song."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge import Separator, read_contract
from mmdense_edge.model import bundled

import keras_mmdense
from keras_mmdense.weights import FOLDER

EXAMPLE = Path(__file__).parents[2] / "edge" / "example"

# The keys of settings in files of version 1, whatever the names in Python are.
STORED = {
    "sources", "bands", "preset", "shared", "final_growth", "final_layers", "final_kernel",
    "block_output", "bottleneck", "pooling", "norm", "head", "compression", "bins", "channels",
    "fold", "frames", "transform", "training_data", "licence",
}  # fmt: skip
STORED_BAND = {
    "name", "growth", "layers", "kernels", "first_filters", "first_kernel", "start", "stop"
}  # fmt: skip


@pytest.fixture(scope="module")
def song():
    return {path.stem: sf.read(path, dtype="float32")[0] for path in EXAMPLE.glob("*.flac")}


def sdr(reference, estimate):
    return 10 * np.log10((reference**2).sum() / ((reference - estimate) ** 2).sum())


def test_the_example_is_the_sum_of_its_stems(song):
    sources = [audio for name, audio in song.items() if name != "mixture"]
    assert len(sources) == 4
    np.testing.assert_allclose(sum(sources), song["mixture"], atol=1e-7)
    assert sum(path.stat().st_size for path in EXAMPLE.iterdir()) < 6_000_000


def test_every_stem_is_whole_and_nearer_to_its_source_than_the_mixture(song):
    mixture = song["mixture"]
    stems = Separator().separate(mixture, 44100)
    assert sorted(stems) == ["bass", "drums", "other", "vocals"]
    for source, stem in stems.items():
        assert stem.shape == mixture.shape
        assert 20 * np.log10(stem.std()) > -45
        assert sdr(song[source], stem) > sdr(song[source], mixture) + 3


def test_it_says_what_it_is():
    contract = Separator().contract
    assert contract.license == "CC BY-SA 4.0"
    assert "Nagoya Institute of Technology" in contract.training_data


def check_stored(stored):
    """Settings keep what a file has, and are written as they were read."""
    assert set(stored) == STORED
    assert {key for band in stored["bands"] for key in band} == STORED_BAND
    assert set(stored["transform"]) == {"sample_rate", "n_fft", "hop_length"}
    settings = keras_mmdense.Settings.from_json(json.dumps(stored))
    assert json.loads(settings.to_json()) == stored
    return settings


@pytest.mark.parametrize("name", bundled.names())
def test_every_bundled_file_opens_in_the_runner(name):
    contract = Separator(name).contract
    stored = json.loads(json.dumps(read_contract(bundled.find(name)).settings))
    settings = check_stored(stored)
    assert (settings.sources, settings.bins) == (contract.sources, contract.bins)
    assert settings.sample_rate == contract.sample_rate
    assert settings.transform == contract.transform


@pytest.mark.parametrize("name", bundled.MODELS)
def test_every_bundled_file_opens_in_keras(name):
    import keras

    path = FOLDER / f"{name}.keras"
    model = keras.saving.load_model(path, compile=False)
    settings = check_stored(json.loads(model.get_layer("settings").bias_initializer.value))
    assert settings == keras_mmdense.settings_of(path) == keras_mmdense.settings_of(model)
    assert set(model.output) == set(settings.sources)


def test_every_file_stands_in_the_table_under_the_library_s_name():
    assert set(bundled.MODELS) == {path.stem for path in FOLDER.glob("*.keras")}
    assert sorted(sum(bundled.MODELS.values(), ())) == bundled.names()
    for model, names in bundled.MODELS.items():
        for name in names:
            assert bundled.find(model).stem == names[0]
            stored = json.loads(json.dumps(read_contract(bundled.find(name)).settings))
            settings = keras_mmdense.settings_of(FOLDER / f"{model}.keras")
            assert keras_mmdense.Settings.from_json(json.dumps(stored)) == settings
