"""The Wiener filter: its definition in plain NumPy, its laws, and its place in the runner."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmdense_edge.signal.wiener import (
    CONTEXT_FRAMES,
    OVERLAP,
    STEP_FRAMES,
    WienerFilter,
    filter_spectra,
)

WINDOW = STEP_FRAMES + OVERLAP


def spectra_of(frames, bins=5, channels=2, sources=3, seed=0, level=1.0):
    """A mixture of sources that come and go at places of their own, and wrong estimates of them."""
    rng = np.random.default_rng(seed)

    def noise(*shape):
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    places = noise(sources, 1, bins, channels)
    loudness = rng.gamma(0.5, 2, (sources, frames, bins, 1))
    parts = loudness * (places * noise(sources, frames, bins, 1) + 0.1 * noise(1, 1, 1, channels))
    mixture = parts.sum(axis=0)
    magnitudes = np.abs(parts) * rng.uniform(0.5, 1.5, parts.shape)
    estimates = magnitudes * np.exp(1j * np.angle(mixture))
    return (level * mixture).astype(np.complex64), (level * estimates).astype(np.complex64)


def plain(mixture, estimates, iterations):
    """The definition, bin by bin and frame by frame, with matrices."""
    sources, frames, bins, channels = estimates.shape
    y = estimates.astype(np.complex128)
    for _ in range(iterations):
        result = np.zeros_like(y)
        for f in range(bins):
            v = (np.abs(y[:, :, f]) ** 2).mean(axis=2)
            covariances = [
                sum(np.outer(c, c.conj()) for c in y[s, :, f]) / v[s].sum() for s in range(sources)
            ]
            for t in range(frames):
                parts = [v[s, t] * covariances[s] for s in range(sources)]
                noise = 1e-9 * (v[:, t].sum() + 1e-9 * (np.abs(mixture[t, f]) ** 2).mean())
                whole = sum(parts) + noise * np.eye(channels)
                for s in range(sources):
                    gain = (parts[s] + noise / sources * np.eye(channels)) @ np.linalg.inv(whole)
                    result[s, t, f] = gain @ mixture[t, f]
        y = result
    return y


def stream(mixture, estimates, iterations=1, cuts=()):
    """Frames cut into blocks through the stream, joined again."""
    edges = [0, *sorted(cut % (len(mixture) + 1) for cut in cuts), len(mixture)]
    stage, out = WienerFilter(iterations), []
    for first, last in pairwise(edges):
        out.extend(stage.push(mixture[first:last], estimates[:, first:last]))
    out.extend(stage.finish())
    return np.concatenate(out, axis=1)


def distance(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("sources", [2, 4])
def test_it_equals_its_definition(channels, iterations, sources):
    mixture, estimates = spectra_of(30, channels=channels, sources=sources)
    expected = plain(mixture, estimates, iterations)
    found = filter_spectra(mixture, estimates, iterations)
    assert found.dtype == np.complex64
    assert distance(found, expected) < 1e-6
    assert distance(filter_spectra(mixture, estimates, iterations + 1), expected) > 0.01


def test_every_bin_is_filtered_by_itself():
    mixture, estimates = spectra_of(20, bins=75)
    whole = filter_spectra(mixture, estimates, 2)
    for f in (0, 31, 32, 64, 74):
        alone = filter_spectra(mixture[:, f : f + 1], estimates[:, :, f : f + 1], 2)
        np.testing.assert_allclose(whole[:, :, f : f + 1], alone, atol=1e-5)


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_sources_add_up_to_the_mixture(iterations, channels):
    mixture, estimates = spectra_of(3 * WINDOW, channels=channels)
    for found in (filter_spectra, stream):
        total = found(mixture, estimates, iterations).sum(axis=0, dtype=np.complex128)
        assert distance(total, mixture) < 1e-6


def test_what_nobody_estimated_is_shared_equally():
    mixture, estimates = spectra_of(40)
    estimates[:, 10:20] = 0
    found = stream(mixture, estimates)[:, 10:20]
    np.testing.assert_allclose(found, np.broadcast_to(mixture[10:20] / 3, found.shape), rtol=1e-5)


@pytest.mark.parametrize("level", [1e-44, 1e-30, 1e-6, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("kind", ["stereo", "one silent", "equal", "opposite", "mono"])
def test_any_level_and_any_channels_stay_finite(level, kind):
    mixture, estimates = spectra_of(WINDOW + 40)
    for one in (mixture, estimates):
        if kind == "one silent":
            one[..., 1] = 0
        elif kind in ("equal", "opposite"):
            one[..., 1] = one[..., 0] * (1 if kind == "equal" else -1)
    if kind == "mono":
        mixture, estimates = mixture[..., :1], estimates[..., :1]
    quiet = np.complex64(level) * mixture
    found = stream(quiet, np.complex64(level) * estimates, 2)
    assert np.isfinite(found).all()
    assert np.abs(found.sum(axis=0) - quiet).max() <= 1e-6 * np.abs(quiet).max() + 1e-44
    if kind == "one silent":
        assert (found[..., 1] == 0).all()
    if kind in ("equal", "opposite"):
        other = found[..., 0] * (1 if kind == "equal" else -1)
        assert np.abs(found[..., 1] - other).max() <= 1e-6 * np.abs(found).max() + 1e-44


def test_silence_gives_silence():
    silence = np.zeros((WINDOW + 40, 5, 2), np.complex64)
    assert (stream(silence, np.zeros((3, *silence.shape), np.complex64), 3) == 0).all()
    # Silent stretches and a silent source within a signal.
    mixture, estimates = spectra_of(WINDOW + 40)
    mixture[50:60] = estimates[:, 50:60] = estimates[1] = 0
    found = stream(mixture, estimates, 2)
    assert (found[:, 50:60] == 0).all()
    assert np.abs(found[1]).max() < 1e-6 * np.abs(mixture).max()


@settings(max_examples=25, deadline=None)
@example(frames=STEP_FRAMES + WINDOW + 3, cuts=range(STEP_FRAMES + WINDOW + 3))
@given(frames=st.integers(1, 500), cuts=st.lists(st.integers(0, 500), max_size=6))
def test_any_blocks_give_the_same_to_the_bit(frames, cuts):
    mixture, estimates = spectra_of(frames)
    whole = stream(mixture, estimates)
    np.testing.assert_array_equal(stream(mixture, estimates, 1, cuts), whole)
    assert whole.shape == estimates.shape
    if frames < STEP_FRAMES + CONTEXT_FRAMES:
        np.testing.assert_array_equal(whole, filter_spectra(mixture, estimates, 1))


def test_windows_fade_into_each_other():
    """Where two windows meet, the result moves evenly from the one's to the other's."""
    mixture, estimates = spectra_of(STEP_FRAMES + WINDOW)
    found = stream(mixture, estimates)
    border = slice(STEP_FRAMES - CONTEXT_FRAMES, STEP_FRAMES + CONTEXT_FRAMES)
    one = slice(0, border.stop)
    first = filter_spectra(mixture[one], estimates[:, one], 1)[:, border]
    two = slice(border.start, border.start + WINDOW)
    second = filter_spectra(mixture[two], estimates[:, two], 1)[:, :OVERLAP]
    assert distance(first, second) > 0.01
    share = (np.arange(OVERLAP)[:, None, None] + 0.5) / OVERLAP
    np.testing.assert_allclose(found[:, border], (1 - share) * first + share * second, atol=1e-5)


def test_a_single_source_is_filtered_against_the_rest():
    mixture, _ = spectra_of(STEP_FRAMES, sources=1)
    gain = np.random.default_rng(2).uniform(0, 1.5, mixture.shape)
    estimate = (gain * mixture).astype(np.complex64)
    rest = (np.maximum(1 - gain, 0) * mixture).astype(np.complex64)
    expected = filter_spectra(mixture, np.stack([estimate, rest]), 2)[:1]
    found = stream(mixture, estimate[None], 2)
    assert distance(found, expected) < 1e-5
    assert distance(found, mixture) > 0.1


def test_it_changes_no_input_and_keeps_few_frames():
    mixture, estimates = spectra_of(50)
    kept = mixture.copy(), estimates.copy()
    stage = WienerFilter(1)
    done = 0
    for pushed in range(1, 40):
        for part in stage.push(mixture, estimates[:2]):
            done += part.shape[1]
        assert 50 * pushed - done < WINDOW
    np.testing.assert_array_equal(mixture, kept[0])
    np.testing.assert_array_equal(estimates, kept[1])
    assert list(WienerFilter(1).finish()) == []


# In the runner's chain.


def test_all_sources_enter_whichever_are_wanted(separators, noise):
    audio = noise(200000)
    whole = separators["shares"].separate(audio, 44100, wiener=1)
    stems = separators["shares"].separate(audio, 44100, sources=["vocals"], residual=True, wiener=1)
    assert list(stems) == ["vocals", "residual"]
    np.testing.assert_array_equal(stems["vocals"], whole["vocals"])
    np.testing.assert_allclose(sum(stems.values()), audio, atol=1e-6)


def test_a_stereo_song_through_a_mono_network_is_filtered_as_stereo(separators, noise):
    audio = noise(40000)
    sides = [
        separators["mono"].separate(audio[:, side], 16000, wiener=2)["speech"] for side in (0, 1)
    ]
    both = separators["mono"].separate(audio, 16000, wiener=2)["speech"]
    assert np.abs(both - np.stack(sides, axis=1)).max() > 0.01
