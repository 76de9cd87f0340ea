"""What all metrics share: the checks of signals, memory maps, tracks with an accompaniment."""

import numpy as np
import pytest

from keras_mmdense.errors import SettingsError
from training.evaluate.estimators import stored
from training.evaluate.metrics import METRICS, Metric

pytestmark = pytest.mark.usefixtures("short_filters")
RATE = 500


@pytest.fixture
def signals(rng):
    """References and estimates of three sources, and of the accompaniment."""
    references = {
        name: rng.standard_normal((3 * RATE + 17, 2)).astype(np.float32)
        for name in ("bass", "vocals", "drums")
    }
    estimates = {
        name: (0.9 * signal + 0.2 * rng.standard_normal(signal.shape)).astype(np.float32)
        for name, signal in references.items()
    }
    for side in (references, estimates):
        side["accompaniment"] = side["bass"] + side["drums"]
    return references, estimates


def pick(signals, *names):
    return tuple({name: side[name] for name in names} for side in signals)


@pytest.mark.parametrize("name", list(METRICS))
def test_order_measures_and_values(signals, name, tmp_path):
    """Memory maps have the scores of arrays, which are not changed."""
    metric = METRICS[name]
    references, estimates = pick(signals, "vocals", "bass")
    before = {s: x.copy() for s, x in estimates.items()}
    scores = metric.score(references, dict(reversed(estimates.items())), RATE)
    assert list(scores) == ["vocals", "bass"]
    for score in scores.values():
        assert tuple(score.values) == metric.measures
        assert all(tuple(frame["metrics"]) == metric.measures for frame in score.frames)
        assert all(isinstance(value, float) for value in score.values.values())
        assert score.silent_references == score.silent_estimates == 0
    assert scores["vocals"].values != scores["bass"].values
    mapped = [stored([side], tmp_path) for side in (references, estimates)]
    assert metric.score(*mapped, RATE) == scores
    assert all(np.array_equal(estimates[s], before[s]) for s in before)


def with_last(signal, value):
    return np.append(signal[:-1], [[0, value]], axis=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r, e: ({}, {}), "same sources, at least one"),
        (lambda r, e: (r, {"bass": e["bass"]}), r"\['bass', 'vocals'\], \['bass'\]"),
        (lambda r, e: (r, e | {"bass": e["bass"][:-1]}), "share one shape"),
        (lambda r, e: (r, e | {"bass": e["bass"][:, :1]}), "share one shape"),
        (lambda r, e: ({"a": r["bass"][:, 0]}, {"a": r["bass"][:, 0]}), "share one shape"),
        (lambda r, e: ({"a": r["bass"][:0]}, {"a": r["bass"][:0]}), "share one shape"),
        (lambda r, e: (r, e | {"bass": with_last(e["bass"], np.nan)}), "in estimate bass"),
        (lambda r, e: (r | {"vocals": with_last(r["vocals"], np.inf)}, e), "in reference vocals"),
    ],
)
def test_faults_are_refused(signals, spoil, message):
    with pytest.raises(SettingsError, match=message):
        METRICS["usdr"].score(*spoil(*pick(signals, "bass", "vocals")), RATE)


@pytest.mark.parametrize(
    ("names", "calls"),
    [
        (("bass", "vocals"), ["bass+vocals"]),
        (("bass", "vocals", "accompaniment"), ["bass+vocals", "vocals+accompaniment"]),
        (("accompaniment", "drums", "vocals"), ["drums+vocals", "accompaniment+vocals"]),
        (("accompaniment", "vocals"), ["accompaniment+vocals"]),
        (("bass", "accompaniment"), ["bass", "accompaniment"]),
        (("accompaniment",), ["accompaniment"]),
    ],
)  # fmt: skip
def test_the_accompaniment_is_scored_beside_the_vocals_alone(signals, names, calls):
    """The last time counts; nothing is scored in vain, and the order is kept."""
    seen = []

    def function(references, estimates, sample_rate):
        seen.append("+".join(references))
        return dict.fromkeys(references, seen[-1])

    scores = Metric("", ("SDR",), "mean", function).score(*pick(signals, *names), RATE)
    assert seen == calls
    assert scores == {name: [call for call in calls if name in call][-1] for name in names}
    assert list(scores) == list(names)
