"""The comparison with peers: what it plans, adds up and shows; nothing is installed or timed."""

import ast
import json

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import environments, report
from benchmarks.peers.environments import NAMES, PEERS


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
        {"peer": "openunmix", "kind": "describe", **common, "parameters": 35_600_000,
         "gmac_per_s": 1.52},
        {"peer": "edge-int8", "kind": "start", **common, "total_cpu_s": 0.31},
        {"peer": "openunmix", "kind": "train", **common, "audio_s_per_cpu_s": 25.04},
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


def test_systems_take_turns_slow_ones_run_once_and_only_what_trains_is_trained(monkeypatch):
    plans = []
    monkeypatch.setattr(command, "_work", lambda args, given: plans.append(command.plan(args)))
    wanted = ["--out", "new", "--threads", "1", "--rounds", "2"]
    assert command.main([*wanted, "--peers", "spleeter-int8,demucs", "--seconds", "5,9"]) == 0
    assert [tuple(run.values()) for run in plans[0]] == [
        ("spleeter-int8", "describe", 1, 0, 0), ("demucs", "describe", 1, 0, 0),
        ("spleeter-int8", "start", 1, 1, 0), ("demucs", "start", 1, 1, 0),
        ("spleeter-int8", "separate", 1, 5, 0), ("demucs", "separate", 1, 5, 0),
        ("spleeter-int8", "separate", 1, 5, 1),
        ("spleeter-int8", "separate", 1, 9, 0), ("demucs", "separate", 1, 9, 0),
        ("demucs", "train", 1, 0, 0),
    ]  # fmt: skip


def test_the_environments_that_are_needed():
    chosen = [peer for peer in PEERS if peer.name in ("edge-float32", "demucs")]
    assert environments.homes(chosen, train=False) == ["edge-int8", "demucs"]
    assert environments.homes(chosen, train=True) == ["edge-int8", "mmdensenet-keras", "demucs"]


def test_every_system_has_an_environment_and_a_class_that_exists():
    folder = environments.ROOT / "benchmarks" / "peers"
    for peer in PEERS:
        assert {peer.home, peer.trains_in or peer.home} <= environments.REQUIREMENTS.keys()
        module, kind = peer.system.split(":")
        body = ast.parse((folder / f"{module}.py").read_text("utf-8")).body
        assert kind in {node.name for node in body if isinstance(node, ast.ClassDef)}


def test_an_environment_is_used_again_and_a_strange_folder_left_alone(tmp_path):
    kept = {"python": "p", "requirements": ["torch==1", "openunmix", "soundfile"]}
    (tmp_path / "openunmix").mkdir()
    (tmp_path / "openunmix" / environments.MARK).write_text(json.dumps(kept))
    assert environments.environment(tmp_path, "openunmix", "torch==1") == kept
    with pytest.raises(RuntimeError, match="is no environment"):
        environments.environment(tmp_path, "openunmix", "torch==2")


def test_torchaudio_for_cuda_loses_its_compiled_part_only_with_a_cpu_build(tmp_path):
    file = tmp_path / "lib/python3.11/site-packages/torchaudio/lib/_torchaudio.so"
    file.parent.mkdir(parents=True)
    file.touch()
    assert environments.without_cuda(tmp_path, {"torch": "2.13.0"}) == []
    assert file.exists()
    removed = environments.without_cuda(tmp_path, {"torch": "2.13.0+cpu"})
    assert removed == ["torchaudio/lib/_torchaudio.so"]
    assert not file.exists()


def test_medians_over_rounds_and_ratios_within_them(found):
    assert report.factor(found, "openunmix", "cpu_s", 10, 1) == pytest.approx(0.2)
    assert report.ratio(found, "openunmix", 10, 1) == pytest.approx(4)  # of 2, 4, 5
    assert report.ratio(found, "openunmix", 60, 2) == pytest.approx(3)
    assert report.ratio(found, "openunmix", 10, 2) is None
    assert report.cases(found) == [(10, 1), (60, 2)]


def test_the_tables_and_what_failed(found, tmp_path):
    lines = report.text(found).splitlines()
    assert "| **the device model** | 0.050 / 0.050 | 0.050 / 0.025 | 1.0 |" in lines
    assert "| Open-Unmix | 0.200 / 0.200 | 0.150 / 0.075 | 4.0 |" in lines
    assert "| **the device model** | 200 | 200 | 0.31 | - | - | - | - |" in lines
    assert "| Open-Unmix | 200 | 4000 | - | 960 | 35.60 | 1.5 | 25.0 |" in lines
    assert any("torch 2.13.0+cpu" in line and "without torchaudio" in line for line in lines)
    assert "- demucs, separate, 60 s, 2 thread(s): no memory" in lines
    report.plot(found, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").read_bytes()[:4] == b"\x89PNG"


def test_the_published_tables_are_those_of_the_published_figures():
    docs = environments.ROOT / "docs"
    published = json.loads((docs / "peers" / "peers.json").read_text("utf-8"))
    for part in report.text(published).split("\n\n")[1:]:  # behind the command
        assert part in (docs / "peers.md").read_text("utf-8")


def test_a_failed_measurement_does_not_end_the_others():
    def work(one):
        if one["peer"] == "demucs":
            raise RuntimeError("killed")
        return {"cpu_s": 1.0}

    runs = [{"peer": name, "kind": "separate"} for name in NAMES]
    found = {"runs": [], "errors": []}
    assert len(list(command.measure(runs, found, work))) == len(PEERS)
    assert [one["error"] for one in found["errors"]] == ["killed"]
    assert len(found["runs"]) == len(PEERS) - 1


def test_a_measurement_is_told_what_to_do(tmp_path, monkeypatch):
    tasks = []
    monkeypatch.setattr(command, "call", lambda function, **task: tasks.append(task) or {})
    homes = {peer.home: {"python": f"{peer.home}/python"} for peer in PEERS}
    for name, kind in (
        ("edge-float32", "separate"), ("demucs", "separate"), ("edge-float32", "start"),
        ("edge-float32", "train"), ("demucs", "train"),
    ):  # fmt: skip
        one = {"peer": name, "kind": kind, "threads": 2, "seconds": 1.5, "round": 0}
        command.carry_out(one, homes, tmp_path, tmp_path / "files", 3)
    assert [task["python"] for task in tasks] == [
        "edge-int8/python", "demucs/python", "edge-int8/python", "mmdensenet-keras/python",
        "demucs/python",
    ]  # fmt: skip
    assert [task.get("warm") is not None for task in tasks] == [True, False, False, False, False]
    assert [task.get("steps") for task in tasks] == [None, None, None, 3, 1]
    assert tasks[0]["song"] == str(tmp_path / "1.5.wav")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--peers", "spleter"], "--peers must be some of edge-int8,"),
        (["--seconds", "0"], "--seconds: must be a number from 1 to 3600; received '0'"),
        (["--threads", "a"], "--threads: must be a number from 1 to"),
        (["--rounds", "0"], "--rounds: must be a number from 1 to 20; received '0'"),
        (["--steps", "-1"], "--steps: must be a number from 0 to 20; received '-1'"),
        (["--out", "."], "--out must name a new folder; received ."),
    ],
)
def test_wrong_arguments_are_refused_before_the_work(capsys, monkeypatch, given, said):
    monkeypatch.setattr(command, "finish", lambda name, work: 0)
    with pytest.raises(SystemExit) as stopped:
        command.main(["--out", "new", *given])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
