"""Signals of more than two channels: which go together, and that each group is itself alone."""

from __future__ import annotations

import numpy as np
import pytest
from mmdense_edge.signal.channels import MAX_CHANNELS, groups

SURROUND = {
    3: [(0, 1), (2,)],
    5: [(0, 1), (2,), (3, 4)],
    6: [(0, 1), (2,), (3,), (4, 5)],
    7: [(0, 1), (2,), (3,), (4,), (5, 6)],
    8: [(0, 1), (2,), (3,), (4, 5), (6, 7)],
}


@pytest.mark.parametrize("channels", range(1, MAX_CHANNELS + 1))
def test_the_rule_of_groups(channels):
    pairs = [(first, first + 1)[: channels - first] for first in range(0, channels, 2)]
    assert list(groups(channels)) == SURROUND.get(channels, pairs)


@pytest.mark.parametrize(("channels", "rate"), [(3, 44100), (6, 16000), (9, 16000)])
def test_each_group_is_separated_as_if_it_were_alone(separators, noise, channels, rate):
    audio = noise(4001, channels)
    kept = audio.copy()
    stems = separators["mono"].separate(audio, rate, residual=True)
    np.testing.assert_array_equal(audio, kept)
    for group in groups(channels):
        alone = separators["mono"].separate(audio[:, list(group)], rate, residual=True)
        for name, stem in stems.items():
            assert stem.shape == audio.shape
            np.testing.assert_array_equal(stem[:, list(group)], alone[name])


def test_the_channels_keep_their_places(separators):
    audio = np.zeros((3000, 8), np.float32)
    audio[1000, :] = np.arange(1, 9) / 10
    stem = separators["identity"].separate(audio, 44100)["everything"]
    np.testing.assert_allclose(stem[1000], audio[1000], atol=1e-6)
