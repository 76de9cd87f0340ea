"""Bootstrap intervals, the cells of tables, and plots."""

from unittest import mock
from xml.etree import ElementTree

import pytest

from keras_mmdense.plot import boxes
from training.evaluate.rows import Row
from training.evaluate.tables import bootstrap, number, summarize, table, text


def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    held = 0
    for _ in range(200):
        low, high = bootstrap(list(rng.normal(0, 1, 30)), "mean")
        held += low <= 0 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_intervals_shrink_with_tracks_and_do_not_change_from_call_to_call(rng):
    values = list(rng.normal(0, 1, 400))
    few, many = bootstrap(values[:20], "median"), bootstrap(values, "median")
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])
    assert bootstrap(values, "median") == many != bootstrap(values, "mean")


@pytest.mark.parametrize(("metric", "value"), [("usdr", 4.0), ("museval", 2.0)])
def test_tracks_are_averaged_as_the_metric_says(metric, value):
    values = {(metric, "row", "bass", "SDR"): [1.0, 2.0, 9.0]}
    data = {"tracks": [{}] * 3, "sources": ["bass"]}
    scores = summarize(values, metric, Row("row", "baseline", "", ("bass",)), data)
    assert scores["sources"]["bass"]["SDR"]["value"] == scores["mean"]["SDR"] == value
    assert scores["tracks"] == scores["sources"]["bass"]["SDR"]["tracks"] == 3


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_track_has_no_interval(values):
    assert bootstrap(values, "median") is None


def test_cells_are_safe_and_signed():
    lines = table(["row", "x"], [[text("a|b\n*c*"), number(-0.001, sign="+")]])
    assert lines == "| row | x |\n|---|--:|\n" + r"| a\|b\\n\*c\* | +0.00 |"
    assert number(3.14159, (2.0, 4.0), sign="+") == "+3.14 (+2.00 to +4.00)"
    assert number(None) == "-"


def svg(panels, target):
    boxes(panels, "SDR in dB", target, title="title")
    return target.with_suffix(".svg").read_text("utf-8")


def test_plots_are_the_same_bytes_and_hold_every_track(tmp_path, rng):
    panels = {
        "bass": {"one": rng.normal(0, 1, 17), "two": rng.normal(3, 1, 17)},
        "vocals": {"one": rng.normal(0, 1, 17), "two": []},
    }
    first, second = svg(panels, tmp_path / "a"), svg(panels, tmp_path / "b")
    assert first == second
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    groups = [g for g in ElementTree.fromstring(first).iter() if "PathColl" in g.get("id", "")]
    dots = [sum(use.tag.endswith("use") for use in group.iter()) for group in groups]
    assert dots == [17, 17, 17]


@pytest.mark.parametrize(
    ("values", "beyond"),
    [([1.0, 2.0, 200.0, -200.0], "2 values lie beyond the axis"), ([], "dots"), ([200.0], "dots")],
)
def test_values_of_silence_do_not_squeeze_the_others(tmp_path, values, beyond):
    with mock.patch("matplotlib.figure.Figure.supxlabel") as label:
        assert "<svg" in svg({"bass": {"one": values, "$t_w$o": []}}, tmp_path / "a")
    assert beyond in label.call_args.args[0]
