"""Mixes: what can be asked for, and that changes are heard as ramps."""

import numpy as np
import pytest
from mmdense_edge.errors import UsageError
from mmdense_edge.live.mixer import Mixer, keys_of, parse_gain, parse_mix

FOUR = ("bass", "drums", "other", "vocals")


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        ("all", set()),
        ("karaoke", {"vocals"}),
        ("drumless", {"drums"}),
        ("bassless", {"bass"}),
        ("acapella", {"bass", "drums", "other", "residual"}),
        ("drums-only", {"bass", "vocals", "other", "residual"}),
        ("bass-only", {"drums", "vocals", "other", "residual"}),
        ("vocals=0", {"vocals"}),
        (" vocals = 0 , residual=0 ", {"vocals", "residual"}),
    ],
)
def test_named_and_given_mixes(text, silent):
    gains = parse_mix(text, FOUR)
    assert [*gains] == [*FOUR, "residual"]
    assert {stem for stem, gain in gains.items() if gain == 0} == silent
    assert {gain for gain in gains.values()} <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("text", "gain"),
    [("0", 0), ("1", 1), ("4", 4), ("0.25", 0.25), ("-6dB", 10**-0.3), ("+12 db", 10**0.6)],
)
def test_gains(text, gain):
    assert parse_gain(text) == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("text", ["", "-1", "4.01", "13dB", "1e1", "inf", "nan", "9" * 400 + "dB"])
def test_gains_that_cannot_be(text):
    with pytest.raises(UsageError, match=r"a gain must be from 0 to 4, or up to \+12dB; received"):
        parse_gain(text)


@pytest.mark.parametrize(
    ("text", "sources", "match"),
    [
        ("party", FOUR, "one of all, karaoke, .* received 'party'"),
        ("", FOUR, "one of all, karaoke"),
        ("guitar=1", FOUR, "bass, drums, other, vocals, residual; received 'guitar=1'"),
        ("bass=1,bass=0", FOUR, "each stem once"),
        ("bass=1,", FOUR, "each stem once, .* received ''"),
        (
            "drumless",
            ("vocals",),
            "'drumless' needs the stem 'drums'; received a model with vocals",
        ),
        ("acapella", ("bass",), "needs the stem 'vocals'"),
    ],
)
def test_mixes_that_cannot_be(text, sources, match):
    with pytest.raises(UsageError, match=match):
        parse_mix(text, sources)


def test_keys_are_free_letters():
    assert keys_of((*FOUR, "residual")) == {
        "b": "bass", "d": "drums", "o": "other", "v": "vocals", "r": "residual",
    }  # fmt: skip
    assert keys_of(["bass", "banjo", "Quint", "aa"]) == {"b": "bass", "a": "banjo", "u": "Quint"}


def test_a_ramp_is_straight_and_ends():
    mixer = Mixer({"a": 1.0, "b": 0.5}, sample_rate=1000)  # 20 samples for a change of 1
    assert np.array_equal(mixer.ramp(3), np.tile([[1, 0.5]], (3, 1)))
    mixer.set({"a": 0.0, "b": 0.75})
    ramp = np.concatenate([mixer.ramp(7), mixer.ramp(0), mixer.ramp(20)])
    expected = np.stack(
        [np.maximum(0, 1 - np.arange(1, 28) / 20), np.minimum(0.75, 0.5 + np.arange(1, 28) / 20)]
    ).T
    assert np.allclose(ramp, expected, atol=1e-6)
    assert ramp[-1].tolist() == [0.0, 0.75]


def test_toggling_restores_the_gain():
    mixer = Mixer({"a": 0.5, "b": 0.0}, sample_rate=1000)
    for expected in ("a=0,b=1", "a=0.5,b=0"):
        mixer.toggle("a")
        mixer.toggle("b")
        assert mixer.describe() == expected
    mixer.set({"a": 0.25})
    for expected in (0.0, 0.25):
        mixer.toggle("a")
        assert mixer.gains["a"] == expected


def test_mixing_adds_up(noise):
    stems = np.stack([noise(50, 2, seed) for seed in range(3)], axis=1)
    mixed = Mixer({"a": 1.0, "b": 0.25, "c": 0.0}, 1000).mix(stems)
    assert np.allclose(mixed, stems[:, 0] + 0.25 * stems[:, 1], atol=1e-6)
