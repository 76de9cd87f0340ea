"""Bootstrap intervals and the cells of tables."""

import pytest

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
    assert bootstrap([], "median") is bootstrap([1.0], "median") is None


@pytest.mark.parametrize(("metric", "value"), [("usdr", 4.0), ("museval", 2.0)])
def test_tracks_are_averaged_as_the_metric_says(metric, value):
    values = {(metric, "row", "bass", "SDR"): [1.0, 2.0, 9.0]}
    data = {"tracks": [{}] * 3, "sources": ["bass"]}
    scores = summarize(values, metric, Row("row", "baseline", "", ("bass",)), data)
    assert scores["sources"]["bass"]["SDR"]["value"] == scores["mean"]["SDR"] == value
    assert scores["tracks"] == scores["sources"]["bass"]["SDR"]["tracks"] == 3


def test_cells_are_safe_and_signed():
    lines = table(["row", "x"], [[text("a|b\n*c*"), number(-0.001, sign="+")]])
    assert lines == "| row | x |\n|---|--:|\n" + r"| a\|b\\n\*c\* | +0.00 |"
    assert number(3.14159, (2.0, 4.0), sign="+") == "+3.14 (+2.00 to +4.00)"
    assert number(None) == "-"
