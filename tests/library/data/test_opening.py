"""Opening: recognizing a tree, what is refused, the command, what an import loads."""

import pickle
import subprocess
import sys
from unittest.mock import Mock

import pytest
import trees

from keras_mmdense.data import DatasetError, TrackError, open_dataset
from keras_mmdense.data import __main__ as command

KINDS = {
    "dsd100": trees.make_dsd100,
    "musdb18": trees.make_musdb18,
    "musdb18hq": trees.make_musdb18hq,
    "folder": trees.make_folder,
}


@pytest.mark.parametrize("kind", KINDS)
def test_named_and_recognized_kind_agree(kind, tmp_path):
    root = KINDS[kind](tmp_path, seconds=0.2)
    assert open_dataset(root) == open_dataset(str(root), kind=kind)
    also = {"musdb18hq", "folder"} if kind in ("musdb18hq", "folder") else {kind}
    for other in KINDS.keys() - also:  # an HQ tree is a folder tree, too
        with pytest.raises(DatasetError, match=rf"of kind {other}:|\({other}\) has no usable"):
            open_dataset(root, kind=other)


def test_nothing_found_says_what_was_seen_and_what_is_known(tmp_path):
    with pytest.raises(DatasetError, match=r"forms dsd100: Mixtures.*; received 'nothing'"):
        open_dataset(tmp_path)
    for k in range(10):
        (tmp_path / f"entry {k}").symlink_to("nowhere")
    with pytest.raises(DatasetError, match=r"received 'entry 0, .*entry 7 and 2 more'") as caught:
        open_dataset(tmp_path)
    assert all(f"{kind}: " in str(caught.value) for kind in KINDS)
    assert "\n" not in str(caught.value)


def test_ambiguous_trees_must_be_named(tmp_path):
    trees.make_musdb18(tmp_path, 1, 0, 0.2)
    trees.make_musdb18hq(tmp_path, 1, 0, 0.2)
    with pytest.raises(DatasetError, match=r"'musdb18 and musdb18hq'\. Choose one with kind="):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, kind="musdb18")[0].path.suffix == ".mp4"
    assert open_dataset(tmp_path, kind="musdb18hq")[0].path.suffix == ""


def test_a_data_set_is_shown_in_a_line(tmp_path):
    dataset = open_dataset(trees.make_folder(tmp_path, seconds=0.2))
    assert repr(dataset).startswith(f"<Dataset {tmp_path} (folder): 2 tracks (no subset 2), ")
    assert "\n" not in repr(dataset)


@pytest.fixture(scope="module")
def dsd100(tmp_path_factory):
    return trees.make_dsd100(tmp_path_factory.mktemp("dsd"), num_dev=1, seconds=0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "dsd"}, "kind must be one of auto, dsd100, .*; received 'dsd'"),
        ({"subset": "dev"}, "subset must be of train, valid, test or None; received 'dev'"),
        ({"subset": ()}, r"subset must be .*; received \(\)"),
        ({"subset": "valid"}, "of the subset; received 'valid'. It has subsets: train, test"),
        ({"sources": ["vocals", "kazoo"]}, "out of bass, drums, other, vocals; received .*kazoo"),
        ({"sources": ["bass", "bass"]}, "must be different names"),
        ({"sources": []}, "must be different names"),
        ({"sources": ["mixture"]}, "must be different names"),
        ({"sample_rate": 0}, "whole number of Hz; received 0"),
        ({"sample_rate": 44100.5}, "whole number of Hz; received 44100.5"),
        ({"sample_rate": 48000}, "no usable track; the first of 10 faults: .*44100 Hz, not 48000"),
        ({"root": "missing"}, "root must be the folder of a data set.* Check the path"),
        ({"root": __file__}, "root must be the folder of a data set"),
    ],
)
def test_what_is_refused(arguments, words, dsd100):
    with pytest.raises(DatasetError, match=words):
        open_dataset(**{"root": dsd100} | arguments)


def test_errors_can_be_pickled(tmp_path):
    for error in (TrackError(tmp_path, "is missing"), DatasetError("no track", ())):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), str(error))


def test_the_command_lists_tracks(tmp_path, capsys):
    trees.make_dsd100(tmp_path)
    assert command.main([str(tmp_path), "--deep"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-4:] for line in lines[:4]] == [
        ["subset", "seconds", "Hz", "channels"],
        ["train", "1.000", "44100", "2"],
        ["valid", "1.003", "44100", "2"],
        ["test", "1.005", "44100", "2"],
    ]
    assert "(dsd100): 3 tracks (train 1, valid 1, test 1)" in lines[4]


def test_exit_codes_of_the_command(tmp_path, capsys):
    trees.make_dsd100(tmp_path, seconds=0.2)
    next(tmp_path.rglob("bass.wav")).write_bytes(b"")
    assert command.main([str(tmp_path), "--kind", "dsd100"]) == 1
    assert "bass.wav: is not a readable audio file" in capsys.readouterr().out
    assert command.main([str(tmp_path), "--sample-rate", "8000"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("fault: ") == 15
    assert captured.err.startswith("error: ")


def test_the_command_stops_cleanly(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "open_dataset", Mock(side_effect=KeyboardInterrupt))
    assert command.main([str(tmp_path)]) == 130
    assert capsys.readouterr().err == "data: interrupted: nothing was changed\n"


def test_an_import_loads_neither_tensorflow_nor_pyav():
    code = "import sys, keras_mmdense.data; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "soundfile" in loaded
    assert not loaded & {"tensorflow", "keras", "av", "museval", "jax", "torch"}
