"""What the evaluation command refuses, before it writes anything; folders of estimates."""

import json
import shutil

import numpy as np
import pytest
import soundfile as sf
from test_evaluate import SOURCES, command, copy_estimates, scores
from trees import make_folder

from keras_mmdense.data import open_dataset
from keras_mmdense.errors import SettingsError
from training.evaluate.__main__ import main
from training.evaluate.rows import check_estimates, open_rows


@pytest.fixture
def tree(tmp_path):
    return make_folder(tmp_path / "tree", num_tracks=2, seconds=0.2)


@pytest.fixture
def tracks(tree):
    return open_dataset(tree).tracks


REFUSED = {
    "no such model": (("nothing",), {}, "MODEL must be"),
    "no such file": (("gone.tflite",), {}, "There is no file gone.tflite"),
    "kinds that do not join": (("a.keras+b.tflite",), {}, "several of one kind"),
    "one name twice": (("irm", "irm"), {}, "received ['irm']"),
    "a baseline renamed": (("x=irm",), {}, "a baseline keeps its own name"),
    "a pattern without tracks": (("irm",), {"tracks": ["Song*", "Sing*"]}, "received 'Sing*'"),
    "no tracks": (("irm",), {"limit": 0}, "--limit must be 1 or more; received 0"),
    "no such subset": (("irm",), {"subset": "test"}, "of the subset; received ['test']"),
    "too many iterations": (("irm",), {"wiener": 11}, "--wiener must be 0 to 10"),
    "fewer than no iterations": (("irm",), {"wiener": -1}, "--wiener must be 0 to 10"),
    "another rate": (("irm",), {"sample_rate": 48000}, "44100"),
    "no such metric": (("irm",), {"metric": "usdr,sdr"}, "received 'usdr,sdr'"),
    "a cluster and processes": (
        ("irm",),
        {"jobs": 2, "cluster": "127.0.0.1:1"},
        "--cluster needs no --jobs; received 2. Drop it.",
    ),
    "no process": (("irm",), {"jobs": 0}, "--jobs must be 1 or more; received 0"),
    "a folder of something else": (("{}/empty",), {}, "for example Song 0/bass.wav"),
    "a folder in use": (("irm",), {"out": "tree"}, "a new or empty folder"),
    "no accompaniment": (("mixture", "{}/drums"), {"accompaniment": True}, "applies to all rows"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused_in_one_line(tree, tmp_path, capsys, case):
    models, options, message = REFUSED[case]
    copy_estimates(tree, tmp_path / "drums", sources=("drums",))
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    models = [model.format(tmp_path) for model in models]
    assert main(command(tmp_path, *models, **options)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "x" * 101, "irm", "a:b"])
def test_names_that_are_no_folders_are_refused(tree, tmp_path, tracks, name):
    copy_estimates(tree, tmp_path / "mine")
    with pytest.raises(SettingsError, match=r"the name of a row must|MODEL must be"):
        open_rows([f"{name}={tmp_path / 'mine'}", "mixture"], tracks)


@pytest.mark.parametrize(
    ("name", "kind", "file"),
    [
        ("mmdensenet-edge-float32", "tflite", "mmdensenet-edge-float32"),
        ("mmdensenet-edge", "tflite", "mmdensenet-edge-int8"),
        ("mmdensenet-vocals", "keras", "mmdensenet-vocals"),
    ],
)
def test_bundled_models_have_names(tracks, name, kind, file):
    (row,) = open_rows([name], tracks)
    assert (row.kind, row.name) == (kind, file)


def test_names_go_before_the_path_and_paths_may_hold_signs(tree, tmp_path, tracks):
    odd = tmp_path / "a=b+c"
    copy_estimates(tree, odd)
    rows = open_rows([str(odd), f"second={odd}"], tracks)
    assert [(row.name, row.paths) for row in rows] == [("a=b+c", (odd,)), ("second", (odd,))]


def test_missing_estimates_are_named_or_left_out(tree, tmp_path, capsys):
    folder = copy_estimates(tree, tmp_path / "mine")
    (tmp_path / "mine" / "Song 1" / "drums.wav").unlink()
    assert main(command(tmp_path, folder, "mixture")) == 2
    assert (
        "Song 1 without one of them'. Add them, or pass --allow-missing" in capsys.readouterr().err
    )
    assert main(command(tmp_path, folder, "mixture", allow_missing=True)) == 0
    tracks = {(row, track) for row, track, *_ in scores(tmp_path / "report").index}
    assert tracks == {("mine", "Song 0"), ("mixture", "Song 0"), ("mixture", "Song 1")}
    assert "mine has no estimates of 1 tracks" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x[::2], 22050), "22050 Hz and 2 channels, not 44100 and 2"),
        (lambda x: (x[:, 0], 44100), "44100 Hz and 1 channels"),
        (lambda x: (x[:4000], 44100), "4000 samples, not 8833"),
        (lambda x: (np.tile(x, (2, 1)), 44100), "17666 samples, not 8833"),
        (lambda x: (x[:0], 44100), "holds no samples"),
    ],
)
def test_estimates_of_another_form_are_refused(tree, tmp_path, tracks, change, message):
    copy_estimates(tree, tmp_path / "mine")
    path = tmp_path / "mine" / "Song 0" / "vocals.wav"
    audio, rate = change(sf.read(path)[0])
    sf.write(path, audio, rate)
    with pytest.raises(SettingsError, match=message):
        check_estimates(tmp_path / "mine", tracks, SOURCES, allow_missing=False)


def test_small_differences_in_length_and_lost_tracks_are_reported(tree, tmp_path, capsys):
    copy_estimates(tree, tmp_path / "mine")
    for path in (tmp_path / "mine").rglob("*.wav"):
        audio, rate = sf.read(path)
        longer = np.pad(audio, ((0, 100), (0, 0)))
        path.unlink()
        shape = longer if path.parent.name == "Song 0" else audio[:-100]
        sf.write(path.with_suffix(".flac"), shape, rate)
    shutil.copytree(tree / "Song 0", tree / "Song 2")
    (tree / "Song 2" / "bass.wav").write_bytes(b"")
    assert main(command(tmp_path, str(tmp_path / "mine"))) == 0
    assert "Song 2" in capsys.readouterr().err
    values = scores(tmp_path / "report")
    assert set(values[:, "Song 0"]) == {200.0}
    lost, _ = sf.read(tree / "Song 1" / "bass.wav")
    expected = 10 * np.log10(np.sum(lost**2) / np.sum(lost[-100:] ** 2))
    assert values["mine", "Song 1", "bass", "usdr", "SDR"] == pytest.approx(expected, abs=1e-4)
    rows = json.loads((tmp_path / "report" / "summary.json").read_text())["rows"]
    assert rows[0]["fitted"] == ["Song 0", "Song 1"]
