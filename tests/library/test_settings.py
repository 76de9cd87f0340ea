"""Settings: what is refused, the way through JSON, and through a model and its file."""

import json
import re
import zipfile

import keras
import numpy as np
import pytest
from small import SMALL

import keras_mmdense
import keras_mmdense.model
from keras_mmdense import Band, Settings, SettingsError, Transform

LOW, HIGH, FULL = Band("low", 0, 0.5), Band("high", 0.5, 1), Band("full")
# names of layers inside: an output of the same name would be refused by Keras, after the fact
INNER_NAMES = (
    "mask", "joined", "bands", "final_conv", "denormalization", "low_pool2", "a_norm", "fold",
    "unfold",
)  # fmt: skip


def make(**changes):
    return Settings(**{"sources": ("vocals",), "bands": (LOW, HIGH, FULL)} | changes)


def test_json_round_trip_keeps_everything():
    causal = make(bands=(Band("full", dilation_rate=(1, 2, 4, 8, 4, 2, 1)),), causal=True)
    assert Settings.from_json(causal.to_json()) == causal
    assert not {"causal", "dilation_rate"} & set(re.findall(r"\w+", make().to_json()))
    settings = make(
        frames=64, head="mask", norm="after", training_data='DSD100 "Dev"', license="é",
    )  # fmt: skip
    assert Settings.from_json(settings.to_json()) == settings
    assert json.loads(settings.to_json())["licence"] == "é"  # the key of version 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": 12}, ["2**scales = 8", "12", "None"]),
        ({"frames": 0}, ["multiple of 2**scales"]),
        ({"sources": ()}, ["sources must be 1 to 64"]),
        ({"sources": ("a", "a")}, ["must differ"]),
        ({"sources": ("lead vocals",)}, ["letter", "lead vocals"]),
        ({"sources": ("Mixture",)}, ["mixture", "another name"]),
        ({"sources": ("a", "A")}, ["case"]),
        *[({"sources": (name,)}, ["another name"]) for name in INNER_NAMES],
        ({"bands": (LOW, FULL)}, ["tile", "low"]),
        ({"bands": (HIGH, LOW)}, ["tile"]),
        ({"bands": (LOW, Band("high", 0.25, 1))}, ["tile"]),
        ({"bands": (Band("low", 0.25, 0.5), HIGH)}, ["tile"]),
        ({"bands": (LOW, Band("low", 0.5, 1))}, ["differ"]),
        ({"bins": 1000}, ["multiple of 2**3 positions", "500"]),
        ({"bins": 1022, "fold": 4}, ["multiple of fold = 4", "1022"]),
        ({"fold": 0}, ["fold must be 1 to 64", "0"]),
        ({"bins": 2048}, ["n_fft", "1025"]),
        ({"channels": 3}, ["1 to 2", "3"]),
        ({"head": "complex"}, ["magnitude, mask", "complex"]),
        ({"pooling": "min"}, ["average, max"]),
        ({"compression": "log"}, ["needs head='mask'", "log"]),
        ({"compression_gain": 2}, ["needs compression='log'", "2"]),
        ({"compression_gain": 0, "head": "mask", "compression": "log"}, ["must be 1 to 65536"]),
        ({"compression": "cube", "head": "mask"}, ["none, sqrt, log", "cube"]),
        ({"norm": "none"}, ["before, after"]),
        ({"causal": 1}, ["False, True"]),
        ({"bands": (Band("full", dilation_rate=(2,)),)}, ["dilation_rate needs causal=True"]),
        ({"causal": True, "final_num_layers": 14}, ["at most 4096", "8192"]),
        ({"block_output": "first"}, ["last, new, all"]),
        ({"shared": 1}, ["False, True"]),
        ({"final_growth_rate": 0}, ["1 to 4096"]),
        ({"final_kernel_size": (1, 2, 3)}, ["final_kernel_size", "(1, 2, 3)"]),
        ({"license": None}, ["text"]),
        ({"sample_rate": 0}, ["1000 to 384000"]),
        ({"transform": Transform(n_fft=2047)}, ["even"]),
        ({"transform": Transform(n_fft="2048")}, ["n_fft must be 16 to 65536"]),
        ({"transform": Transform(hop_length=1025)}, ["1 to n_fft // 2 = 1024"]),
        ({"transform": Transform(hop_length=0)}, ["hop_length"]),
        ({"transform": Transform(window="hamming")}, ["hann"]),
    ],
)
def test_wrong_settings_say_rule_value_and_way_out(changes, words):
    with pytest.raises(SettingsError) as caught:
        make(**changes)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "received" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": 0.5, "stop": 0.5}, "start < stop"),
        ({"growth_rate": (4,) * 6, "num_layers": (2,) * 6}, "odd number"),
        ({"growth_rate": (4,) * 5}, "odd number"),
        ({"num_layers": (0,) * 7}, "whole numbers"),
        ({"kernel_size": ((3, 3, 3),)}, "frames, bins"),
        ({"first_kernel_size": (3,)}, "frames, bins"),
        ({"kernel_size": 3}, "pairs"),
        ({"dilation_rate": (1, 2)}, "dilation rate per dense block"),
        ({"first_filters": 0}, "first_filters"),
        ({"name": "2low"}, "letter"),
    ],
)
def test_wrong_bands_are_refused(arguments, words):
    with pytest.raises(SettingsError, match=words):
        Band(**{"name": "low"} | arguments)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"sources": 3}', '{"sources": "ab", "bands": []}',
     "[" * 100000, '{"bands": [{"nam": 1}]}', '{"bands": [3]}', "x" * 2**21],
)  # fmt: skip
def test_foreign_json_is_refused_in_one_line(text):
    with pytest.raises(SettingsError) as caught:
        Settings.from_json(text)
    assert re.fullmatch(".{,600}", str(caught.value))  # one line, not the whole text again


