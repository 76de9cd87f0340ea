"""The benchmarks: what they plan, count, add up and show; nothing is installed or timed."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import edge, harness
from benchmarks.peers import __main__ as peers
from benchmarks.peers import environments, report, spleeter
from benchmarks.peers.environments import PEERS


def separate(peer, index, cpu_s, threads=1, seconds=10.0, peak=2e8):
    return {
        "peer": peer, "kind": "separate", "threads": threads, "seconds": seconds, "round": index,
        "cpu_s": cpu_s, "wall_s": cpu_s / threads, "total_cpu_s": cpu_s + 1, "peak_bytes": peak,
    }  # fmt: skip


@pytest.fixture
def found():
    runs = [separate("edge-int8", n, cpu) for n, cpu in enumerate((0.5, 1.0, 0.4))]
    runs += [separate("openunmix", n, cpu) for n, cpu in enumerate((1.0, 4.0, 2.0))]
    runs += [separate("edge-int8", 0, 3.0, 2, 60.0), separate("openunmix", 0, 9.0, 2, 60.0, 4e9)]
    common = {"threads": 1, "seconds": 0, "round": 0}
    runs += [
        {"peer": "edge-int8", "kind": "start", **common, "total_cpu_s": 0.31},
    ]  # fmt: skip
    return {
        "date": "2026-11-25", "command": "python -m benchmarks.peers --out x",
        "machine": {"cpu": "A CPU", "cores": 2, "os": "Linux", "python": "3.11.7"},
        "labels": {"edge-int8": "the device model", "openunmix": "Open-Unmix"},
        "ours": ["edge-int8"], "homes": {"edge-int8": "edge-int8", "openunmix": "openunmix"},
        "environments": {
            "openunmix": {"packages": {"torch": "2.13.0+cpu"}, "megabytes": 960.4,
                          "requirements": ["torch==2.13.0", "openunmix"],
                          "removed": ["torchaudio/lib/a.so"]},
        },
        "runs": runs,
        "errors": [{"peer": "demucs", "kind": "separate", "seconds": 60.0, "threads": 2,
                    "error": "no memory"}],
    }  # fmt: skip


def test_systems_take_turns_and_slow_ones_run_once(monkeypatch):
    plans = []
    monkeypatch.setattr(peers, "measure", lambda args, found: plans.append(peers.plan(args)))
    given = "--out new --threads 1 --rounds 2 --peers spleeter-int8,demucs --seconds 5,9"
    assert peers.main(given.split()) == 0
    assert [tuple(run.values()) for run in plans[0]] == [
        ("spleeter-int8", "start", 1, 1, 0), ("demucs", "start", 1, 1, 0),
        ("spleeter-int8", "separate", 1, 5, 0), ("demucs", "separate", 1, 5, 0),
        ("spleeter-int8", "separate", 1, 5, 1),
        ("spleeter-int8", "separate", 1, 9, 0), ("demucs", "separate", 1, 9, 0),
    ]  # fmt: skip


def test_every_system_has_an_environment_and_a_class_that_exists():
    folder = environments.ROOT / "benchmarks" / "peers"
    for peer in PEERS:
        assert peer.home in environments.REQUIREMENTS
        module, kind = peer.system.split(":")
        body = ast.parse((folder / f"{module}.py").read_text("utf-8")).body
        assert kind in {node.name for node in body if isinstance(node, ast.ClassDef)}


def test_the_tables_and_what_failed(found, tmp_path):
    assert report.cases(found) == [(10, 1), (60, 2)]
    assert report.ratio(found, "openunmix", 10, 1) == pytest.approx(4)  # of 2, 4, 5
    assert report.ratio(found, "openunmix", 10, 2) is None
    lines = report.text(found).splitlines()
    assert "| **the device model** | 0.050 / 0.050 | 0.050 / 0.025 | 1.0 |" in lines
    assert "| Open-Unmix | 0.200 / 0.200 | 0.150 / 0.075 | 4.0 |" in lines
    assert "| **the device model** | 200 | 200 | 0.31 | - |" in lines
    assert "| Open-Unmix | 200 | 4000 | - | 960 |" in lines
    assert any("torch 2.13.0+cpu" in line and "without torchaudio" in line for line in lines)
    assert "- demucs, separate, 60 s, 2 thread(s): no memory" in lines
    report.plot(found, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").read_bytes()[:4] == b"\x89PNG"


def test_the_published_tables_are_those_of_the_published_figures():
    docs = environments.ROOT / "docs" / "results"
    published = json.loads((docs / "peers" / "peers.json").read_text("utf-8"))
    for part in report.text(published).split("\n\n")[1:]:  # behind the command
        assert part in (docs / "peers.md").read_text("utf-8")


def test_each_is_measured_in_its_environment_and_a_failure_does_not_end_the_others(
    tmp_path, monkeypatch, capsys
):
    tasks = []

    def call(function, **given):
        if "song" not in given:
            return None  # the preparation
        tasks.append((given["python"], Path(given["song"]).name, given["warm"] is not None))
        if given["system"].startswith("demucs"):
            raise RuntimeError("killed")
        return dict.fromkeys(("cpu_s", "wall_s", "total_cpu_s", "peak_bytes"), 1.0)

    made = {"packages": {}, "megabytes": 1, "requirements": [], "removed": []}
    monkeypatch.setattr(peers, "environment", lambda _, name, *__: {"python": name, **made})
    monkeypatch.setattr(peers, "call", call)
    given = ["--out", tmp_path / "out", "--cache", tmp_path, "--peers", "openunmix,demucs"]
    given += ["--seconds", "1.5", "--threads", "1", "--rounds", "1"]
    assert peers.main(list(map(str, given))) == 1
    found = json.loads((tmp_path / "out" / "peers.json").read_text("utf-8"))
    assert [one["error"] for one in found["errors"]] == ["killed"] * 2
    assert [run["kind"] for run in found["runs"]] == ["start", "separate"]
    assert "What failed" in capsys.readouterr().out
    assert tasks == [
        ("openunmix", "1.wav", False), ("demucs", "1.wav", False),
        ("openunmix", "1.5.wav", True), ("demucs", "1.5.wav", False),
    ]  # fmt: skip


def test_spleeter_has_its_size_and_nothing_that_a_converter_can_leave_out():
    network = spleeter.build()
    assert network.input_shape == network.output_shape == (None, 512, 1024, 2)
    kernels = 25 * (2 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    kernels += 25 * (512 * 256 + 512 * 128 + 256 * 64 + 128 * 32 + 64 * 16 + 32 * 1) + 16 * 2
    assert sum(w.shape.num_elements() for w in network.weights if len(w.shape) == 4) == kernels
    assert 4 * network.count_params() == pytest.approx(39.3e6, rel=1e-3)
    assert min(np.ptp(np.asarray(w)) for w in network.weights if np.size(w) > 1) > 0


@pytest.mark.parametrize("num_samples", [1, 5000, 700_000])
def test_spleeters_stems_share_out_the_lower_half_of_the_mixture(num_samples):
    time = np.arange(num_samples)[:, None] / 44100
    audio = np.float32(0.3) * np.sin(2 * np.pi * np.array([[220, 1000]]) * time).astype(np.float32)
    audio += np.float32(0.1)
    networks = [lambda windows, gain=gain: gain * windows for gain in (1, 2, 3, 4)]
    stems = spleeter.separate(audio, networks)
    assert [stem.shape for stem in stems] == [audio.shape] * 4
    for stem, gain in zip(stems, (1, 2, 3, 4), strict=True):
        assert np.abs(stem - stems[0] * gain**2).max() < 1e-4
    if num_samples > 10_000:
        assert np.abs(sum(stems) - audio)[5000:-5000].max() < 0.01


def test_peaks_of_memory_must_be_close_together_and_low():
    assert edge.memory_passes([200e6, 209e6])
    assert not edge.memory_passes([200e6, 209e6, 211e6])
    assert not edge.memory_passes([250e6])


def test_memory_is_measured_and_reported(capfd):
    code = edge.main(["memory", "--minutes", "0.01,0.03"])
    out, err = capfd.readouterr()
    rows = [line.split("|")[1:4] for line in out.splitlines() if line.startswith("| 0")]
    assert [float(minutes) for minutes, _, _ in rows] == [0.01, 0.03]
    assert all(float(peak) > 20 for _, peak, _ in rows)
    assert f"MB: {code == 0}" in out
    assert err == "0.01 minutes ...\n0.03 minutes ...\n"
    assert edge.main(["memory", "--minutes", "0.01", "--model", "none.tflite"]) == 2
    assert "no model file at none.tflite" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (edge, "memory --minutes 1,,2", "--minutes: must be a number from 0.01 to 600"),
        (edge, "memory --minutes nan", "--minutes: must be a number from 0.01 to 600"),
        (peers, "--out new --peers spleter", "--peers must be some of edge-int8,"),
        (peers, "--out new --rounds 0", "--rounds: must be a number from 1 to 20; received '0'"),
        (peers, "--out new --threads a", "--threads: must be a number from 1 to"),
        (peers, "--out .", "--out must name a new folder; received ."),
    ],
)
def test_wrong_arguments_are_refused_before_the_work(capsys, monkeypatch, command, given, said):
    monkeypatch.setattr(harness, "finish", lambda name, work: pytest.fail("worked"))
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
    output, usage = harness.run([sys.executable, "-c", "print(6 * 7)"])
    assert output == "42\n"
    assert usage.ru_maxrss > 1000
