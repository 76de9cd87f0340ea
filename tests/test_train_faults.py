"""Damaged data and a full disk: named, in one line, and the run's files stay whole."""

import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from small import read_history
from trees import make_folder

from keras_mmdense.data import open_dataset
from training.train.__main__ import main

RECIPE = """
frames = 8
batch_size = 2
examples = 16
epochs = {epochs}
[mixing]
silent_share = 0.5
[model]
preset = "mdensenet"
sources = ["bass", "drums", "other", "vocals"]
shared = true
head = "mask"
bins = 256
growth = 2
layers = 1
scales = 1
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=1))
    return make_folder(tmp_path / "tree", num_tracks=9, seconds=1.0, mixture=False)


def command(tmp_path, *more):
    return [str(tmp_path / "mini.toml"), "--data", str(tmp_path / "tree"),
            "--out", str(tmp_path / "run"), *more]  # fmt: skip


def test_a_damaged_tree_is_reported_and_the_rest_trained_on(tree, tmp_path, capsys):
    songs = [tree / f"Song {k}" for k in range(9)]
    whole = (songs[0] / "bass.wav").read_bytes()
    (songs[0] / "bass.wav").write_bytes(whole[: len(whole) // 2])  # truncated
    audio, rate = sf.read(songs[1] / "drums.wav")
    sf.write(songs[1] / "drums.wav", audio[::5], 8000)  # another rate
    audio, _ = sf.read(songs[2] / "other.wav")
    sf.write(songs[2] / "other.wav", audio[:, 0], rate)  # mono among stereo: allowed
    (songs[3] / "vocals.wav").unlink()  # missing
    sf.write(songs[4] / "bass.wav", np.zeros_like(audio), rate)  # silent: allowed
    (songs[5] / "bass.wav").write_bytes(b"")
    assert main(command(tmp_path)) == 0
    told = capsys.readouterr().err
    for song in (0, 1, 3, 5):
        assert f"Song {song}" in told
    assert {t.name for t in open_dataset(tree)} == {f"Song {k}" for k in (2, 4, 6, 7, 8)}
    (row,) = read_history(tmp_path / "run" / "history.csv")
    assert all(np.isfinite(value) for value in row.values())


def test_silent_stems_alone_train_to_finite_losses(tmp_path):
    for k in range(2):
        for source in ("bass", "drums", "other", "vocals"):
            path = tmp_path / "tree" / f"Song {k}" / f"{source}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, np.zeros((20000, 2), np.int16), 44100)
    (tmp_path / "mini.toml").write_text(RECIPE.format(epochs=1))
    assert main(command(tmp_path)) == 0
    (row,) = read_history(tmp_path / "run" / "history.csv")
    assert all(np.isfinite(value) for value in row.values())


@pytest.mark.parametrize("fault", ["nan", "vanished"])
def test_what_breaks_in_mid_run_ends_in_one_line(fault, tree, tmp_path, capsys, monkeypatch):
    import training.train.__main__ as module

    opened = module.open_tracks

    def open_then_break(*arguments):
        found = opened(*arguments)
        for path in tree.rglob("drums.wav"):
            if fault == "vanished":
                path.unlink()
            else:
                audio, rate = sf.read(path)
                audio[::50] = np.nan
                sf.write(path, audio, rate, subtype="FLOAT")
        return found

    for path in tree.rglob("drums.wav"):  # as float, so that the headers agree before and after
        audio, rate = sf.read(path)
        sf.write(path, audio, rate, subtype="FLOAT")
    monkeypatch.setattr(module, "open_tracks", open_then_break)
    assert main(command(tmp_path)) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "train:" in line]
    assert len(lines) == 1
    assert "drums.wav" in lines[0]


def test_a_folder_without_permission_is_a_fault(tree, tmp_path):
    script = (
        "import os\n"
        "from keras_mmdense.data import open_dataset\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root may read everything
        f"print(open_dataset({str(tree)!r}).report())"
    )
    for folder in [tmp_path, *tmp_path.parents]:
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o755)  # made by pytest for its own user alone
    locked = tree / "Song 3"
    locked.chmod(0)
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    finally:
        locked.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "Song 3" in done.stdout
    assert "ermission" in done.stdout


def test_a_full_disk_leaves_the_last_checkpoint(tree, tmp_path):
    """A limit on file size stands for the disk: the checkpoint cannot be written."""
    assert main(command(tmp_path)) == 0
    good = {name: (tmp_path / "run" / name).read_bytes() for name in ("last.keras", "best.keras")}

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run(
        [sys.executable, "-m", "training.train", *command(tmp_path, "--resume", "--epochs", "2")],
        preexec_fn=limit, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("train:")]
    assert len(lines) == 1
    assert "File too large" in lines[0]
    for name, content in good.items():
        assert (tmp_path / "run" / name).read_bytes() == content
    assert not list((tmp_path / "run").glob(".*tmp*"))