@pytest.mark.parametrize(
    "arguments",
    [
        {"preset": "densenet"}, {"preset": ["mmdensenet"]}, {"frames": 100}, {"scales": 99},
        {"growth_rate": {"middle": 4}}, {"growth_rate": 2.5}, {"num_layers": (1, 2)},
        {"num_layers": "two"}, {"kernel_size": (3,)}, {"kernel_size": 3}, {"bands": ["low"]},
        {"bands": Band("low")}, {"color": "red"}, {"window": "hamming"}, {"bins": 100},
        {"bins": "1024"}, {"bins": 0}, {"n_fft": "2048"}, {"sources": 3}, {"sources": ["a", 1]},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_are_refused_before_the_first_layer(arguments, monkeypatch):
    monkeypatch.setattr(keras_mmdense.model, "build_from_settings", pytest.fail)
    with pytest.raises(SettingsError, match="received"):
        keras_mmdense.build(**arguments)


def test_an_unknown_option_is_answered_with_all_names():
    with pytest.raises(SettingsError, match=r"\['growt'\]\. Known: .*growth_rate, .*scales"):
        keras_mmdense.build(growt=3)


def test_a_preset_brings_its_settings_and_arguments_win(monkeypatch):
    monkeypatch.setattr(keras_mmdense.model, "build_from_settings", lambda settings: settings)
    edge = keras_mmdense.build("mmdensenet-edge", frames=64)
    assert edge.sources == ("bass", "drums", "other", "vocals")
    assert (edge.shared, edge.head, edge.transform.n_fft, edge.frames) == (True, "mask", 4096, 64)
    own = keras_mmdense.build("mmdensenet-edge", "voice", shared=False, compression="none", fold=4)
    assert (own.sources, own.shared, own.compression, own.fold) == (("voice",), False, "none", 4)
    paper = keras_mmdense.build()
    assert (paper.sources, paper.shared, paper.head) == (("vocals",), False, "magnitude")
    assert (paper.bins, paper.transform.n_fft, paper.transform.hop_length) == (1024, 2048, 1024)


def test_settings_and_notes_travel_with_model_and_file(small_model, small_file, tmp_path, rng):
    settings = keras_mmdense.settings_of(small_model)
    assert settings.sources == ("bass", "vocals")
    assert keras_mmdense.settings_of(str(small_file)) == settings
    again = keras.saving.load_model(small_file)
    keras_mmdense.annotate(again, license="CC0-1.0")
    noted = keras_mmdense.annotate(again, training_data="DSD100 Dev")
    assert (noted.license, noted.training_data) == ("CC0-1.0", "DSD100 Dev")
    again.save(tmp_path / "again.keras")  # a second round through plain Keras
    for made in (tmp_path / "again.keras", keras.models.clone_model(again)):
        assert keras_mmdense.settings_of(made) == noted
    x = rng.random((1, 8, 64, 2)).astype(np.float32)
    layer = small_model.get_layer("settings")
    assert (np.asarray(layer(x)) == x).all()  # what carries them changes nothing
    assert not layer.trainable_weights


def test_a_file_opens_without_this_package(small_file):
    with zipfile.ZipFile(small_file) as archive:
        config = archive.read("config.json").decode()
    modules = set(re.findall(r'"module": "?([^",}]*)"?', config))
    assert {module.partition(".")[0] for module in modules} <= {"keras", "builtins", "null"}
    assert set(re.findall(r'"registered_name": "?([^",}]*)"?', config)) <= {"Functional", "null"}


def test_a_model_whose_weights_follow_is_the_same_but_for_its_kernels(small_model, small_file):
    settings = keras_mmdense.settings_of(small_model)
    zeros = keras_mmdense.model.build_zeros(settings)
    assert zeros.get_config() == small_model.get_config()
    assert not any(np.any(w) for w in zeros.trainable_weights if w.path.endswith("kernel"))
    opened = keras_mmdense.build(weights=small_file)
    assert opened.get_config() == small_model.get_config()
    for ours, theirs in zip(opened.weights, small_model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.any(keras_mmdense.build(**SMALL).get_layer("final_conv").kernel)


def test_what_is_no_model_of_ours_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    wrong = [other, tmp_path / "other.keras", tmp_path / "none.keras", object()]
    for number, content in enumerate([b"", b"PK\x03\x04", b"x" * 1000]):
        wrong.append(tmp_path / f"damaged{number}.keras")
        wrong[-1].write_bytes(content)
    configs = ["", "[]", '{"config": {"layers": [3]}}', '{"config": {}}', "[" * 100000, b"\xff"]
    for number, config in enumerate(configs):
        wrong.append(tmp_path / f"strange{number}.keras")
        with zipfile.ZipFile(wrong[-1], "w") as archive:
            archive.writestr("config.json", config)
    for thing in wrong:
        with pytest.raises(SettingsError, match="received"):
            keras_mmdense.settings_of(thing)
