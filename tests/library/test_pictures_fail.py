"""A picture never costs the results that it goes with, and no backend of the shell matters."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from keras_mmdense.tflite.parity import Figures, write_report

ROOT = Path(__file__).parents[2]


def test_the_figures_of_an_export_stay(tmp_path, caplog, monkeypatch):
    failing = mock.Mock(side_effect=RuntimeError("the fonts\nare gone"))
    monkeypatch.setattr("matplotlib.figure.Figure.__init__", failing)
    probe = {"cpu_rtf": 0.1, "peak_mb": 50.0, "delegates": 1}
    write_report(tmp_path, "m", [Figures("float32", 0.0, {"vocals": 60.0}, {}, {}, 1, 1, probe)])
    assert [record.getMessage() for record in caplog.records] == [
        "a picture was not drawn: the fonts are gone"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"m.parity.json", "m.parity.md"}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(
            ["-c", "import training.train.trainer, training.evaluate.scoring"],
            marks=pytest.mark.slow,
        ),
        ["-m", "keras_mmdense", "plot", "mmdensenet", "-o", "{out}/net.svg"],
    ],
)
def test_the_shell_s_backend_does_not_matter(arguments, tmp_path):
    """A notebook's shell names a backend that is absent elsewhere."""
    done = subprocess.run(
        [sys.executable, *(a.format(out=tmp_path) for a in arguments)],
        env=os.environ | {"MPLBACKEND": "no_such_backend", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
