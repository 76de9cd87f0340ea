"""BSSEval: windows and silence; its numbers are held against museval's in test_museval.py."""

import numpy as np
import pytest

from training.evaluate.metrics.bsseval import MEASURES, bsseval3, museval

pytestmark = pytest.mark.usefixtures("short_filters")
RATE = 8000
METRICS = pytest.mark.parametrize("metric", [museval, bsseval3])


@pytest.mark.parametrize(
    ("metric", "rate", "times"),
    [
        (museval, 700, [(0, 1), (1, 1), (2, 1)]),
        (museval, 4200, [(0, 2200 / 4200)]),
        (bsseval3, 35, [(0, 30), (15, 30), (30, 30)]),
    ],
)
def test_times_and_durations(rng, metric, rate, times):
    signal = rng.standard_normal((3 * 700 + 100, 1))
    frames = metric({"a": signal}, {"a": signal + 1}, rate)["a"].frames
    assert [(frame["time"], frame["duration"]) for frame in frames] == times


def test_one_source_alone_has_no_interference(rng):
    signal = rng.standard_normal((RATE, 1))
    values = museval({"a": signal}, {"a": signal + 0.1}, RATE)["a"].values
    assert [measure for measure in MEASURES if values[measure] is None] == ["SIR"]
    assert values["SDR"] == pytest.approx(10 * np.log10(np.sum(signal**2) / (0.01 * RATE)))


@METRICS
def test_a_silent_frame_counts_for_no_source(rng, metric):
    rate = 40
    one, two = rng.standard_normal((2, 90 * rate, 1))
    one[20 * rate : 60 * rate] = 0
    mute = two + 0.1 * rng.standard_normal(two.shape)
    mute[10 * rate : 11 * rate] = 0
    scores = metric({"one": one, "two": two}, {"one": one + 0.1, "two": mute}, rate)
    empty, other = (
        [index for index, frame in enumerate(score.frames) if not frame["metrics"]]
        for score in scores.values()
    )
    assert empty == other
    counts = [(score.silent_references, score.silent_estimates) for score in scores.values()]
    # bsseval3 has windows at 0-30, 15-45, 30-60, 45-75, 60-90 s
    assert empty == ([10, *range(20, 60)] if metric is museval else [2])
    assert counts == ([(40, 0), (0, 1)] if metric is museval else [(1, 0), (0, 0)])
    assert None not in scores["one"].values.values()


@METRICS
@pytest.mark.parametrize("silent_side", ["reference", "estimate", "both"])
def test_a_source_silent_throughout_is_left_out(rng, metric, silent_side):
    """The others have the values that they have without its estimate, or without it at all."""
    rate = 500
    references = dict(zip("abc", rng.standard_normal((3, 3 * rate, 1)), strict=True))
    estimates = {s: x + 0.1 * rng.standard_normal(x.shape) for s, x in references.items()}
    kept = "abc" if silent_side == "estimate" else "ac"
    expected = metric(*({s: side[s] for s in kept} for side in (references, estimates)), rate)
    zeros = np.zeros((3 * rate, 1))
    if silent_side != "estimate":
        references["b"] = zeros
    if silent_side != "reference":
        estimates["b"] = zeros
    scores = metric(references, estimates, rate)
    assert scores["b"].values == dict.fromkeys(MEASURES)
    assert not any(frame["metrics"] for frame in scores["b"].frames)
    frames = len(scores["b"].frames)
    assert scores["b"].silent_references == (frames if silent_side != "estimate" else 0)
    assert scores["b"].silent_estimates == (frames if silent_side != "reference" else 0)
    for name in "ac":
        assert scores[name].values == pytest.approx(expected[name].values, abs=1e-9)


def test_sound_in_the_unscored_rest_alone(rng):
    """Not silent throughout, and silent in every frame: no frame counts, as in museval."""
    one, two = np.zeros((1500, 1)), rng.standard_normal((1500, 1))
    one[1200:] = 1
    scores = museval({"one": one, "two": two}, {"one": one, "two": two}, 1000)
    assert [frame["metrics"] for frame in scores["two"].frames] == [{}]
    assert scores["one"].silent_references == 1
