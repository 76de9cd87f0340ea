"""The parts of an export: rewrites are the same function, ranges, figures and thresholds."""

from unittest import mock

import numpy as np
import pytest
from mmdense_edge.model.model_file import read_contract
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.tflite import convert
from keras_mmdense.tflite.export import make_contract, with_contract
from keras_mmdense.tflite.parity import compare, summary
from keras_mmdense.tflite.precisions import PRECISIONS, choose
from keras_mmdense.tflite.rewrite import rewrite


@pytest.mark.parametrize(
    "options",
    [
        {"head": "mask"},
        {"norm": "after", "shared": True, "sources": ("a", "b"), "fold": 2, "head": "mask"},
        {"bottleneck": True, "block_output": "all", "pooling": "max"},
        {"norm": "after", "num_layers": 2},
        {"num_layers": 3, "kernel_size": (3, 4)},
    ],
)
def test_rewritten_networks_are_the_same_function(options, rng):
    model = keras_mmdense.build(frames=16, scales=2, **(SMALL | {"num_layers": 1} | options))
    disturb(model)
    x = rng.random((2, 16, 64, 2)).astype(np.float32)
    expected = model(x)
    for forms in (
        {},
        {"depthwise_norms": False, "depth_to_space": False},
        {"parts": False, "folded_maps": 2},
    ):
        found = rewrite(model, **forms)(x)
        for name, value in expected.items():
            scale = np.abs(value).max()
            np.testing.assert_allclose(found[name] / scale, value / scale, atol=1e-5)


def test_few_maps_fill_vectors_and_dense_blocks_do_not_copy_what_they_read():
    model = keras_mmdense.build(frames=8, scales=1, **SMALL)
    for parts, folded_maps, maps in ((False, 0, 3), (False, 3, 12), (True, 2, 3), (True, 4, 12)):
        rewritten = rewrite(model, parts=parts, folded_maps=folded_maps)
        by_name = {layer.name: layer for layer in rewritten.layers}
        assert by_name["low_first_conv"].filters == 32
        assert by_name["high_dense2_layer1_conv"].filters == maps
        assert ("high_dense2_layer2_concat" in by_name) is not parts


def test_the_contract_gives_the_network_all_of_its_context(tmp_path):
    settings = keras_mmdense.settings_of(keras_mmdense.build(**SMALL))
    path, content, step = tmp_path / "m.tflite", bytes(4) + b"TFL3", 8 * settings.frame_multiple
    frames = step + 2 * context_frames(settings)
    contract = make_contract(settings, content, frames, "m", "float32", {"snr_db": 99.0}, {})
    path.write_bytes(with_contract(content, contract))
    assert read_contract(path).step_frames == step


def test_ranges_hold_the_loudest_window_wherever_it_comes():
    class Quantizer:
        """What calibrate() gives for one window."""

        def calibrate(self, data):
            window = data["serving_default"][0]["mixture"]
            return {"x": {"min": window.min(), "max": window.max()}, "constant": {}}

    windows = np.array([[1.0, 2.0], [-3.0, 9.0], [0.0, 1.0]])
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        samples = [{"mixture": window} for window in windows[order]]
        ranges = convert._ranges(Quantizer(), samples)
        assert ranges == {"x": {"min": -3.0, "max": 9.0}, "constant": {}}


def test_steps_that_read_zeros_before_a_window_are_not_calibrated_on(monkeypatch):
    interpreter = mock.MagicMock()
    runner = interpreter.return_value.get_signature_runner.return_value
    runner.get_input_details.return_value = {"mixture": {"shape": (1, 4, 64, 2)}}
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", interpreter)

    def steps(runner, window, states):
        return (((window[0, 0], step), None) for step in range(5))

    monkeypatch.setattr(convert, "_steps", steps)
    music = np.stack([np.zeros((1, 20)), np.ones((1, 20))])[:, None]
    for late, first in {0: 0, 8: 4}.items():
        found = [(int(song[0]), step) for song, step in convert._recorded(b"", music, None, late)]
        assert found == [(song, step) for song in (0, 1) for step in range(first, 5)]


def test_figures_and_thresholds_by_hand():
    mixture = np.full((1, 2, 2, 1), 2j, np.complex64)
    expected, found = np.full((1, 2, 2, 1), 0.5), np.full((1, 2, 2, 1), 0.4)
    numbers = compare({"a": found}, {"a": expected}, mixture, {"a": 0.5 * mixture}, "mask")
    assert numbers["max_error"] == pytest.approx(0.1)
    assert numbers["snr_db"]["a"] == pytest.approx(10 * np.log10(1 / 0.04), abs=0.01)
    assert numbers["sdr_db"]["a"] == pytest.approx(10 * np.log10(1 / 0.04), abs=0.01)
    assert numbers["float_sdr_db"]["a"] > 100
    (strict,) = choose("int8", {"int8": {"snr_db": 14}})
    assert strict.thresholds == {"snr_db": 14, "sdr_loss_db": 0.1}
    missed = strict.failures(summary(numbers))
    assert missed[0] == "int8: snr_db must be at least 14; received 13.98"
    assert missed[1].startswith("int8: sdr_loss_db must be at most 0.1; received ")
    assert strict.failures({"snr_db": 14, "sdr_loss_db": 0.1}) == []


def test_a_file_is_judged_by_its_worst_source():
    snr, sdr, own = {"a": 30.0, "b": 20.0}, {"a": 5.0, "b": 4.9}, {"a": 5.5, "b": 5.0}
    found = summary({"max_error": 0.1, "snr_db": snr, "sdr_db": sdr, "float_sdr_db": own})
    assert (found["snr_db"], found["sdr_loss_db"]) == (20, 0.5)


def test_a_source_that_is_silent_in_both_agrees():
    mixture, silent = np.ones((1, 2, 2, 1), np.complex64), {"a": np.zeros((1, 2, 2, 1))}
    same = compare(silent, silent, mixture, {}, "magnitude")
    assert PRECISIONS["float32"].failures(summary(same)) == []
    other = compare({"a": np.full((1, 2, 2, 1), 0.1)}, silent, mixture, {}, "magnitude")
    assert PRECISIONS["float32"].failures(summary(other))


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
def test_what_is_no_number_always_misses(precision):
    mixture = np.ones((1, 2, 2, 1), np.complex64)
    broken = {"a": np.full((1, 2, 2, 1), np.nan)}
    numbers = compare(broken, {"a": np.ones((1, 2, 2, 1))}, mixture, {"a": mixture}, "magnitude")
    assert precision.failures(summary(numbers))
