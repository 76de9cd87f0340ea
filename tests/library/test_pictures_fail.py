"""A picture never costs the results that it goes with, and no backend of the shell matters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from trees import make_folder

from keras_mmdense.tflite.parity import Figures, write_report
from training.evaluate.__main__ import main as evaluate
from training.evaluate.compare import main as compare

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_pictures(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the fonts\nare gone")

    monkeypatch.setattr("matplotlib.figure.Figure.__init__", fail)


def told(caplog):
    return {record.getMessage() for record in caplog.records if "picture" in record.getMessage()}


LINE = {"a picture was not drawn: the fonts are gone"}


@pytest.mark.usefixtures("no_pictures")
def test_scores_and_their_comparison_stay(tmp_path, caplog):
    tree = make_folder(tmp_path / "tree", num_tracks=2, seconds=0.4)
    report = tmp_path / "report"
    assert evaluate(["mixture", "irm", "--data", str(tree), "--out", str(report)]) == 0
    assert told(caplog) == LINE
    assert {"report.md", "scores.csv", "summary.json"} <= {path.name for path in report.iterdir()}
    assert compare([str(report), "--out", str(tmp_path / "compared")]) == 0
    assert (tmp_path / "compared" / "comparison.md").is_file()


@pytest.mark.usefixtures("no_pictures")
def test_the_figures_of_an_export_stay(tmp_path, caplog):
    probe = {"cpu_rtf": 0.1, "peak_mb": 50.0, "delegates": 1}
    write_report(tmp_path, "m", [Figures("float32", 0.0, {"vocals": 60.0}, {}, {}, 1, 1, probe)])
    assert told(caplog) == LINE
    assert {path.name for path in tmp_path.iterdir()} == {"m.parity.json", "m.parity.md"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import training.train.trainer, training.evaluate.scoring"],
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
