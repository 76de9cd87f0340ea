"""Stopped and gone on with, an evaluation gives the report of an uninterrupted one."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge import load_model
from shells import started
from test_evaluate import command, contents, copy_estimates
from trees import make_folder

from training.evaluate import main
from training.evaluation import runner, session

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path):
    return make_folder(tmp_path / "tree", num_tracks=3, seconds=0.3)


@pytest.fixture
def scored(monkeypatch):
    """The tasks that were scored, (row, track, metrics)."""
    tasks = []
    before = runner.Scorer.__call__

    def call(self, task):
        tasks.append((task.row.name, task.track.name, task.metrics))
        return before(self, task)

    monkeypatch.setattr(runner.Scorer, "__call__", call)
    return tasks


def test_an_interrupted_run_goes_on_to_the_same_bytes(tree, tmp_path, monkeypatch, scored):
    folder = copy_estimates(tree, tmp_path / "mine", lambda _, x: 0.5 * x)
    arguments = ("mixture", folder, "iwf")
    assert main(command(tmp_path, *arguments, out="whole", metric="usdr,sisdr")) == 0
    before, written = session.write_result, []

    def stop(path, *rest):
        if len(written) == 5:  # in the middle of a task
            raise KeyboardInterrupt
        written.append(path)
        before(path, *rest)

    monkeypatch.setattr(session, "write_result", stop)
    assert main(command(tmp_path, *arguments, metric="usdr,sisdr")) == 130
    report = tmp_path / "report"
    assert {path for path in report.rglob("*") if path.is_file()} == {*written, report / "run.json"}
    monkeypatch.setattr(session, "write_result", before)
    del scored[:]
    assert main(command(tmp_path, *arguments, metric="usdr,sisdr")) == 0
    assert len(scored) == 7  # of nine; one of them lacks a metric
    assert [task for task in scored if len(task[2]) == 1] == [("iwf", "Song 0", ("sisdr",))]
    assert contents(report) == contents(tmp_path / "whole")
    del scored[:]
    record = (report / "run.json").read_bytes()
    assert main(command(tmp_path, *arguments, metric="usdr,sisdr")) == 0
    assert scored == []
    assert (report / "run.json").read_bytes() == record  # it tells who scored, and when
    runs = json.loads(record)["runs"]
    assert [run["seconds"] is None for run in runs] == [True, False]  # the first was stopped
    assert runs[1]["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_leaves_whole_files_and_no_process(tree, tmp_path, name):
    arguments = command(tmp_path, "mixture", "irm", jobs=2, metric="usdr,sisdr")
    process = subprocess.Popen(
        started([sys.executable, "-c", STOPPED, name, *arguments]),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # the pipes end when the command and all its processes have
    _, told = process.communicate()
    if name == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, told
        assert "finished tracks are kept" in told
        assert "Traceback" not in told
    report = tmp_path / "report"
    for path in report.rglob("*.json"):
        json.loads(path.read_text("utf-8"))
    assert not list(report.rglob(".*"))
    assert 1 <= len(list(report.rglob("Song *.json"))) < 12
    assert main(command(tmp_path, "mixture", "irm", metric="usdr,sisdr")) == 0
    assert main(command(tmp_path, "mixture", "irm", out="whole", metric="usdr,sisdr")) == 0
    assert contents(report) == contents(tmp_path / "whole")


# Sends itself the signal after the first task, while the processes work on the others.
STOPPED = """
import os, signal, sys
from training.evaluate import main
from training.evaluation import session
before = session.write_result
def write(*args):
    before(*args)
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
if __name__ == "__main__":
    session.write_result = write
    sys.exit(main(sys.argv[2:]))
