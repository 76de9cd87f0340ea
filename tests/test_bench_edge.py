"""The benchmark of the device model: what it counts and shows; no figure is a matter of time."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from benchmarks import bench_edge, multiply_adds, spleeter_shape
from benchmarks.conversion import convert, vary_constants
from benchmarks.edge_report import CASES, DEVICE, INT8, KERAS, Round, Work, figures, tables


def small_network(frames=8, bins=6):
    given = keras.Input((frames, bins, 3))
    x = layers.Conv2D(4, 3, padding="same")(given)
    x = layers.DepthwiseConv2D(2, strides=2)(x)
    x = layers.Conv2DTranspose(5, 2, strides=2)(x)
    return keras.Model(given, layers.Conv2D(2, 1, padding="same", activation="relu")(x))


def works(network_s=0.05, device=0.5):
    work = Work(30.0, 2.0, 4_000_000_000, 1_000_000_000, 500_000_000)
    cpu = {DEVICE: device, KERAS: 4 * device, INT8: 2 * device}
    return work, Round(cpu, dict.fromkeys(CASES, 0.25), network_s, 0.005)


@pytest.mark.parametrize("int8", [False, True])
def test_multiply_adds_of_a_network_counted_by_hand(int8):
    by_hand = {
        "CONV_2D": 8 * 6 * 4 * (3 * 3 * 3) + 8 * 6 * 2 * (1 * 1 * 5),
        "DEPTHWISE_CONV_2D": 4 * 3 * 4 * (2 * 2),
        "TRANSPOSE_CONV": 4 * 3 * 4 * (2 * 2 * 5),
    }
    assert multiply_adds.count(convert(small_network(), int8=int8)) == by_hand


def test_multiply_adds_of_one_operator():
    shapes = {0: (5, 7), 1: (11, 7), 2: (5, 11), 3: (2, 3)}
    full = {"op_name": "FULLY_CONNECTED", "inputs": np.array([0, 1, -1]), "outputs": np.array([2])}
    assert multiply_adds.of_operator(full, shapes) == 5 * 7 * 11
    assert multiply_adds.of_operator({**full, "op_name": "ADD"}, shapes) == 0


def test_spleeter_has_its_size():
    network = spleeter_shape.build()
    assert network.input_shape == network.output_shape == (None, 512, 1024, 2)
    kernels = 25 * (2 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    kernels += 25 * (512 * 256 + 512 * 128 + 256 * 64 + 128 * 32 + 64 * 16 + 32 * 1) + 16 * 2
    assert sum(w.shape.num_elements() for w in network.weights if len(w.shape) == 4) == kernels
    assert network.count_params() == pytest.approx(9.82e6, rel=1e-3)
    assert 4 * network.count_params() == pytest.approx(39.3e6, rel=1e-3)


def test_nothing_in_it_can_be_left_out_by_a_converter():
    network = spleeter_shape.build()
    assert min(np.ptp(np.asarray(w)) for w in network.weights if np.size(w) > 1) > 0
    kernel = network.get_weights()[0]
    vary_constants(network, seed=1)
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
        expected = stems[0] * gain**2
        assert np.abs(stem - expected).max() < 1e-4
    if num_samples > 10_000:
        assert np.abs(sum(stems) - audio)[5000:-5000].max() < 0.01


def test_figures_of_given_rounds():
    work, first = works()
    found = figures(work, [first, works(network_s=0.1, device=1.0)[1], works(device=0.75)[1]])
    assert found["cpu_rtf"][DEVICE] == pytest.approx((0.5 / 30, 0.75 / 30, 1 / 30))
    assert found["ratio"][KERAS] == pytest.approx((4, 4, 4))
    assert found["ratio"][DEVICE] == (1, 1, 1)
    assert found["peak_gmac_s"] == pytest.approx((200, 200, 200))
    assert found["network_gmac_s"] == pytest.approx((40, 80, 80))
    assert found["peak_share"] == pytest.approx((0.2, 0.4, 0.4))
    assert found["network_rtf"] == pytest.approx((0.025, 0.025, 0.05))
    assert found["model_gmac_per_s"] == pytest.approx(2)
    assert found["spleeter_gmac_per_s"] == pytest.approx(2 / (512 * 1024 / 44100))


def test_the_table_of_given_rounds():
    lines = tables(figures(works()[0], [works(device=0.45)[1]])).splitlines()
    assert f"| {DEVICE} | 2.00 | 0.0150, 0.0150, 0.0150 | 1.00, 1.00, 1.00 | 0.25 |" in lines
    assert f"| {KERAS} | 0.17 | 0.0600, 0.0600, 0.0600 | 4.00, 4.00, 4.00 | 0.25 |" in lines
    assert "| share of the convolution's peak | 40.0%, 40.0%, 40.0% |" in lines
    assert "CPU RTF at most 0.016: 0.0150, reached." in lines
    assert "At least 50% of the convolution's peak: 40.0%, not reached." in lines
    assert {line.count("|") for line in lines if line.startswith("|")} == {6, 3}


def test_a_report_names_machine_and_date_and_is_json(model_report):
    assert "e (int8)" in bench_edge.text(model_report)
    assert f"; {model_report['date']}\n" in bench_edge.text(model_report)
    assert model_report["machine"]["core"] == 3
    assert json.loads(json.dumps(model_report))["rounds"][0]["network_s"] == 0.05


@pytest.fixture
def model_report():
    from types import SimpleNamespace

    model = SimpleNamespace(contract=SimpleNamespace(name="e", precision="int8"))
    work, one = works()
    return bench_edge.report(model, work, [one], 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rounds", "0"], "--rounds must be from 1 to 100, got 0"),
        (["--seconds", "nan"], "--seconds must be from 1 to 3600, got nan"),
        (["--json", "."], "--json must name a new file"),
    ],
)
def test_wrong_arguments_are_refused(capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        bench_edge.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_missing_model_is_one_line(capsys):
    assert bench_edge.main(["--model", "none.tflite"]) == 2
    assert capsys.readouterr().err.startswith("bench_edge: no model file at none.tflite")
