"""Files and names as other programs leave them: read if the sound is whole, named if it is not."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import trees

from keras_mmdense.data import DatasetError, open_dataset
from keras_mmdense.data.audio_files import open_audio_file
from training.evaluate.__main__ import main as evaluate
from training.evaluate.rows import find_estimates
from training.train.recipe import RecipeError, load_recipe
from training.train.split import fingerprint, open_tracks

ROOT = Path(__file__).parents[2]
ID3 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + bytes(256)


def sizes(riff: int | None, data: int | None):
    """Change the sizes in a WAV file's header."""

    def change(content: bytearray) -> bytearray:
        place = content.index(b"data") + 4
        for at, size in ((4, riff), (place, data)):
            if size is not None:
                content[at : at + 4] = struct.pack("<I", size)
        return content

    return change


def without_total(content: bytearray) -> bytearray:
    """Take the number of samples out of a FLAC file's header, as an encoder to a pipe leaves it."""
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return content


WHOLE = {
    "wav, RIFF size 0": ("wav", sizes(0, None)),
    "wav, RIFF size too large": ("wav", sizes(1 << 30, None)),
    "wav, RIFF size too small": ("wav", sizes(36, None)),
    "wav, data size unknown": ("wav", sizes(0xFFFFFFFF, 0xFFFFFFFF)),
    "wav, data size 2 GiB": ("wav", sizes(0x7FFFFFFF, 0x7FFFFFDB)),
    "wav, data size 0": ("wav", sizes(36, 0)),
    "wav behind a tag": ("wav", lambda content: bytearray(ID3) + content),
    "flac behind a tag": ("flac", lambda content: bytearray(ID3) + content),
    "flac without a length": ("flac", without_total),
}


@pytest.mark.parametrize("form", WHOLE)
def test_what_holds_all_of_the_sound_is_read(form: str, tmp_path: Path) -> None:
    suffix, change = WHOLE[form]
    root = trees.make_folder(tmp_path, suffix=suffix, mixture=False)
    path = root / "Song 0" / f"bass.{suffix}"
    expected = sf.read(path, dtype="int16")[0]
    path.write_bytes(change(bytearray(path.read_bytes())))
    dataset = open_dataset(root)
    assert dataset.faults == ()
    track = dataset[0]
    assert track.num_samples == len(expected)
    np.testing.assert_array_equal(track.read("bass", dtype="int16"), expected)
    np.testing.assert_array_equal(
        track.read("bass", 20000, 99, dtype="int16"), expected[20000:20099]
    )
    assert dataset.check().faults == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content[:30000], "cut short: its header promises"),
        (lambda content: content + content, "is 2 files joined into one"),
        (lambda content: content[:40], "readable audio file"),
    ],
)
def test_what_is_not_whole_is_named(change, told: str, tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path, mixture=False)
    path = root / "Song 0" / "bass.wav"
    path.write_bytes(change(path.read_bytes()))
    (fault,) = open_dataset(root).faults
    assert told in fault.reason


def test_a_file_with_parts_is_read_by_several_processes(tmp_path: Path) -> None:
    import pickle

    root = trees.make_folder(tmp_path, mixture=False)
    path = root / "Song 0" / "bass.wav"
    path.write_bytes(ID3 + path.read_bytes())
    stream = pickle.loads(pickle.dumps(open_audio_file(path)))
    assert stream.read(5, 10).shape == (10, 2)


