"""Preparing a data set: the same tracks and samples come back; what fails leaves nothing behind."""

import itertools
import os
import re
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile as sf
import trees
from command_runs import contents

from keras_mmdense.data import audio_files, open_dataset
from training import prepare


def run(root, out, *options):
    return prepare.main([str(root), "--out", str(out), *options])


@pytest.mark.parametrize(
    "make", [trees.make_dsd100, trees.make_musdb18, trees.make_musdb18hq, trees.make_folder]
)
def test_the_prepared_tree_reads_as_the_original(make, tmp_path):
    original = open_dataset(make(tmp_path / "set", seconds=0.5))
    assert run(tmp_path / "set", tmp_path / "out") == 0
    prepared = open_dataset(tmp_path / "out", kind="folder")
    assert prepared.sources == original.sources
    assert not prepared.faults
    for old, new in zip(original, prepared, strict=True):
        assert (old.name, old.subset, old.num_samples) == (new.name, new.subset, new.num_samples)
        assert old.has_mixture == new.has_mixture
        assert new.pcm16
        for source in (*original.sources, "mixture"):
            np.testing.assert_array_equal(old.read(source), new.read(source))
    assert {path.suffix for path in (tmp_path / "out").rglob("*.*")} == {".wav"}


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "DOUBLE"])
def test_samples_are_rounded_by_half_a_step(tmp_path, rng, subtype):
    (tmp_path / "set" / "song").mkdir(parents=True)
    audio = rng.uniform(-1, 1, (3000, 2))
    audio[0] = 1.0, -1.0
    sf.write(tmp_path / "set" / "song" / "bass.wav", audio, 44100, subtype=subtype)
    assert run(tmp_path / "set", tmp_path / "out") == 0
    (track,) = open_dataset(tmp_path / "out")
    steps = track.read("bass", dtype="int16").astype(float)
    assert np.abs(steps - audio * 32768)[1:].max() <= 0.51
    assert steps[0].tolist() == [32767, -32768]


def test_ogg_in_blocks_is_ogg_in_one_piece(tmp_path, monkeypatch):
    trees.make_folder(tmp_path / "set", 1, 1.0, suffix="ogg", mixture=False)
    (original,) = open_dataset(tmp_path / "set")
    whole = {s: original.read(s) for s in original.sources}
    monkeypatch.setattr(audio_files, "BLOCK", 4099)
    blocks = list(original.streams["bass"].blocks())
    assert {len(block) for block in blocks[:-1]} == {4099}  # no more is in memory
    assert run(tmp_path / "set", tmp_path / "out") == 0
    (track,) = open_dataset(tmp_path / "out")
    assert not track.has_mixture
    for source, audio in whole.items():
        expected, beyond = audio_files.to_int16(audio)
        assert not beyond
        np.testing.assert_array_equal(track.read(source, dtype="int16"), expected)


def test_samples_beyond_full_scale_are_refused_or_counted(tmp_path, capsys):
    folder = trees.make_folder(tmp_path / "set", 2, 0.2, mixture=False) / "Song 1"
    loud = sf.read(folder / "bass.wav")[0]
    loud[[5, 70], 1] = 1.5, -1.0001
    sf.write(folder / "bass.wav", loud, 44100, subtype="FLOAT")
    assert run(tmp_path / "set", tmp_path / "out") == 1
    assert (
        "Song 1: has samples beyond full scale (2 of bass): pass --clip" in capsys.readouterr().err
    )
    assert os.listdir(tmp_path / "out") == ["Song 0"]
    assert run(tmp_path / "set", tmp_path / "out", "--clip") == 0
    assert "Song 1: clipped 2 samples of bass" in capsys.readouterr().err
    stem = open_dataset(tmp_path / "out")[1].read("bass", dtype="int16")
    assert stem[[5, 70], 1].tolist() == [32767, -32768]