"""


def test_what_has_changed_is_scored_again(tree, tmp_path, scored):
    copy_estimates(tree, tmp_path / "mine", lambda _, x: 0.5 * x)
    arguments = command(tmp_path, "mixture", str(tmp_path / "mine"))
    assert main(arguments) == 0

    def again():
        del scored[:]
        assert main(arguments) == 0
        return [task[:2] for task in scored]

    assert again() == []
    path = tmp_path / "mine" / "Song 1" / "bass.wav"
    audio, rate = sf.read(path, dtype="float32")
    sf.write(path, 1.8 * audio, rate, subtype="FLOAT")  # as long as before
    assert again() == [("mine", "Song 1")]
    sdr = json.loads((tmp_path / "report" / "usdr" / "mine" / "test" / "Song 1.json").read_text())
    assert sdr["targets"][0]["values"]["SDR"] == pytest.approx(20, abs=0.01)
    reference = tree / "Song 2" / "drums.wav"
    facts = reference.stat()
    os.utime(reference, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert again() == [("mixture", "Song 2"), ("mine", "Song 2")]


def renamed(path, target):
    """The bytes of a model file whose contract has another name, and nothing else changed."""
    model = load_model(path)
    with zipfile.ZipFile(path) as archive:
        contract = json.loads(archive.read("contract.json")) | {"name": "another"}
    target.write_bytes(model.content)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("contract.json", json.dumps(contract))
    return target.read_bytes()


def test_models_count_with_their_bytes_and_the_filter(tree, tmp_path, scored):
    models = ROOT / "tests" / "edge" / "data"
    model = tmp_path / "net.tflite"

    def scores(model_bytes, **options):
        model.write_bytes(model_bytes)
        del scored[:]
        assert main(command(tmp_path, str(model), limit=1, **options)) == 0
        return len(scored)

    shares = (models / "shares.tflite").read_bytes()
    other = renamed(models / "shares.tflite", tmp_path / "other.tflite")
    assert [scores(shares), scores(shares), scores(other), scores(shares)] == [1, 0, 1, 1]
    assert [scores(shares, wiener=1), scores(shares, wiener=1), scores(shares)] == [1, 0, 1]


def test_a_report_grows_and_is_never_cut_down(tree, tmp_path, scored, capsys):
    assert main(command(tmp_path, "mixture", "irm", limit=2)) == 0
    del scored[:]
    assert main(command(tmp_path, "mixture", "irm", "ibm", metric="usdr,sisdr")) == 0
    known = [task for task in scored if task[0] != "ibm" and task[1] != "Song 2"]
    assert [task[2] for task in known] == [("sisdr",)] * 4
    before = contents(tmp_path / "report")
    for fewer in (
        command(tmp_path, "mixture", metric="usdr,sisdr"),
        command(tmp_path, "mixture", "irm", "ibm"),
        command(tmp_path, "mixture", "irm", "ibm", metric="usdr,sisdr", limit=2),
    ):
        capsys.readouterr()
        assert main(fewer) == 2
        assert "which this command would leave out" in capsys.readouterr().err
    assert contents(tmp_path / "report") == before


@pytest.mark.parametrize("text", ["[]", "{", '{"rows": 1}', "\x00"])
def test_foreign_files_in_the_way_are_left_alone(tree, tmp_path, capsys, text):
    assert main(command(tmp_path, "mixture", limit=1)) == 0
    for path in (
        tmp_path / "report" / "run.json",
        tmp_path / "report" / "usdr" / "mixture" / "test" / "Song 0.json",
    ):
        before = path.read_bytes()
        path.write_text(text)
        assert main(command(tmp_path, "mixture", limit=1)) == 2
        assert str(path) in capsys.readouterr().err
        assert path.read_text() == text
        path.write_bytes(before)


def test_a_terminal_shows_how_many_are_done(tree, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(command(tmp_path, "mixture", limit=1)) == 0
    shown = sys.stderr.getvalue().split("\r")
    assert any(line.startswith("  0%|") and " 0/1 [" in line for line in shown)
    assert shown[-1] == ""
    assert shown[-2].strip() == ""
