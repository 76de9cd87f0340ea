"""`mmdense bench`: what it measures and how it is shown; no figure is a matter of time here."""

import json
import types

import numpy as np
import pytest
from mmdense_edge.bench import bench_report, host, worker
from mmdense_edge.cli import bench_command
from mmdense_edge.live.plan import SlidingNetwork
from mmdense_edge.signal import windows
from mmdense_edge.signal.chain import Pipeline


@pytest.fixture
def bench(mmdense, model_path):
    """Runs `mmdense bench` with the small model of the tests."""
    return lambda *arguments: mmdense("bench", model_path("shares"), *arguments)


@pytest.fixture
def measured(monkeypatch):
    """Has each measurement give the next CPU time and peak of memory; returns who was measured."""

    def give(*figures):
        asked, rest = [], iter(figures)

        def measure(model, threads, seconds, song):
            asked.append(model.contract.name)
            cpu, peak = next(rest)
            return {
                "load_seconds": 0.25, "load_cpu_seconds": 0.2, "seconds": 2.0, "wall_seconds": 1.0,
                "cpu_seconds": cpu, "block_seconds": [0.01, 0.02, 0.03],
                "peak_memory_bytes": peak,
            }  # fmt: skip

        monkeypatch.setattr(bench_command, "measure_in_a_process", measure)
        return asked

    return give


def test_generated_music():
    audio, start = (
        np.concatenate([*worker.open_song(None, seconds).blocks]) for seconds in (4.6, 0.01)
    )
    assert (audio.shape, audio.dtype) == ((round(4.6 * 44100), 2), np.float32)
    assert 0.02 < audio.std() < np.abs(audio).max() < 1
    assert np.array_equal(start, audio[:441])
    assert np.array_equal(audio[4 * 44100 :], audio[: len(audio) - 4 * 44100])


def test_a_measurement_counts_windows(model_path, song, noise, monkeypatch):
    monkeypatch.setattr(windows, "GROUP_FRAMES", 3)  # a window's results come in parts
    path = str(song(audio=noise(30000), rate=22050))
    result = worker.measure(str(model_path("shares")), 1, 1.0, path)
    assert result["seconds"] == 1.0
    assert len(result["block_seconds"]) == 6  # of 8 frames each, of 45 frames
    assert 0 < sum(result["block_seconds"]) <= result["wall_seconds"]
    assert worker.measure(str(model_path("mono")), 2, 9, path)["seconds"] == 30000 / 22050


