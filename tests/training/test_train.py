"""The whole path on generated tracks: recipe, training, separation, export; what is refused."""

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import soundfile as sf
from runs import MODEL, train
from small import read_history
from trees import make_dsd100, make_folder

import keras_mmdense
from keras_mmdense.data import open_dataset, training_set
from keras_mmdense.data.mixing import Mixing
from keras_mmdense.errors import SettingsError
from training.train import __main__ as command
from training.train.recipe import RECIPES, Recipe, load_recipe, with_terms_of
from training.train.split import open_tracks
from training.train.trainer import Trainer, make_model

SOURCES = ("bass", "drums", "other", "vocals")
RECIPE = """
frames = 16
batch_size = 4
examples = 32
epochs = 4
jit = false
optimizer = "adam"
learning_rate = 0.01
loss = "l1"
training_data = "generated tones"
license = "CC0-1.0"
[mixing]
gain = [0.5, 1.0]
silent_share = 0.5
[model]
sources = ["bass", "drums", "other", "vocals"]
shared = true
head = "mask"
bins = 256
growth_rate = 4
num_layers = 1
scales = 1
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_dsd100(tmp_path_factory.mktemp("data") / "tree", 4, 1, seconds=2.0)


@pytest.fixture(scope="module")
def run(tree):
    assert train(tree.parent, recipe=RECIPE) == 0
    return tree.parent / "run"


def test_the_loss_falls_and_the_record_says_how_to_run_it_again(run):
    rows = read_history(run / "history.csv")
    assert len(rows) == 4
    for column in ("loss", "val_loss"):
        assert rows[-1][column] < 0.9 * rows[0][column]
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((run / "run.json").read_text())
    assert record["recipe"]["mixing"]["gain"] == [0.5, 1.0]
    assert record["versions"]["keras"] == keras.__version__
    tracks = record["tracks"] + record["validation_tracks"]
    assert len(tracks) == len(set(tracks)) == 4


@pytest.mark.slow
def test_from_the_run_to_the_device(run, tree, tmp_path):
    from mmdense_edge import Separator

    model = keras.saving.load_model(run / "best.keras")
    assert keras_mmdense.settings_of(model).license == "CC0-1.0"
    track = open_dataset(tree, subset="test")[0]
    mixture = track.read("mixture")
    stems = keras_mmdense.separate(model, mixture, track.sample_rate)
    keras_mmdense.export(model, tmp_path / "mini.tflite", window_frames=64)
    found = Separator(tmp_path / "mini.tflite").separate(mixture, track.sample_rate)
    for source, stem in stems.items():
        np.testing.assert_allclose(found[source], stem, atol=1e-4)
        reference = track.read(source)
        assert np.square(reference - stem).sum() < np.square(reference - mixture).sum()


@pytest.mark.parametrize("options", [{"ema": 0.9}, {"loss": "excerpt_sdr"}])
def test_tensorflow_traces_a_step_once(options, tracks, tmp_path, monkeypatch):
    traced, step = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda *args: traced.append(1) or step(*args))
    shape = {"frames": 8, "batch_size": 2, "examples": 2, "jit": False}
    recipe = Recipe("test", model=MODEL, **shape, **options)
    Trainer(recipe, tracks, tracks[:1], tmp_path).fit(1)
    assert traced == [1]


def test_a_model_learns_from_a_teacher_and_accompaniments_after_another_compression(
    run, tree, tmp_path
):
    """Its normalization is adapted, as weights for another compression do not fit."""
    make_folder(tmp_path / "more", 2, 2.0, sources=SOURCES[:3], mixture=False)
    recipe = f'teachers = ["{run / "best.keras"}"]\nschedule = "cosine"\n' + RECIPE.replace(
        "[model]", "accompaniment_share = 0.4\n[model]\ncompression = 'log'\ncompression_gain = 9"
    )
    (tmp_path / "tree").symlink_to(tree)
    more = "--accompaniments", str(tmp_path / "more")
    init = "--init", str(run / "best.keras")
    for number, options in enumerate((more, (*more, *init), (*more, "--resume"))):
        out = ("one", "two", "two")[number]
        assert train(tmp_path, *options, "--epochs", "1", out=out, recipe=recipe) == 0
    rows = read_history(tmp_path / "two" / "history.csv")
    assert len(rows) == 1
    layers = [
        next(layer for layer in model.layers if type(layer).__name__ == "Normalization")
        for model in map(
            keras.saving.load_model, (run / "best.keras", tmp_path / "two" / "best.keras")
        )
    ]
    assert np.abs(layers[0].mean - layers[1].mean).max() > 0.01
    assert train(tmp_path, *init, "--resume", out="two", recipe=recipe) == 2  # other data


def test_weights_keep_the_terms_of_those_they_started_from(tracks, tmp_path):
    model, init = keras_mmdense.build(**MODEL), str(tmp_path / "first.keras")
    keras_mmdense.annotate(model, training_data="some songs", license="academic use only")
    model.save(init)
    shape = {"frames": 8, "batch_size": 2, "examples": 2, "jit": False}
    recipe = Recipe("r", MODEL, **shape, training_data="tones", license="CC0-1.0")
    Trainer(recipe, tracks, tracks[:1], tmp_path, init=init).fit(1)
    resumed = Trainer(recipe, tracks, tracks[:1], tmp_path)
    resumed.resume()
    for trained in (tmp_path / "best.keras", resumed.model):
        found = keras_mmdense.settings_of(trained)
        assert found.training_data == "tones; before that: some songs"
        assert found.license == "CC0-1.0; academic use only"
    keras_mmdense.build(**MODEL).save(tmp_path / "unknown.keras")
    unknown = with_terms_of(recipe, str(tmp_path / "unknown.keras"))
    assert unknown.training_data == "tones; before that: unknown"
    found = keras_mmdense.settings_of(make_model(Recipe("r", MODEL, frames=8), init))
    assert (found.training_data, found.license) == ("some songs", "academic use only")
    for other, match in (
        ({"model": MODEL | {"n_fft": 512}}, "another transform"),
        ({"model": MODEL, "frames": 9}, "frames must be a multiple of 2; received 9"),
    ):
        with pytest.raises(SettingsError, match=match):
            make_model(Recipe("r", **{"frames": 8} | other), init)


def test_a_recipe_s_sources_are_those_of_its_model():
    assert Recipe("r", {"preset": "mmdensenet"}).sources == ("vocals",)
    assert Recipe("r", {"preset": "mmdensenet", "sample_rate": 22050}).sample_rate == 22050


def test_the_data_are_those_of_the_recipe(tracks, tmp_path):
    shape = {"frames": 8, "batch_size": 2, "target": "in_phase"}
    options = {"examples": 6, "seed": 5, "mixing": Mixing(gain=(0.5, 0.6), level=(0, 0))}
    trainer = Trainer(Recipe("r", model=MODEL, **shape, **options), tracks, tracks, tmp_path)
    expected = training_set(tracks, trainer.model, epoch=1, first_step=1, **shape, **options)
    for found, (mixture, targets) in zip(trainer.make_data(1, 1), expected, strict=True):
        results = trainer.training(found)
        estimates = trainer.model(mixture)
        for source in MODEL["sources"]:
            np.testing.assert_allclose(results["targets"][source], targets[source], atol=1e-5)
            np.testing.assert_allclose(results["estimates"][source], estimates[source], atol=1e-5)


def test_every_recipe_in_the_repository_is_whole(monkeypatch):
    import keras_mmdense.model as module

    monkeypatch.setattr(module, "build_from_settings", lambda settings: settings)
    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    assert {"smoke", "edge"} <= set(names)
    for name in names:
        recipe = load_recipe(name)
        assert keras_mmdense.build(**recipe.model).sources
        head = (RECIPES / f"{name}.toml").read_text().split("\n\n")[0]
        for words in (f"Command: python -m training.train {name} ", "Time:", "Score:"):
            assert words in head


def test_a_recipe_s_bands_are_bands(tmp_path):
    path = tmp_path / "mine.toml"
    band = (
        '[[model.bands]]\nname = "{}"\nstart = 0\nstop = 1\ngrowth_rate = [4]\nnum_layers = [1]\n'
    )
    path.write_text((RECIPES / "smoke.toml").read_text() + band.format("low") + band.format("full"))
    assert [band.name for band in load_recipe(str(path)).model["bands"]] == ["low", "full"]


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "colour = 'red'",
        "loss = 'l7'",
        "epochs = 0",
        "[mixing]\nvolume = 1",
        "learning_rate = 5",
        "optimizer = 'sgdd'",
        "frames = 7.5",
        "examples = 0",
        "clipnorm = 'a'",
        "target = 'phase'",
        "seed = -1",
        "loss_weights = { vocals = 'a' }",
        "drop = 0",
        "ema = 1.0",
        "precision = 'int8'",
        "schedule = 'linear'",
        "teacher_share = -1",
        "teachers = 'mmdensenet-edge'",
        "[mixing]\naccompaniment_share = 0.6",
        "[mixing]\ngain = [1.0]",
        "#" * (1 << 20) + "\n",
    ],
    ids=lambda text: text[:20],
)
def test_wrong_recipes_are_refused(text, tmp_path):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_recipe(str(tmp_path / "r.toml"))
    assert "\n" not in str(caught.value)


NETWORK = '{}\n[model]\npreset = "mdensenet"\nbins = 8\ngrowth_rate = 2\nnum_layers = 1\n'
REFUSED = [
    ("nothing.toml", "", "tree", "a recipe is one of"),
    ("smoke", "", ".", "received 'r.toml'"),
    ("r.toml", "loss_weights = { vocal = 9 }", "tree", "loss_weights must name"),
    ("r.toml", "batch_size = 0", "tree", "whole numbers of 1 or more"),
]


@pytest.mark.parametrize(("recipe", "line", "data", "words"), REFUSED)
def test_wrong_commands_end_in_one_line(
    recipe, line, data, words, tree, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(NETWORK.format(line))
    data = str(tree) if data == "tree" else data
    assert command.main([recipe, "--data", data, "--out", "out"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("train: ")
    assert words in told
    assert not Path("out").exists()


def test_any_list_of_tracks_can_validate(tree, tmp_path):
    names = [track.name for track in open_dataset(tree)]
    listed = tmp_path / "valid.txt"
    listed.write_text(f"{names[1]}\n\n{names[2]}\n")
    tracks, valid = open_tracks([str(tree)], valid_names=str(listed))
    assert [track.name for track in valid] == names[1:3]
    assert not set(tracks) & set(valid)
    assert {track.subset for track in tracks} <= {"train", "valid"}
    for text in ("nobody\n", "", None):
        listed.unlink() if text is None else listed.write_text(text)
        with pytest.raises(SettingsError, match="--valid-tracks"):
            open_tracks([str(tree)], valid_names=str(listed))


def test_songs_of_a_test_split_never_validate(tree, tmp_path):
    (held_back, *_) = open_dataset(tree, subset="test")
    (tmp_path / "valid.txt").write_text(held_back.name)
    for options in ({"valid_names": str(tmp_path / "valid.txt")}, {"valid": [str(tree)]}):
        with pytest.raises(SettingsError, match=f"test split, .* received '{held_back.name}"):
            open_tracks([str(tree)], **options)


def test_a_damaged_tree_is_reported_and_the_rest_trained_on(tmp_path, capsys, monkeypatch, caplog):
    """Silent and mono stems are trained on; and a picture that fails costs nothing."""
    failing = Mock(side_effect=RuntimeError("the fonts\nare gone"))
    monkeypatch.setattr("matplotlib.figure.Figure.__init__", failing)
    tree = make_folder(tmp_path / "tree", num_tracks=7, seconds=1.0, mixture=False)
    damaged, mono, *silent = [tree / f"Song {k}" for k in range(7)]
    (damaged / "bass.wav").write_bytes(b"")
    audio, rate = sf.read(mono / "other.wav")
    sf.write(mono / "other.wav", audio[:, 0], rate)
    for song in silent[:3]:
        sf.write(song / "bass.wav", np.zeros_like(audio), rate)
    for song in silent[3:]:  # silent altogether, and one of them validates
        for source in SOURCES:
            sf.write(song / f"{source}.wav", np.zeros_like(audio), rate)
    small = RECIPE.replace("epochs = 4", "epochs = 1").replace("bins = 256", "bins = 64")
    assert train(tmp_path, recipe=small) == 0
    assert "Song 0" in capsys.readouterr().err
    run = tmp_path / "run"
    (row,) = read_history(run / "history.csv")
    assert all(np.isfinite(value) for value in row.values())
    assert "a picture was not drawn: the fonts are gone" in caplog.messages
    names = {path.name for path in run.iterdir()}
    assert names == {"best.keras", "last.keras", "history.csv", "run.json"}


def test_what_breaks_in_mid_run_ends_in_one_line(tmp_path, capsys, monkeypatch):
    tree = make_folder(tmp_path / "tree", num_tracks=3, seconds=1.0, mixture=False)
    first, *rest = open_dataset(tree)
    monkeypatch.setattr(command, "open_tracks", lambda *_: (rest, [first]))
    for path in tree.rglob("drums.wav"):
        path.unlink()
    assert train(tmp_path, recipe=RECIPE) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "train:" in line]
    assert "drums.wav" in line


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("ignored", [False, True])
def test_sigterm_ends_the_command_unless_it_was_ignored(ignored, tmp_path, monkeypatch):
    if ignored:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    fake = Mock(fit=lambda *_: signal.raise_signal(signal.SIGTERM), history=[], run=tmp_path)
    monkeypatch.setattr(command, "open_tracks", lambda *_: ([], []))
    monkeypatch.setattr(command, "train", lambda args, *_: command.run_to_end(fake, args))
    code = command.main(["smoke", "--data", "tree", "--out", str(tmp_path)])
    assert code == (0 if ignored else 130)


def test_the_time_left_is_that_of_the_first_steps(tmp_path, monkeypatch, capsys):
    """Four minutes a step, the first five of an hour: 2 epochs of 100 steps, 20 of them done."""

    def fit(epochs, on_epoch, on_step):
        for step in range(1, 23):
            clock.append(clock[-1] + (3600 if step <= 5 else 240))
            on_step(step, 100)

    clock = [0]
    monkeypatch.setattr(command.time, "monotonic", lambda: clock[-1])
    fake = Mock(fit=fit, history=[], run=tmp_path, recipe=Recipe("r", epochs=2))
    options = SimpleNamespace(resume=False, init=None)
    assert command.run_to_end(fake, options) == 0
    assert "240 s a step, about 12 h 0 min left" in capsys.readouterr().out
