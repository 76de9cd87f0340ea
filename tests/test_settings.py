"""Settings: what is refused, with which words, and the way through JSON."""

import json

import pytest

import keras_mmdense
from keras_mmdense import Band, Settings, SettingsError, Transform

LOW, HIGH, FULL = Band("low", 0, 0.5), Band("high", 0.5, 1), Band("full")


# names of layers inside: an output of the same name would be refused by Keras, after the fact
INNER_NAMES = (
    "mask",
    "joined",
    "bands",
    "final_conv",
    "denormalization",
    "low_pool2",
    "a_norm",
    "fold",
    "unfold",
)


def make(**changes):
    return Settings(**{"sources": ("vocals",), "bands": (LOW, HIGH, FULL)} | changes)


def test_json_round_trip_keeps_everything():
    settings = make(
        preset="custom",
        frames=64,
        head="mask",
        norm="after",
        training_data='DSD100 "Dev"',
        license="é",
    )
    assert Settings.from_json(settings.to_json()) == settings
    assert json.loads(settings.to_json())["licence"] == "é"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": 12}, ["2**scales = 8", "12", "None"]),
        ({"frames": 0}, ["multiple of 2**scales"]),
        ({"sources": ()}, ["1 to 64 names"]),
        ({"sources": ("a", "a")}, ["must differ"]),
        ({"sources": ("lead vocals",)}, ["letter", "lead vocals"]),
        ({"sources": ("Mixture",)}, ["mixture", "another name"]),
        ({"sources": ("a", "A")}, ["case"]),
        *[({"sources": (name,)}, ["another name"]) for name in INNER_NAMES],
        ({"bands": (LOW, FULL)}, ["tile", "low"]),
        ({"bands": (HIGH, LOW)}, ["tile"]),
        ({"bands": (LOW, Band("high", 0.25, 1))}, ["tile"]),
        ({"bands": (LOW, Band("low", 0.5, 1))}, ["differ"]),
        ({"bins": 1000}, ["multiple of 2**3 positions", "500"]),
        ({"bins": 1022, "fold": 4}, ["multiple of fold = 4", "1022"]),
        ({"fold": 0}, ["fold must be 1 to 64", "0"]),
        ({"bins": 2048}, ["n_fft", "1025"]),
        ({"channels": 3}, ["1 to 2", "3"]),
        ({"head": "complex"}, ["magnitude, mask", "complex"]),
        ({"pooling": "min"}, ["average, max"]),
        ({"compression": "log"}, ["needs head='mask'", "log"]),
        ({"compression": "cube", "head": "mask"}, ["none, sqrt, log", "cube"]),
        ({"norm": "none"}, ["before, after"]),
        ({"block_output": "first"}, ["last, new, all"]),
        ({"shared": 1}, ["False, True"]),
        ({"final_growth_rate": 0}, ["1 to 4096"]),
        ({"final_kernel_size": (1, 2, 3)}, ["final_kernel_size", "(1, 2, 3)"]),
        ({"license": None}, ["text"]),
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
        ({"kernel_size": 3}, "pairs"),
        ({"first_filters": 0}, "first_filters"),
        ({"name": "2low"}, "letter"),
    ],
)
def test_wrong_bands_are_refused(arguments, words):
    with pytest.raises(SettingsError, match=words):
        Band(**{"name": "low"} | arguments)


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_rate": 0},
        {"transform": Transform(n_fft=2047)},
        {"transform": Transform(hop_length=1025)},
        {"transform": Transform(hop_length=0)},
        {"transform": Transform(n_fft="2048")},
        {"transform": Transform(window="hamming")},
    ],
)
def test_wrong_transforms_are_refused(changes):
    with pytest.raises(SettingsError, match="received"):
        make(**changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"sources": 3}',
        "[" * 100000,
        '{"bands": [{"nam": 1}]}',
        "x" * 2**21,
    ],
)
def test_foreign_json_is_refused_in_one_line(text):
    with pytest.raises(SettingsError) as caught:
        Settings.from_json(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_wrong_arguments_are_refused_before_the_first_layer(monkeypatch):
    import keras_mmdense.model as module

    monkeypatch.setattr(module, "build_from_settings", lambda settings: pytest.fail("built"))
    wrong = [
        {"preset": "densenet"},
        {"frames": 100},
        {"growth_rate": {"middle": 4}},
        {"scales": 99},
        {"bands": ["low"]},
        {"colour": "red"},
        {"bins": 100},
        {"num_layers": (1, 2)},
        {"kernel_size": (3,)},
        {"kernel_size": 3},
        {"growth_rate": 2.5},
        {"num_layers": "two"},
        {"sources": 3},
        {"sources": ["a", 1]},
        {"bins": "1024"},
        {"bins": 0},
        {"n_fft": "2048"},
        {"window": "hamming"},
        {"preset": ["mmdensenet"]},
        {"bands": Band("low")},
    ]
    for arguments in wrong:
        with pytest.raises(SettingsError, match="received"):
            keras_mmdense.build(**arguments)


def test_a_preset_brings_its_settings_and_arguments_win(monkeypatch):
    import keras_mmdense.model as module

    monkeypatch.setattr(module, "build_from_settings", lambda settings: settings)
    edge = keras_mmdense.build("mmdensenet-edge", frames=64)
    assert edge.sources == ("bass", "drums", "other", "vocals")
    assert (edge.shared, edge.head, edge.transform.n_fft, edge.frames) == (True, "mask", 4096, 64)
    own = keras_mmdense.build("mmdensenet-edge", "voice", shared=False, compression="none", fold=4)
    assert (own.sources, own.shared, own.compression, own.fold) == (("voice",), False, "none", 4)
    paper = keras_mmdense.build()
    assert (paper.sources, paper.shared, paper.head) == (("vocals",), False, "magnitude")
    assert (paper.bins, paper.transform.n_fft, paper.transform.hop_length) == (1024, 2048, 1024)