# what editors write: a byte-order mark, Windows' line ends
MARKS = [b"", b"\xef\xbb\xbf"]
ENDS = [b"\n", b"\r\n"]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("end", ENDS)
def test_lists_and_recipes_of_any_editor(mark: bytes, end: bytes, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_bytes(mark + end.join([b"epochs = 7", b"[model]", b'sources = ["piano"]', b""]))
    assert load_recipe(str(recipe)).epochs == 7
    tree = trees.make_folder(tmp_path / "tree", 3, 0.5)
    listed = tmp_path / "valid.txt"
    listed.write_bytes(mark + end.join([b"Song 0", b"", b"Song 2"]))
    _, valid = open_tracks([str(tree)], valid_names=str(listed))
    assert [track.name for track in valid] == ["Song 0", "Song 2"]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_told_in_one_line(encoding: str, tmp_path: Path) -> None:
    for name in ("mine.toml", "valid.txt"):
        (tmp_path / name).write_bytes("# Ü\nepochs = 7\n".encode(encoding))
    with pytest.raises(RecipeError) as told:
        load_recipe(str(tmp_path / "mine.toml"))
    assert "\n" not in str(told.value)
    tree = trees.make_folder(tmp_path / "tree", 2, 0.5)
    with pytest.raises(RecipeError, match="--valid-tracks must be a text file"):
        open_tracks([str(tree)], valid_names=str(tmp_path / "valid.txt"))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_the_same_in_both_forms_of_unicode(forms, tmp_path: Path) -> None:
    on_disk, given = (unicodedata.normalize(form, "Café Über") for form in forms)
    tree = trees.make_folder(tmp_path / "tree", 2, 0.5)
    before = fingerprint(list(open_dataset(tree)))
    (tree / "Song 0").rename(tree / on_disk)
    for path in tree.rglob("vocals.wav"):
        path.rename(path.with_name(f"{on_disk}.wav"))
    (tree / "Song 1" / f"{on_disk}.wav").rename(tree / "Song 1" / f"{given}.wav")
    dataset = open_dataset(tree)
    assert (len(dataset), len(dataset.sources), dataset.faults) == (2, 4, ())
    assert fingerprint(list(dataset)) != before
    listed = tmp_path / "valid.txt"
    listed.write_text(given, "utf-8")
    _, (valid,) = open_tracks([str(tree)], valid_names=str(listed))
    assert valid.name == on_disk
    folder = tmp_path / "estimates"
    (folder / given).mkdir(parents=True)
    (folder / given / "bass.wav").touch()
    assert find_estimates(folder, valid, ["bass"]) == {"bass": folder / given / "bass.wav"}
    options = ["mixture", "--data", str(tree), "--out", str(tmp_path / "report")]
    assert evaluate([*options, "--tracks", given]) == 0
    assert len(json.loads((tmp_path / "report" / "run.json").read_text())["tracks"]) == 1


@pytest.mark.parametrize("place", ["", "test", "Test"])
def test_the_runner_s_stems_of_a_stem_file_are_found(place: str, tmp_path: Path) -> None:
    root = trees.make_musdb18(tmp_path / "tree", 1, 1)
    (root / "test").rename(root / "Test")
    (track,) = open_dataset(root, subset="test")
    folder = tmp_path / "estimates"
    stems = folder / place / f"{track.name}.stem"
    stems.mkdir(parents=True)
    (stems / "Vocals.WAV").touch()
    assert find_estimates(folder, track, ["vocals"]) == {"vocals": stems / "Vocals.WAV"}
    exact = folder / place / track.name
    exact.mkdir()
    (exact / "vocals.flac").touch()
    assert find_estimates(folder, track, ["vocals"]) == {"vocals": exact / "vocals.flac"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "command",
    [
        ["keras_mmdense.data", "{tree}"],
        ["training.prepare", "{tree}", "--out", "{out}/Песня"],
        ["training.evaluate", "mixture", "--data", "{tree}", "--out", "{out}/Песня"],
    ],
)
def test_names_beyond_the_terminal_s_letters(encoding: str, command, tmp_path: Path) -> None:
    tree = trees.make_folder(tmp_path / "tree", 2, 0.5)
    (tree / "Song 0").rename(tree / "Песня Ü 🎵")
    done = subprocess.run(
        [sys.executable, "-m", *(part.format(tree=tree, out=tmp_path) for part in command)],
        env=os.environ | {"PYTHONIOENCODING": encoding}, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr


def test_a_link_without_its_target_is_missing(tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path / "tree", 2, 0.5, mixture=False)
    (root / "Song 0").rename(tmp_path / "elsewhere")
    (root / "Song 0").symlink_to(tmp_path / "elsewhere")
    assert len(open_dataset(root)) == 2
    (tmp_path / "elsewhere" / "bass.wav").unlink()
    (tmp_path / "elsewhere" / "bass.wav").symlink_to("nowhere.wav")
    (fault,) = open_dataset(root).faults
    assert fault.describe(root) == "Song 0/bass.wav: is missing"


def test_an_empty_tree_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Song").symlink_to("nowhere")
    with pytest.raises(DatasetError, match="is no data set"):
        open_dataset(tmp_path)


def test_a_reader_of_the_list_may_end(tmp_path: Path) -> None:
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
