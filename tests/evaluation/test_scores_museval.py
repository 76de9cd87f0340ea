"""BSSEval 4 and 3 have the numbers of museval 0.4.1, in every frame and measure."""

import importlib.metadata

import numpy as np
import pytest

from benchmarks.metrics import load_museval, museval_scores, our_scores
from training.evaluation.metrics import METRICS


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


def check(metric, references, estimates, sample_rate):
    """Returns our scores after comparing each frame with museval's to 1e-6 dB."""
    scores = METRICS[metric].score(references, estimates, sample_rate)
    expected = museval_scores(metric, references, estimates, sample_rate)
    ours = our_scores(scores)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)
    return scores


def test_the_version():
    assert importlib.metadata.version("museval") == "0.4.1"


@pytest.mark.parametrize(
    ("num_samples", "sample_rate"),
    [
        (7100, 2000),  # three frames, and a rest that is not scored
        (6000, 2000),  # frames fit
        (6001, 6000),  # one frame and one sample that is not scored
        (6000, 6000),  # one frame exactly
        (5900, 6000),  # shorter than a frame
        (3000, 400),  # frames shorter than the filters
        (20_000, 19_000),  # frames of several blocks of the FFT
    ],
)
def test_museval_stereo(rng, num_samples, sample_rate):
    check("museval", *music(rng, ("vocals", "drums"), num_samples, 2), sample_rate)


@pytest.mark.parametrize(("sources", "channels"), [(1, 3), (3, 1)])
def test_museval_other_numbers_of_sources_and_channels(rng, sources, channels):
    references, estimates = music(rng, "abcd"[:sources], 6500, channels)
    if sources > 1:
        check("museval", references, estimates, 3000)
        return
    ours = our_scores(METRICS["museval"].score(references, estimates, 3000))
    expected = museval_scores("museval", references, estimates, 3000)
    for measure in (0, 1, 3):  # of one source alone museval's SIR is rounding
        np.testing.assert_allclose(ours[measure], expected[measure], rtol=0, atol=1e-6)


def test_museval_leaves_out_the_same_frames(rng):
    references, estimates = music(rng, ("vocals", "drums"), 13_000, 2)
    references["vocals"][1900:4300] = 0  # frame 1 is silent, frame 2 is not
    estimates["drums"][6000:8000] = 0  # frame 3
    references["drums"][8000:10_000, 0] = 0.5  # frame 4: out of phase, silent to museval
    references["drums"][8000:10_000, 1] = -0.5
    estimates["vocals"][10_000:11_999] = 0  # frame 5: one sample is left
    scores = check("museval", references, estimates, 2000)
    values = [frame.values["SDR"] for frame in scores["vocals"].frames]
    assert [index for index, value in enumerate(values) if value is None] == [1, 3, 4]
    median = np.nanmedian(museval_scores("museval", references, estimates, 2000), axis=-1)
    found = [[score.values[m] for score in scores.values()] for m in scores["vocals"].values]
    np.testing.assert_allclose(found, median, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("num_samples", "sample_rate", "channels", "frames"),
    [(6000, 100, 1, 3), (5999, 100, 1, 2), (3000, 100, 2, 1), (2000, 100, 1, 1),
     (61_000, 1000, 1, 3)],
)  # fmt: skip
def test_bsseval3(rng, num_samples, sample_rate, channels, frames):
    signals = music(rng, ("vocals", "drums"), num_samples, channels)
    scores = check("bsseval3", *signals, sample_rate)
    assert len(scores["vocals"].frames) == frames


def test_bsseval3_leaves_out_the_same_frames(rng):
    references, estimates = music(rng, ("vocals", "drums"), 9000, 1)
    references["vocals"][1000:5500] = 0
    scores = check("bsseval3", references, estimates, 100)
    values = [frame.values["SDR"] for frame in scores["drums"].frames]
    assert [value is None for value in values] == [False, True, False, False, False]
    mean = np.nanmean(museval_scores("bsseval3", references, estimates, 100), axis=-1)
    found = [[score.values[m] for score in scores.values()] for m in scores["drums"].values]
    np.testing.assert_allclose(found, mean, rtol=0, atol=1e-6)


def test_mono_sources_in_stereo_files(rng):
    """Singular equations: museval's own rounding shows, hence 1e-4."""
    references, estimates = music(rng, ("vocals", "drums"), 8000, 2)
    references["vocals"][:, 1] = references["vocals"][:, 0]
    ours = our_scores(METRICS["museval"].score(references, estimates, 4000))
    expected = museval_scores("museval", references, estimates, 4000)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_museval_refuses_what_is_silent_throughout(rng):
    """Why silence has a rule of its own here."""
    references, estimates = music(rng, ("vocals", "drums"), 2000, 1)
    references["drums"][:] = 0
    with pytest.raises(ValueError, match="at least one of the reference"):
        museval_scores("museval", references, estimates, 1000)


def test_museval_is_read_without_its_package():
    assert load_museval().__name__ == "museval_metrics"
