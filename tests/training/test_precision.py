"""Which precision is faster: by the clock, in turns."""

import pytest

from training.train import precision
from training.train.recipe import Recipe


@pytest.mark.parametrize(
    ("ticks", "faster", "seconds"),
    [
        ([9, 3, 5, 2, 4, 8], "bfloat16", {"float32": 4, "bfloat16": 2}),
        ([1, 3, 5, 2, 4, 8], "float32", {"float32": 1, "bfloat16": 2}),
        ([2, 2, 2, 2, 2, 2], "float32", {"float32": 2, "bfloat16": 2}),
    ],
)
def test_the_best_step_of_each_counts_and_the_faster_is_named(ticks, faster, seconds, monkeypatch):
    trained = []

    class Model:
        def __init__(self, recipe):
            self.precision = recipe.precision

        def compile(self, *_):
            pass

        def train_on_batch(self, x, y):
            trained.append(self.precision)

    monkeypatch.setattr(precision, "make_model", Model)
    monkeypatch.setattr(precision, "speed_up", lambda model: None)
    times = iter([time for tick in ticks for time in (100, 100 + tick)])
    assert precision.fastest_precision(lambda: next(times)) == (faster, seconds)
    assert trained == ["float32", "bfloat16"] * 4  # the first two compile


def test_the_network_that_is_timed_computes_in_the_precision():
    recipe = Recipe("r", model=precision.MODEL, precision="bfloat16")
    model = precision.make_model(recipe)
    assert model.input_shape[2:] == precision.SHAPE[2:]
    assert model.get_layer("full_first_conv").compute_dtype == "bfloat16"


def test_a_run_names_its_precision_and_keeps_it(tmp_path, monkeypatch, capsys):
    found = {"float32": 0.2, "bfloat16": 0.1}
    monkeypatch.setattr(precision, "fastest_precision", lambda: ("bfloat16", found))
    auto = Recipe("r", precision="auto")
    assert precision.settle_precision(auto).precision == "bfloat16"
    assert "200 ms in float32 and 100 ms in bfloat16" in capsys.readouterr().out
    assert precision.settle_precision(Recipe("r", precision="float16")).precision == "float16"
    # what was measured once holds for the whole run
    (tmp_path / "run.json").write_text('{"recipe": {"precision": "float32"}}')
    assert precision.settle_precision(auto, tmp_path).precision == "float32"
    assert capsys.readouterr().out == ""
