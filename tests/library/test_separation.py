"""separate(): the laws of a Keras model in the runner's chain; the chain's are in tests/edge."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from mmdense_edge import Separator
from mmdense_edge.model.interpreter import for_signal
from small import SMALL, disturb
from tqdm import tqdm

import keras_mmdense
from keras_mmdense import AudioError, SettingsError
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.separation import KerasNetwork

TINY = SMALL | {"num_layers": 1, "scales": 1}


def music(length, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((length, channels))).astype(np.float32)


def test_windows_make_no_difference(small_model):
    audio = music(64 * 400 + 13)
    whole = keras_mmdense.separate(small_model, audio, 44100, window_frames=None)
    for window in (16, 256):
        windowed = keras_mmdense.separate(small_model, audio, 44100, window_frames=window)
        for source, stem in whole.items():
            assert np.abs(windowed[source] - stem).max() < 1e-4 * np.abs(stem).max()


@pytest.mark.parametrize(
    ("length", "channels", "rate"),
    [(1, 0, 44100), (33, 1, 8000), (2999, 2, 192000), (2999, 6, 44100)],
)
def test_shape_stays_and_stems_add_up(small_model, length, channels, rate):
    audio = music(length, channels or 1)
    audio = audio if channels else audio[:, 0]
    audio.flags.writeable = False
    stems = keras_mmdense.separate(small_model, audio, rate, residual=True)
    assert list(stems) == ["bass", "vocals", "residual"]
    for stem in stems.values():
        assert stem.shape == audio.shape
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
    np.testing.assert_allclose(sum(stems.values()), audio, atol=1e-6)


@pytest.mark.parametrize("level", [1e-44, 1e-38, 1e-20, 1e20])
def test_any_level_gives_finite_stems(small_model, level):
    audio = (music(3000).astype(np.float64) * level).astype(np.float32)
    stems = keras_mmdense.separate(small_model, audio, 44100)
    assert np.isfinite(list(stems.values())).all()


@pytest.mark.parametrize(
    ("n_fft", "rate", "limit"), [(128, 44100, 1e-5), (128, 48000, 1e-3), (256, 44100, 1e-5)]
)
def test_a_constant_mask_scales_the_mixture(n_fft, rate, limit):
    """Also above the bins that the network sees, where n_fft is 256; they take the last one's."""
    model = keras_mmdense.build(head="mask", n_fft=n_fft, **TINY)
    kernel, bias = model.get_layer("final_conv").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign(np.log([3.0, 3.0]))  # of which the sigmoid is 3 / 4
    audio = np.sin(np.arange(20000) / 30)[:, None].astype(np.float32).repeat(2, 1)
    audio += music(20000) * (rate == 44100)  # a resampler cuts off the highest frequencies
    stem = keras_mmdense.separate(model, audio, rate)["vocals"]
    inner = slice(200, -200)  # a resampler rings at the ends of a cut signal
    assert np.abs(stem - 0.75 * audio)[inner].max() < limit


@pytest.mark.parametrize("window_frames", [1, 8, 40])
def test_a_causal_model_s_windows_are_the_whole_song_from_its_first_frame(rng, window_frames):
    model = keras_mmdense.build(causal=True, dilation_rate=(1, 2, 1), **TINY)
    disturb(model)
    assert context_frames(keras_mmdense.settings_of(model)) > 8
    shared, songs = KerasNetwork([model], window_frames), rng.random((2, 40, 64, 2), np.float32)
    assert (shared.contract.frames, shared.contract.context_frames) == (window_frames, 0)
    networks = [for_signal(shared) for _ in songs]
    for first in range(0, 40, window_frames):
        part = slice(first, first + window_frames)
        for network, song in zip(networks, songs, strict=True):  # in turn
            expected = model(song[None])["vocals"][0, part]
            np.testing.assert_allclose(network(song[part])["vocals"], expected, atol=1e-5)


def test_one_model_per_source_is_the_same_as_one_of_two(tmp_path):
    both = keras_mmdense.build(sources=("a", "b"), **TINY)
    disturb(both)
    both.save(tmp_path / "both.keras")
    halves = [keras_mmdense.build(sources=s, weights=tmp_path / "both.keras") for s in "ab"]
    audio, seen = music(3000), []
    expected = keras_mmdense.separate(both, audio, 44100)
    found = keras_mmdense.separate(halves, audio, 44100, progress=seen.append)
    for source in "ab":
        np.testing.assert_allclose(found[source], expected[source], atol=1e-5)
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.parametrize("form", [str, lambda path: path, lambda path: [str(path)]])
def test_the_files_of_a_model_and_a_song_are_read(small_model, small_file, tmp_path, form):
    audio = music(3000, channels=3)
    soundfile.write(tmp_path / "song.wav", audio, 48000, "FLOAT")
    expected = keras_mmdense.separate(small_model, audio, 48000)
    found = keras_mmdense.separate(form(small_file), str(tmp_path / "song.wav"))
    for source, stem in expected.items():
        np.testing.assert_allclose(found[source], stem, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "rate", "words"),
    [
        ("song.wav", 44100, "a file or a track is its own; received 44100"),
        ("cut.wav", None, "Repair it, or use what can be read"),
        ("empty.wav", None, "at least 1 sample"),
        ("none.wav", None, "no such file"),
        (None, None, "sample rate must be"),
    ],
)
def test_files_that_cannot_be_used_are_refused(small_model, tmp_path, form, rate, words):
    for name, length in (("song.wav", 3000), ("empty.wav", 0)):
        soundfile.write(tmp_path / name, music(length), 44100)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "song.wav").read_bytes()[:5000])
    with pytest.raises(AudioError, match=words):
        keras_mmdense.separate(small_model, music(9) if form is None else tmp_path / form, rate)


