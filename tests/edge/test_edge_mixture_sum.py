"""What is written of a song: choices, sums, shares, the null test."""

import itertools

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmdense_edge.audio.mixture_sum import FRAME, PIECE, choose, corrected, even, mixed, null_test
from mmdense_edge.errors import AudioError, UsageError

KNOWN = ("drums", "bass", "vocals")


@pytest.mark.parametrize(
    ("wanted", "options", "parts"),
    [
        (KNOWN, {}, {name: (name,) for name in KNOWN}),
        (["bass"], {"residual": True}, {"bass": ("bass",), "residual": ()}),
        (KNOWN, {"two_stems": "bass"}, {"bass": ("bass",), "no_bass": ()}),
        (
            KNOWN,
            {"two_stems": "bass", "other": "sum", "residual": True},
            {"bass": ("bass",), "no_bass": ("drums", "vocals"), "residual": ()},
        ),
        (
            KNOWN,
            {"two_stems": "drums", "other": "sum", "sum_to_mixture": True},
            {"drums": ("drums",), "no_drums": ("bass", "vocals")},
        ),
    ],
)
def test_choices(wanted, options, parts):
    assert choose(KNOWN, wanted, **options) == parts


@pytest.mark.parametrize(
    ("known", "wanted", "options", "match"),
    [
        (KNOWN, KNOWN, {"two_stems": "piano"}, "one of drums, bass, vocals; received 'piano'"),
        (KNOWN, KNOWN, {"two_stems": "bass", "residual": True}, "leaves no residual"),
        (
            ["voice"],
            ["voice"],
            {"two_stems": "voice", "other": "sum"},
            "has no source besides 'voice'",
        ),
        (KNOWN, ["bass"], {"sum_to_mixture": True}, "needs at least two stems and all sources"),
        (["voice"], ["voice"], {"sum_to_mixture": True}, "needs at least two stems"),
        (KNOWN, KNOWN, {"residual": True, "sum_to_mixture": True}, "already add up"),
        (KNOWN, KNOWN, {"two_stems": "bass", "sum_to_mixture": True}, "already add up"),
    ],
)
def test_choices_that_contradict_each_other(known, wanted, options, match):
    with pytest.raises(UsageError, match=match):
        choose(known, wanted, **options)


cuts = st.lists(st.integers(0, 5000), max_size=6)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ahead=st.integers(0, 3000), came=cuts)
def test_sums_and_rests_whatever_blocks_they_come_in(noise, ahead, came):
    """The mixture and the stems out of one stream; the stems come later, in other blocks."""
    mixture = noise(2 * PIECE + 5).astype(np.float64)
    stems = {name: noise(len(mixture), seed=seed) for seed, name in enumerate(KNOWN, 1)}
    song, kept = itertools.tee(np.split(mixture, sorted(came)))

    def separated():
        held = given = 0
        for block in song:
            held += len(block)
            yield {name: stem[given : max(given, held - ahead)] for name, stem in stems.items()}
            given = max(given, held - ahead)
        yield {name: stem[given:] for name, stem in stems.items()}

    parts = choose(KNOWN, KNOWN, two_stems="bass", other="sum", residual=True)
    done = list(mixed(separated(), kept, parts))
    assert max(len(whole) for _, whole in done) <= PIECE
    np.testing.assert_array_equal(np.concatenate([whole for _, whole in done]), mixture)
    written = {name: np.concatenate([block[name] for block, _ in done]) for name in done[0][0]}
    assert list(written) == ["bass", "no_bass", "residual"]
    np.testing.assert_array_equal(written["bass"], stems["bass"])
    expected = stems["drums"].astype(np.float64) + stems["vocals"]
    np.testing.assert_array_equal(written["no_bass"], expected)
    np.testing.assert_allclose(sum(written.values()), mixture, atol=1e-15)