def test_a_damaged_track_is_named_and_the_others_are_done(tmp_path, capsys):
    root = trees.make_folder(tmp_path / "set", 4, 0.5, suffix="flac")
    (root / "Song 0" / "drums.flac").write_bytes(b"no audio")
    whole = (root / "Song 2" / "drums.flac").read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 2000] = bytes(2000)
    (root / "Song 2" / "drums.flac").write_bytes(broken)
    assert run(root, tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert re.findall("fault: (Song .)/drums.flac", err) == ["Song 0", "Song 2"]
    assert "2 tracks prepared, 2 left out" in out
    assert sorted(os.listdir(tmp_path / "out")) == ["Song 1", "Song 3"]
    (root / "Song 2" / "drums.flac").write_bytes(whole)
    assert run(root, tmp_path / "out") == 1
    assert "1 tracks, 0.0 min, 2 finished before" in capsys.readouterr().out
    assert len(open_dataset(tmp_path / "out")) == 3


def test_finished_tracks_are_left_alone(tmp_path, capsys):
    root = trees.make_folder(tmp_path / "set", 3, 0.2, subsets=("train", "test"), suffix="flac")
    assert run(root, tmp_path / "out") == 0
    assert capsys.readouterr().out.endswith("6 tracks prepared, 0 left out\n")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    trees.write(tmp_path / "out" / ".partial-1" / "bass.wav", np.zeros((9, 2)))  # of a killed run
    assert run(root, tmp_path / "out") == 0
    assert "0 tracks, 0.0 min, 6 finished before" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before


def bass(place):
    return sf.read(place / "bass.wav")[0]


IN_PLACE = {
    "shorter": lambda place: trees.write(place / "bass.wav", bass(place)[:-1]),
    "24 bits": lambda place: trees.write(place / "bass.wav", bass(place), subtype="PCM_24"),
    "other file": lambda place: (place / "lyrics.txt").write_text("la"),
    "missing": lambda place: (place / "bass.wav").unlink(),
    "no audio": lambda place: (place / "bass.wav").write_text("la"),
    "a file": lambda place: place.rename(place.parents[1] / "gone") and place.write_text("mine"),
}


@pytest.mark.parametrize("damage", IN_PLACE)
def test_what_is_in_the_place_of_a_track_is_not_overwritten(tmp_path, capsys, damage):
    trees.make_folder(tmp_path / "set", 2, 0.2)
    IN_PLACE[damage](trees.make_folder(tmp_path / "out", 1, 0.2) / "Song 0")
    before = contents(tmp_path / "out")
    assert run(tmp_path / "set", tmp_path / "out") == 1
    assert "is not a prepared copy of it: move it away" in capsys.readouterr().err
    after = contents(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 6  # the other track's folder and files


def test_size_is_announced_and_exact_and_needs_room(tmp_path, capsys, monkeypatch):
    root = trees.make_folder(tmp_path / "set", 2, 0.3)
    trees.write(root / "Song 0" / "bass.wav", np.zeros((13243, 1), np.int16))
    # its samples fill whole blocks of the disk, its header takes one more
    for source in (*trees.SOURCES, "mixture"):
        trees.write(root / "Song 1" / f"{source}.wav", np.zeros((4096, 2), np.int16))
    need = sum(prepare.track_bytes(track) for track in open_dataset(root))
    usage = SimpleNamespace(free=need - 1)
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: usage)
    out = tmp_path / "deep" / "out"
    assert run(root, out) == 2
    assert "the disk must have room" in capsys.readouterr().err
    assert not out.parent.exists()
    usage.free = need
    assert run(root, out) == 0
    assert need == sum(
        -(-len(data) // 4096) * 4096 for data in filter(None, contents(out).values())
    )
    assert f"10 files, {need / 1e6:.1f} MB" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (OSError(28, "full"), 1)])
def test_an_early_end_leaves_whole_tracks_and_the_next_run_goes_on(
    tmp_path, monkeypatch, capsys, error, code
):
    root = trees.make_folder(tmp_path / "set", 3, 0.2)
    read = audio_files.Stream.blocks
    calls = itertools.count()

    def interrupted(stream):
        for block in read(stream):
            yield block
            if next(calls) == 7:  # in the second track of five files each
                raise error

    monkeypatch.setattr(audio_files.Stream, "blocks", interrupted)
    assert run(root, tmp_path / "out") == code
    assert "finished tracks are kept; the same command continues" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == ["Song 0"]
    monkeypatch.setattr(audio_files.Stream, "blocks", read)
    assert run(root, tmp_path / "out") == 0
    assert len(open_dataset(tmp_path / "out")) == 3


def test_wrong_commands_end_in_one_line(tmp_path, capsys):
    root = trees.make_folder(tmp_path / "set", 1, 0.1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(root)
    for data, out in (
        (tmp_path / "empty", tmp_path / "out"),
        (root, root / "prepared"),
        (root, root),
        (root, tmp_path / "link" / "prepared"),
        (tmp_path / "link", root / "prepared"),
        (root, tmp_path / "file" / "out"),
    ):
        before = contents(tmp_path)
        assert run(data, out) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("prepare: ")
        assert contents(tmp_path) == before


def test_a_track_too_long_for_wav_is_refused(tmp_path, monkeypatch, capsys):
    root = trees.make_folder(tmp_path / "set", 1, 0.1)
    monkeypatch.setattr(prepare, "MAX_WAV_BYTES", open_dataset(root)[0].num_samples * 4 - 1)
    assert run(root, tmp_path / "out") == 1
    assert "4 GiB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("decode", "words"),
    [
        (None, "do not work here"),
        (Mock(side_effect=NotImplementedError("undefined symbol\nand more")), "undefined symbol"),
        (Mock(return_value=Mock(numpy=lambda: np.zeros((3, 1), np.int16))), "decodes wrongly"),
    ],
)
def test_without_a_working_tensorflow_io_the_way_out_is_shown(
    tmp_path, monkeypatch, capsys, decode, words
):
    module = decode and SimpleNamespace(audio=SimpleNamespace(decode_wav=decode))
    monkeypatch.setitem(sys.modules, "tensorflow_io", module)
    root = trees.make_folder(tmp_path / "set", 1, 0.1)
    assert run(root, tmp_path / "out", "--decoder", "tfio") == 2
    (message,) = capsys.readouterr().err.splitlines()
    for part in (words, "TensorFlow 2.17", 'pip install ".[tfio]"', "use soundfile"):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_stem_files_are_not_given_to_tensorflow_io(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "check_tfio", lambda: None)
    trees.make_musdb18(tmp_path / "set", 1, 0, 0.2)
    assert run(tmp_path / "set", tmp_path / "out", "--decoder", "tfio") == 2
    assert "received '.stem.mp4'. Use --decoder soundfile" in capsys.readouterr().err
