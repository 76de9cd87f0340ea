"""The benchmarks: what they plan, count, add up and show; nothing is installed or timed."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import edge, harness, metrics, training
from benchmarks.peers import __main__ as peers
from benchmarks.peers import environments, report, spleeter


def test_the_published_tables_are_those_of_the_published_figures():
    docs = environments.ROOT / "docs" / "results"
    published = json.loads((docs / "peers" / "peers.json").read_text("utf-8"))
    for part in report.text(published).split("\n\n")[1:]:  # behind the command
        assert part in (docs / "peers.md").read_text("utf-8")


def test_systems_take_turns_slow_ones_run_once_and_a_failure_does_not_end_the_others(
    tmp_path, monkeypatch
):
    tasks = []

    def call(function, **given):
        if "song" in given:  # not the preparation
            tasks.append((given["python"], Path(given["song"]).name, given["warm"] is not None))
            if given["system"].startswith("demucs"):
                raise RuntimeError("killed")
        return dict.fromkeys(("cpu_s", "wall_s", "total_cpu_s", "peak_bytes"), 1.0)

    made = {"packages": {}, "megabytes": 1, "requirements": [], "removed": []}
    monkeypatch.setattr(peers, "environment", lambda _, name, *__: {"python": name, **made})
    monkeypatch.setattr(peers, "call", call)
    given = ["--out", tmp_path / "out", "--cache", tmp_path, "--peers", "openunmix,demucs"]
    given += ["--seconds", "5,9", "--threads", "1", "--rounds", "2"]
    assert peers.main(list(map(str, given))) == 1
    found = json.loads((tmp_path / "out" / "peers.json").read_text("utf-8"))
    assert [one["error"] for one in found["errors"]] == ["killed"] * 3
    assert [run["kind"] for run in found["runs"]] == ["start"] + ["separate"] * 3
    assert tasks == [
        ("openunmix", "1.wav", False), ("demucs", "1.wav", False),
        ("openunmix", "5.wav", True), ("demucs", "5.wav", False), ("openunmix", "5.wav", True),
        ("openunmix", "9.wav", True), ("demucs", "9.wav", False),
    ]  # fmt: skip


def test_spleeter_has_its_size_and_nothing_that_a_converter_can_leave_out():
    network = spleeter.build()
    assert network.input_shape == network.output_shape == (None, 512, 1024, 2)
    assert 4 * network.count_params() == pytest.approx(39.3e6, rel=1e-3)
    assert min(np.ptp(np.asarray(w)) for w in network.weights if np.size(w) > 1) > 0


def test_peaks_of_memory_must_be_close_together_and_low(capfd):
    assert edge.memory_passes([200e6, 209e6])
    assert not edge.memory_passes([200e6, 209e6, 211e6])
    assert not edge.memory_passes([250e6])
    code = edge.main(["memory", "--minutes", "0.01,0.03"])
    table = capfd.readouterr().out
    assert f"MB: {code == 0}" in table
    assert "| 0.01 |" in table


def test_clicks_are_found_where_they_are():
    samples = np.zeros((100000, 4), "<i2")
    samples[[100, 5000, 50000, 99999], 0] = 1 << 14  # two of them belong to one click
    samples[[9000, 70000], 2] = 1 << 14
    front, rear = edge.clicks_of(io.BytesIO(samples.tobytes() + b"half"))
    assert (front.tolist(), rear.tolist()) == ([100, 50000, 99999], [9000, 70000])


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (edge, "memory --minutes 1,,2", "--minutes: must be a number from 0.01 to 600"),
        (edge, "memory --minutes nan", "--minutes: must be a number from 0.01 to 600"),
        (peers, "--out new --peers spleter", "--peers must be some of edge-int8,"),
        (peers, "--out new --rounds 0", "--rounds: must be a number from 1 to 20; received '0'"),
        (peers, "--out new --threads a", "--threads: must be a number from 1 to"),
        (peers, "--out .", "--out: must be new, in a folder that exists; received '.'"),
        (metrics, "cost --json gone/all.json", "--json: must be new, in a folder that exists"),
    ],
)
def test_wrong_arguments_are_refused_before_the_work(capsys, monkeypatch, command, given, said):
    monkeypatch.setattr(harness.subprocess, "Popen", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(SystemExit) as stopped:
        command.main(given.split())
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_process_answers_or_fails_with_its_last_line():
    assert harness.call("benchmarks.edge:memory_passes", peaks=[1, 2]) is False
    with pytest.raises(RuntimeError, match=r"TypeError: .* missing 1 required"):
        harness.call("benchmarks.edge:memory_passes")
    with pytest.raises(RuntimeError, match="the process ended with 3"):
        harness.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_table_of_training_holds_ratios_within_rounds_and_what_was_measured():
    steps = {"float32": (4.0, 2.0, 8.0), "bfloat16": (1.0, 1.0, 2.0)}
    found = {
        ("tensorflow", precision): [
            {"step": step, "cpu": 2 * step, "product": 0.5, "memory": 3e9} for step in seconds
        ]
        for precision, seconds in steps.items()
    }
    for one in found["tensorflow", "bfloat16"]:
        one.update(pipeline=0.01, together=2.0, waiting=0.5)
    work = {"audio": 3.0, "multiply_adds": training.PEAK_SIZE**3 / 6}
    assert training.report(found, 8, work).splitlines()[2:] == [
        "| tensorflow, float32 | 1.00 | 6.00 | 3.00 | 50% | - | - | - | 3000 |",
        "| tensorflow, bfloat16 | 4.00 | 24.00 | 12.00 | 200% | 2400 | 12.00 | 25.0% | 3000 |",
    ]


def test_systems_that_train_take_turns(monkeypatch, capsys):
    calls = []

    def call(function, environ=None, **given):
        if function.endswith("work_of"):
            return {"audio": 1.0, "multiply_adds": 1}
        calls.append((given.get("system"), given["precision"], environ, given.get("data")))
        return {"step": 1.0, "cpu": 1.0, "product": 1.0, "memory": 1.0}

    monkeypatch.setattr(training, "call", call)
    options = "--step-only --rounds 2 --precisions float32 --systems plain pytorch tensorflow"
    monkeypatch.setattr(sys, "argv", ["training", *options.split(), "--preset", "mmdensenet"])
    assert training.main() == 0
    plain = ("plain", "float32", {"KERAS_BACKEND": "tensorflow"}, "")
    ours = {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"}
    round_of = [plain, (None, "float32", None, None), ("tensorflow", "float32", ours, "")]
    assert calls == 2 * round_of
    assert "| pytorch, float32 | 1.00 |" in capsys.readouterr().out
