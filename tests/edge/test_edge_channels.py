"""Signals of more than two channels: which go together, and that each group is itself alone."""

from __future__ import annotations

import numpy as np
import pytest
from mmdense_edge.signal.channels import MAX_CHANNELS, groups

SURROUND = {
    1: [(0,)],
    2: [(0, 1)],
    3: [(0, 1), (2,)],
    4: [(0, 1), (2, 3)],
    5: [(0, 1), (2,), (3, 4)],
    6: [(0, 1), (2,), (3,), (4, 5)],
    7: [(0, 1), (2,), (3,), (4,), (5, 6)],
    8: [(0, 1), (2,), (3,), (4, 5), (6, 7)],
    9: [(0, 1), (2, 3), (4, 5), (6, 7), (8,)],
}


@pytest.mark.parametrize("channels", SURROUND)
def test_the_rule_of_groups(channels):
    assert list(groups(channels)) == SURROUND[channels]


@pytest.mark.parametrize("channels", range(1, MAX_CHANNELS + 1))
def test_each_channel_is_in_one_group(channels):
    members = [channel for group in groups(channels) for channel in group]
    assert members == list(range(channels))
    assert {len(group) for group in groups(channels)} <= {1, 2}


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("rate", [16000, 44100])
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


def test_surround_goes_through_a_stereo_network(separators, noise):
    audio = noise(9000, 6)
    stems = separators["shares"].separate(audio, 44100)
    np.testing.assert_allclose(sum(stems.values()), audio, atol=2e-6)
    centre = separators["shares"].separate(audio[:, 2], 44100)
    np.testing.assert_array_equal(stems["vocals"][:, 2], centre["vocals"])


def test_the_channels_keep_their_places(separators):
    audio = np.zeros((3000, 8), np.float32)
    audio[1000, :] = np.arange(1, 9) / 10
    stem = separators["identity"].separate(audio, 44100)["everything"]
    np.testing.assert_allclose(stem[1000], audio[1000], atol=1e-6)
