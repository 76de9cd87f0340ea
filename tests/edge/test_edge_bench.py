"""`mmdense bench`: what it measures and how it is shown; no figure is a matter of time here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmdense_edge.bench import host, lookahead, worker
from mmdense_edge.bench.bench_report import Comparison, columns, make_row, table
from mmdense_edge.cli import bench_command
from mmdense_edge.cli.main import main
from mmdense_edge.errors import UsageError
from mmdense_edge.live.network import SlidingNetwork
from mmdense_edge.model import interpreter
from mmdense_edge.model.contract import read_contract
from mmdense_edge.model.interpreter import interpreter_class
from mmdense_edge.signal import windows
from mmdense_edge.signal.chain import Pipeline


def found(cpu: float = 0.5, seconds: float = 2.0) -> dict[str, object]:
    """A measurement."""
    return {
        "load_seconds": 0.25, "load_cpu_seconds": 0.2, "seconds": seconds, "wall_seconds": 1.0,
        "cpu_seconds": cpu, "block_seconds": [0.01, 0.02, 0.03], "runtime": "ai_edge_litert",
        "peak_memory_bytes": 123_000_000,
    }  # fmt: skip


@pytest.fixture
def bench(capfd, model_path):
    """Runs `mmdense bench`; returns (code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main(["bench", *map(str, arguments)])
        except SystemExit as error:
            code = error.code
        printed = capfd.readouterr()
        errors = [line for line in printed.err.splitlines() if not line.startswith("INFO: ")]
        return code, printed.out, "\n".join(errors)

    return run


@pytest.mark.parametrize("seconds", [0.01, 1.0, 9.3])
def test_generated_music(seconds):
    audio = np.concatenate([*worker.music(seconds)])
    assert audio.shape == (round(seconds * 44100), 2)
    assert audio.dtype == np.float32
    assert np.abs(audio).max() < 1
    assert 0.02 < audio.std() < 0.5
    assert np.array_equal(audio, np.concatenate([*worker.music(seconds)]))


def test_a_measurement_counts_windows(model_path, song, noise, monkeypatch):
    monkeypatch.setattr(windows, "PART_FRAMES", 3)  # a window's results come in parts
    result = worker.measure(str(model_path("shares")), 1, 1.0, None)
    assert result["seconds"] == 1.0
    assert len(result["block_seconds"]) == 6  # of 8 frames each, of 45 frames
    assert result["runtime"] == interpreter_class()[0]
    path = song(audio=noise(30000), rate=22050)
    result = worker.measure(str(model_path("shares")), 1, 1.0, str(path))
    assert result["seconds"] == 1.0
    assert worker.measure(str(model_path("mono")), 2, 9, str(path))["seconds"] == 30000 / 22050


def test_the_worker_says_what_went_wrong(model_path, capsys):
    task = {"model": "none.tflite", "threads": 1, "seconds": 1, "song": None}
    assert worker.main(json.dumps(task)) == 1
    assert capsys.readouterr().err.startswith("no model file at none.tflite")


@pytest.mark.native
def test_a_real_measurement_in_a_process(bench, model_path):
    model = model_path("shares")
    code, out, err = bench(model, "--seconds", "1", "--json", "--threads", "1,2")
    assert code == 0
    report = json.loads(out)
    assert [row["threads"] for row in report["models"]] == [1, 2]
    for row in report["models"]:
        assert (row["model"], row["precision"], row["seconds"]) == ("shares", "float32", 1.0)
        assert row["peak_memory_bytes"] > 10e6
        assert min(row["live_latency_seconds"], row["least_latency_seconds"]) > 0
    assert report["machine"]["interpreter"] == interpreter.describe(interpreter_class()[0])
    assert report["audio"] == "generated"
    assert err == "mmdense: shares, 1 thread(s) ...\nmmdense: shares, 2 thread(s) ..."


def test_the_table(bench, model_path, monkeypatch):
    monkeypatch.setattr(bench_command, "_in_a_process", lambda *_: found())
    code, out, err = bench(model_path("shares"), model_path("mono"), "--quiet")
    assert (code, err) == (0, "")
    head, first, second, _, last = out.splitlines()
    assert head.split()[:3] == ["model", "precision", "threads"]
    # 2 * 20 ms are 1.7 frames: steps of 4, each 92.9 ms; 4 + 4 + 2 hops, a step and a fade.
    assert first.split() == [
        "shares", "float32", "1", "0.5000", "0.2500", "20.0", "29.0", "29.8", "186",
        "0.34", "0.24", "123", "0.25",
    ]  # fmt: skip
    assert second.split()[0] == "mono"
    assert last.startswith("30 s of audio (generated); cpu ")


def test_a_row_without_known_memory(model_path):
    contract = read_contract(model_path("shares"))
    row = make_row(contract, 3, {**found(), "peak_memory_bytes": None})
    assert "n/a" in table([row])
    assert json.loads(json.dumps(row.as_json()))["threads"] == 3
    assert columns([("a", "1"), ("bcd", "234")]) == "a      1\nbcd  234"


def test_comparing_goes_in_turns(bench, model_path, monkeypatch):
    asked = []
    figures = {"shares": iter([1.0, 2.0, 4.0]), "mono": iter([3.0, 2.0, 6.0])}

    def measure(model, threads, seconds, song):
        asked.append(model.contract.name)
        return found(cpu=next(figures[model.contract.name]), seconds=seconds)

    monkeypatch.setattr(bench_command, "_in_a_process", measure)
    options = ["--compare", model_path("shares"), model_path("mono"), "--rounds", "3", "--quiet"]
    code, out, _ = bench(*options, "--seconds", "10", "--json")
    assert code == 0
    assert asked == ["shares", "mono", "mono", "shares", "shares", "mono"]
    comparison = json.loads(out)["comparison"]
    assert comparison["ratios"] == pytest.approx([3, 1, 1.5])
    spread = [comparison[name] for name in ("ratio", "ratio_min", "ratio_max")]
    assert spread == pytest.approx([1.5, 1, 3])


def test_a_comparison_as_text():
    text = Comparison(("a", "bb"), ((0.1, 0.2, 0.4), (0.3, 0.2, 0.6))).text()
    assert text.splitlines() == [
        "model  CPU s/s     min     max",
        "a       0.2000  0.1000  0.4000",
        "bb      0.3000  0.2000  0.6000",
        "ratio bb / a: 1.500 (median of 3 rounds in turn), 1.000 to 3.000",
    ]


def test_two_models_of_one_name_are_told_apart(bench, model_path, tmp_path, monkeypatch):
    other = tmp_path / "other.tflite"
    other.write_bytes(model_path("shares").read_bytes())
    monkeypatch.setattr(bench_command, "_in_a_process", lambda *_: found())
    _, out, _ = bench("--compare", model_path("shares"), other, "--rounds", "1", "--json")
    assert json.loads(out)["comparison"]["models"] == [str(model_path("shares")), str(other)]


def test_lookahead_is_compared_with_file_processing(separators, song, noise):
    network, audio = separators["shares"].network, noise(60000)
    rows = [*lookahead.measure(network, song(audio=audio, subtype="FLOAT"), 1.0, 4, [0, 4])]
    none, full = rows
    assert (none.lookahead_frames, full.lookahead_frames) == (0, 4)
    assert none.latency_seconds == 6 * 1024 / 44100
    audio = audio[:44100]
    whole = separators["shares"].separate(audio, 44100)
    pipeline = Pipeline(SlidingNetwork(network, 4, 0), 44100, 2, network.contract.sources, False)
    parts = [*pipeline.push(audio), *pipeline.finish()]
    for source, stem in whole.items():
        error = stem - np.concatenate([part[source] for part in parts])
        expected = 10 * np.log10((stem**2).sum() / (error**2).sum())
        assert none.snr_db[source] == pytest.approx(expected, abs=0.01)
        assert none.snr_db[source] < 60 < 100 < full.snr_db[source]


def test_lookahead_on_the_command_line(bench, model_path, song):
    path = song()
    code, out, err = bench(model_path("shares"), "--lookahead", "--song", path)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "shares: difference from file processing"
    assert "  ".join(lines[1].split()[-6::2]) == "drums  bass  vocals"
    assert [line.split()[:3] for line in lines[2:4]] == [["0", "8", "0.232"], ["4", "8", "0.325"]]
    assert err.endswith("mmdense: 2 of 2 ...")
    code, out, _ = bench(
        model_path("shares"), "--lookahead", "4,0", "--song", path, "--step-frames", "4", "--json"
    )
    rows = json.loads(out)["lookahead"][0]["rows"]
    assert [(row["lookahead_frames"], row["step_frames"]) for row in rows] == [(4, 4), (0, 4)]


def test_silent_sources_have_no_figure(separators, song):
    network = separators["shares"].network
    path = song(audio=np.zeros((9000, 2)))
    (row,) = lookahead.measure(network, path, 1.0, 4, [0])
    assert set(row.snr_db.values()) == {None}
    assert "n/a" in lookahead.table([row])


def test_default_lookaheads_are_few():
    class Contract:
        frame_multiple, context_frames = 8, 104

    assert lookahead.default_lookaheads(Contract) == [0, 16, 32, 48, 64, 80, 96]
    Contract.context_frames = 0
    assert lookahead.default_lookaheads(Contract) == [0]


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["nothing"], 2, "no bundled model and no file is called 'nothing'"),
        (["none.tflite"], 1, "no model file at none.tflite"),
        (["--threads", "0"], 2, "--threads must be numbers from 1 to 256, as in 1,2, got '0'"),
        (["--threads", "1,,2"], 2, "--threads must be numbers"),
        (["--seconds", "0"], 2, "--seconds must be more than 0, up to 86400, got 0"),
        (["--seconds", "nan"], 2, "--seconds must be"),
        (["--rounds", "0"], 2, "--rounds must be from 1 to 1000, got 0"),
        (["--lookahead"], 2, "--lookahead needs --song"),
        (["--song", "none.wav"], 1, "none.wav: no such file"),
        (["tiny", "--compare", "tiny", "tiny"], 2, "leave out the others"),
    ],
)
def test_what_cannot_be_measured_is_one_line(bench, tmp_path, monkeypatch, arguments, code, match):
    monkeypatch.chdir(tmp_path)
    found_code, out, err = bench(*arguments)
    assert (found_code, out) == (code, "")
    assert len(err.splitlines()) == 1
    assert match in err


