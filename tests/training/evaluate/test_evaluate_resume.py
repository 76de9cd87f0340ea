"""Stopped and gone on with, an evaluation gives the report of an uninterrupted one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf
from command_runs import started
from test_evaluate import command, contents, copy_estimates
from trees import make_folder

from training.evaluate import scoring
from training.evaluate.__main__ import main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path):
    return make_folder(tmp_path / "tree", num_tracks=3, seconds=0.3)


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Run the command; return the tasks that it scored, (row, track, metrics)."""
    tasks = []
    before = scoring.score_task

    def call(task, *rest):
        row, track, marks = task
        tasks.append((row.name, track.name, *marks))
        return before(task, *rest)

    def run(*models, code=0, **options):
        tasks.clear()
        assert main(command(tmp_path, *models, **options)) == code
        return list(tasks)

    monkeypatch.setattr(scoring, "score_task", call)
    return run


def test_an_interrupted_run_goes_on_to_the_same_bytes(tree, tmp_path, monkeypatch, scored):
    rows = ("mixture", copy_estimates(tree, tmp_path / "mine", lambda _, x: 0.5 * x), "iwf")
    scored(*rows, out="whole", metric="usdr,sisdr")
    before, report = scoring.write_json, tmp_path / "report"

    def stop(path, content):
        if len(list(report.rglob("Song *.json"))) == 5:  # in the middle of a task
            raise KeyboardInterrupt
        before(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "write_json", stop)
        scored(*rows, metric="usdr,sisdr", code=130)
    assert len([path for path in report.rglob("*") if path.is_file()]) == 6  # and run.json
    tasks = scored(*rows, metric="usdr,sisdr")
    assert len(tasks) == 7  # of nine; one of them lacks a metric
    assert [task for task in tasks if len(task) == 3] == [("iwf", "Song 0", "sisdr")]
    assert contents(report) == contents(tmp_path / "whole")
    assert scored(*rows, metric="usdr,sisdr") == []
    runs = json.loads((report / "run.json").read_bytes())["runs"]  # it tells who scored, and when
    assert [run["seconds"] is None for run in runs] == [True, False]  # the first was stopped


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_signal_leaves_whole_files_and_no_process(tree, tmp_path, name):
    arguments = command(tmp_path, "mixture", "irm", jobs=2, metric="usdr,sisdr")
    process = subprocess.Popen(
        started([sys.executable, "-c", STOPPED, name, *arguments]),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # the pipes end when the command and all its processes have
    _, reported = process.communicate()
    if name == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, reported
        assert "Traceback" not in reported
    report = tmp_path / "report"
    for path in report.rglob("*.json"):
        json.loads(path.read_text("utf-8"))
    assert not list(report.rglob(".*"))
    assert 1 <= len(list(report.rglob("Song *.json"))) < 12
    assert main(command(tmp_path, "mixture", "irm", metric="usdr,sisdr")) == 0
    assert len(list(report.rglob("Song *.json"))) == 12


# Sends itself the signal after the first result, while the processes work on the others.
STOPPED = """
import os, signal, sys
from keras_mmdense.data import DatasetError
from training.evaluate import scoring
from training.evaluate.__main__ import main
before = scoring.write_result
def write(*args):
    before(*args)
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
if __name__ == "__main__":
    scoring.write_result = write
    sys.exit(main(sys.argv[2:]))
"""


def test_what_has_changed_is_scored_again(tree, tmp_path, scored):
    rows = ("mixture", copy_estimates(tree, tmp_path / "mine", lambda _, x: 0.5 * x))
    assert len(scored(*rows)) == 6
    assert scored(*rows) == []
    path = tmp_path / "mine" / "Song 1" / "bass.wav"
    audio, rate = sf.read(path, dtype="float32")
    sf.write(path, 1.8 * audio, rate, subtype="FLOAT")  # as long as before
    assert scored(*rows) == [("mine", "Song 1", "usdr")]
    result = json.loads((tmp_path / "report/usdr/mine/test/Song 1.json").read_text())
    assert result["targets"][0]["values"]["SDR"] == pytest.approx(20, abs=0.01)
    reference = tree / "Song 2" / "drums.wav"
    facts = reference.stat()
    os.utime(reference, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert scored(*rows) == [("mixture", "Song 2", "usdr"), ("mine", "Song 2", "usdr")]


def test_models_count_with_their_bytes_and_the_filter(tree, tmp_path, scored):
    model = tmp_path / "net.tflite"
    for name, wiener, count in (
        ("shares", 0, 1), ("shares", 0, 0), ("int8", 0, 1), ("shares", 0, 1), ("shares", 1, 1),
    ):  # fmt: skip
        shutil.copy(ROOT / "tests" / "edge" / "data" / f"{name}.tflite", model)
        assert len(scored(str(model), limit=1, wiener=wiener)) == count


def test_a_report_grows_and_is_never_cut_down(tree, tmp_path, scored, capsys):
    scored("mixture", "irm", limit=2)
    tasks = scored("mixture", "irm", "ibm", metric="usdr,sisdr")
    known = [task[2:] for task in tasks if task[0] != "ibm" and task[1] != "Song 2"]
    assert known == [("sisdr",)] * 4
    before = contents(tmp_path / "report")
    for rows, options in (
        (("mixture",), {"metric": "usdr,sisdr"}),
        (("mixture", "irm", "ibm"), {}),
        (("mixture", "irm", "ibm"), {"metric": "usdr,sisdr", "limit": 2}),
    ):
        scored(*rows, **options, code=2)
        assert "which this command would leave out" in capsys.readouterr().err
    assert contents(tmp_path / "report") == before


@pytest.mark.parametrize("text", ["{", '{"rows": 1}'])
@pytest.mark.parametrize("name", ["run.json", "usdr/mixture/test/Song 0.json"])
def test_foreign_files_in_the_way_are_left_alone(tree, tmp_path, capsys, name, text):
    assert main(command(tmp_path, "mixture", limit=1)) == 0
    path = tmp_path / "report" / name
    path.write_text(text)
    assert main(command(tmp_path, "mixture", limit=1)) == 2
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == text
