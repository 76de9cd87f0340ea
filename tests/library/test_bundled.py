"""The models that come with the package: the files open, and separate the example song."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge import Separator, read_contract
from mmdense_edge.model import bundled

import keras_mmdense
from keras_mmdense.weights import FOLDER

EXAMPLE = Path(__file__).parents[2] / "edge" / "example"


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
    separator = Separator()
    assert separator.contract.license == "CC BY-SA 4.0"
    assert "Nagoya Institute of Technology" in separator.contract.training_data
    stems = separator.separate(mixture, 44100)
    assert sorted(stems) == ["bass", "drums", "other", "vocals"]
    for source, stem in stems.items():
        assert stem.shape == mixture.shape
        assert 20 * np.log10(stem.std()) > -45
        assert sdr(song[source], stem) > sdr(song[source], mixture) + 3


@pytest.mark.parametrize("model", bundled.MODELS)
def test_all_files_of_a_model_have_its_settings(model):
    """As they are stored in files of version 1, whatever the names in Python are."""
    path = FOLDER / f"{model}.keras"
    settings = keras_mmdense.settings_of(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))["config"]["layers"]
    (carrier,) = [layer["config"] for layer in config if layer["config"]["name"] == "settings"]
    files = [json.loads(carrier["bias_initializer"]["config"]["value"])]
    for file in bundled.MODELS[model]:
        contract = Separator(file).contract
        for name in ("sources", "bins", "sample_rate", "transform"):
            assert getattr(settings, name) == getattr(contract, name)
        files.append(json.loads(json.dumps(read_contract(bundled.find(file)).settings)))
    for stored in files:
        assert stored.keys() > {"final_growth", "licence"}
        assert keras_mmdense.Settings.from_json(json.dumps(stored)) == settings
        assert json.loads(settings.to_json()) == stored


def test_every_file_stands_in_the_table_under_the_library_s_name():
    assert set(bundled.MODELS) == {path.stem for path in FOLDER.glob("*.keras")}
    assert sorted(sum(bundled.MODELS.values(), ())) == bundled.names()
    for model, names in bundled.MODELS.items():
        assert names == () or bundled.find(model).stem == names[0]


def test_weights_for_research_say_so_and_are_not_bundled():
    folder = Path(__file__).parents[2] / "training" / "research"
    contract = Separator(folder / "mmdensenet-research-int8.tflite").contract
    settings = keras_mmdense.settings_of(folder / "mmdensenet-research.keras")
    for one in (contract, settings):
        assert "academic, non-commercial use only" in one.license
        assert "MUSDB18" in one.training_data
    assert contract.license == settings.license
    assert "academic, non-commercial use only" in contract.title
    assert not [name for name in (*bundled.MODELS, *bundled.names()) if "research" in name]
