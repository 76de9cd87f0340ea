"""Scores and work enter the contract of a file, and nothing else of it changes."""

import hashlib
import json

import pytest
from mmdense_edge import container
from mmdense_edge.contract import load_model
from small import SMALL

import keras_mmdense
from training.stamp import main


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stamp")
    model = keras_mmdense.build("mdensenet", ("bass", "vocals"), shared=True, scales=1, **SMALL)
    keras_mmdense.annotate(model, licence="CC0-1.0", training_data="noise")
    model.save(folder / "small.keras")
    keras_mmdense.export(model, folder / "small.tflite", window_frames=16)
    return folder


def report(folder, digest, values):
    sources = {name: {"SDR": {"value": value}} for name, value in values.items()}
    summary = {
        "rows": [{"name": "mixture", "sha256": ""}, {"name": "small", "sha256": digest}],
        "metrics": {"usdr": {"rows": {"mixture": {"sources": {}}, "small": {"sources": sources}}}},
    }
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_scores_and_work_are_written(exported, tmp_path):
    file = tmp_path / "small.tflite"
    file.write_bytes((exported / "small.tflite").read_bytes())
    before, old = load_model(file), json.loads(container.split(file.read_bytes())[1])
    found = report(tmp_path / "report", digest_of(file), {"bass": 1.234, "vocals": None})
    assert main([str(exported / "small.keras"), str(file), "--report", str(found)]) == 0
    after = load_model(file)
    assert after.contract.scores == {"bass": 1.23}
    assert after.content == before.content
    # a second has 44100 / 64 frames, and each window of 16 new frames has its context besides
    assert after.contract.macs_per_second > 44100 / 64 * 64 * 9 * 2 * 32
    new = json.loads(container.split(file.read_bytes())[1])
    assert {name: new.pop(name) for name in ("scores", "macs_per_second")}
    assert new == old


def test_a_file_that_was_not_scored_is_refused(exported, tmp_path, capsys):
    kept = (exported / "small.tflite").read_bytes()
    found = report(tmp_path / "report", "0" * 64, {"bass": 1.0})
    arguments = [str(exported / "small.keras"), str(exported / "small.tflite")]
    assert main([*arguments, "--report", str(found)]) == 2
    assert "must have scored" in capsys.readouterr().err
    assert main([*arguments, "--report", str(found), "--metric", "museval"]) == 2
    assert "with the metric 'museval'" in capsys.readouterr().err
    assert main([*arguments, "--report", str(tmp_path / "none")]) == 2
    assert "a report's folder" in capsys.readouterr().err
    assert main([str(exported / "small.tflite"), arguments[1], "--report", str(found)]) == 2
    assert "a .keras file" in capsys.readouterr().err
    assert (exported / "small.tflite").read_bytes() == kept
