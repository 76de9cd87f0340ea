"""Rendering a corpus: sums, lengths, the same bytes again, nothing half-written, clear refusals."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import corpus_material as material
import numpy as np
import pytest
import soundfile as sf

from keras_mmdense.data import open_dataset
from training.corpus import render, takes, tree
from training.corpus.__main__ import main, progress_printer
from training.corpus.dsp import varispeed
from training.corpus.material import CorpusError, find_material

SECONDS = 4
NUM_SAMPLES = SECONDS * 44100


def run(out, *options, root=None, songs=2, use=material.USE):
    command = ["--out", out, "--songs", songs, "--seconds", SECONDS, "--use", use]
    command += ["--material", root] if root else []
    return main([str(part) for part in (*command, *options)])


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return material.make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def corpus(root, tmp_path_factory):
    """Two songs; read only."""
    out = tmp_path_factory.mktemp("corpus") / "out"
    assert run(out, "--seed", 30, root=root) == 0
    return out


@pytest.mark.parametrize("kind", ["auto", "folder", "musdb18hq"])
def test_stems_sum_to_the_mixture_and_have_the_length(corpus, kind):
    dataset = open_dataset(corpus, kind=kind)
    assert dataset.sources == ("bass", "drums", "other", "vocals")
    assert [track.name for track in dataset] == ["song-000000030", "song-000000031"]
    assert not dataset.faults
    for track in dataset:
        assert (track.subset, track.channels, track.sample_rate) == ("train", 2, 44100)
        assert track.num_samples == NUM_SAMPLES
        stems = [track.read(source, dtype="int16").astype(int) for source in dataset.sources]
        np.testing.assert_array_equal(sum(stems), track.read("mixture", dtype="int16"))


def test_every_stem_is_heard_and_none_clips(corpus):
    for track in open_dataset(corpus):
        for source in (*track.sources, "mixture"):
            audio = track.read(source)
            assert 0.01 < np.abs(audio).max() < 0.995
            assert 1e-3 < np.sqrt((audio**2).mean()) < 0.5


def test_the_two_songs_differ(corpus):
    first, second = open_dataset(corpus)
    for source in first.sources:
        assert not np.array_equal(first.read(source), second.read(source))


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_process(corpus, root, tmp_path):
    assert run(tmp_path / "out", "--seed", 30, "--jobs", 2, root=root) == 0
    assert files(tmp_path / "out") == files(corpus)


def test_another_subset_is_another_song(corpus, root, tmp_path):
    assert run(tmp_path / "out", "--seed", 30, "--subset", "test", root=root, songs=1) == 0
    (track,) = open_dataset(tmp_path / "out")
    assert track.subset == "test"
    twin = open_dataset(corpus)[0]
    assert not np.array_equal(track.read("drums"), twin.read("drums"))


def test_a_lost_song_is_rendered_again_and_more_can_be_added(corpus, root, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(corpus, out)
    before = files(out)
    shutil.rmtree(out / "train" / "song-000000030")
    assert run(out, "--seed", 30, root=root, songs=3) == 0
    assert "2 songs to render, 1 are there" in capsys.readouterr().err
    after = files(out)
    assert {name: after[name] for name in before if "manifest" not in name} == {
        name: data for name, data in before.items() if "manifest" not in name
    }
    assert len(open_dataset(out)) == 3


def test_the_manifest_tells_sources_and_credits(corpus, root):
    manifest = json.loads((corpus / "manifest.json").read_text("utf-8"))
    assert manifest["num_songs"] == 2
    assert set(manifest["songs"]) == {"song-000000030", "song-000000031"}
    credits = {source["name"]: source for source in manifest["sources"]}
    assert {"bassy", "guitars", "kit", "singer"} <= set(credits)
    assert credits["kit"] == {
        "name": "kit", "licence": "CC0-1.0", "credit": "by kit", "share_alike": True,
    }  # fmt: skip
    assert manifest["share_alike"] == ["kit"]
    for song in manifest["songs"].values():
        assert set(song["used"]) == {"bass", "drums", "other", "vocals"}
        assert song["score"] == "patterns"


def test_flac_holds_the_same_samples(corpus, root, tmp_path):
    assert run(tmp_path / "out", "--seed", 30, "--format", "flac", root=root, songs=1) == 0
    place = tmp_path / "out" / "train" / "song-000000030"
    for name in ("bass", "mixture"):
        audio, _ = sf.read(place / f"{name}.flac", dtype="int16")
        wav, _ = sf.read(corpus / "train" / place.name / f"{name}.wav", dtype="int16")
        np.testing.assert_array_equal(audio, wav)


def test_solo_songs_have_one_source(root, tmp_path):
    assert run(tmp_path / "out", "--solo", root=root, songs=4) == 0
    heard = []
    for track in open_dataset(tmp_path / "out"):
        sounding = [source for source in track.sources if track.read(source).any()]
        heard += sounding
        assert len(sounding) == 1
        np.testing.assert_array_equal(track.read(sounding[0]), track.read("mixture"))
    assert set(heard) <= {"vocals", "other"}


def test_a_voice_over_bands_has_two_sources_with_all_tracks_of_the_band(root, tmp_path):
    bands = tmp_path / "material" / "bands"
    material.make_bands(bands)
    shutil.copytree(root / "singer", tmp_path / "material" / "singer")
    out = tmp_path / "out"
    use = "takes"
    assert run(out, "--bands", root=tmp_path / "material", songs=3, use=use) == 0
    for track in open_dataset(out):
        heard = {source for source in track.sources if track.read(source).any()}
        assert heard == {"other", "vocals"}
        band = track.read("other")
        np.testing.assert_array_less(1e-3, np.sqrt((band**2).mean(0)))  # noise left, chord right
        np.testing.assert_array_equal(
            band + track.read("vocals"), track.read("mixture")
        )  # in steps of 16 bits, exact in float32
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert {song["score"] for song in manifest["songs"].values()} == {"band"}
    assert {source["name"] for source in manifest["sources"]} == {"bands", "singer"}


def test_a_recording_of_a_band_is_a_file_or_a_folder_of_tracks(tmp_path):
    (item,), _ = find_material([material.make_bands(tmp_path / "bands")])
    assert [[path.name for path in paths] for paths in item.recordings()] == [
        ["drums.wav", "guitar.wav"], ["whole.wav"],
    ]  # fmt: skip
    parts = takes.band(np.random.default_rng(0), replace(item, sets=("tracks",)), 44100, 0)
    whole = takes.band(np.random.default_rng(0), replace(item, sets=("*.wav",)), 44100, 0)
    np.testing.assert_allclose(parts, whole, atol=2**-14)


def test_bands_are_asked_for_before_anything_is_written(root, tmp_path, capsys):
    assert run(tmp_path / "out", "--bands", root=root) == 2
    assert "--bands needs --material of use bands; received bassy" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pattern", ["*.mp3", "nowhere", "empty"])
def test_a_set_of_bands_that_names_nothing_is_told(tmp_path, pattern, capsys):
    material.make_takes(tmp_path / "material" / "singer")
    bands = material.make_bands(tmp_path / "material" / "bands")
    (bands / "empty").mkdir()
    material.describe(bands, "bands", "other", sets=["*.wav", pattern])
    assert run(tmp_path / "out", "--bands", root=tmp_path / "material", use="takes") == 2
    assert f"must have audio files for {pattern}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_band_takes_the_place_of_other(tmp_path, capsys):
    material.describe(tmp_path / "bands", "bands", "drums")
    assert run(tmp_path / "out", "--bands", root=tmp_path / "bands") == 2
    assert "a band's source must be other" in capsys.readouterr().err


@pytest.mark.parametrize("semitones", [-2, 0, 1])
def test_the_nearest_shift_brings_a_recording_into_a_key(semitones):
    chord = sum(material.tone(material.hertz_of(p), 3.0, decay=0.0) for p in (57, 60, 64))
    chord = np.repeat(chord[:, None], 2, axis=1)
    tonic, minor = takes.find_key(chord)
    assert (tonic, minor) == (9, 1)
    assert takes.nearest_shift(chord, (9 + semitones) % 12, 1) == semitones
    moved = varispeed(chord, 2 ** (semitones / 12))
    assert takes.find_key(moved) == ((9 + semitones) % 12, 1)
    assert takes.nearest_shift(chord, 0, 0) == 0  # C, the relative major


def test_no_material_at_all_but_the_synthesiser_and_one_singer(root, tmp_path):
    out = tmp_path / "out"
    assert run(out, root=root / "singer", songs=1, use="patterns,synth,takes") == 0
    (song,) = json.loads((out / "manifest.json").read_text("utf-8"))["songs"].values()
    used = [name for source in ("bass", "drums", "other") for name in song["used"][source]]
    assert all(name.startswith("synth") for name in used)


def test_what_is_not_used_is_not_credited(root, tmp_path):
    assert run(tmp_path / "out", root=root, songs=1, use="patterns,synth,takes") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    names = {source["name"] for source in manifest["sources"]}
    assert {"singer"} <= names <= {"singer", "strummer"}


def test_a_guitarist_is_no_singer(root, tmp_path, capsys):
    use = "patterns,synth,takes"
    assert run(tmp_path / "out", root=root / "strummer", songs=1, use=use) == 2
    assert "nobody sings" in capsys.readouterr().err


def test_singing_of_a_song_sets_tempo_and_key(tmp_path):
    material.make_song(tmp_path / "songs", tempo=120)
    out = tmp_path / "out"
    assert run(out, root=tmp_path / "songs", songs=1, use="patterns,synth,songs") == 0
    (song,) = json.loads((out / "manifest.json").read_text("utf-8"))["songs"].values()
    shift = round(12 * np.log2(song["tempo"] / 120))
    assert song["key"] == ["D", "Eb", "E", "F", "Gb"][shift + 2]
    assert song["used"]["vocals"] == ["songs: 1.Song"]


def test_stopping_leaves_no_half_song(root, tmp_path, monkeypatch, capsys):
    write, count = sf.write, []

    def stop(*args, **kwargs):
        count.append(args)
        if len(count) == 8:  # in the second song
            raise KeyboardInterrupt
        return write(*args, **kwargs)

    monkeypatch.setattr(sf, "write", stop)
    out = tmp_path / "out"
    assert run(out, "--seed", 30, root=root) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert [p.name for p in (out / "train").iterdir()] == ["song-000000030"]
    assert json.loads((out / "manifest.json").read_text("utf-8"))["num_songs"] == 1
    monkeypatch.undo()
    (out / "train" / ".partial-1-song-000000031").mkdir()  # of a run that was killed
    assert run(out, "--seed", 30, root=root) == 0
    assert len(list((out / "train").iterdir())) == 2


def test_a_full_disk_is_told(root, tmp_path, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sf, "write", full)
    assert run(tmp_path / "out", root=root) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*/*"))


@pytest.mark.parametrize("changed", [("--seed", 31), ("--format", "flac"), ("--solo",)])
def test_other_settings_are_refused(corpus, root, changed, capsys):
    before = files(corpus)
    assert (
        run(corpus, *(("--seed", 30) if changed[0] != "--seed" else ()), *changed, root=root) == 2
    )
    assert "corpus with other settings" in capsys.readouterr().err
    assert files(corpus) == before


def test_other_material_is_refused(corpus, root, tmp_path, capsys):
    shutil.copytree(root, tmp_path / "material")
    (tmp_path / "material" / "kit" / "hit_0.wav").unlink()
    assert run(corpus, "--seed", 30, root=tmp_path / "material") == 2
    assert "material" in capsys.readouterr().err


def test_a_folder_with_something_else_is_left_alone(root, tmp_path, capsys):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    assert run(tmp_path, root=root) == 2
    assert "holds something that is no corpus" in capsys.readouterr().err
    assert list(files(tmp_path)) == ["photo.jpg"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--songs", 0), "--songs and --jobs must be 1 or more"),
        (("--seconds", 1), "--seconds must be 4 to 600"),
        (("--seconds", "nan"), "--seconds must be 4 to 600"),
        (("--seed", -1), "--seed must be 0 or more"),
        (("--use", "patterns,lute"), "received ['lute']"),
        (("--use", "synth,takes"), "must contain patterns or mma"),
        (("--use", "patterns,takes"), "nothing plays bass"),
        (("--use", "patterns,samples"), "nobody sings"),
        (("--material", "/nowhere"), "--material must be a folder"),
    ],
)
def test_wrong_options_are_told_in_one_line(root, tmp_path, options, text, capsys):
    assert run(tmp_path / "out", *options, root=root) == 2
    told = capsys.readouterr().err
    assert text in told
    assert told.count("\n") == 1 or "nothing plays" in text or "nobody" in text
    assert not list(tmp_path.glob("out/train/*"))


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


def test_folders_without_licence_are_noted_and_not_used(root, tmp_path, capsys):
    shutil.copytree(root, tmp_path / "material")
    (tmp_path / "material" / "unknown").mkdir()
    assert run(tmp_path / "out", root=tmp_path / "material", songs=1) == 0
    assert "unknown is not used" in capsys.readouterr().err


def test_a_program_without_version_is_refused(tmp_path, monkeypatch):
    material.program(tmp_path, "mma", "print('none')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match="does not tell its version"):
        render._version("mma")


def test_a_mixture_that_does_not_fit_is_refused(tmp_path):
    loud = np.full((10, 2), 20000, np.int16)
    stems = dict.fromkeys(("bass", "drums", "other", "vocals"), loud)
    with pytest.raises(CorpusError, match="does not fit into 16 bits"):
        tree.write_song(tmp_path / "song", stems, {}, "wav")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": []}'])
def test_a_damaged_manifest_is_told(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(CorpusError):
        tree.start(tmp_path, {"seed": 1})


def test_progress_tells_the_time_left(capsys):
    clock = iter([0.0, 60.0])
    progress_printer(lambda: next(clock))(1, 4, "song")
    assert capsys.readouterr().err == "1/4, 3.0 min left: song\n"


def test_the_command_has_help():
    command = [sys.executable, "-m", "training.corpus", "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert "--material" in done.stdout
    assert "share-alike" in done.stdout
