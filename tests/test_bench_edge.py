"""The benchmark of the runner: what it counts and shows; no figure is a matter of time."""

import json
import sys

import keras
import numpy as np
import pytest
import soundfile as sf
from keras import layers

from benchmarks import edge, harness, spleeter_shape
from benchmarks.edge import CASES, DEVICE, INT8, KERAS


def rounds(device=0.5, network_s=0.05):
    cpu = {DEVICE: device, KERAS: 4 * device, INT8: 2 * device}
    load = dict.fromkeys(CASES, 0.25)
    return {"cpu_s": cpu, "load_s": load, "network_s": network_s, "peak_s": 0.005}


WORK = {
    "seconds": 30.0, "window_s": 2.0, "window_macs": 4_000_000_000, "peak_macs": 1_000_000_000,
    "spleeter_macs": 500_000_000,
}  # fmt: skip


@pytest.mark.parametrize("int8", [False, True])
def test_multiply_adds_of_a_network_counted_by_hand(int8):
    given = keras.Input((8, 6, 3))
    x = layers.Conv2D(4, 3, padding="same")(given)
    x = layers.DepthwiseConv2D(2, strides=2)(x)
    x = layers.Conv2DTranspose(5, 2, strides=2)(x)
    x = layers.Conv2D(2, 1, padding="same", activation="relu")(x)
    x = layers.Dense(11)(layers.Flatten()(x))
    by_hand = {
        "CONV_2D": 8 * 6 * 4 * (3 * 3 * 3) + 8 * 6 * 2 * (1 * 1 * 5),
        "DEPTHWISE_CONV_2D": 4 * 3 * 4 * (2 * 2),
        "TRANSPOSE_CONV": 4 * 3 * 4 * (2 * 2 * 5),
        "FULLY_CONNECTED": 8 * 6 * 2 * 11,
    }
    content = spleeter_shape.convert(keras.Model(given, x), int8=int8)
    assert spleeter_shape.multiply_adds(content) == by_hand


