"""Windows against a plain reference that runs each window by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdense_edge.model.contract import Contract, Transform
from mmdense_edge.model.model_file import load_model
from mmdense_edge.signal.windows import Windows

CONTRACT = replace(
    load_model(__file__.replace("test_edge_windows.py", "data/shares.tflite")).contract,
    transform=Transform(16, 8),
    sources=("a", "b"),
    frames=10,
    context_frames=2,
    frame_multiple=2,
    bins=8,
    output="magnitude",
)


class Neighbors:
    """A network that looks along time and across channels, so that wrong borders show."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    def __call__(self, magnitude):
        expected = (self.contract.frames, self.contract.bins, self.contract.channels)
        assert magnitude.shape == expected
        estimates = self.estimates(magnitude)
        if self.contract.output == "magnitude":
            return estimates
        return {name: x / np.maximum(magnitude, 1e-30) for name, x in estimates.items()}

    def estimates(self, magnitude):
        past = np.concatenate([magnitude[:1] * 0, magnitude[:-1]])
        future = np.concatenate([magnitude[1:], magnitude[:1] * 0])
        gains = np.float32([1, 0.5])[: self.contract.channels]
        return {
            "a": (0.5 * magnitude + 0.25 * past + 0.125 * future) * gains,
            "b": magnitude[:, :, ::-1] * 2,
        }


def plain(network: Neighbors, spectra: np.ndarray, averaged: bool = True) -> dict[str, np.ndarray]:
    """Each window by itself, over the whole spectrum padded with silence."""
    contract = network.contract
    context, step, bins = contract.context_frames, contract.step_frames, contract.bins
    count = len(spectra)
    padded = np.zeros((count + contract.frames + context, *spectra.shape[1:]), np.complex64)
    padded[context : context + count] = spectra
    magnitude = np.abs(padded)
    result = {name: np.zeros_like(spectra) for name in contract.sources}
    for first in range(0, count, step):
        window = magnitude[first : first + contract.frames]
        for name, estimate in network.estimates(window[:, :bins]).items():
            for frame in range(first, min(first + step, count)):
                here, mixture = estimate[frame - first + context], magnitude[frame + context]
                if averaged and (mixture[:, 0] == mixture[:, -1]).all():
                    here = here.mean(axis=1, keepdims=True)
                mask = np.zeros(mixture.shape)
                mask[:bins] = here / mixture[:bins]
                mask[bins:] = np.clip(mask[bins - 1], 0, 1)
                result[name][frame] = mask * spectra[frame]
    return result


def spectra_of(frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    parts = generator.normal(size=(2, frames, CONTRACT.transform.num_bins, channels))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def run(windows: Windows, spectra: np.ndarray, cuts=()) -> dict[str, np.ndarray]:
    edges = [0, *sorted(cut % (len(spectra) + 1) for cut in cuts), len(spectra)]
    out = []
    for first, last in pairwise(edges):
        out.extend(
            (mixture.copy(), part.copy()) for mixture, part in windows.push(spectra[first:last])
        )
    out.extend((mixture.copy(), part.copy()) for mixture, part in windows.finish())
    joined = np.concatenate([mixture for mixture, _ in out])
    np.testing.assert_array_equal(joined, spectra)
    estimates = np.concatenate([part for _, part in out], axis=1)
    return dict(zip(windows._sources, estimates, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    output=st.sampled_from(["mask", "magnitude"]),
)
def test_windows_equal_each_window_by_itself(frames, cuts, output):
    network, spectra = Neighbors(replace(CONTRACT, output=output)), spectra_of(frames)
    spectra[:, 3, 1] = spectra[:, 3, 0]  # a bin in which both channels are equal is no equal frame
    spectra[5:7, :, 1] = spectra[5:7, :, 0]  # but here all bins are
    actual = run(Windows(network, 2, ("a", "b")), spectra, cuts)
    for name, expected in plain(network, spectra).items():
        np.testing.assert_allclose(actual[name], expected, atol=1e-5)


def test_mono_goes_in_twice_and_comes_out_averaged():
    network, spectra = Neighbors(CONTRACT), spectra_of(15, channels=1)
    actual = run(Windows(network, 1, ("a", "b")), spectra)
    for name, both in plain(network, np.repeat(spectra, 2, axis=2), averaged=False).items():
        np.testing.assert_allclose(actual[name], both.mean(axis=2, keepdims=True), atol=1e-5)


def test_stereo_goes_through_a_mono_network_channel_by_channel():
    network, spectra = Neighbors(replace(CONTRACT, channels=1)), spectra_of(15)
    results = run(Windows(network, 2, ("a",)), spectra)
    assert list(results) == ["a"]  # only the source wanted
    actual = results["a"]
    for channel in range(2):
        alone = plain(network, spectra[:, :, channel : channel + 1])["a"]
        np.testing.assert_allclose(actual[:, :, channel : channel + 1], alone, atol=1e-5)


@pytest.mark.parametrize("tiny", [0.0, 1e-44, 1e-30])
def test_silence_and_nearly_silence_stay_finite(tiny):
    class Loud(Neighbors):
        def estimates(self, magnitude):
            return {name: magnitude + 100 for name in self.contract.sources}

    spectra = np.full((12, CONTRACT.transform.num_bins, 2), tiny, np.complex64)
    result = run(Windows(Loud(CONTRACT), 2, ("a",)), spectra)["a"]
    assert np.isfinite(result).all()
    # The bins above take a clipped mask: no louder than the mixture.
    assert np.abs(result[:, CONTRACT.bins :]).max() <= np.float32(tiny)
    assert np.abs(result[:, 0]).max() == pytest.approx(100 if tiny else 0, rel=1e-3)


def test_the_buffer_is_one_window_and_the_input_does_not_change():
    windows, spectra = Windows(Neighbors(CONTRACT), 2, ("a",)), spectra_of(60)
    kept, buffer = spectra.copy(), windows._mixture
    for first in range(0, 60, 7):
        assert all(np.isfinite(part).all() for _, part in windows.push(spectra[first : first + 7]))
        assert len(buffer) == CONTRACT.frames - CONTRACT.context_frames > windows._new
        assert windows._mixture is buffer
    np.testing.assert_array_equal(spectra, kept)
