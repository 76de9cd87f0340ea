"""`mmdense models` and `mmdense info`: what a contract says, as a table and as lines."""

import re
import shutil

from mmdense_edge.cli.main import main
from mmdense_edge.model import bundled


def test_models_with_score_size_speed_and_licence(pack, capsys, monkeypatch, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(bundled, "FOLDER", folder)
    scored = pack({"scores": {"vocals": 5.25, "bass": 4}, "macs_per_second": 1.9e9})
    shutil.copy(scored, folder / "good.tflite")
    shutil.copy(pack({"licence": "a\nb"}, base="mono"), folder / "plain.tflite")
    (folder / "DEFAULT").write_text("plain")
    assert main(["models"]) == 0
    _, good, plain = (re.split("  +", line) for line in capsys.readouterr().out.splitlines())
    size = f"{(folder / 'good.tflite').stat().st_size / 1e6:.2f} MB"
    scores = "vocals 5.2, bass 4.0"
    assert good == ["good", "drums, bass, vocals", scores, size, "float32", "medium", "MIT"]
    assert plain[:3] == ["plain (default)", "speech, noise", "-"]
    assert plain[-2:] == ["unstated", "a\\nb"]


def test_info_prints_the_contract(pack, model_path, capsys):
    assert main(["info", str(model_path("mono"))]) == 0
    shown = capsys.readouterr().out
    assert "n_fft 256, hop_length 96, hann window, 120 bins" in shown
    assert "12 frames, including 2 of context on each side; 0.05 s of new audio per window" in shown
    assert "latency:       0.074 s without computation" in shown
    changes = {
        "scores": {"vocals": 5.25}, "colour": {"red": [1, "x\u001b"]}, "macs_per_second": 1,
        "license": "another",
    }  # fmt: skip
    assert main(["info", str(pack(changes))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "scores:        vocals 5.25" in lines
    assert 'colour:        {"red": [1, "x\\u001b"]}' in lines
    assert [line for line in lines if line.startswith("license")] == ["license:       MIT"]
