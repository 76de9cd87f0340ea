"""separate(): the laws that any song and any model must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense import AudioError, SettingsError


def music(length, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((length, channels))).astype(np.float32)


def test_windows_make_no_difference(small_model):
    audio = music(64 * 700 + 13)
    whole = keras_mmdense.separate(small_model, audio, 44100, window_frames=None)
    for window in (8, 100, 256):
        windowed = keras_mmdense.separate(small_model, audio, 44100, window_frames=window)
        for source, stem in whole.items():
            assert np.abs(windowed[source] - stem).max() < 1e-4 * np.abs(stem).max()


def test_less_context_than_the_receptive_field_would_make_a_difference(small_model, monkeypatch):
    """The test above could not fail if nothing ever reached across a window's border."""
    import keras_mmdense.separation as module

    audio = music(64 * 300)
    whole = keras_mmdense.separate(small_model, audio, 44100, window_frames=None)
    monkeypatch.setattr(module, "context_frames", lambda settings: 8)
    short = keras_mmdense.separate(small_model, audio, 44100, window_frames=64)
    assert np.abs(short["bass"] - whole["bass"]).max() > 1e-4 * np.abs(whole["bass"]).max()


@settings(deadline=None, max_examples=25)
@given(
    length=st.integers(1, 3000),
    channels=st.sampled_from([0, 1, 2]),
    rate=st.sampled_from([8000, 22050, 44100, 48000, 192000]),
)
def test_shape_stays_and_stems_add_up(small_model, length, channels, rate):
    audio = music(length, channels or 1)
    audio = audio if channels else audio[:, 0]
    before = audio.copy()
    stems = keras_mmdense.separate(small_model, audio, rate, residual=True)
    assert list(stems) == ["bass", "vocals", "residual"]
    for stem in stems.values():
        assert stem.shape == audio.shape
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
    np.testing.assert_allclose(sum(stems.values()), audio, atol=1e-6)
    assert (audio == before).all()


def test_silence_stays_silent_and_finite(small_model):
    stems = keras_mmdense.separate(small_model, np.zeros((5000, 2)), 44100)
    assert all((stem == 0).all() for stem in stems.values())


@pytest.mark.parametrize("level", [1e-44, 1e-38, 1e-20, 1e20])
def test_any_level_gives_finite_stems(level):
    model = keras_mmdense.build(**SMALL)
    disturb(model)
    audio = (music(3000).astype(np.float64) * level).astype(np.float32)
    stem = keras_mmdense.separate(model, audio, 44100)["vocals"]
    assert np.isfinite(stem).all()


def test_a_mask_of_one_gives_the_mixture_back():
    model = keras_mmdense.build(head="mask", **SMALL)
    kernel, bias = model.get_layer("final_conv").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign([50.0, 50.0])  # sigmoid(50) is 1
    for rate in (44100, 48000):
        audio = np.sin(np.arange(20000) / 30)[:, None].astype(np.float32).repeat(2, 1)
        stem = keras_mmdense.separate(model, audio, rate)["vocals"]
        inner = slice(200, -200)  # a resampler rings at the ends of a cut signal
        assert np.abs(stem - audio)[inner].max() < (1e-5 if rate == 44100 else 1e-3)


def test_mono_is_the_mean_of_equal_channels(small_model):
    audio = music(4000, 1)
    mono = keras_mmdense.separate(small_model, audio[:, 0], 44100)
    stereo = keras_mmdense.separate(small_model, audio.repeat(2, 1), 44100)
    np.testing.assert_allclose(mono["bass"], stereo["bass"].mean(1), atol=1e-6)


def test_a_mono_model_separates_each_channel():
    model = keras_mmdense.build(channels=1, **SMALL)
    disturb(model)
    audio = music(4000, 2)
    both = keras_mmdense.separate(model, audio, 44100)["vocals"]
    left = keras_mmdense.separate(model, audio[:, 0], 44100)["vocals"]
    np.testing.assert_allclose(both[:, 0], left, atol=1e-6)
    assert both.shape == audio.shape


def test_one_model_per_source_is_the_same_as_one_of_two(rng):
    both = keras_mmdense.build(sources=("a", "b"), **SMALL)
    disturb(both)
    halves = [keras_mmdense.build(sources=s, **SMALL) for s in "ab"]
    for half, name in zip(halves, "ab", strict=True):
        for layer in half.layers:
            prefixed = layer.name if layer.name == "normalization" else f"{name}_{layer.name}"
            if layer.weights and layer.name != "settings":
                layer.set_weights(both.get_layer(prefixed).get_weights())
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
    audio, seen = music(3000), []
    expected = keras_mmdense.separate(both, audio, 44100)
    found = keras_mmdense.separate(halves, audio, 44100, progress=seen.append)
    for source in "ab":
        np.testing.assert_allclose(found[source], expected[source], atol=1e-5)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_model_of_fixed_frames_takes_any_song():
    free = keras_mmdense.build(**SMALL)
    disturb(free)
    fixed = keras_mmdense.build(frames=16, **SMALL)
    fixed.set_weights(free.get_weights())
    audio = music(7777)
    np.testing.assert_allclose(
        keras_mmdense.separate(fixed, audio, 44100)["vocals"],
        keras_mmdense.separate(free, audio, 44100)["vocals"],
        atol=1e-6,
    )


def test_the_upper_bins_take_the_last_bin_s_mask():
    model = keras_mmdense.build(head="mask", n_fft=256, **SMALL)  # sees half of the bins
    kernel, bias = model.get_layer("final_conv").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign([0.0, 0.0])  # a mask of one half everywhere
    audio = music(5000)
    stem = keras_mmdense.separate(model, audio, 44100)["vocals"]
    np.testing.assert_allclose(stem, audio / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        (np.zeros((2, 1000)), 44100, "Transpose"),
        (np.zeros((0, 2)), 44100, "at least one sample"),
        (np.zeros((10, 2), np.int16), 44100, "32768"),
        ([0.0, 1.0], 44100, "NumPy array"),
        (np.full((10, 2), np.nan), 44100, "20 NaN"),
        (np.array([1.0, np.inf]), 44100, "1 NaN or infinite"),
        (np.zeros((10, 2)), 0, "sample_rate"),
        (np.full(10, 1e300), 44100, "finite in float32"),
        (np.zeros((1, 1, 1)), 44100, "shape"),
    ],
)
def test_wrong_audio_is_refused(small_model, audio, rate, words):
    with pytest.raises(AudioError, match=words):
        keras_mmdense.separate(small_model, audio, rate)


def test_models_that_do_not_fit_together_are_refused(small_model):
    other = keras_mmdense.build(sources="drums", sample_rate=22050, **SMALL)
    for models in ([], [small_model, small_model], [small_model, other]):
        with pytest.raises(SettingsError, match="received"):
            keras_mmdense.separate(models, music(100), 44100)
    with pytest.raises(SettingsError, match="window_frames"):
        keras_mmdense.separate(small_model, music(100), 44100, window_frames=0)


def test_progress_can_end_it(small_model):
    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keras_mmdense.separate(small_model, music(10000), 44100, window_frames=8, progress=stop)
