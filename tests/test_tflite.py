"""export(): the file agrees with Keras, carries its contract, is written whole or not at all."""

import hashlib
import io
import json
import zipfile

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small import SMALL, disturb

import keras_mmdense
import keras_mmdense.tflite.contract_writer as contract_module
from keras_mmdense import ExportError
from keras_mmdense.inspection import multiply_adds

# no select (Flex) and no custom operators
BUILT_IN = {
    "ADD",
    "CONCATENATION",
    "CONV_2D",
    "DELEGATE",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "LOGISTIC",
    "LOG",
    "MUL",
    "QUANTIZE",
    "RELU",
    "RESHAPE",
    "STRIDED_SLICE",
    "SUB",
    "TRANSPOSE_CONV",
}


@pytest.fixture(scope="module")
def models():
    made = {
        "mask": keras_mmdense.build(
            sources=("bass", "vocals"), shared=True, head="mask", scales=2, **SMALL
        ),
        "magnitude": keras_mmdense.build(
            sources=("bass", "vocals"), scales=1, **SMALL | {"num_layers": 1}
        ),
    }
    for model in made.values():
        disturb(model)
        keras_mmdense.annotate(model, license="CC0-1.0", training_data="noise")
    return made


@pytest.fixture(scope="module")
def files(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return {
        head: (
            folder / f"{head}.tflite",
            keras_mmdense.export(
                model, folder / f"{head}.tflite", window_frames=16, scores={"bass": 1.234}
            )["float32"],
        )
        for head, model in models.items()
    }


@pytest.mark.parametrize("head", ["mask", "magnitude"])
def test_the_file_agrees_with_keras(head, models, files, rng):
    path, contract = files[head]
    interpreter = Interpreter(str(path))
    assert {op["op_name"] for op in interpreter._get_ops_details()} <= BUILT_IN
    runner = interpreter.get_signature_runner("serving_default")
    x = rng.random((1, contract["frames"], 64, 2)).astype(np.float32)
    found, expected = runner(mixture=x), models[head].predict(x, verbose=0)
    assert contract["output"] == head
    assert sorted(found) == sorted(contract["outputs"].values()) == ["bass", "vocals"]
    for source, y in expected.items():
        estimate = found[source] * x if head == "mask" else found[source]
        np.testing.assert_allclose(estimate, y, atol=1e-4)
    assert contract["parity"]["max_error"] < 1e-4
    assert contract["parity"]["snr_db"] > 80


def test_the_contract_is_in_the_file_and_its_checksum_holds(files, models):
    path, contract = files["mask"]
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (info,) = archive.infolist()
        found = json.loads(archive.read(info))
    assert found == json.loads(json.dumps(contract))
    assert hashlib.sha256(content[: info.header_offset]).hexdigest() == found["model_sha256"]
    settings = keras_mmdense.settings_of(models["mask"])
    assert found["sources"] == list(settings.sources)
    assert found["frames"] == 16 + 2 * found["context_frames"]
    assert (found["licence"], found["training_data"]) == ("CC0-1.0", "noise")
    assert keras_mmdense.Settings.from_json(json.dumps(found["settings"])) == settings


@pytest.mark.parametrize("head", ["mask", "magnitude"])
def test_the_runner_gives_the_library_s_stems(head, files, models, rng):
    from mmdense_edge import Separator

    audio = (0.1 * rng.standard_normal((9001, 2))).astype(np.float32)
    for rate in (44100, 48000):
        expected = keras_mmdense.separate(models[head], audio, rate)
        found = Separator(files[head][0]).separate(audio, rate)
        for source, stem in expected.items():
            # two resamplers' edges apart, the same numbers
            limit = 1e-4 if rate == 44100 else 1e-3
            assert np.abs(found[source] - stem).max() < limit * max(1, np.abs(stem).max())


def test_nothing_is_overwritten_unless_asked(models, files, tmp_path):
    path, _ = files["mask"]
    before = path.read_bytes()
    with pytest.raises(ExportError, match="exists already"):
        keras_mmdense.export(models["mask"], path, window_frames=16)
    assert path.read_bytes() == before


def test_scores_and_work_are_in_the_contract(models, files):
    path, contract = files["mask"]
    from mmdense_edge.model.contract import read_contract

    read = read_contract(path)
    assert read.scores == {"bass": 1.23}
    # each window of 16 new frames is computed with its context
    per_frame = multiply_adds(models["mask"], contract["frames"]) / 16
    transform = contract["transform"]
    expected = per_frame * contract["sample_rate"] / transform["hop_length"]
    assert read.macs_per_second == contract["macs_per_second"] == pytest.approx(expected)


def test_layers_of_the_users_own_have_no_known_work(models, tmp_path):
    outputs = {
        name: keras.layers.LeakyReLU(name=f"own_{name}")(tensor)
        for name, tensor in models["mask"].output.items()
    }
    own, said = keras.Model(models["mask"].input, outputs), []
    (contract,) = keras_mmdense.export(
        own, tmp_path / "m.tflite", window_frames=16, progress=said.append
    ).values()
    assert not {"scores", "macs_per_second"} & contract.keys()
    assert "received LeakyReLU" in said[0]


def test_a_precision_under_its_threshold_is_refused_by_name(models, tmp_path):
    with pytest.raises(ExportError, match=r"float16: snr_db must be at least 200; received \d"):
        keras_mmdense.export(
            models["mask"],
            tmp_path / "m-{precision}.tflite",
            precision=["float32", "float16"],
            window_frames=16,
            thresholds={"float16": {"snr_db": 200}},
            report=True,
        )
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_are_not_exported(tmp_path):
    model = keras_mmdense.build(scales=1, **SMALL)
    model.get_layer("final_conv").bias.assign([np.nan, 0])
    with pytest.raises(ExportError, match="float32: snr_db must be at least 80; received nan"):
        keras_mmdense.export(model, tmp_path / "m.tflite", window_frames=16)
    assert not list(tmp_path.iterdir())


def test_a_model_compiled_with_a_loss_of_its_own_is_exported(tmp_path):
    model = keras_mmdense.build(scales=1, **SMALL)

    def own_loss(target, estimate):
        return (target - estimate) ** 2

    model.compile("sgd", own_loss)
    path = tmp_path / "m.tflite"
    contracts = keras_mmdense.export(model, path, window_frames=16)
    assert contracts["float32"]["licence"] == ""
    from mmdense_edge.model.contract import read_contract

    assert read_contract(path).sources == ("vocals",)


def test_a_failing_conversion_ends_in_one_line(models, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ExportError, match="ended with 1") as caught:
        keras_mmdense.export(models["mask"], tmp_path / "m.tflite")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["1/2 Keras", "2/2 float32"])
def test_an_interrupted_export_leaves_nothing(step, models, tmp_path):
    def interrupt(text):
        if text == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keras_mmdense.export(
            models["mask"], tmp_path / "m.tflite", window_frames=16, progress=interrupt
        )
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(contract_module.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        contract_module.write_whole(tmp_path / "m.tflite", b"TFL3")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "window", "words"),
    [
        ("m.bin", 16, "end in .tflite"),
        ("none/m.tflite", 16, "folder must exist"),
        ("m.tflite", 6, "2\\*\\*scales = 4"),
        ("m.tflite", 0, "received 0"),
    ],
)
def test_wrong_arguments_are_refused(models, tmp_path, name, window, words):
    with pytest.raises(ExportError, match=words):
        keras_mmdense.export(models["mask"], tmp_path / name, window_frames=window)
