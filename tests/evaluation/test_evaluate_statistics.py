"""Bootstrap intervals and paired differences, tables and plots."""

from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from keras_mmdense.plot import boxes
from training.evaluation.statistics import bootstrap, paired_difference
from training.evaluation.tables import number, table, text


@pytest.mark.parametrize(("over_tracks", "statistic"), [("mean", np.mean), ("median", np.median)])
def test_intervals_are_those_of_scipy(over_tracks, statistic, rng):
    values = rng.normal(5, 2, 41)
    low, high = bootstrap(list(values), over_tracks)
    expected = stats.bootstrap(
        (values,), statistic, method="percentile", n_resamples=20000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.05)
    assert high == pytest.approx(expected.high, abs=0.05)


def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    held = 0
    for _ in range(200):
        low, high = bootstrap(list(rng.normal(0, 1, 30)), "mean")
        held += low <= 0 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_intervals_shrink_with_tracks_and_do_not_change_from_call_to_call(rng):
    values = list(rng.normal(0, 1, 400))
    few, many = bootstrap(values[:20], "mean"), bootstrap(values, "mean")
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])
    assert bootstrap(values, "mean") == many
    assert bootstrap([*values, None], "mean") == many


@pytest.mark.parametrize("values", [[], [None], [1.0], [1.0, None]])
def test_one_track_has_no_interval(values):
    assert bootstrap(values, "median") is None


def test_differences_are_paired_by_track():
    base = {"a": 1.0, "b": 5.0, "c": None, "d": 2.0, "only": 7.0}
    row = {"d": 2.001, "b": 6.0, "a": 0.5, "c": 1.0, "new": 3.0}
    d = paired_difference(row, base)
    assert dict(d.values) == pytest.approx({"d": 0.001, "b": 1.0, "a": -0.5})
    assert (d.tracks, d.better, d.worse) == (3, 1, 1)  # a thousandth is rounding
    assert d.median == pytest.approx(0.001)
    assert d.mean == pytest.approx(0.501 / 3)
    assert d.mean_interval[0] < d.mean < d.mean_interval[1]
    assert paired_difference({"x": 1.0}, base) is None


def test_pairing_finds_what_the_spread_of_tracks_hides(rng):
    tracks = [f"{k}" for k in range(30)]
    base = dict(zip(tracks, rng.normal(5, 4, 30), strict=True))
    row = {track: value + 0.3 + 0.1 * rng.standard_normal() for track, value in base.items()}
    alone = bootstrap(list(row.values()), "mean")
    assert alone[0] < np.mean(list(base.values())) < alone[1]
    low, high = paired_difference(row, base).mean_interval
    assert 0.2 < low < 0.3 < high < 0.4


def test_cells_are_safe_and_signed():
    lines = table(["row", "x"], [[text("a|b\n*c*"), number(-0.001, sign=True)]])
    assert lines == ["| row | x |", "|---|--:|", r"| a\|b\\n\*c\* | +0.00 |"]
    assert number(3.14159, (2.0, 4.0), sign=True) == "+3.14 (+2.00 to +4.00)"


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
    dots = [[use for use in group.iter() if use.tag.endswith("use")] for group in groups]
    assert [len(group) for group in dots] == [17, 17, 17]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]


def test_values_of_silence_do_not_squeeze_the_others(tmp_path):
    from unittest import mock

    panels = {"bass": {"one": [1.0, 2.0, 200.0], "$t_w$o": [3.0, -200.0]}}
    with mock.patch("matplotlib.figure.Figure.supxlabel") as label:
        svg(panels, tmp_path / "a")
    assert "2 values lie beyond the axis" in label.call_args.args[0]


@pytest.mark.parametrize("panels", [{"bass": {"one": []}}, {"bass": {"one": [200.0]}}])
def test_plots_without_usual_values_are_drawn(tmp_path, panels):
    assert "<svg" in svg(panels, tmp_path / "a")
