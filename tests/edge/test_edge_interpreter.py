"""Which interpreter is taken, what is checked at load, and what is never imported."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mmdense_edge.errors import InterpreterError, ModelError, UsageError
from mmdense_edge.model import interpreter
from mmdense_edge.model.contract import load_model
from mmdense_edge.model.interpreter import (
    TFLiteNetwork,
    interpreter_class,
    what_to_install,
)


@pytest.fixture
def installed(monkeypatch):
    """Pretends that only the given packages are installed, of which the first may be broken."""

    def pretend(packages: tuple[str, ...], numpy: str, error: type[Exception] | None) -> None:
        def import_module(name: str) -> SimpleNamespace:
            package = name.partition(".")[0]
            assert package in packages, "imported what is not installed"
            if error is not None:
                raise error("why")
            return SimpleNamespace(Interpreter=f"{package}'s")

        find = {package: package for package in packages}.get
        monkeypatch.setattr(interpreter.importlib.util, "find_spec", find)
        monkeypatch.setattr(interpreter.importlib, "import_module", import_module)
        monkeypatch.setattr(np, "__version__", numpy)

    return pretend


@pytest.mark.parametrize(
    ("packages", "numpy", "error", "taken"),
    [
        (("tensorflow", "tflite_runtime", "ai_edge_litert"), "1.26.4", None, "ai_edge_litert"),
        (("tensorflow", "tflite_runtime"), "1.26.4", None, "tflite_runtime"),
        (("tensorflow",), "2.1.0", None, "tensorflow"),
    ],
)
def test_the_smallest_interpreter_is_taken(installed, packages, numpy, error, taken):
    installed(packages, numpy, error)
    assert interpreter_class() == (taken, f"{taken}'s")


@pytest.mark.parametrize(
    ("packages", "numpy", "error", "words"),
    [
        ((), "2.1.0", None, "no TFLite interpreter is installed: "),
        # Refused before it is imported: its constructor would die.
        (("tflite_runtime", "tensorflow"), "2.1.0", None, r"needs NumPy 1; received 2.1.0: pip in"),
        # A broken one is no reason to try the next.
        *(
            (("ai_edge_litert", "tensorflow"), "2.1.0", error, r"2\.1\.0 \(why\)\. Install it aga")
            for error in (ImportError, AttributeError, OSError, SystemError)
        ),
    ],
)
def test_what_is_missing_or_broken_says_what_to_install(installed, packages, numpy, error, words):
    installed(packages, numpy, error)
    with pytest.raises(InterpreterError, match=words) as caught:
        interpreter_class()
    assert str(caught.value).endswith(what_to_install())


@pytest.mark.parametrize(
    ("system", "machine", "version", "wide", "expected"),
    [
        ("linux", "x86_64", (3, 14), True, "pip install ai-edge-litert"),
        ("linux", "aarch64", (3, 11), True, "pip install ai-edge-litert"),
        ("darwin", "arm64", (3, 13), True, "pip install ai-edge-litert"),
        ("win32", "AMD64", (3, 12), True, "pip install ai-edge-litert"),
        ("linux", "armv7l", (3, 11), False, "pip install tflite-runtime 'numpy<2'"),
        ("linux", "aarch64", (3, 11), False, "pip install tflite-runtime 'numpy<2'"),
        ("darwin", "x86_64", (3, 12), True, "pip install tensorflow"),
        ("linux", "armv7l", (3, 13), False, "none has wheels for Python 3.13 on linux armv7l"),
        ("linux", "riscv64", (3, 13), True, "none has wheels for Python 3.13 on linux riscv64"),
    ],
)
def test_what_to_install_has_wheels_there(monkeypatch, system, machine, version, wide, expected):
    described = SimpleNamespace(
        platform=system, version_info=(*version, 1), maxsize=(1 << (63 if wide else 31)) - 1
    )
    monkeypatch.setattr(interpreter, "sys", described)
    monkeypatch.setattr(interpreter, "platform", SimpleNamespace(machine=lambda: machine))
    assert what_to_install().startswith(expected)


def test_a_clash_that_shows_in_the_constructor_says_what_to_install(monkeypatch, model_path):
    def clashing(**_):
        raise SystemError("_ARRAY_API is not PyCapsule object")

    monkeypatch.setattr(interpreter, "interpreter_class", lambda: ("tflite_runtime", clashing))
    with pytest.raises(InterpreterError, match=r"does not work with NumPy .*_ARRAY_API.*install"):
        TFLiteNetwork(load_model(model_path("identity")))


def test_tflite_runtime_is_refused_more_threads_than_cores(monkeypatch, model_path):
    _, loaded = interpreter_class()
    model = load_model(model_path("identity"))
    monkeypatch.setattr(interpreter, "free_cores", lambda: 2)
    monkeypatch.setattr(interpreter, "interpreter_class", lambda: ("tflite_runtime", loaded))
    assert TFLiteNetwork(model, num_threads=2).num_threads == 2
    with pytest.raises(UsageError, match=r"threads must be at most 2, .* received 3"):
        TFLiteNetwork(model, num_threads=3)
    monkeypatch.setattr(interpreter, "interpreter_class", lambda: ("ai_edge_litert", loaded))
    assert TFLiteNetwork(model, num_threads=3).num_threads == 3


def test_masks_are_multiplied_with_the_mixture(model_path, noise):
    magnitude = np.abs(noise(16 * 1024)).reshape(16, 1024, 2)
    kept = magnitude.copy()
    estimates = TFLiteNetwork(load_model(model_path("shares")))(magnitude)
    np.testing.assert_allclose(sum(estimates.values()), magnitude, atol=1e-6)
    assert all((part >= 0).all() and (part <= magnitude).all() for part in estimates.values())
    np.testing.assert_array_equal(magnitude, kept)


def test_magnitudes_are_taken_as_they_are(model_path, noise):
    magnitude = np.abs(noise(16 * 1024)).reshape(16, 1024, 2)
    network = TFLiteNetwork(load_model(model_path("magnitudes")))
    first, second = network(magnitude), network(magnitude * 2)
    assert (first["vocals"] > magnitude).any()
    # Estimates stay what they were when the interpreter runs again.
    np.testing.assert_array_equal(first["vocals"], network(magnitude)["vocals"])
    assert not np.array_equal(first["vocals"], second["vocals"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"input": "other"}, r"names input \['other'\].*the model has \['mixture'\]"),
        (
            {"outputs": {"drums": "drums", "bass": "bass", "vocals": "voice"}},
            r"outputs \['bass', 'drums', 'voice'\]",
        ),
        (
            {"frames": 32},
            r"must be float32 \(1, 32, 1024, 2\); received float32 \(1, 16, 1024, 2\)",
        ),
        ({"bins": 1025}, r"\(1, 16, 1025, 2\)"),
        ({"channels": 1}, r"\(1, 16, 1024, 1\)"),
    ],
)
def test_a_model_unlike_its_contract_is_refused(pack, changes, match):
    with pytest.raises(ModelError, match=match):
        TFLiteNetwork(load_model(pack(changes)))


def test_a_model_that_does_not_load_is_refused(pack):
    with pytest.raises(ModelError, match="cannot load it") as caught:
        TFLiteNetwork(load_model(pack(content=b"\x1c\0\0\0TFL3" + bytes(100))))
    assert str(caught.value).isprintable()


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_and_separating_no_tensorflow(
    song, model_path, tmp_path
):
    code = """if True:
        import sys, mmdense_edge
        print(sorted({"numpy", "soxr"} & set(sys.modules)), mmdense_edge.Separator.__name__)
        from mmdense_edge.cli.main import main
        code = main(sys.argv[1:])
        print(code, sorted({"tensorflow", "matplotlib", "keras"} & set(sys.modules)))
    """
    model, out = str(model_path("identity")), str(tmp_path / "out")
    printed = python(code, "separate", str(song()), "-o", out, "--model", model, "--quiet")
    assert printed.splitlines() == ["[] Separator", "0 []"]


def test_an_unknown_name_is_an_attribute_error():
    import mmdense_edge

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = mmdense_edge.Nothing
    assert all(hasattr(mmdense_edge, name) for name in mmdense_edge.__all__)