@pytest.mark.native
def test_a_real_measurement_in_a_process(bench, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the folder is no place for imports')")
    monkeypatch.chdir(tmp_path)
    code, out, err = bench("--seconds", "0.5", "--json", "--threads", "1,2")
    report = json.loads(out)
    assert (code, report["audio"]) == (0, "generated")
    assert err == ["mmdense: shares, 1 thread(s) ...", "mmdense: shares, 2 thread(s) ..."]
    for threads, row in enumerate(report["models"], 1):
        assert {**row, "model": "shares", "precision": "float32", "threads": threads} == row
        assert (row["seconds"], row["peak_memory_bytes"] > 10e6) == (0.5, True)
        assert min(row["live_latency_seconds"], row["least_latency_seconds"]) > 0


def test_the_table(bench, model_path, measured):
    measured((0.5, 123_000_000), (0.5, None))
    code, out, err = bench(model_path("mono"), "--quiet")
    assert (code, err) == (0, [])
    head, first, second, _, last = out.splitlines()
    assert head.split()[:3] == ["model", "precision", "threads"]
    # 2 * 20 ms are 1.7 frames: steps of 4, each 92.9 ms; 4 + 4 + 2 hops, a step and a fade.
    assert first.split() == [
        "shares", "float32", "1", "0.5000", "0.2500", "20.0", "29.0", "29.8", "186",
        "0.33", "0.24", "123", "0.25",
    ]  # fmt: skip
    assert second.split()[0] == "mono"
    assert "n/a" in second  # the memory of a system that does not tell
    assert last.startswith("30 s of audio (generated); cpu ")


def test_comparing_goes_in_turns(mmdense, model_path, tmp_path, measured):
    asked = measured(*((cpu / 5, None) for cpu in (1.0, 3.0, 2.0, 2.0, 4.0, 6.0)))
    options = ["bench", "--json", "--quiet", "--compare", model_path("shares")]
    code, out, _ = mmdense(*options, model_path("mono"), "--rounds", "3")
    assert code == 0
    assert asked == ["shares", "mono", "mono", "shares", "shares", "mono"]
    comparison = json.loads(out)["comparison"]
    assert comparison["ratios"] == pytest.approx([3, 1, 1.5])
    spread = [comparison[name] for name in ("ratio", "ratio_min", "ratio_max")]
    assert spread == pytest.approx([1.5, 1, 3])
    assert bench_report.comparison_text(comparison).splitlines() == [
        "model   CPU s/s     min     max",
        "shares   0.2000  0.1000  0.4000",
        "mono     0.3000  0.2000  0.6000",
        "ratio mono / shares: 1.500 (median of 3 rounds in turn), 1.000 to 3.000",
    ]
    other = tmp_path / "other.tflite"  # two models of one name are told apart
    other.write_bytes(model_path("shares").read_bytes())
    measured((1.0, None), (1.0, None))
    _, out, _ = mmdense(*options, other, "--rounds", "1")
    assert json.loads(out)["comparison"]["models"] == [str(model_path("shares")), str(other)]
    for extra, told in (
        (("--threads", "1,2"), "one number of"),
        (("--lookahead",), "--lookahead are two"),
    ):
        code, _, err = mmdense(*options, other, *extra)
        assert code == 2
        assert told in err[0]


def test_lookahead_is_compared_with_file_processing(separators, song, noise):
    network, audio = separators["shares"].network, noise(30000)
    path = str(song(audio=audio, subtype="FLOAT"))
    none, full = bench_report.lookahead_rows(network, path, 22050 / 44100, 4, [0, 4])
    assert (none["lookahead_frames"], full["lookahead_frames"]) == (0, 4)
    assert none["latency_seconds"] == 6 * 1024 / 44100
    audio = audio[:22050]
    pipeline = Pipeline(SlidingNetwork(network, 4, 0), 44100, 2, network.contract.sources, False)
    parts = [*pipeline.push(audio), *pipeline.finish()]
    for source, stem in separators["shares"].separate(audio, 44100).items():
        error = stem - np.concatenate([part[source] for part in parts])
        expected = 10 * np.log10((stem**2).sum() / (error**2).sum())
        assert none["snr_db"][source] == pytest.approx(expected, abs=0.01)
        assert none["snr_db"][source] < 60 < 100 < full["snr_db"][source]


@pytest.mark.parametrize(("context", "expected"), [(0, [0]), (104, [0, 16, 32, 48, 64, 80, 96])])
def test_default_lookaheads_are_few(context, expected):
    contract = types.SimpleNamespace(frame_multiple=8, context_frames=context)
    assert bench_report.default_lookaheads(contract) == expected


def test_lookahead_on_the_command_line(bench, song):
    path = song(audio=np.zeros((9000, 2)))
    code, out, _ = bench("--lookahead", "--song", path)
    rows = [["0", "8", "0.232"], ["4", "8", "0.325"]]
    shown = [line.split() for line in out.splitlines()[2:4]]
    assert (code, shown) == (0, [[*row, "n/a", "n/a", "n/a"] for row in rows])
    options = ["--lookahead", "4,0", "--step-frames", "4", "--json"]
    rows = json.loads(bench("--song", path, *options)[1])["lookahead"][0]["rows"]
    assert [(row["lookahead_frames"], row["step_frames"]) for row in rows] == [(4, 4), (0, 4)]


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        ("nothing", 2, "no bundled model or file is called 'nothing'"),
        ("none.tflite", 1, "no model file at none.tflite"),
        ("--threads 0", 2, "--threads must be numbers from 1 to 256, as in 1,2; received '0'"),
        ("--threads 1,,2", 2, "--threads must be numbers"),
        ("--seconds 0", 2, "--seconds must be more than 0, up to 86400; received 0"),
        ("--seconds nan", 2, "--seconds must be"),
        ("--rounds 0", 2, "--rounds must be from 1 to 1000; received 0"),
        ("--lookahead", 2, "--lookahead needs --song"),
        ("--song none.wav", 1, "none.wav: no such file"),
        ("--compare tiny tiny", 2, "Drop the others"),
        ("--song three.wav --lookahead --threads 1,2", 2, "one number of --threads; received 1,2"),
        ("--song three.wav --lookahead 3", 2, "a multiple of 4 from 0 to 4"),
        ("--song three.wav --lookahead 8", 2, "numbers from 0 to 4"),
        ("--song three.wav", 1, "the measurement failed: three.wav: audio must have"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    bench, song, tmp_path, monkeypatch, arguments, code, match
):
    monkeypatch.chdir(tmp_path)
    song("three.wav", np.zeros((10, 3)))
    found, out, err = bench(*arguments.split(), "--quiet")
    assert (found, out, len(err)) == (code, "", 1)
    assert match in err[0]


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
    assert host.cpu_name(tmp_path / "none", tmp_path / "none")
