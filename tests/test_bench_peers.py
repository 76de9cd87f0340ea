"""The benchmark beside peers: what it plans, adds up and shows; nothing is installed or timed."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import bench_peers, peer_report, peers
from benchmarks.peer_arguments import arguments
from benchmarks.peers import NAMES, PEERS


def separate(peer, number, cpu_s, threads=1, seconds=10.0, peak=2e8):
    return {
        "peer": peer, "kind": "separate", "threads": threads, "seconds": seconds, "round": number,
        "cpu_s": cpu_s, "wall_s": cpu_s / threads, "total_cpu_s": cpu_s + 1, "peak_bytes": peak,
    }  # fmt: skip


@pytest.fixture
def found():
    runs = [separate("edge-int8", n, cpu) for n, cpu in enumerate((0.5, 1.0, 0.4))]
    runs += [separate("openunmix", n, cpu) for n, cpu in enumerate((1.0, 4.0, 2.0))]
    runs += [separate("edge-int8", 0, 3.0, 2, 60.0), separate("openunmix", 0, 9.0, 2, 60.0, 4e9)]
    runs += [
        {"peer": "openunmix", "kind": "describe", "threads": 1, "seconds": 0, "round": 0,
         "parameters": 35_600_000, "gmac_per_s": 1.52},
        {"peer": "edge-int8", "kind": "start", "threads": 1, "seconds": 1, "round": 0,
         "total_cpu_s": 0.31},
        {"peer": "openunmix", "kind": "train", "threads": 1, "seconds": 0, "round": 0,
         "audio_s_per_cpu_s": 25.04},
    ]  # fmt: skip
    return {
        "date": "2026-11-25", "command": "python -m benchmarks.bench_peers --out x",
        "machine": {"cpu": "A CPU", "cores": 2, "os": "Linux", "python": "3.11.7"},
        "labels": {"edge-int8": "the device model", "openunmix": "Open-Unmix"},
        "ours": ["edge-int8"], "homes": {"edge-int8": "edge-int8", "openunmix": "openunmix"},
        "environments": {
            "openunmix": {"packages": {"torch": "2.13.0+cpu"}, "megabytes": 960.4,
                          "requirements": ["torch==2.13.0", "openunmix"],
                          "removed": ["torchaudio/lib/a.so"]},
        },
        "runs": runs, "errors": [],
    }  # fmt: skip


def planned(*given):
    args = arguments("", ["--out", "new", *given])
    return [
        (run.kind, run.peer.name, run.threads, run.seconds, run.number)
        for run in bench_peers.plan(args)
    ]


def test_systems_take_turns_and_slow_ones_run_once():
    runs = planned("--peers", "edge-int8,demucs", "--seconds", "5,9", "--threads", "1",
                   "--rounds", "2", "--steps", "0")  # fmt: skip
    assert runs == [
        ("describe", "edge-int8", 1, 0, 0), ("describe", "demucs", 1, 0, 0),
        ("start", "edge-int8", 1, 1, 0), ("start", "demucs", 1, 1, 0),
        ("separate", "edge-int8", 1, 5, 0), ("separate", "demucs", 1, 5, 0),
        ("separate", "edge-int8", 1, 5, 1),
        ("separate", "edge-int8", 1, 9, 0), ("separate", "demucs", 1, 9, 0),
    ]  # fmt: skip


def test_longer_songs_can_have_other_threads_and_systems_and_only_what_trains_is_trained():
    runs = planned("--peers", "edge-int8,openunmix", "--seconds", "5,9", "--threads", "1",
                   "--long-threads", "2", "--long-peers", "openunmix,demucs",
                   "--rounds", "1")  # fmt: skip
    assert [run for run in runs if run[3] == 9] == [("separate", "openunmix", 2, 9, 0)]
    assert [run[1] for run in runs if run[0] == "train"] == ["openunmix"]


def test_the_environments_that_are_needed():
    chosen = [peer for peer in PEERS if peer.name in ("edge-float32", "demucs")]
    names = [peer.name for peer in bench_peers.homes(chosen, train=False)]
    assert names == ["edge-int8", "demucs"]
    names = [peer.name for peer in bench_peers.homes(chosen, train=True)]
    assert names == ["edge-int8", "mmdensenet-keras", "demucs"]


def test_every_system_has_an_environment_and_classes_that_exist():
    import ast

    classes = {
        path.stem: {node.name for node in ast.parse(path.read_text("utf-8")).body
                    if isinstance(node, ast.ClassDef)}
        for path in (peers.ROOT / "benchmarks").glob("peers_*.py")
    }  # fmt: skip
    for peer in PEERS:
        assert next(one for one in PEERS if one.name == peer.home).requirements
        for name in filter(None, (peer.system, peer.trains)):
            module, kind = name.split(":")
            assert kind in classes[module]


def test_an_environment_is_used_again_and_a_strange_folder_left_alone(tmp_path):
    peer = PEERS[NAMES.index("openunmix")]
    wanted = ("torch==1", "openunmix", "soundfile")
    kept = peers.Environment("python", {"torch": "1"}, 5.0, wanted)
    (tmp_path / "openunmix").mkdir()
    (tmp_path / "openunmix" / peers.MARK).write_text(json.dumps(peers.asdict(kept)))
    assert peers.environment(tmp_path, peer, "torch==1", print) == kept
    with pytest.raises(RuntimeError, match="is no environment"):
        peers.environment(tmp_path, peer, "torch==2", print)


def test_torchaudio_for_cuda_loses_its_compiled_part_only_beside_a_cpu_build(tmp_path):
    file = tmp_path / "lib/python3.11/site-packages/torchaudio/lib/_torchaudio.so"
    file.parent.mkdir(parents=True)
    file.touch()
    assert peers._without_cuda(tmp_path, {"torch": "2.13.0"}) == ()
    assert file.exists()
    removed = peers._without_cuda(tmp_path, {"torch": "2.13.0+cpu"})
    assert removed == ("torchaudio/lib/_torchaudio.so",)
    assert not file.exists()


def test_medians_over_rounds_and_ratios_within_them(found):
    assert peer_report.factor(found, "openunmix", "cpu_s", 10, 1) == pytest.approx(0.2)
    assert peer_report.ratio(found, "openunmix", 10, 1) == pytest.approx(4)  # of 2, 4, 5
    assert peer_report.ratio(found, "openunmix", 60, 2) == pytest.approx(3)
    assert peer_report.ratio(found, "openunmix", 10, 2) is None
    assert peer_report.cases(found) == [(10, 1), (60, 2)]


def test_the_tables(found):
    lines = peer_report.text(found).splitlines()
    assert "| **the device model** | 0.050 / 0.050 | 0.050 / 0.025 | 1.0 |" in lines
    assert "| Open-Unmix | 0.200 / 0.200 | 0.150 / 0.075 | 4.0 |" in lines
    assert "| **the device model** | 200 | 200 | 0.31 | - | - | - | - |" in lines
    assert "| Open-Unmix | 200 | 4000 | - | 960 | 35.60 | 1.5 | 25.0 |" in lines
    assert any("torch 2.13.0+cpu" in line and "without torchaudio" in line for line in lines)


def test_what_failed_is_told(found):
    found["errors"] = [{"peer": "demucs", "kind": "separate", "seconds": 60.0, "threads": 2,
                        "error": "no memory"}]  # fmt: skip
    assert "- demucs, separate, 60 s, 2 thread(s): no memory" in peer_report.text(found)


def test_tables_and_plot_go_into_a_page(found, tmp_path, capsys):
    figures, page = tmp_path / "f.json", tmp_path / "peers.md"
    figures.write_text(json.dumps(found))
    page.write_text(f"# A\n\n{peer_report.BEGIN}\nold\n{peer_report.END}\n\nafter\n")
    for _ in range(2):
        assert peer_report.main([str(figures), "--page", str(page)]) == 0
    content = page.read_text()
    assert "old" not in content
    assert content.startswith("# A\n")
    assert content.endswith("\n\nafter\n")
    assert content.count("Open-Unmix |") == 2
    assert content.count("(peers/peers.png)") == content.count("(peers/peers.json)") == 1
    assert (tmp_path / "peers" / "peers.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "peers" / "peers.svg").read_text()
    assert json.loads((tmp_path / "peers" / "peers.json").read_text()) == found


def test_a_page_without_markers_is_one_line(found, tmp_path, capsys):
    figures, page = tmp_path / "f.json", tmp_path / "peers.md"
    figures.write_text(json.dumps(found))
    page.write_text("# A\n")
    assert peer_report.main([str(figures), "--page", str(page)]) == 2
    assert capsys.readouterr().err.startswith("peer_report: ")
    assert page.read_text() == "# A\n"


def test_a_failed_measurement_does_not_end_the_others():
    class Half:
        def run(self, one):
            if one.peer.name == "demucs":
                raise RuntimeError("killed")
            return {"cpu_s": 1.0}

    runs = [bench_peers.Run("separate", peer, 1, 5.0) for peer in PEERS]
    found = {"runs": [], "errors": []}
    assert len(list(bench_peers.measure(Half(), runs, found))) == len(PEERS)
    assert [one["error"] for one in found["errors"]] == ["killed"]
    assert len(found["runs"]) == len(PEERS) - 1


def test_a_measurement_is_told_what_to_do(tmp_path, monkeypatch):
    tasks = []
    monkeypatch.setattr(bench_peers, "_in_process", lambda python, task: tasks.append(task) or {})
    homes = {peer.home: SimpleNamespace(python="p") for peer in PEERS}
    bench = bench_peers.Bench(homes, tmp_path, tmp_path / "files", 3)
    demucs, fast = PEERS[NAMES.index("demucs")], PEERS[0]
    for peer in (fast, demucs):
        bench.run(bench_peers.Run("separate", peer, 2, 1.5))
    bench.run(bench_peers.Run("train", demucs))
    assert [task["name"] for task in tasks] == ["separate", "separate", "train"]
    assert [("warm" in task, task.get("steps")) for task in tasks] == [
        (True, None), (False, None), (False, 1)
    ]  # fmt: skip
    assert tasks[0]["song"].endswith("1.5.wav")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--peers", "spleter"], "--peers must be some of edge-int8, "),
        (["--long-peers", "x"], "--long-peers must be some of edge-int8, "),
        (["--seconds", "0"], "--seconds must be numbers from 1 to 3600, as in 1,2, got 0"),
        (["--threads", "a"], "--threads must be numbers from 1 to"),
        (["--rounds", "0"], "--rounds must be from 1 to 20, got 0"),
        (["--steps", "-1"], "--steps must be from 0 to 20, got -1"),
        (["--out", "."], "--out must name a new folder, got ."),
    ],
)
def test_wrong_arguments_are_refused(capsys, given, said):
    with pytest.raises(SystemExit) as stopped:
        bench_peers.main(["--out", "new", *given])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
