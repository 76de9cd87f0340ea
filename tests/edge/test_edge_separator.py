"""The Python call: lengths, sums, exactness, resampling, refusals, memory."""

from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
from mmdense_edge import Separator
from mmdense_edge.errors import AudioError, Cancelled, ModelError, UsageError
from mmdense_edge.separator import PIECE
from mmdense_edge.signal.chain import MAX_CHANNELS, groups
from mmdense_edge.signal.resampling import Resampler, resampled_length


def tone(num_samples: int, rate: int, hertz: float = 997.0) -> np.ndarray:
    """A faded sine: what a resampler keeps but for its passband's ripple."""
    fade = np.sin(np.linspace(0, np.pi, num_samples)) ** 2
    sine = 0.5 * fade * np.sin(2 * np.pi * hertz * np.arange(num_samples) / rate)
    return sine.astype(np.float32)[:, None]


def test_a_signal_of_one_axis_comes_back_with_one(separators, noise):
    stems = separators["mono"].separate(noise(4097, 1)[:, 0], 22050)
    assert list(stems) == ["speech", "noise"]
    assert {(stem.shape, stem.dtype.name) for stem in stems.values()} == {((4097,), "float32")}


@pytest.mark.parametrize(("num_samples", "channels"), [(1, 1), (1, 2), (8192, 1), (50001, 2)])
def test_a_mask_of_ones_returns_the_mixture(separators, noise, num_samples, channels):
    audio = noise(num_samples, channels)
    kept = audio.copy()
    stem = separators["identity"].separate(audio, 44100)["everything"]
    np.testing.assert_allclose(stem, audio, atol=1e-6)
    np.testing.assert_array_equal(audio, kept)


@pytest.mark.parametrize("rate", [22050, 44099, 48000, 192000])
def test_a_mask_of_ones_survives_resampling(separators, rate):
    audio = tone(int(rate * 0.7) | 1, rate)
    stem = separators["identity"].separate(audio, rate)["everything"]
    assert stem.shape == audio.shape
    assert np.abs(stem - audio).max() < 1e-4


def test_masks_that_add_up_give_stems_that_add_up(separators, noise):
    audio = noise(40001)
    stems = separators["shares"].separate(audio, 44100)
    np.testing.assert_allclose(sum(stems.values()), audio, atol=2e-6)
    some = separators["shares"].separate(audio, 44100, sources=["vocals", "drums"])
    assert list(some) == ["drums", "vocals"]  # the model's order
    np.testing.assert_allclose(some["vocals"], stems["vocals"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("model", "wiener"), [("shares", 0), ("magnitudes", 1), ("mono", 1)])
def test_equal_channels_come_back_equal(separators, noise, model, wiener):
    equal = np.repeat(noise(30000, 1), 2, axis=1)
    for stem in separators[model].separate(equal, 48000, residual=True, wiener=wiener).values():
        np.testing.assert_array_equal(stem[:, 0], stem[:, 1])


def test_the_equal_part_of_a_song_comes_back_equal(noise):
    song = np.concatenate([np.repeat(noise(30000, 1), 2, axis=1), noise(30000, 2)])
    stems = Separator("mmdensenet-micro-int8").separate(song, 44100)
    for stem in stems.values():
        np.testing.assert_array_equal(stem[:25000, 0], stem[:25000, 1])
        assert np.abs(stem[30000:, 0] - stem[30000:, 1]).max() > 0.01


def test_progress_counts_every_sample_and_can_stop(separators, noise):
    seen: list[int] = []
    separators["identity"].separate(noise(70000), 44100, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 70000
    assert len(seen) > 3

    with pytest.raises(KeyboardInterrupt):
        separators["identity"].separate(
            noise(70000), 44100, progress=Mock(side_effect=KeyboardInterrupt)
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_bad_samples_are_refused_with_their_position(separators, noise, value):
    audio = noise(PIECE + 5000).astype(np.float64)
    audio[PIECE + 100, 1] = value
    with pytest.raises(AudioError, match=rf"^sample {PIECE + 100} \(0.745 s\) of channel 2 is"):
        separators["identity"].separate(audio, 44100)


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros((0, 2), np.float32), 44100, "at least 1 sample; received 0"),
        (np.zeros((100, 65), np.float32), 44100, "1 to 64 channels; received 65"),
        (
            np.zeros((2, 500), np.float32),
            44100,
            r"\(samples, channels\); received \(2, 500\).*audio.T",
        ),
        (np.zeros((1, 65), np.float32), 44100, r"\(1, 65\)\. The channels come first"),
        (np.zeros((10, 0), np.float32), 44100, "1 to 64 channels; received 0"),
        (np.zeros((2, 10, 2), np.float32), 44100, "shape .*received"),
        (np.float32(1), 44100, "shape .*received"),
        (None, 44100, "shape .*received a NoneType"),
        ("song.wav", 44100, "shape .*received a str"),
        ((np.zeros((10, 2)), 44100), 44100, "shape .*received a tuple"),
        (np.zeros((10, 2), np.int16), 44100, "floats.*received int16"),
        (np.zeros((10, 2), np.float32), 0, "1000 to 768000 Hz; received 0"),
        (np.zeros((10, 2), np.float32), 1e9, "1000 to 768000 Hz"),
        (np.zeros((10, 2), np.float32), 44100.5, "whole number .* received 44100.5"),
        (np.zeros((10, 2), np.float32), None, "1000 to 768000 Hz; received None"),
        (np.zeros((10, 2), np.float32), "44100", "1000 to 768000 Hz; received '44100'"),
        (np.zeros((10, 2), np.float32), [44100], r"1000 to 768000 Hz; received \[44100\]"),
        (np.zeros((10, 2), np.float32), float("nan"), "1000 to 768000 Hz; received nan"),
        (np.zeros((10, 2), np.float32), 44100j, "1000 to 768000 Hz; received 44100j"),
    ],
)
def test_bad_audio_is_refused(separators, audio, rate, message):
    with pytest.raises(AudioError, match=message):
        separators["identity"].separate(audio, rate)
    if "Hz" in message:
        with pytest.raises(AudioError, match=message):
            separators["identity"].stream([audio], rate, 2)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (None, "received None"),
        ([None], "received object"),
        ([np.zeros((2, 500))], r"received \(2, 500\)"),
        ([np.zeros((9, 1)), np.zeros((9, 2))], r"shape \(samples, 1\); received \(9, 2\)"),
    ],
)
def test_what_are_no_blocks_is_refused(separators, blocks, message):
    with pytest.raises(AudioError, match=message):
        list(separators["shares"].stream(blocks, 44100, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"sources": sources}, "must be a list of drums, bass, vocals; received")
            for sources in (["guitar"], [], "vocals", 5, [["vocals"]], [None])
        ),
        *(
            ({"wiener": wiener}, f"wiener must be 0 to 10 iterations; received {wiener}")
            for wiener in (-1, 11, 1.5, None)
        ),
    ],
)
def test_options_are_checked_before_any_work(separators, options, message):
    with pytest.raises(UsageError, match=message):
        separators["shares"].stream(iter(()), 44100, 2, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ({"model": model}, "a bundled model's name or a path; received")
            for model in (5, b"model.tflite", ["shares"])
        ),
        *(
            ({"num_threads": threads}, f"threads must be from 1 to 256; received {threads}")
            for threads in (0, -1, 257, 1.5)
        ),
    ],
)
def test_what_names_no_model_or_threads_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Separator(**arguments)


