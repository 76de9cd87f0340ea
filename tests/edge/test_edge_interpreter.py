"""Which interpreter is taken, what is checked at load, and what is never imported."""

import os
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from mmdense_edge.errors import InterpreterError, ModelError, UsageError
from mmdense_edge.model import interpreter
from mmdense_edge.model.interpreter import TFLiteNetwork, for_signal, interpreter_class
from mmdense_edge.model.model_file import load_model


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
    ("packages", "numpy", "taken"),
    [
        (("tensorflow", "tflite_runtime", "ai_edge_litert"), "1.26.4", "ai_edge_litert"),
        (("tensorflow", "tflite_runtime"), "1.26.4", "tflite_runtime"),
        (("tensorflow",), "2.1.0", "tensorflow"),
    ],
)
def test_the_smallest_interpreter_is_taken(installed, packages, numpy, taken):
    installed(packages, numpy, None)
    assert interpreter_class() == (taken, f"{taken}'s")


@pytest.mark.parametrize(
    ("packages", "numpy", "error", "words"),
    [
        ((), "2.1.0", None, "is installed: pip install ai-edge-litert .64.*tflite.*tensorflow"),
        # Refused before it is imported: its constructor would die.
        (
            ("tflite_runtime", "tensorflow"),
            "2.1.0",
            None,
            "needs NumPy 1; received 2.1.0: pip install",
        ),
        # A broken one is no reason to try the next.
        *(
            (
                ("ai_edge_litert", "tensorflow"),
                "2.1.0",
                error,
                r"2\.1\.0 \(why\)\. Install it again, or pip",
            )
            for error in (ImportError, AttributeError, OSError, SystemError)
        ),
    ],
)
def test_what_is_missing_or_broken_says_what_to_install(installed, packages, numpy, error, words):
    installed(packages, numpy, error)
    with pytest.raises(InterpreterError, match=words):
        interpreter_class()


def test_a_clash_that_shows_in_the_constructor_says_what_to_install(monkeypatch, model_path):
    clashing = Mock(side_effect=SystemError("_ARRAY_API is not PyCapsule object"))
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


def test_cores_are_counted_on_systems_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert interpreter.free_cores() == os.cpu_count()


def test_masks_are_taken_as_they_are(model_path, noise):
    magnitude = np.abs(noise(16 * 1024)).reshape(16, 1024, 2)
    kept = magnitude.copy()
    masks = TFLiteNetwork(load_model(model_path("shares")))(magnitude)
    np.testing.assert_allclose(sum(masks.values()), 1, atol=1e-6)
    assert all((part >= 0).all() and (part <= 1).all() for part in masks.values())
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
        (None, "cannot load it"),
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
        ({"states": {"input": "past", "output": "now", "taps": [[0, 128, 1]]}}, "'now'"),
        (
            {"states": {"input": "past", "output": "present", "taps": [[0, 128, 1]]}},
            r"'past' must be float32 \(1, 128\); received float32 \(1, 192\)",
        ),
    ],
)
def test_a_model_that_does_not_load_or_is_unlike_its_contract_is_refused(pack, changes, match):
    content = None if changes else b"\x1c\0\0\0TFL3" + bytes(100)
    base = "causal" if changes and "states" in changes else "shares"
    with pytest.raises(ModelError, match=match) as caught:
        TFLiteNetwork(load_model(pack(changes, content=content, base=base)))
    assert str(caught.value).isprintable()


def test_a_network_with_states_remembers_each_signal_by_itself(model_path, noise):
    shared = TFLiteNetwork(load_model(model_path("causal")))
    signals = np.abs(noise(2 * 6 * 64)).reshape(2, 6, 1, 64, 2)
    networks = [for_signal(shared) for _ in signals]
    masks = np.stack(
        [
            [
                network(signal[frame])["drums"]
                for signal, network in zip(signals, networks, strict=True)
            ]
            for frame in range(6)
        ],
        axis=1,
    )
    values = np.pad(np.log1p(signals), [(0, 0), (2, 0), (0, 0), (0, 0), (0, 0)])
    two_before = values[:, :-2].copy()
    two_before[..., 32:, :] = 0
    expected = 1 / (1 + np.exp(3 * two_before - values[:, 1:-1] - values[:, 2:]))
    np.testing.assert_allclose(masks, expected, atol=1e-5)


def test_windows_that_remember_add_their_last_frames(pack, model_path, noise):
    late = {"version": 3, "frames": 5, "context_frames": 2}
    every, windows = (
        for_signal(TFLiteNetwork(load_model(path)))
        for path in (model_path("causal"), pack(late, base="causal"))
    )
    song = np.abs(noise(9 * 64)).reshape(9, 64, 2)
    expected = [every(frame[None])["drums"][0] for frame in song]
    for first in range(5):  # the frames in the middle are estimated when the last one is known
        found = windows(song[first : first + 5])["drums"]
        np.testing.assert_array_equal(found[2], expected[first + 4])
        assert not found[[0, 1, 3, 4]].any()


def test_the_silence_before_a_signal_is_run_once_for_all_signals(pack, noise):
    late = {"version": 3, "frames": 3, "context_frames": 1}
    network = TFLiteNetwork(load_model(pack(late, base="causal")))
    network._interpreter.invoke = runs = Mock(wraps=network._interpreter.invoke)
    song = np.abs(noise(4 * 64)).reshape(4, 64, 2)
    song[0] = 0
    heard, every = for_signal(network), for_signal(network)
    found = [heard(song[first : first + 3])["drums"] for first in (0, 1)]
    assert runs.call_count == 2 + 1
    every(song[1:])  # with sound before it
    assert runs.call_count == 2 + 1 + 3
    plain = for_signal(TFLiteNetwork(load_model(pack(base="causal"))))
    expected = [plain(frame[None])["drums"][0] for frame in song]
    np.testing.assert_array_equal([window[1] for window in found], expected[2:])


def test_separating_loads_no_tensorflow(song, model_path, tmp_path):
    code = """if True:
        import sys
        from mmdense_edge.cli.main import main
        assert main(sys.argv[1:]) == 0
        assert not {"tensorflow", "matplotlib", "keras"} & set(sys.modules)
    """
    argv = ["separate", song(), "-o", tmp_path, "--model", model_path("identity"), "--quiet"]
    subprocess.run([sys.executable, "-c", code, *map(str, argv)], check=True)


def test_an_unknown_name_is_an_attribute_error():
    import mmdense_edge

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = mmdense_edge.Nothing
    assert all(hasattr(mmdense_edge, name) for name in mmdense_edge.__all__)
