"""Importing the package is cheap, and what it exports is there; import-linter holds the layers."""

import subprocess
import sys

import keras_mmdense


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
