"""Rendering a corpus: sums, lengths, the same bytes again, nothing half-written, clear refusals."""

import json
import re
import shutil

import corpus_material as material
import numpy as np
import pytest
import soundfile as sf
from command_runs import contents

from keras_mmdense.data import open_dataset
from training.corpus import render, tree
from training.corpus.__main__ import main
from training.corpus.material import CorpusError

SECONDS = 4
NUM_SAMPLES = SECONDS * 44100


def run(out, *options, root=None, songs=2, use=material.USE):
    command = ["--out", out, "--songs", songs, "--seconds", SECONDS, "--use", use]
    command += ["--material", root] if root else []
    return main([str(part) for part in (*command, *options)])


def manifest_of(out):
    return json.loads((out / "manifest.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return material.make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def corpus(root, tmp_path_factory):
    """Two songs; read only."""
    out = tmp_path_factory.mktemp("corpus") / "out"
    assert run(out, "--seed", 30, root=root) == 0
    return out


def test_stems_sum_to_the_mixture_are_heard_and_do_not_clip(corpus):
    dataset = open_dataset(corpus, kind="musdb18hq")
    assert dataset.sources == ("bass", "drums", "other", "vocals")
    assert [track.name for track in dataset] == ["song-000000030", "song-000000031"]
    assert not dataset.faults
    for track in dataset:
        assert (track.subset, track.channels, track.sample_rate) == ("train", 2, 44100)
        assert track.num_samples == NUM_SAMPLES
        stems = [track.read(source, dtype="int16").astype(int) for source in dataset.sources]
        np.testing.assert_array_equal(sum(stems), track.read("mixture", dtype="int16"))
        for source in (*track.sources, "mixture"):
            audio = track.read(source)
            assert 1e-3 < np.sqrt((audio**2).mean()) < np.abs(audio).max() < 0.995
    for source in dataset.sources:
        assert not np.array_equal(dataset[0].read(source), dataset[1].read(source))


def test_another_subset_is_another_song(corpus, root, tmp_path):
    out = tmp_path / "out"
    options = ("--seed", 30, "--subset", "test", "--format", "flac")
    assert run(out, *options, root=root, songs=1) == 0
    (track,) = open_dataset(out)
    assert track.subset == "test"
    assert not np.array_equal(track.read("drums"), open_dataset(corpus)[0].read("drums"))
    assert (out / "test" / "song-000000030" / "drums.flac").is_file()


def test_the_manifest_tells_sources_and_credits(corpus):
    manifest = manifest_of(corpus)
    assert set(manifest["songs"]) == {"song-000000030", "song-000000031"}
    credits = {source["name"]: source for source in manifest["sources"]}
    assert {"bassy", "guitars", "kit", "singer"} <= set(credits)
    assert credits["kit"] == {
        "name": "kit", "license": "CC0-1.0", "credit": "by kit", "share_alike": True,
    }  # fmt: skip
    assert manifest["share_alike"] == ["kit"]
    for song in manifest["songs"].values():
        assert set(song["used"]) == {"bass", "drums", "other", "vocals"}
        assert song["score"] == "patterns"


def test_a_voice_over_bands_has_two_sources_with_all_tracks_of_the_band(root, tmp_path):
    material.make_bands(tmp_path / "material" / "bands")
    shutil.copytree(root / "singer", tmp_path / "material" / "singer")
    out = tmp_path / "out"
    assert run(out, "--bands", root=tmp_path / "material", use="takes") == 0
    for track in open_dataset(out):
        heard = {source for source in track.sources if track.read(source).any()}
        assert heard == {"other", "vocals"}
        band = track.read("other")
        np.testing.assert_array_less(1e-3, np.sqrt((band**2).mean(0)))  # noise left, chord right
        # in steps of 16 bits, exact in float32
        np.testing.assert_array_equal(band + track.read("vocals"), track.read("mixture"))
    manifest = manifest_of(out)
    assert {song["score"] for song in manifest["songs"].values()} == {"band"}
    assert {source["name"] for source in manifest["sources"]} == {"bands", "singer"}


def test_stopping_leaves_no_half_song_and_another_process_goes_on_to_the_same_bytes(
    corpus, root, tmp_path, monkeypatch, capsys
):
    write, count = sf.write, []

    def stop(*args, **kwargs):
        count.append(args)
        if len(count) == 8:  # in the second song
            raise KeyboardInterrupt
        return write(*args, **kwargs)

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(sf, "write", stop)
        assert run(out, "--seed", 30, root=root) == 130
    assert "the same command continues" in capsys.readouterr().err
    assert [p.name for p in (out / "train").iterdir()] == ["song-000000030"]
    assert len(manifest_of(out)["songs"]) == 1
    (out / "train" / ".partial-1-song-000000031").mkdir()  # of a run that was killed
    assert run(out, "--seed", 30, "--jobs", 2, root=root) == 0
    told = capsys.readouterr().err
    assert "1 songs to render, 1 are there" in told
    assert re.search(r"^1/1, 0\.0 min left: song-000000031: patterns, ", told, re.MULTILINE)
    assert contents(out) == contents(corpus)


def test_other_settings_and_other_material_are_refused(corpus, root, tmp_path, capsys):
    before = contents(corpus)
    other = tmp_path / "material"
    shutil.copytree(root, other)
    (other / "kit" / "hit_0.wav").unlink()
    for options, place in (
        (["--seed", 31], root), (["--seed", 30, "--format", "flac"], root), (["--seed", 30], other),
    ):  # fmt: skip
        assert run(corpus, *options, root=place) == 2
        assert "corpus with other settings" in capsys.readouterr().err
    assert contents(corpus) == before


def bands_without(folder):
    material.describe(material.make_bands(folder / "bands"), "bands", "other", sets=["*.mp3"])


def unknown(folder):
    (folder / "photos").mkdir(parents=True)


@pytest.mark.parametrize(
    ("options", "make", "text"),
    [
        ("--songs 0", None, "--songs and --jobs must be 1 or more"),
        ("--seconds 1", None, "--seconds must be 4 to 600"),
        ("--seconds nan", None, "--seconds must be 4 to 600"),
        ("--seed -1", None, "--seed must be 0 or more"),
        ("--use patterns,lute", None, "received ['lute']"),
        ("--use synth,takes", None, "must contain patterns or mma"),
        ("--material /nowhere", None, "--material must be a folder"),
        ("", unknown, "nothing in"),
        ("--bands", lambda f: material.make_hits(f / "kit"), "use bands; received kit"),
        ("--bands", bands_without, "must have audio files for *.mp3"),
        ("--bands", lambda f: material.describe(f, "bands", "drums"), "source must be other"),
        ("", lambda f: material.describe(f / "a", "noise", "bass"), "received 'noise'"),
        ("", lambda f: material.describe(f / "a", "hits", "lute"), "'lute'"),
        (
            "",
            lambda f: material.describe(f / "a", "hits", "bass", sets="ab"),
            "sets must be a list",
        ),
        (
            "",
            lambda f: material.describe(f / "a", "hits", "bass", songs=[1]),
            "songs must be table",
        ),
        ("--use units,patterns", lambda f: material.make_takes(f / "a"), "--material of use units"),
    ],
)
def test_what_cannot_be_rendered_is_told_in_one_line(tmp_path, options, make, text, capsys):
    given = options.split()
    if make:
        make(tmp_path / "material")
        given += ["--material", tmp_path / "material"]
    if "--bands" in given:
        given += ["--use", "takes", "--material", material.make_takes(tmp_path / "singer")]
    assert run(tmp_path / "out", *given, use="patterns,synth") == 2
    told = capsys.readouterr().err
    assert text in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_missing_programs_and_material_are_all_named(root, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(render.importlib.util, "find_spec", lambda name: None)
    assert run(tmp_path / "out", root=root / "kit", use="patterns,mma,soundfonts,synth,units") == 2
    told = capsys.readouterr().err
    for name in ("program mma", "program fluidsynth", "package mido", "package pyworld", "scipy"):
        assert name in told
    assert "--material of use units" in told
    assert "--use patterns,synth" in told
    assert not (tmp_path / "out").exists()


def test_folders_that_are_nothing_of_ours_are_left_alone(root, tmp_path, capsys):
    out = tmp_path / "photos"
    unknown(tmp_path)
    (out / "photo.jpg").write_bytes(b"x")
    shutil.copytree(root / "singer", tmp_path / "singer")
    assert run(out, root=tmp_path, use="patterns,synth,takes") == 2
    told = capsys.readouterr().err
    assert "photos is not used" in told
    assert "holds something that is no corpus" in told
    assert list(contents(out)) == ["photo.jpg"]


def test_a_mixture_that_does_not_fit_is_refused(tmp_path):
    loud = np.full((10, 2), 20000, np.int16)
    stems = dict.fromkeys(("bass", "drums", "other", "vocals"), loud)
    with pytest.raises(CorpusError, match="does not fit into 16 bits"):
        tree.write_song(tmp_path / "song", stems, {}, "wav")
    assert not list(tmp_path.iterdir())
