"""Names and lists in any form that editors, archives and terminals leave them in."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import trees

from keras_mmdense.data import open_dataset
from keras_mmdense.errors import SettingsError
from training.evaluate.rows import choose_tracks, find_estimates
from training.train.recipe import load_recipe
from training.train.split import fingerprint, open_tracks

ROOT = Path(__file__).parents[2]


# what editors write: a byte-order mark, Windows' line ends
@pytest.mark.parametrize(("mark", "end"), [(b"", b"\n"), (b"\xef\xbb\xbf", b"\r\n")])
def test_lists_and_recipes_of_any_editor(mark, end, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_bytes(mark + end.join([b"epochs = 7", b"[model]", b'sources = ["piano"]', b""]))
    assert load_recipe(str(recipe)).epochs == 7
    tree = trees.make_folder(tmp_path / "tree", 3, 0.2)
    listed = tmp_path / "valid.txt"
    listed.write_bytes(mark + end.join([b"Song 0", b"", b"Song 2"]))
    _, valid = open_tracks([str(tree)], valid_names=str(listed))
    assert [track.name for track in valid] == ["Song 0", "Song 2"]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused_in_one_line(encoding, tmp_path):
    for name in ("mine.toml", "valid.txt"):
        (tmp_path / name).write_bytes("# Ü\nepochs = 7\n".encode(encoding))
    with pytest.raises(SettingsError) as caught:
        load_recipe(str(tmp_path / "mine.toml"))
    assert "\n" not in str(caught.value)
    tree = trees.make_folder(tmp_path / "tree", 2, 0.2)
    with pytest.raises(SettingsError, match="--valid-tracks must be a text file"):
        open_tracks([str(tree)], valid_names=str(tmp_path / "valid.txt"))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_the_same_in_both_forms_of_unicode(forms, tmp_path):
    on_disk, given = (unicodedata.normalize(form, "Café Über") for form in forms)
    tree = trees.make_folder(tmp_path / "tree", 2, 0.5)
    before = fingerprint(list(open_dataset(tree)))
    (tree / "Song 0").rename(tree / on_disk)
    dataset = open_dataset(tree)
    assert fingerprint(list(dataset)) != before
    listed = tmp_path / "valid.txt"
    listed.write_text(given, "utf-8")
    _, (valid,) = open_tracks([str(tree)], valid_names=str(listed))
    assert valid.name == on_disk
    folder = tmp_path / "estimates"
    (folder / given).mkdir(parents=True)
    (folder / given / "bass.wav").touch()
    assert find_estimates(folder, valid, ["bass"]) == {"bass": folder / given / "bass.wav"}
    assert [track.name for track in choose_tracks(dataset, [given])] == [on_disk]


def test_the_runner_s_stems_of_a_stem_file_are_found(tmp_path):
    """Below the subset first, under whatever case; an exact name comes before X.stem."""
    root = trees.make_musdb18(tmp_path / "tree", 1, 1, 0.2)
    (root / "test").rename(root / "Test")
    (track,) = open_dataset(root, subset="test")
    folder = tmp_path / "estimates"
    for place in ("", "Test", "test"):
        for name, file in ((f"{track.name}.stem", "Vocals.WAV"), (track.name, "vocals.flac")):
            path = folder / place / name / file
            path.parent.mkdir(parents=True)
            path.touch()
            assert find_estimates(folder, track, ["vocals"]) == {"vocals": path}


def test_names_beyond_the_terminal_s_letters(tmp_path):
    tree = trees.make_folder(tmp_path / "tree", 2, 0.2)
    (tree / "Song 0").rename(tree / "Песня Ü 🎵")
    done = subprocess.run(
        [sys.executable, "-m", "training.prepare", tree, "--out", tmp_path / "Песня"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def test_the_pipe_of_a_list_may_be_closed(tmp_path):
    tree = trees.make_folder(tmp_path / "tree", 1, 0.1)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "keras_mmdense.data", str(tree)],
        stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_songs_both_to_train_and_to_validate_on_are_reported(tmp_path, capsys):
    tree = trees.make_folder(tmp_path, 3, 0.2)
    open_tracks([str(tree)])
    assert capsys.readouterr().err == ""
    open_tracks([str(tree)], [str(tree)])
    assert "3 songs to validate on are also, by name and length, songs to train on" in (
        capsys.readouterr().err
    )
