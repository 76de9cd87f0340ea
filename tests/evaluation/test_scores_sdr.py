"""SDR and SI-SDR of whole tracks: known answers, silence, signals longer than a block."""

import numpy as np
import pytest

from training.evaluation.metrics import METRICS
from training.evaluation.scores import BLOCK, blocks, decibels


def score(metric, reference, estimate, measure):
    scores = METRICS[metric].score({"bass": reference}, {"bass": estimate}, 8000)
    assert list(scores) == ["bass"]
    return scores["bass"].values[measure]


def orthogonal_pair(rng, num_samples, channels=2):
    """Two signals of power 1 whose inner product is 0."""
    one, other = rng.standard_normal((2, num_samples, channels))
    one /= np.sqrt(np.mean(one**2))
    other -= one * np.sum(one * other) / np.sum(one**2)
    return one, other / np.sqrt(np.mean(other**2))


@pytest.mark.parametrize("level", [-10.0, 0.0, 37.5])
def test_orthogonal_noise_at_a_known_level(rng, level):
    reference, noise = orthogonal_pair(rng, BLOCK + 1001)
    estimate = reference + 10 ** (-level / 20) * noise
    assert score("usdr", reference, estimate, "SDR") == pytest.approx(level, abs=1e-9)
    assert score("sisdr", reference, estimate, "SI-SDR") == pytest.approx(level, abs=1e-9)


@pytest.mark.parametrize("num_samples", [1, 7, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_equals_the_formulas_over_the_whole_signal(rng, num_samples):
    reference = rng.standard_normal((num_samples, 2)).astype(np.float32)
    estimate = (0.7 * reference + rng.standard_normal((num_samples, 2))).astype(np.float32)
    s, e = reference.astype(np.float64), estimate.astype(np.float64)
    expected = 10 * np.log10(np.sum(s**2) / np.sum((s - e) ** 2))
    assert score("usdr", reference, estimate, "SDR") == pytest.approx(expected, abs=1e-9)
    target = np.sum(s * e) / np.sum(s**2) * s
    expected = 10 * np.log10(np.sum(target**2) / np.sum((target - e) ** 2))
    assert score("sisdr", reference, estimate, "SI-SDR") == pytest.approx(expected, abs=1e-9)


def test_active_is_usdr_of_the_seconds_in_which_the_source_sounds(rng):
    rate = 8000
    reference, noise = rng.standard_normal((2, 4 * rate + 100, 2)).astype(np.float32)
    quiet = 10 ** (-61 / 20)
    for second, level in enumerate((0.0, 1.0, quiet, 0.5, 0.002)):
        reference[second * rate : (second + 1) * rate] *= level
    sounding = [*range(rate, 2 * rate), *range(3 * rate, len(reference))]
    estimate = reference + noise * rng.uniform(0, 1, (len(noise), 1))
    expected = score("usdr", reference[sounding], estimate[sounding], "SDR")
    assert score("active", reference, estimate, "SDR") == pytest.approx(expected, abs=1e-9)
    assert score("active", reference * 1e-6, estimate, "SDR") is None


def test_sisdr_does_not_depend_on_scale_and_sdr_does(rng):
    reference, noise = orthogonal_pair(rng, 1000)
    estimate = reference + 0.1 * noise
    for scale in (-3.0, 0.01, 2.0):
        value = score("sisdr", reference, scale * estimate, "SI-SDR")
        assert value == pytest.approx(20, abs=1e-9)
        assert score("usdr", reference, scale * estimate, "SDR") < 19


def test_sisdr_keeps_the_mean():
    reference = np.ones((100, 1))
    estimate = reference + np.tile([[0.1], [-0.1]], (50, 1))
    assert score("sisdr", reference, estimate, "SI-SDR") == pytest.approx(20, abs=1e-9)


def test_sisdr_takes_one_scale_for_both_channels():
    reference = np.ones((100, 2))
    estimate = np.stack([np.ones(100), np.zeros(100)], axis=1)
    assert score("sisdr", reference, estimate, "SI-SDR") == pytest.approx(0, abs=1e-9)


def test_perfect_estimates_have_200_db(rng):
    reference = rng.standard_normal((1000, 2)).astype(np.float32)
    assert score("usdr", reference, reference, "SDR") == 200
    assert score("sisdr", reference, reference, "SI-SDR") == 200


@pytest.mark.parametrize(("metric", "measure"), [("usdr", "SDR"), ("sisdr", "SI-SDR")])
def test_silence_is_counted_and_never_nan(rng, metric, measure):
    noise, silence = rng.standard_normal((BLOCK + 5, 1)), np.zeros((BLOCK + 5, 1))
    late = silence.copy()
    late[-1] = 1
    references = {"a": silence, "b": noise, "c": silence, "d": late}
    estimates = {"a": noise, "b": silence, "c": silence, "d": late}
    scores = METRICS[metric].score(references, estimates, 8000)
    counts = {name: (s.silent_references, s.silent_estimates) for name, s in scores.items()}
    assert counts == {"a": (1, 0), "b": (0, 1), "c": (1, 1), "d": (0, 0)}
    values = {name: s.values[measure] for name, s in scores.items()}
    assert values == {"a": None, "b": 0 if metric == "usdr" else None, "c": None, "d": 200}


def test_one_frame_as_long_as_the_track(rng):
    reference = rng.standard_normal((12000, 1))
    (frame,) = METRICS["usdr"].score({"a": reference}, {"a": 0 * reference}, 8000)["a"].frames
    assert (frame.time, frame.duration, frame.values) == (0, 1.5, {"SDR": 0})


def test_decibels():
    assert decibels(1, 1000) == pytest.approx(-30)
    assert decibels(1e-300, 1e300) == -200
    assert decibels(1e300, 1e-300) == 200
    assert decibels(0, 1) == -200
    assert decibels(1, 0) == 200
    assert decibels(0, 0) is None


def test_blocks_cover_a_window_once():
    parts = list(blocks(slice(3, 2 * BLOCK + 10)))
    assert [i for part in parts for i in (part.start, part.stop)] == [
        3, BLOCK + 3, BLOCK + 3, 2 * BLOCK + 3, 2 * BLOCK + 3, 2 * BLOCK + 10,
    ]  # fmt: skip
    assert list(blocks(slice(4, 4))) == []
