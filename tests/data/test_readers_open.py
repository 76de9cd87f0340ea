"""Opening: recognising a tree, refusing bad arguments, the command, examples, import cost."""

from __future__ import annotations

import doctest
import importlib
import os
import pickle
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trees

from keras_mmdense.data import DatasetError, TrackError, open_dataset, to_channels
from keras_mmdense.data import __main__ as command


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (trees.make_dsd100, "dsd100"),
        (trees.make_musdb18, "musdb18"),
        (trees.make_musdb18hq, "musdb18hq"),
        (trees.make_folder, "folder"),
    ],
)
def test_named_and_recognised_kind_agree(
    make: Callable[[Path], Path], kind: str, tmp_path: Path
) -> None:
    root = make(tmp_path)
    assert open_dataset(root) == open_dataset(str(root), kind=kind)
    others = {"dsd100", "musdb18", "musdb18hq", "folder"} - {kind}
    if kind in ("musdb18hq", "folder"):  # an HQ tree is a folder tree, too
        others -= {"folder", "musdb18hq"}
    for other in others:
        with pytest.raises(
            DatasetError, match=rf"no tracks of kind {other}:|\({other}\) has no usable track"
        ):
            open_dataset(root, kind=other)


def test_hq_tree_with_a_valid_folder_is_a_folder_tree(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, subsets=("train", "valid", "test"))
    assert open_dataset(tmp_path).kind == "folder"
    assert [track.subset for track in open_dataset(tmp_path, subset="valid")] == ["valid"] * 2


def test_relative_roots_survive_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.make_folder(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    track = open_dataset("set")[0]
    monkeypatch.chdir("/")
    assert track.read("bass", 0, 5).shape == (5, 2)


def test_nothing_found_says_what_was_seen_and_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="it holds nothing; known forms: dsd100: Mixtures"):
        open_dataset(tmp_path)
    for k in range(10):
        (tmp_path / f"entry {k}").mkdir()
    with pytest.raises(DatasetError, match=r"it holds entry 0, .*entry 7 and 2 more; ") as caught:
        open_dataset(tmp_path)
    assert all(kind in str(caught.value) for kind in ("musdb18:", "musdb18hq:", "folder:"))
    assert "\n" not in str(caught.value)


def test_ambiguous_trees_must_be_named(tmp_path: Path) -> None:
    trees.make_musdb18(tmp_path, 1, 0)
    trees.make_musdb18hq(tmp_path, 1, 0)
    with pytest.raises(DatasetError, match="as musdb18 and musdb18hq: choose one with kind="):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, kind="musdb18")[0].path.suffix == ".mp4"
    assert open_dataset(tmp_path, kind="musdb18hq")[0].path.suffix == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "dsd"}, "kind must be one of auto, dsd100, .*, not 'dsd'"),
        ({"subset": "dev"}, "subset must be of train, valid, test or None, not 'dev'"),
        ({"subset": ()}, r"subset must be .* not \(\)"),
        ({"subset": "valid"}, "no tracks of subset valid; it has subsets: train, test"),
        ({"sources": ["vocals", "kazoo"]}, "out of bass, drums, other, vocals, not .*kazoo"),
        ({"sources": ["bass", "bass"]}, "sources must be different names"),
        ({"sources": []}, "sources must be different names"),
        ({"sources": ["mixture"]}, "sources must be different names"),
        ({"sample_rate": 0}, "whole number of Hz, not 0"),
        ({"sample_rate": 44100.5}, "whole number of Hz, not 44100.5"),
        ({"sample_rate": 48000}, "no usable track; the first of 10 faults: .*44100 Hz, not 48000"),
    ],
)
def test_bad_arguments(arguments: dict, message: str, tmp_path: Path) -> None:
    trees.make_dsd100(tmp_path, num_dev=1)
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path, **arguments)


def test_roots_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(DatasetError, match="is not a folder: give the root of a data set"):
            open_dataset(root)


def test_to_channels_rules() -> None:
    audio = trees.make_signals(0.01, 0)["bass"]
    assert to_channels(audio, 2) is audio
    with pytest.raises(ValueError, match="channels must be 1 or 2, not 0"):
        to_channels(audio, 0)


def test_errors_can_be_pickled(tmp_path: Path) -> None:
    for error in (TrackError(tmp_path, "is missing"), DatasetError("no track", ())):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), str(error))


def test_command_lists_tracks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.make_dsd100(tmp_path)
    assert command.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["track", "subset", "seconds", "Hz", "channels"]
    assert [line.split()[-4:] for line in lines[1:4]] == [
        ["train", "1.000", "44100", "2"],
        ["valid", "1.003", "44100", "2"],
        ["test", "1.005", "44100", "2"],
    ]
    assert "(dsd100): 3 tracks (train 1, valid 1, test 1)" in lines[4]
    assert "0 tracks left out, 0 faults" in lines[4]


def test_command_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.make_dsd100(tmp_path)
    next(tmp_path.rglob("bass.wav")).write_bytes(b"")
    assert command.main([str(tmp_path), "--kind", "dsd100", "--deep"]) == 1
    captured = capsys.readouterr()
    assert "bass.wav: is not a readable audio file" in captured.out
    assert "reading: 100%" in captured.err
    assert command.main([str(tmp_path), "--sample-rate", "8000"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("fault: ") == 15
    assert captured.err.startswith("error: ")
    assert command.main([str(tmp_path / "missing")]) == 2


def test_command_stops_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "open_dataset", interrupt)
    assert command.main([str(tmp_path)]) == 130
    assert capsys.readouterr().err == "data: interrupted: nothing was changed\n"


def test_module_runs_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["data", str(tmp_path)])
    monkeypatch.delitem(sys.modules, "keras_mmdense.data.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("keras_mmdense.data", run_name="__main__")
    assert caught.value.code == 2


MODULES = (
    "dataset", "readers.dsd100", "problems", "readers.folder", "readers.musdb18",
    "readers.musdb18hq", "audio_files", "tracks",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"keras_mmdense.data.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_import_is_cheap() -> None:
    code = "import sys, keras_mmdense.data; print(*sys.modules)"
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {re.split(r"\.", name)[0] for name in result.stdout.split()}
    assert "soundfile" in loaded
    assert not loaded & {"tensorflow", "keras", "av", "museval", "jax", "torch"}