def test_calls_from_several_threads_take_turns(separators, noise):
    separator = separators["shares"]
    songs = [noise(15000, seed=seed) for seed in range(3)]
    alone = [separator.separate(song, 44100) for song in songs]

    def by_stream(song: np.ndarray) -> dict[str, np.ndarray]:
        blocks = list(separator.stream(np.array_split(song, 7), 44100, 2))
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    with ThreadPoolExecutor(8) as pool:
        for stems, expected in zip(pool.map(by_stream, songs * 6), alone * 6, strict=True):
            for name, stem in stems.items():
                np.testing.assert_allclose(stem, expected[name], atol=1e-5)


def test_an_answer_of_nan_is_refused(separators, noise):
    # Values near float32's end overflow in the transform, before the network.
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(ModelError, match="'identity' returned NaN or infinity"),
    ):
        separators["identity"].separate(noise(20000).astype(np.float64) * 6e38, 44100)


def test_one_huge_block_is_worked_on_in_pieces(separators, noise):
    lengths = [
        len(s["everything"]) for s in separators["identity"].stream([noise(300000)], 44100, 2)
    ]
    assert sum(lengths) == 300000
    assert max(lengths) <= 2 * PIECE


@pytest.mark.parametrize(("in_rate", "out_rate"), [(8000, 44100), (44099, 44100), (192000, 44100)])
@pytest.mark.parametrize("num_samples", [1, 2, 9999])
def test_a_resampler_ends_where_it_is_told(noise, in_rate, out_rate, num_samples):
    exact = resampled_length(num_samples, in_rate, out_rate)
    assert exact == max(1, int(np.floor(num_samples * out_rate / in_rate + 0.5)))
    for wanted in (exact, exact + 7):
        resampler = Resampler(in_rate, out_rate, 2)
        *first, last = np.array_split(noise(num_samples), 3)
        parts = [resampler.push(block) for block in first]
        assert sum(map(len, [*parts, resampler.push(last, wanted)])) == wanted


@pytest.mark.parametrize("asked", [0, 2])
def test_cancel_ends_the_work_between_pieces(separators, noise, asked):
    answers = iter([False] * asked + [True])
    seen: list[int] = []
    with pytest.raises(Cancelled, match="cancelled by the caller"):
        separators["identity"].separate(
            noise(10 * PIECE), 44100, progress=seen.append, cancel=lambda: next(answers)
        )
    assert (seen[-1] if seen else 0) <= asked * PIECE


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