def shared(stems: dict[str, np.ndarray], mixture: np.ndarray, frames: int = 99):
    """Corrects stems in blocks of whole frames."""
    blocks = (
        ({name: stem[part] for name, stem in stems.items()}, mixture[part])
        for first in range(0, len(mixture), frames * FRAME)
        for part in [slice(first, first + frames * FRAME)]
    )
    done = list(corrected(blocks))
    np.testing.assert_array_equal(np.concatenate([whole for _, whole in done]), mixture)
    return {name: np.concatenate([block[name] for block, _ in done]) for name in stems}


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 5000), channels=st.integers(1, 3), seed=st.integers(0, 9))
def test_shares_add_up_and_do_not_depend_on_blocks(length, channels, seed):
    generator = np.random.default_rng(seed)
    stems = {name: generator.normal(size=(length, channels)) for name in KNOWN}
    mixture = generator.normal(size=(length, channels))
    before = {name: stem.copy() for name, stem in stems.items()}
    done = shared(stems, mixture)
    np.testing.assert_allclose(sum(done.values()), mixture, atol=1e-12)
    for name, stem in shared(stems, mixture, frames=1).items():
        np.testing.assert_array_equal(done[name], stem)
        np.testing.assert_array_equal(stems[name], before[name])


def test_shares_follow_the_power():
    length = 3 * FRAME + 100
    loud, quiet = np.full((length, 1), 0.2), np.full((length, 1), 0.1)
    silent = np.zeros((length, 1))
    done = shared({"a": loud, "b": quiet, "c": silent}, loud + quiet + 0.5)
    np.testing.assert_allclose(done["a"] - loud, 0.5 * 0.8)
    np.testing.assert_allclose(done["b"] - quiet, 0.5 * 0.2)
    np.testing.assert_array_equal(done["c"], 0)
    np.testing.assert_array_equal(shared({"a": silent, "b": silent}, silent + 0.5)["a"], 0.25)


def test_shares_change_along_a_straight_line():
    """In the second frame from the first's to its own; the third has those of the second."""
    ones, zeros = np.ones((FRAME, 1)), np.zeros((FRAME, 1))
    first, second = np.concatenate([ones, zeros, zeros]), np.concatenate([zeros, ones, ones])
    done = shared({"a": first, "b": second}, first + second + 1)
    expected = np.concatenate(
        [np.ones(FRAME), 1 - np.arange(1, FRAME + 1) / FRAME, np.zeros(FRAME)]
    )
    np.testing.assert_allclose((done["a"] - first)[:, 0], expected, atol=1e-12)


@pytest.mark.parametrize(("gain", "error", "steps"), [(1.0, 0, 0), (0.5, 0, 0), (1.0, 3, 3)])
def test_the_null_test_measures_files(tmp_path, noise, gain, error, steps):
    whole = np.round(noise(100001) * 2**14) * 2 / 2**15
    first = np.round(whole * 0.3 * 2**14) / 2**14
    stems = [first * gain, (whole - first) * gain]
    stems[1][77777, 1] += error / 2**15
    for name, audio in zip(("a.wav", "b.wav", "song.wav"), (*stems, whole), strict=True):
        sf.write(tmp_path / name, audio, 44100, subtype="PCM_24")
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    found = null_test(paths, tmp_path / "song.wav", gain=gain, bits=16, damaged=[].append)
    assert found == steps
    sf.write(tmp_path / "b.wav", stems[1][:-1], 44100)
    with pytest.raises(AudioError, match="a stem is not as long as the song"):
        null_test(paths, tmp_path / "song.wav", gain=1, bits=16, damaged=[].append)


@settings(max_examples=20, deadline=None)
@given(at=cuts, size=st.integers(1, 600))
def test_even_blocks(at, size):
    audio = np.arange(5000.0)[:, None]
    blocks = list(even(np.split(audio, sorted(at)), size))
    np.testing.assert_array_equal(np.concatenate(blocks), audio)
    assert {len(block) for block in blocks[:-1]} <= {size}
    assert 0 < len(blocks[-1]) <= size