def test_lookaheads_that_the_model_cannot_have(bench, model_path, song):
    options = [model_path("shares"), "--song", song(), "--quiet"]
    for given, match in (("3", "a multiple of 4 from 0 to 4"), ("8", "numbers from 0 to 4")):
        code, _, err = bench(*options, "--lookahead", given)
        assert code == 2
        assert match in err


def test_a_measurement_that_fails_is_one_line(bench, model_path, song):
    path = song(audio=np.zeros((10, 3)))
    code, _, err = bench(model_path("shares"), "--song", path, "--quiet")
    assert code == 1
    assert err.startswith("mmdense: shares: the measurement failed: ")
    assert "audio must have 1 or 2 channels; received 3" in err
    assert len(err.splitlines()) == 1


def test_interruption(bench, model_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_command, "_in_a_process", stop)
    code, out, err = bench(model_path("shares"), "--quiet")
    assert (code, out, err) == (130, "", "mmdense: interrupted")


@pytest.mark.parametrize(
    ("text", "board", "name"),
    [
        ("processor : 0\nmodel name\t: AMD EPYC\n", None, "AMD EPYC"),
        ("processor : 0\nHardware : BCM2711\n", None, "BCM2711"),
        ("processor : 0\n", b"Raspberry Pi 4 Model B Rev 1.4\0", "Raspberry Pi 4 Model B Rev 1.4"),
    ],
)
def test_the_processors_name(tmp_path, text, board, name):
    cpuinfo, model = tmp_path / "cpuinfo", tmp_path / "model"
    cpuinfo.write_text(text)
    if board is not None:
        model.write_bytes(board)
    assert host.cpu_name(cpuinfo, model) == name


def test_the_machine(tmp_path):
    package = interpreter_class()[0]
    found = host.describe(package)
    assert found["cores"] >= 1
    assert found["cpu"]
    assert found["interpreter"] == interpreter.describe(package)
    assert found["interpreter"].startswith(package.replace("_", "-") + " ")
    assert host.describe()["interpreter"] is None
    assert host.cpu_name(tmp_path / "none", tmp_path / "none")


def test_peak_memory_is_the_high_water_mark(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n")
    assert host.peak_memory_bytes(status) == 2048 * 1024
    assert host.peak_memory_bytes() > 10e6
    assert Path("/proc/self/status").is_file()


def test_errors_of_options_are_of_use(model_path):
    with pytest.raises(UsageError, match="got '1;2'"):
        bench_command._numbers("--threads", "1;2", 1, 4)
