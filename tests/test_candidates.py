"""Candidates of a device model: the same processor time, scores, resume, table and refusals."""

import json

import pytest
from trees import make_dsd100

from keras_mmdense.operations import multiply_adds_per_second
from training import candidates
from training.candidates import FOLDER, Outcome, main
from training.candidates_report import table
from training.networks import build_model
from training.recipe import load_recipe

RECIPE = """
frames = 8
batch_size = 1
ema = 0.9
[model]
preset = "mdensenet"
sources = ["bass", "drums", "other", "vocals"]
shared = true
head = "mask"
bins = 64
n_fft = 512
hop_length = 256
growth = {growth}
layers = 1
scales = 1
"""


@pytest.fixture
def command(tmp_path):
    tree = make_dsd100(tmp_path / "DSD100", 2, 1, seconds=1.0)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for name, growth in (("small", 1), ("wide", 9)):
        (recipes / f"{name}.toml").write_text(RECIPE.format(growth=growth))
    words = ["--data", tree, "--score", tree, "--out", tmp_path / "out"]
    words += ["--recipes", recipes, "--minutes", "0.001"]
    return [str(word) for word in words]


def test_candidates_are_trained_scored_and_kept(command, tmp_path, monkeypatch):
    assert main(command) == 0
    report = json.loads((tmp_path / "out" / "candidates.json").read_text())
    small, wide = report["candidates"]
    assert (small["name"], wide["name"]) == ("small", "wide")  # by cost
    assert small["macs_per_second"] < wide["macs_per_second"]
    for one in report["candidates"]:
        assert set(one["sdr"]) == {"bass", "drums", "other", "vocals"}
        assert one["steps"] >= 1
        assert one["cpu_seconds"] >= 0.06
    files = {path.name for path in (tmp_path / "out").iterdir()}
    ends = {f"candidates.{ending}" for ending in ("json", "md", "png", "svg")}
    assert files == ends | {f"{n}.{e}" for n in ("small", "wide") for e in ("keras", "json")}
    monkeypatch.setattr(candidates, "train", None)  # what is finished is not trained again
    assert main(command) == 0
    again = json.loads((tmp_path / "out" / "candidates.json").read_text())
    del report["machine"]["load"], again["machine"]["load"]  # of the moment
    assert again == report


def test_interrupted_between_candidates(command, tmp_path, monkeypatch, capsys):
    whole = candidates.train

    def stop_at_the_second(recipe, *rest):
        if recipe.name == "wide":
            raise KeyboardInterrupt
        return whole(recipe, *rest)

    monkeypatch.setattr(candidates, "train", stop_at_the_second)
    assert main(command) == 130
    assert "goes on" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"small.keras", "small.json"}


def test_what_is_refused(command, tmp_path, capsys):
    assert main([*command, "--only", "huge"]) == 2
    assert "candidates of small, wide" in capsys.readouterr().err
    assert main([*command, "--minutes", "0"]) == 2
    assert not (tmp_path / "out").exists()
    outcome = {"name": "small", "weights": 1, "macs_per_second": 1.0, "steps": 1, "sdr": {}}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "small.json").write_text(json.dumps(outcome | {"cpu_seconds": 600.0}))
    assert main(command) == 2
    assert "is of 10.0 min" in capsys.readouterr().err


def test_table_and_mean():
    outcome = Outcome("a", 1234, 5e8, 60.0, 7, {"bass": 1.0, "vocals": 2.0})
    assert outcome.mean == 1.5
    assert table([outcome]).splitlines()[-1] == "| a | 1,234 | 0.50 | 7 | 1.00 | 2.00 | 1.50 |"


def test_every_candidate_can_be_built_and_all_but_the_paper_s_are_within_the_limits():
    for path in FOLDER.glob("*.toml"):
        model = build_model(load_recipe(str(path)).model)
        within = multiply_adds_per_second(model) <= 2e9 and model.count_params() <= 1e6
        assert within != path.stem.startswith("published"), path.stem
