"""What all metrics share: names, the checks of signals, tracks with an accompaniment."""

import numpy as np
import pytest

from training.evaluation.metrics import METRICS, Metric, score_track

RATE = 2000


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


def test_the_registry():
    assert list(METRICS) == ["usdr", "active", "museval", "bsseval3", "sisdr"]
    for name, metric in METRICS.items():
        assert metric.name == name
        assert f"{metric.over_tracks} over tracks" in metric.title
    assert METRICS["museval"].measures == METRICS["bsseval3"].measures
    assert [metric.measures[0] for metric in METRICS.values()][-2:] == ["SDR", "SI-SDR"]
    assert "museval 0.4.1" in METRICS["museval"].title
    assert "median over frames" in METRICS["museval"].title
    assert "mean over frames" in METRICS["bsseval3"].title


def test_combine_over_tracks():
    values = [3.0, None, 1.0, 11.0, None]
    assert METRICS["usdr"].combine(values) == 5
    assert METRICS["sisdr"].combine(values) == 5
    assert METRICS["museval"].combine(values) == 3
    assert METRICS["bsseval3"].combine(values) == 3
    assert METRICS["usdr"].combine([None, None]) is None
    assert METRICS["museval"].combine([]) is None


@pytest.mark.parametrize("name", list(METRICS))
def test_order_measures_and_values(signals, name):
    metric = METRICS[name]
    references, estimates = pick(signals, "vocals", "bass")
    scores = metric.score(references, dict(reversed(estimates.items())), RATE)
    assert list(scores) == ["vocals", "bass"]
    for score in scores.values():
        assert tuple(score.values) == metric.measures
        assert all(tuple(frame.values) == metric.measures for frame in score.frames)
        assert all(isinstance(value, float) for value in score.values.values())
        assert score.silent_references == score.silent_estimates == 0
    assert scores["vocals"].values != scores["bass"].values


@pytest.mark.parametrize("name", list(METRICS))
def test_memory_maps_are_read_and_left_alone(signals, name, tmp_path):
    mapped = []
    for number, side in enumerate(pick(signals, "bass", "vocals")):
        for source, signal in side.items():
            signal.tofile(tmp_path / f"{number}{source}")
        mapped.append(
            {
                source: np.memmap(tmp_path / f"{number}{source}", np.float32, "r", shape=(6017, 2))
                for source in side
            }
        )
    references, estimates = pick(signals, "bass", "vocals")
    before = [signal.copy() for signal in (*references.values(), *estimates.values())]
    expected = METRICS[name].score(references, estimates, RATE)
    assert METRICS[name].score(*mapped, RATE) == expected
    for signal, copy in zip((*references.values(), *estimates.values()), before, strict=True):
        np.testing.assert_array_equal(signal, copy)


def spoil(side, name, value):
    return side | {name: value}


def test_faults_are_refused(signals):
    metric = METRICS["usdr"]
    references, estimates = pick(signals, "bass", "vocals")
    bass = estimates["bass"]
    broken = bass.copy()
    broken[-1, 1] = np.nan
    endless = bass.copy()
    endless[0, 0] = np.inf
    for pair, rate, message in (
        (({}, {}), RATE, "same sources, one at least"),
        ((references, {"bass": bass}), RATE, r"\['bass', 'vocals'\] and \['bass'\]"),
        ((references, spoil(estimates, "bass", bass[:-1])), RATE, "share one shape"),
        ((references, spoil(estimates, "bass", bass[:, :1])), RATE, "share one shape"),
        (({"a": bass[:, 0]}, {"a": bass[:, 0]}), RATE, "share one shape"),
        (({"a": bass[:0]}, {"a": bass[:0]}), RATE, "share one shape"),
        ((references, spoil(estimates, "bass", broken)), RATE, "estimate bass is not"),
        ((spoil(references, "vocals", endless), estimates), RATE, "reference vocals is not"),
        ((references, estimates), 0, "got 0"),
        ((references, estimates), 44100.0, "got 44100.0"),
        ((references, estimates), True, "got True"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.score(*pair, rate)
    with pytest.raises(ValueError, match="same sources"):
        score_track(metric, references, {"bass": bass}, RATE)


def test_the_accompaniment_is_scored_beside_the_vocals_alone(signals):
    metric = METRICS["museval"]
    scores = score_track(metric, *signals, RATE)
    assert list(scores) == ["bass", "vocals", "drums", "accompaniment"]
    three = metric.score(*pick(signals, "bass", "vocals", "drums"), RATE)
    two = metric.score(*pick(signals, "vocals", "accompaniment"), RATE)
    assert scores["bass"] == three["bass"]
    assert scores["drums"] == three["drums"]
    assert scores["vocals"] == two["vocals"] != three["vocals"]
    assert scores["accompaniment"] == two["accompaniment"]


@pytest.mark.parametrize(
    ("names", "together"),
    [
        (("bass", "vocals"), [("bass", "vocals")]),
        (("vocals", "accompaniment"), [("vocals", "accompaniment")]),
        (("bass", "accompaniment"), [("bass",), ("accompaniment",)]),
        (("accompaniment",), [("accompaniment",)]),
    ],
)
def test_which_sources_are_scored_together(signals, names, together):
    metric = METRICS["museval"]
    expected = {}
    for group in together:
        expected |= metric.score(*pick(signals, *group), RATE)
    assert score_track(metric, *pick(signals, *names), RATE) == expected


def test_metrics_without_interference_do_not_depend_on_the_company(signals):
    for name in ("usdr", "sisdr"):
        metric = METRICS[name]
        assert score_track(metric, *signals, RATE) == metric.score(*signals, RATE)


@pytest.mark.parametrize(
    ("names", "calls"),
    [
        (("accompaniment", "drums", "vocals"), ["drums+vocals", "accompaniment+vocals"]),
        (("accompaniment", "vocals"), ["accompaniment+vocals"]),
        (("vocals", "drums"), ["vocals+drums"]),
    ],
)
def test_nothing_is_scored_in_vain_and_the_order_is_kept(signals, names, calls):
    seen = []

    def function(references, estimates, sample_rate):
        seen.append("+".join(references))
        return METRICS["usdr"].score(references, estimates, sample_rate)

    metric = Metric("counted", "", ("SDR",), "mean", function)
    assert list(score_track(metric, *pick(signals, *names), RATE)) == list(names)
    assert seen == calls
