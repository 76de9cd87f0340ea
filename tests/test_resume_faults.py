"""What --resume and --init cannot go on from is named in one line, and nothing is overwritten."""

import json
import os
import shutil
import zipfile

import pytest
from small import read_history
from test_resume import RECIPE, command
from trees import make_dsd100

from training.train.__main__ import main
from training.train.run_folder import STATE, save_model, write_text


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with data, recipe and a run of two epochs; copied, not changed."""
    folder = tmp_path_factory.mktemp("finished")
    tree = make_dsd100(folder / "DSD100", 2, 1, seconds=1.0)
    (folder / "mini.toml").write_text(RECIPE.format(epochs=2))
    assert main(command(tree, folder)) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Change a byte of the weights, which the archive's directory does not tell."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def with_state(text):
    def change(path):
        best = path.with_name("best.keras").read_bytes()
        path.write_bytes(best)
        if text is not None:
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(STATE, text)

    return change


FAULTS = {
    "missing": ("last.keras", lambda path: path.unlink()),
    "empty": ("last.keras", lambda path: path.write_bytes(b"")),
    "cut": ("last.keras", cut),
    "flipped": ("last.keras", flip),
    "folder": ("last.keras", lambda path: (path.unlink(), path.mkdir(), (path / "x").touch())),
    "no state": ("last.keras", with_state(None)),
    "no json": ("last.keras", with_state("{")),
    "other epochs": ("last.keras", with_state('{"epoch": 2, "step": 0, "history": []}')),
    "record missing": ("run.json", lambda path: path.unlink()),
    "record empty": ("run.json", lambda path: path.write_bytes(b"")),
    "record cut": ("run.json", cut),
    "record no object": ("run.json", lambda path: path.write_text("[]")),
    "record binary": ("run.json", lambda path: path.write_bytes(b"\xff\xfe")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_cannot_go_on_is_refused_and_left_as_it_is(fault, folder, capsys):
    run = folder / "run"
    name, damage = FAULTS[fault]
    damage(run / name)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert main(command(folder / "DSD100", folder, "--resume", "--epochs", "3")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: --resume ")
    assert name in line
    assert f"--init {run / 'best.keras'}" in line
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_without_best_keras_nothing_false_is_advised(folder, capsys):
    run = folder / "run"
    cut(run / "last.keras")
    cut(run / "best.keras")
    assert main(command(folder / "DSD100", folder, "--resume", "--epochs", "3")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--init" not in line
    assert "best.keras is damaged" in line


def test_the_history_is_the_checkpoint_s(folder):
    """history.csv is for reading: cut, lost or edited, it comes back whole."""
    run = folder / "run"
    before = (run / "history.csv").read_text()
    for damage in (cut, lambda path: path.unlink(), lambda path: path.write_text("epoch\nx\n")):
        damage(run / "history.csv")
        last = (run / "last.keras").read_bytes()
        assert main(command(folder / "DSD100", folder, "--resume", "--epochs", "3")) == 0
        after = (run / "history.csv").read_text()
        assert after.startswith(before)
        assert [row["epoch"] for row in read_history(run / "history.csv")] == [1, 2, 3]
        (run / "last.keras").write_bytes(last)


def test_a_run_without_an_epoch_starts(folder):
    run = folder / "run"
    for name in ("last.keras", "best.keras", "history.csv"):
        (run / name).unlink()
    assert main(command(folder / "DSD100", folder, "--resume")) == 0
    assert [row["epoch"] for row in read_history(run / "history.csv")] == [1, 2]


@pytest.mark.parametrize("damage", [cut, lambda path: path.unlink()])
def test_a_lost_best_model_is_told(damage, folder, capsys):
    damage(folder / "run" / "best.keras")
    assert main(command(folder / "DSD100", folder, "--resume", "--epochs", "3")) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train:")]
    assert len(told) == 1
    assert "best.keras is " in told[0]


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"")])
def test_a_damaged_init_is_refused(damage, folder, capsys):
    init = folder / "init.keras"
    shutil.copy(folder / "run" / "best.keras", init)
    damage(init)
    options = command(folder / "DSD100", folder, "--init", str(init))
    options[options.index("--out") + 1] = str(folder / "new")
    assert main(options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: --init must be")
    assert str(init) in line
    assert not (folder / "new").exists()


@pytest.mark.parametrize("kind", ["text", "model"])
def test_content_is_on_the_disk_before_it_gets_its_name(kind, small_model, tmp_path, monkeypatch):
    path = tmp_path / "file.keras"
    path.write_text("old")
    steps, sync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        steps.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def replaced(source, target):
        steps.append((str(source), path.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    if kind == "text":
        write_text(path, "new")
    else:
        save_model(small_model, path, {"epoch": 0})
        with zipfile.ZipFile(path) as archive:
            assert json.loads(archive.read(STATE)) == {"epoch": 0}
    temporary = steps[0]
    assert temporary != str(path)
    assert steps == [temporary, (temporary, b"old"), str(tmp_path)]
