"""Importing the package is cheap, what it exports is there, and imports run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import keras_mmdense

ROOT = Path(__file__).parents[1]


def test_import_brings_neither_tensorflow_nor_keras():
    code = (
        "import sys, keras_mmdense\n"
        "heavy = {'tensorflow', 'keras', 'jax', 'torch', 'soundfile', 'av', 'scipy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_exported_is_there_and_documented():
    for name in keras_mmdense.__all__:
        value = getattr(keras_mmdense, name)
        assert name.startswith("__") or value.__doc__
    assert set(keras_mmdense._EXPORTS) <= set(keras_mmdense.__all__)


@pytest.mark.parametrize(
    ("package", "closed"),
    [
        ("edge/mmdense_edge", {"keras_mmdense", "training", "keras", "tensorflow"}),
        ("keras_mmdense", {"training", "benchmarks"}),
    ],
)
def test_imports_run_one_way(package, closed):
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & closed, path