def test_spleeter_has_its_size_and_nothing_that_a_converter_can_leave_out():
    network = spleeter_shape.build()
    assert network.input_shape == network.output_shape == (None, 512, 1024, 2)
    kernels = 25 * (2 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    kernels += 25 * (512 * 256 + 512 * 128 + 256 * 64 + 128 * 32 + 64 * 16 + 32 * 1) + 16 * 2
    assert sum(w.shape.num_elements() for w in network.weights if len(w.shape) == 4) == kernels
    assert 4 * network.count_params() == pytest.approx(39.3e6, rel=1e-3)
    assert min(np.ptp(np.asarray(w)) for w in network.weights if np.size(w) > 1) > 0
    kernel = network.get_weights()[0]
    spleeter_shape.vary_constants(network, seed=1)
    assert np.array_equal(network.get_weights()[0], kernel)


@pytest.mark.parametrize("num_samples", [1, 5000, 700_000])
def test_stems_share_out_the_lower_half_of_the_mixture(num_samples):
    time = np.arange(num_samples)[:, None] / 44100
    audio = np.float32(0.3) * np.sin(2 * np.pi * np.array([[220, 1000]]) * time).astype(np.float32)
    audio += np.float32(0.1)
    networks = [lambda windows, gain=gain: gain * windows for gain in (1, 2, 3, 4)]
    stems = spleeter_shape.separate(audio, networks)
    assert [stem.shape for stem in stems] == [audio.shape] * 4
    for stem, gain in zip(stems, (1, 2, 3, 4), strict=True):
        assert np.abs(stem - stems[0] * gain**2).max() < 1e-4
    if num_samples > 10_000:
        assert np.abs(sum(stems) - audio)[5000:-5000].max() < 0.01


def test_figures_of_given_rounds():
    found = edge.speed_figures(WORK, [rounds(), rounds(1.0, 0.1), rounds(0.75)])
    assert found["cpu_rtf"][DEVICE] == pytest.approx((0.5 / 30, 0.75 / 30, 1 / 30))
    assert found["ratio"][KERAS] == pytest.approx((4, 4, 4))
    assert found["ratio"][DEVICE] == (1, 1, 1)
    assert found["peak_gmac_s"] == pytest.approx((200, 200, 200))
    assert found["network_gmac_s"] == pytest.approx((40, 80, 80))
    assert found["peak_share"] == pytest.approx((0.2, 0.4, 0.4))
    assert found["network_rtf"] == pytest.approx((0.025, 0.025, 0.05))
    assert found["network_share"] == pytest.approx((1, 1.5, 1.5))
    assert found["model_gmac_per_s"] == pytest.approx(2)
    assert found["spleeter_gmac_per_s"] == pytest.approx(2 / (512 * 1024 / 44100))
    assert json.loads(json.dumps(found))["ratio"][KERAS] == [4, 4, 4]


def test_the_tables_of_given_rounds():
    lines = edge.speed_tables(edge.speed_figures(WORK, [rounds(0.45)])).splitlines()
    assert f"| {DEVICE} | 2.00 | 0.0150, 0.0150, 0.0150 | 1.00, 1.00, 1.00 | 0.25 |" in lines
    assert f"| {KERAS} | 0.17 | 0.0600, 0.0600, 0.0600 | 4.00, 4.00, 4.00 | 0.25 |" in lines
    assert "| share of the convolution's peak | 40.0%, 40.0%, 40.0% |" in lines
    assert {line.count("|") for line in lines if line} == {6, 3}


def test_peaks_of_memory_are_close_together_and_low():
    assert edge.memory_passes([200e6, 209e6])
    assert not edge.memory_passes([200e6, 209e6, 211e6])
    assert not edge.memory_passes([250e6])


def test_memory_is_measured_and_reported(tmp_path, capfd):
    report = tmp_path / "memory.json"
    code = edge.main(["memory", "--minutes", "0.01,0.03", "--json", str(report)])
    found = json.loads(report.read_text())
    assert code == (0 if found["passed"] else 1)
    assert [peak["minutes"] for peak in found["peaks"]] == [0.01, 0.03]
    assert all(peak["peak_bytes"] > 20e6 for peak in found["peaks"])
    assert capfd.readouterr().err == "0.01 minutes ...\n0.03 minutes ...\n"


def test_a_song_has_the_length_asked_for(tmp_path):
    edge.write_song(tmp_path / "a.wav", 1.8)
    assert sf.info(tmp_path / "a.wav").frames == round(1.8 * 44100)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["speed", "--rounds", "0"], "--rounds: must be a number from 1 to 100; received '0'"),
        (["speed", "--seconds", "nan"], "--seconds: must be a number from 1 to 3600; received"),
        (["speed", "--json", "."], "--json: must name a new file in a folder that exists"),
        (["memory", "--minutes", "1,,2"], "--minutes: must be a number from 0.01 to 600"),
        (["memory", "--minutes", "601"], "--minutes: must be a number from 0.01 to 600"),
    ],
)
def test_wrong_arguments_are_refused_before_the_work(capsys, monkeypatch, arguments, said):
    monkeypatch.setattr(harness, "finish", lambda name, work: 0)
    with pytest.raises(SystemExit) as stopped:
        edge.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["speed", "memory"])
def test_a_missing_model_is_one_line(capfd, command):
    given = ["--minutes", "0.01"] if command == "memory" else []
    assert edge.main([command, "--model", "none.tflite", *given]) == 2
    assert "no model file at none.tflite" in capfd.readouterr().err.splitlines()[-1]


def test_a_process_answers_or_fails_with_its_last_line():
    assert harness.call("benchmarks.edge:memory_passes", peaks=[1, 2]) is False
    with pytest.raises(RuntimeError, match=r"TypeError: .* missing 1 required"):
        harness.call("benchmarks.edge:memory_passes")
    with pytest.raises(RuntimeError, match="the process ended with 3"):
        harness.run([sys.executable, "-c", "raise SystemExit(3)"])
    output, usage = harness.run([sys.executable, "-c", "print(6 * 7)"])
    assert output == "42\n"
    assert usage.ru_maxrss > 1000