@pytest.mark.parametrize(
    ("progress", "terminal", "shown"),
    [
        (None, False, False),
        (None, True, True),
        (True, False, True),
        (False, True, False),
        (lambda done: None, True, False),
    ],
)
def test_a_bar_is_shown_where_a_person_waits(
    small_model, capsys, monkeypatch, progress, terminal, shown
):
    seconds, close = [], tqdm.close
    monkeypatch.setattr(tqdm, "close", lambda bar: (seconds.append(bar.n), close(bar)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    keras_mmdense.separate(small_model, music(3 * 44100), 44100, progress=progress)
    err = capsys.readouterr().err
    assert "separating:   0%|          | 0/3 [" in err if shown else err == ""
    assert seconds[0] == (3 if shown else 0)


def test_a_notebook_shows_a_bar(small_model, capsys, monkeypatch):
    monkeypatch.setattr("builtins.get_ipython", lambda: SimpleNamespace(kernel=1), raising=False)
    keras_mmdense.separate(small_model, music(3 * 44100), 44100)
    shown = capsys.readouterr()
    assert "separating:   0%|          | 0/3 [" in shown.out
    assert shown.err == ""
    keras_mmdense.separate(small_model, music(3000), 44100, progress=False)
    assert capsys.readouterr().out == ""


def test_a_model_of_fixed_frames_takes_any_song():
    free = keras_mmdense.build(**TINY)
    disturb(free)
    fixed = keras_mmdense.build(frames=16, **TINY)
    fixed.set_weights(free.get_weights())
    audio = music(7777)
    np.testing.assert_allclose(
        keras_mmdense.separate(fixed, audio, 44100)["vocals"],
        keras_mmdense.separate(free, audio, 44100)["vocals"],
        atol=1e-6,
    )


def test_what_does_not_fit_is_refused(small_model):
    other = keras_mmdense.build(sources="drums", sample_rate=22050, **SMALL)
    for models in ([], [small_model, small_model], [small_model, other]):
        with pytest.raises(SettingsError, match="received"):
            keras_mmdense.separate(models, music(100), 44100)
    with pytest.raises(SettingsError, match="window_frames"):
        keras_mmdense.separate(small_model, music(100), 44100, window_frames=0)
    with pytest.raises(SettingsError, match="progress must be True, False, None"):
        keras_mmdense.separate(small_model, music(100), 44100, progress="bar")
    with pytest.raises(AudioError, match="sample rate must be a whole number"):
        keras_mmdense.separate(small_model, music(100), 0)


def test_models_may_see_different_bins_and_grids():
    """Each keeps its own context, 38 frames on a grid of 2 and 18 on one of 4, and its bins."""
    tiny = {"growth_rate": 2, "num_layers": 1, "final_growth_rate": 2, "n_fft": 128, "head": "mask"}
    models = [
        keras_mmdense.build("mdensenet", "a", bins=64, scales=1, final_kernel_size=(59, 1), **tiny),
        keras_mmdense.build("mdensenet", "b", bins=32, scales=2, **tiny),
    ]
    for seed, model in enumerate(models):
        disturb(model, seed)
    audio = music(64 * 300)
    together = keras_mmdense.separate(models, audio, 44100)
    for model in models:
        for source, stem in keras_mmdense.separate(model, audio, 44100).items():
            np.testing.assert_allclose(together[source], stem, atol=1e-5)
            assert np.abs(stem).max() > 0.01
    filtered = keras_mmdense.separate(models, audio, 44100, wiener=1)
    np.testing.assert_allclose(sum(filtered.values()), audio, atol=1e-5)


def test_a_stream_of_blocks_gives_the_same_in_fixed_memory(small_model):
    separator = Separator(KerasNetwork([small_model], window_frames=64))
    audio = music(64 * 700)
    expected = keras_mmdense.separate(small_model, audio, 44100)
    stream = separator.stream(np.array_split(audio, 7), 44100, channels=2)
    stems = [block["vocals"] for block in stream]
    np.testing.assert_allclose(np.concatenate(stems), expected["vocals"], atol=1e-5)
    assert max(map(len, stems)) <= 64 * 64
    assert separator.engine.startswith("keras 3.")
