"""Spectrogram pictures: size, where the energy is, and memory."""

import struct

import numpy as np
import pytest
from mmdense_edge.separate import picture
from mmdense_edge.separate.picture import BANDS, MAX_COLUMNS, band_edges, draw, spectrogram


def test_a_picture_has_a_row_for_each_file(song, tmp_path):
    path = song(audio=np.zeros((1, 2)))
    draw({"a": path, "b": path}, 1, tmp_path / "picture.png")
    data = (tmp_path / "picture.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (1000, 400)


@pytest.mark.parametrize("hertz", [60, 440, 5000, 15000])
def test_a_tone_shows_in_its_band_and_at_its_time(hertz):
    rate, seconds = 44100, 4
    time = np.arange(rate * seconds) / rate
    sine = np.sin(2 * np.pi * hertz * time) * (time >= 2)
    sine = np.stack([sine, -sine], axis=1).astype(np.float32)  # whose mean is silence
    power = 10 ** (spectrogram(np.split(sine, 7), rate, len(sine), channels=2) / 10)
    assert power.shape == (BANDS, 1 + -(-len(sine) // 1024))
    band, column = np.unravel_index(power.argmax(), power.shape)
    edges = band_edges(rate)
    # A bin is 21.5 Hz wide; bands below are narrower.
    assert edges[band] - 22 <= hertz <= edges[band + 1] + 22
    assert column >= power.shape[1] // 2
    assert power[:, : power.shape[1] // 2 - 1].max() < 1e-6 * power.max()
    # Full scale is 0 dB, less 1.4 dB at most between two bins; wide bands average it away.
    top = 10 * np.log10(power.max())
    assert top < 0.1
    assert hertz > 1000 or top > -1.5


def test_long_signals_keep_1000_columns(noise):
    block, seconds = 0.2 * noise(441000, 1), 100
    levels = spectrogram(iter([block] * (seconds // 10)), 44100, seconds * 44100, channels=1)
    assert levels.shape == (BANDS, MAX_COLUMNS)
    assert np.ptp(levels[64:].mean(axis=0)) < 6  # every column has frames


@pytest.mark.parametrize("rate", [1000, 8000, 44100, 192000])
def test_every_band_has_its_bins(rate):
    edges = band_edges(rate)
    assert len(edges) == BANDS + 1
    assert (np.diff(edges) > 0).all()
    assert edges[-1] == min(20000, rate / 2)
    np.testing.assert_allclose(picture.band_weights(rate).sum(axis=0), 1, rtol=1e-6)
