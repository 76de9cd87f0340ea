"""The reference data of apps and of the browser page is what the runner makes now."""

import base64
import json
import re
import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.model.interpreter import interpreter_class

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
APPS, PAGE = DOCS / "apps", (DOCS / "apps.md").read_text("utf-8")
DESCRIBED = json.loads((APPS / "vector.json").read_text("utf-8"))
ALLOWED = DESCRIBED["largest_difference"]


def samples(folder: Path, name: str) -> np.ndarray:
    if name.endswith(".f32"):
        return np.fromfile(folder / name, "<f4").reshape(DESCRIBED["float32_little_endian"][name])
    return sf.read(folder / name, dtype="float32")[0]


@pytest.fixture(scope="module")
def contract() -> dict:
    with zipfile.ZipFile(APPS / "model.tflite") as archive:
        return json.loads(archive.read("contract.json"))


@pytest.fixture(scope="module")
def run():
    network = interpreter_class()[1](model_path=str(APPS / "model.tflite"))
    network.allocate_tensors()
    runner = network.get_signature_runner("serving_default")
    return lambda window: {name: one[0] for name, one in runner(mixture=window[None]).items()}


@pytest.fixture(scope="module")
def page() -> dict:
    """The code of the page, by name."""
    names: dict = {"__name__": "page"}
    exec("".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), names)
    return names


def test_the_generator_writes_these_files(tmp_path):
    runpy.run_path(str(APPS / "make_vector.py"))["main"](tmp_path)
    kept = sorted(path.name for path in APPS.iterdir() if path.is_file() and path.suffix != ".py")
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    for name in kept:
        if name.endswith((".f32", ".wav")):
            found, expected = (samples(folder, name) for folder in (tmp_path, APPS))
            # one step of 16 bits: other processors round otherwise
            np.testing.assert_allclose(found, expected, rtol=0, atol=3.1e-5, err_msg=name)
        else:
            assert (tmp_path / name).read_bytes() == (APPS / name).read_bytes(), name
    assert sum((APPS / name).stat().st_size for name in kept) <= 300_000


def test_the_page_computes_the_magnitude_and_the_stems(page, run, contract):
    mixture, expected = samples(APPS, "mixture.wav"), samples(APPS, "magnitude.f32")
    found = np.abs(page["stft"](mixture, 2048, 1024))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= ALLOWED["magnitude"]
    stems = page["separate"](mixture, run, contract)
    assert sorted(stems) == ["accompaniment", "vocals"]
    for source, stem in stems.items():
        expected = samples(APPS, f"{source}.wav")
        assert np.abs(stem - expected).max() <= ALLOWED["stems"]
        assert np.abs(expected - mixture / 2).max() > 0.01
    np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-5)


def test_the_steps_agree_with_one_another(run):
    magnitude, window = samples(APPS, "magnitude.f32"), samples(APPS, "input.f32")
    np.testing.assert_array_equal(window[:2], 0)
    np.testing.assert_array_equal(window[2:], magnitude[:6, :1024])
    answer, mask = run(window)["vocals"], samples(APPS, "mask_vocals.f32")
    np.testing.assert_allclose(mask, answer, rtol=0, atol=ALLOWED["mask"])
    # The right channel is silent where the first frame ends: the case |X| = 0 is in the vector.
    assert (magnitude[0, :, 1] == 0).all()
    assert (magnitude[0, :, 0] > 0).all()


def test_the_page_runs_a_network_with_states(page):
    with zipfile.ZipFile(APPS / "step.tflite") as archive:
        contract = json.loads(archive.read("contract.json"))
    network = interpreter_class()[1](model_path=str(APPS / "step.tflite"))
    runner, seen = network.get_signature_runner("serving_default"), []

    def step(window, past):
        answers = {n: x[0] for n, x in runner(mixture=window[None], past=past[None]).items()}
        seen.append((past, answers["present"], answers["vocals"][0]))
        return answers

    mixture = samples(APPS, "mixture.wav")[slice(*DESCRIBED["steps_of_samples"])]
    stems = page["separate"](mixture, page["remembering"](step, contract["states"]), contract)
    for name, found in zip(
        ("past", "present", "mask_vocals"), zip(*seen, strict=True), strict=True
    ):
        expected = samples(APPS, f"step_{name}.f32")
        np.testing.assert_allclose(np.stack(found), expected, atol=ALLOWED["mask"], err_msg=name)
    assert (np.stack([past for past, _, _ in seen])[1:] != 0).any(axis=1).all()
    expected = samples(APPS, "step_vocals.wav")
    np.testing.assert_allclose(stems["vocals"], expected, rtol=0, atol=ALLOWED["stems"])
    assert np.abs(expected - mixture / 2).max() > 0.01


def test_the_reference_of_the_pages_tests_is_the_runners():
    folder = Path(__file__).parents[2] / "edge" / "web" / "test"
    made = runpy.run_path(str(folder / "make_reference.py"))
    kept = json.loads((folder / "reference.json").read_text("utf-8"))
    assert [tuple(entry["case"]) for entry in kept] == list(made["CASES"])
    for entry in kept:
        for source, stem in made["stems"](entry["case"]).items():
            values = np.frombuffer(base64.b64decode(entry["stems"][source]), "<f4")
            np.testing.assert_allclose(values.reshape(stem.shape), stem, atol=1e-6)
