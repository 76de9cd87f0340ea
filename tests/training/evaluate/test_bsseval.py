"""BSSEval 4 and 3: the numbers of museval 0.4.1 in every frame and measure; windows and silence."""

import numpy as np
import pytest

from benchmarks.metrics import compare, museval_scores, our_scores, summary
from training.evaluate.metrics import METRICS
from training.evaluate.metrics.bsseval import MEASURES, bsseval3, museval

pytestmark = pytest.mark.usefixtures("short_filters")
RATE = 8000
BOTH = pytest.mark.parametrize("metric", [museval, bsseval3])


def music(rng, names, num_samples, channels):
    """Sources whose power falls with frequency and changes in time, and leaky estimates."""
    references, estimates = {}, {}
    for name in names:
        spectrum = np.fft.rfft(rng.standard_normal((num_samples, channels)), axis=0)
        spectrum /= np.arange(20, len(spectrum) + 20)[:, None]
        signal = np.fft.irfft(spectrum, num_samples, axis=0)
        envelope = 1 + 0.9 * np.sin(np.arange(num_samples) * rng.uniform(0.002, 0.01))
        signal *= envelope[:, None] / np.abs(signal).max()
        references[name] = signal.astype(np.float32)
    mixture = sum(references.values())
    for name, signal in references.items():
        noise = 0.01 * rng.standard_normal(signal.shape)
        echo = 0.2 * np.roll(signal, 7, axis=0)
        estimates[name] = (0.8 * signal + echo + 0.1 * mixture + noise).astype(np.float32)
    return references, estimates


def check(metric, references, estimates, sample_rate, measures=MEASURES, tolerance=1e-6):
    """Compare each frame, and the values of the track, with museval's; return the frames' SDRs."""
    scores = METRICS[metric].score(references, estimates, sample_rate)
    rows = [MEASURES.index(measure) for measure in measures]
    expected = museval_scores(metric, references, estimates, sample_rate)[rows]
    found = our_scores(scores)[rows]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    average = np.nanmedian if metric == "museval" else np.nanmean
    whole = [[score.values[measure] for score in scores.values()] for measure in measures]
    np.testing.assert_allclose(whole, average(expected, axis=-1), rtol=0, atol=tolerance)
    return found[0, 0]


def test_museval_with_filters_of_512_samples(rng, monkeypatch):
    """Frames of several blocks of the FFT."""
    monkeypatch.undo()
    check("museval", *music(rng, ("vocals", "drums"), 9000, 2), 8500)


@pytest.mark.parametrize(
    ("num_samples", "sample_rate"),
    [
        (3100, 1000),  # three frames, and a rest that is not scored
        (3000, 1500),  # frames fit
        (3001, 3000),  # one frame and one sample that is not scored
        (2950, 3000),  # shorter than a frame
        (150, 20),  # frames shorter than the filters
    ],
)
def test_museval_stereo(rng, num_samples, sample_rate):
    check("museval", *music(rng, ("vocals", "drums"), num_samples, 2), sample_rate)


def test_museval_other_numbers_of_sources_and_channels(rng):
    check("museval", *music(rng, "abc", 2100, 1), 1000)
    # of one source alone museval's SIR is rounding
    check("museval", *music(rng, "a", 2100, 3), 1000, ("SDR", "ISR", "SAR"))


def test_museval_leaves_out_the_same_frames(rng):
    references, estimates = music(rng, ("vocals", "drums"), 6500, 2)
    references["vocals"][900:2300] = 0  # frame 1 is silent, frame 2 is not
    estimates["drums"][3000:4000] = 0  # frame 3
    references["drums"][4000:5000] = (0.5, -0.5)  # frame 4: out of phase, silent to museval
    estimates["vocals"][5000:5999] = 0  # frame 5: one sample is left
    values = check("museval", references, estimates, 1000)
    assert np.flatnonzero(np.isnan(values)).tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("num_samples", "sample_rate", "channels", "frames"),
    [(2400, 40, 1, 3), (2399, 40, 1, 2), (3000, 100, 2, 1), (800, 40, 1, 1)],
)
def test_bsseval3(rng, num_samples, sample_rate, channels, frames):
    signals = music(rng, ("vocals", "drums"), num_samples, channels)
    assert len(check("bsseval3", *signals, sample_rate)) == frames


def test_bsseval3_leaves_out_the_same_frames(rng):
    references, estimates = music(rng, ("vocals", "drums"), 3600, 1)
    references["vocals"][400:2200] = 0
    values = check("bsseval3", references, estimates, 40)
    assert np.flatnonzero(np.isnan(values)).tolist() == [1]


def test_mono_sources_in_stereo_files(rng):
    """Singular equations: museval's own rounding shows, hence 1e-4."""
    references, estimates = music(rng, ("vocals", "drums"), 3000, 2)
    references["vocals"][:, 1] = references["vocals"][:, 0]
    check("museval", references, estimates, 1500, tolerance=1e-4)


def test_the_benchmark_compares_both(rng):
    row = compare("museval", *music(rng, "ab", 2100, 1), 1000)
    assert row["frames"] == 2
    assert max(*row["difference"], *row["itself"]) < 1e-6
    text = summary([row, {"track": "x", "refused": "silent"}])
    assert "1 comparisons, 2 frames; museval refused 1" in text


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


@BOTH
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


@BOTH
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
