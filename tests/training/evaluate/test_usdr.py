"""SDR and SI-SDR of whole tracks: known answers, silence, signals longer than a block."""

import numpy as np
import pytest

from training.evaluate.metrics import METRICS
from training.evaluate.metrics.source_score import BLOCK, decibels


def score(metric, reference, estimate):
    scores = METRICS[metric].score({"bass": reference}, {"bass": estimate}, 8000)
    (value,) = scores["bass"].values.values()
    return value


@pytest.mark.parametrize("num_samples", [1, 7, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_equals_the_formulas_over_the_whole_signal(rng, num_samples):
    reference = rng.standard_normal((num_samples, 2)).astype(np.float32)
    estimate = (0.7 * reference + rng.standard_normal((num_samples, 2))).astype(np.float32)
    s, e = reference.astype(np.float64), estimate.astype(np.float64)
    expected = 10 * np.log10(np.sum(s**2) / np.sum((s - e) ** 2))
    assert score("usdr", reference, estimate) == pytest.approx(expected, abs=1e-9)
    target = np.sum(s * e) / np.sum(s**2) * s
    expected = 10 * np.log10(np.sum(target**2) / np.sum((target - e) ** 2))
    assert score("sisdr", reference, estimate) == pytest.approx(expected, abs=1e-9)


def test_active_is_usdr_of_the_seconds_in_which_the_source_sounds(rng):
    rate = 8000
    reference, noise = rng.standard_normal((2, 4 * rate + 100, 2)).astype(np.float32)
    quiet = 10 ** (-61 / 20)
    for second, level in enumerate((0.0, 1.0, quiet, 0.5, 0.002)):
        reference[second * rate : (second + 1) * rate] *= level
    sounding = [*range(rate, 2 * rate), *range(3 * rate, len(reference))]
    estimate = reference + noise * rng.uniform(0, 1, (len(noise), 1))
    expected = score("usdr", reference[sounding], estimate[sounding])
    assert score("active", reference, estimate) == pytest.approx(expected, abs=1e-9)
    assert score("active", reference * 1e-6, estimate) is None


@pytest.mark.parametrize("scale", [-3.0, 0.01, 1.0, 2.0])
def test_sisdr_does_not_depend_on_scale_and_sdr_does(rng, scale):
    reference, noise = rng.standard_normal((2, 1000, 2))
    noise -= reference * np.sum(reference * noise) / np.sum(reference**2)
    noise *= 0.1 * np.sqrt(np.sum(reference**2) / np.sum(noise**2))  # orthogonal, 20 dB below
    estimate = scale * (reference + noise)
    assert score("sisdr", reference, estimate) == pytest.approx(20, abs=1e-9)
    assert (score("usdr", reference, estimate) == pytest.approx(20, abs=1e-9)) == (scale == 1)


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
    frame = {"time": 0, "duration": (BLOCK + 5) / 8000}
    assert scores["a"].frames == ({**frame, "metrics": {}},)
    assert scores["d"].frames == ({**frame, "metrics": {measure: 200}},)


@pytest.mark.parametrize(
    ("energies", "value"),
    [((1, 1000), -30), ((1e-300, 1e300), -200), ((1e300, 1e-300), 200), ((0, 1), -200),
     ((1, 0), 200), ((0, 0), None)],
)  # fmt: skip
def test_decibels(energies, value):
    assert decibels(*energies) == (value if value is None else pytest.approx(value))
