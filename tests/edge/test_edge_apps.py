"""The reference vector for apps is what its generator writes; the page on apps computes it."""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.model.interpreter import interpreter_class

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
APPS = DOCS / "apps"


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def contract() -> dict:
    with zipfile.ZipFile(APPS / "model.tflite") as archive:
        return json.loads(archive.read("contract.json"))


def samples(name: str) -> np.ndarray:
    return sf.read(APPS / name, dtype="float32")[0]


@pytest.fixture(scope="module")
def described() -> dict:
    return json.loads((APPS / "vector.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def arrays(described) -> dict[str, np.ndarray]:
    shapes = described["float32_little_endian"]
    return {name: np.fromfile(APPS / name, "<f4").reshape(shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def run():
    _, interpreter = interpreter_class()
    network = interpreter(model_path=str(APPS / "model.tflite"))
    network.allocate_tensors()
    runner = network.get_signature_runner("serving_default")
    return lambda window: {
        source: answer[0] for source, answer in runner(mixture=window[None]).items()
    }


def test_the_generator_writes_these_files(tmp_path):
    module(APPS / "make_vector.py").main(tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    kept = sorted(path.name for path in APPS.iterdir() if path.is_file() and path.suffix != ".py")
    assert written == kept
    for name in kept:
        if name.endswith(".f32"):
            found, expected = (np.fromfile(folder / name, "<f4") for folder in (tmp_path, APPS))
        elif name.endswith(".wav"):
            found, expected = sf.read(tmp_path / name)[0], samples(name)
        else:
            assert (tmp_path / name).read_bytes() == (APPS / name).read_bytes(), name
            continue
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5, err_msg=name)


def test_the_vector_is_small():
    assert sum(path.stat().st_size for path in APPS.iterdir() if path.is_file()) <= 300_000


@pytest.fixture
def page(tmp_path):
    """The code of the page, as a module."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "apps.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "page.py").write_text(code, "utf-8")
    return module(tmp_path / "page.py")


def test_the_page_computes_the_magnitude(page, arrays, described):
    found = np.abs(page.stft(samples("mixture.wav"), 2048, 1024))
    expected = arrays["magnitude.f32"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= described["largest_difference"]["magnitude"]


def test_the_page_computes_the_stems(page, run, described):
    mixture = samples("mixture.wav")
    stems = page.separate(mixture, run, contract())
    assert sorted(stems) == ["accompaniment", "vocals"]
    for source, stem in stems.items():
        expected = samples(f"{source}.wav")
        assert np.abs(stem - expected).max() <= described["largest_difference"]["stems"]
        assert np.abs(expected - mixture / 2).max() > 0.01
    np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-5)


def test_the_steps_agree_with_one_another(run, arrays, described):
    magnitude, window = arrays["magnitude.f32"], arrays["input.f32"]
    np.testing.assert_array_equal(window[:2], 0)
    np.testing.assert_array_equal(window[2:], magnitude[:6, :1024])
    answer = run(window)["vocals"]
    allowed = described["largest_difference"]["mask"]
    np.testing.assert_allclose(arrays["mask_vocals.f32"], answer, rtol=0, atol=allowed)
    # The right channel is silent where the first frame ends: the case |X| = 0 is in the vector.
    assert (magnitude[0, :, 1] == 0).all()
    assert (magnitude[0, :, 0] > 0).all()


def test_the_page_names_what_the_contract_says(described):
    values, page = contract(), (DOCS / "apps.md").read_text("utf-8")
    assert values["transform"] == {"n_fft": 2048, "hop_length": 1024, "window": "hann"}
    assert (values["frames"], values["context_frames"], values["bins"]) == (8, 2, 1024)
    for name, shape in described["float32_little_endian"].items():
        assert f"| ({', '.join(map(str, shape))}) |" in page, name
    assert [window["decides_from"] for window in described["windows"]] == [0, 4]
