"""The Wiener filter beside norbert, and in separate(); its laws are in tests/edge."""

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from mmdense_edge import Separator
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.spectrogram import stft
from keras_mmdense.wiener import WienerFilter, filter_spectra

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def norbert():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # norbert imports SciPy from where it was in 2019
        import norbert
    return norbert


def random_spectra(channels, sources):
    """Noise of very different levels; estimates that have nothing to do with each other."""
    rng = np.random.default_rng(4)
    shape = (60, 20, channels)
    levels = np.exp(rng.standard_normal((60, 20, 1)))
    mixture = levels * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    return mixture, np.abs(mixture) * rng.gamma(1, 0.5, (sources, *shape))


def music_spectra(channels, sources):
    """Decaying tones, each source with notes and a place of its own; estimates with errors."""
    rng = np.random.default_rng(5)
    time = np.arange(60000) / 44100
    songs = np.zeros((sources, len(time), channels), np.float32)
    for song in songs:
        place = rng.uniform(0.2, 1, channels)
        for onset in np.arange(0, time[-1], 0.17):
            hertz = 110 * 2 ** (rng.integers(0, 36) / 12)
            after = np.clip(time - onset, 0, None)
            note = np.exp(-8 * after) * (time > onset)
            wave = sum(np.sin(2 * np.pi * hertz * k * after) / k for k in (1, 2, 3, 4))
            song += 0.1 * (note * wave)[:, None] * place + 1e-4 * rng.standard_normal(song.shape)
    parts = np.stack([stft(song) for song in songs]).astype(np.complex128)
    mixture = parts.sum(axis=0)
    return mixture, np.abs(parts) * rng.uniform(0.7, 1.3, parts.shape)


def with_phase(magnitudes, mixture):
    return magnitudes * np.exp(1j * np.angle(mixture))


def reference(norbert, mixture, magnitudes, iterations):
    """Norbert with hardly any noise of its own; it changes the mixture that it is given."""
    result = norbert.wiener(
        np.moveaxis(magnitudes, 0, -1), mixture.copy(), iterations, use_softmask=False, eps=1e-28
    )
    return np.moveaxis(result, -1, 0)


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("spectra", [random_spectra, music_spectra])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_it_agrees_with_norbert(norbert, spectra, channels, iterations):
    mixture, magnitudes = spectra(channels, 3)
    expected = reference(norbert, mixture, magnitudes, iterations)
    estimates = with_phase(magnitudes, mixture)
    assert distance(filter_spectra(mixture, estimates, iterations), expected) < 2e-5
    single = [part.astype(np.complex64) for part in (mixture, estimates)]
    assert distance(filter_spectra(*single, iterations), expected) < 2e-5
    assert distance(estimates, expected) > 0.05


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_it_agrees_with_norbert_where_a_rest_enters(norbert, channels, iterations):
    mixture, magnitudes = music_spectra(channels, 3)
    rest = np.maximum(np.abs(mixture) - magnitudes[0], 0)
    expected = reference(norbert, mixture, np.stack([magnitudes[0], rest]), iterations)[0]
    estimate = with_phase(magnitudes[0], mixture).astype(np.complex64)
    stage = WienerFilter(iterations)
    blocks = [
        *stage.push(mixture.astype(np.complex64), {"vocals": estimate}),
        *stage.finish(),
    ]
    assert [list(block) for block in blocks] == [["vocals"]]
    assert distance(blocks[0]["vocals"], expected) < 2e-5


def test_the_library_and_the_runner_have_the_same_filter():
    own, runner = (ROOT / folder / "wiener.py" for folder in ("keras_mmdense", "edge/mmdense_edge"))
    assert own.read_text("utf-8") == runner.read_text("utf-8")


def noise(length, channels=2):
    rng = np.random.default_rng(6)
    return (0.1 * rng.standard_normal((length, channels))).astype(np.float32)


@pytest.mark.parametrize("window_frames", [None, 64])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_stems_add_up(small_model, channels, window_frames):
    audio = noise(64 * 500 + 5, channels)
    kept = audio.copy()
    stems = keras_mmdense.separate(small_model, audio, 44100, wiener=1, window_frames=window_frames)
    assert list(stems) == ["bass", "vocals"]
    assert all(stem.shape == audio.shape for stem in stems.values())
    np.testing.assert_allclose(sum(stems.values()), audio, atol=1e-6)
    np.testing.assert_array_equal(audio, kept)
    plain = keras_mmdense.separate(small_model, audio, 44100)
    assert np.abs(sum(plain.values()) - audio).max() > 0.01


def test_windows_of_the_network_make_no_difference(small_model):
    audio = noise(64 * 500)
    stems = [
        keras_mmdense.separate(small_model, audio, 44100, wiener=2, window_frames=window)
        for window in (None, 24)
    ]
    assert np.abs(stems[0]["bass"] - stems[1]["bass"]).max() < 1e-5


def test_silence_stays_silent(small_model):
    for audio in (np.zeros((5000, 2)), np.zeros(5000)):
        stems = keras_mmdense.separate(small_model, audio, 44100, residual=True, wiener=3)
        assert all((stem == 0).all() for stem in stems.values())


def test_the_sources_of_several_models_are_filtered_together():
    models = [keras_mmdense.build(sources=source, **SMALL) for source in ("bass", "vocals")]
    for seed, model in enumerate(models):
        disturb(model, seed)
    audio, seen = noise(64 * 300), []
    stems = keras_mmdense.separate(models, audio, 44100, wiener=1, progress=seen.append)
    # magnitudes without a bound, unlike masks, may be far from the mixture's and round more
    np.testing.assert_allclose(sum(stems.values()), audio, atol=1e-5)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_single_source_gives_one_stem_and_the_residual_the_rest():
    model = keras_mmdense.build(**SMALL)
    disturb(model)
    audio = noise(20000)
    one = keras_mmdense.separate(model, audio, 44100, wiener=1)
    two = keras_mmdense.separate(model, audio, 44100, wiener=1, residual=True)
    assert (list(one), list(two)) == (["vocals"], ["vocals", "residual"])
    np.testing.assert_array_equal(one["vocals"], two["vocals"])
    np.testing.assert_allclose(sum(two.values()), audio, atol=1e-6)


@pytest.mark.parametrize("wiener", [-1, 11, 0.5, None])
def test_iterations_are_checked(small_model, wiener):
    with pytest.raises(SettingsError, match=f"0 to 10 iterations; received {wiener}"):
        keras_mmdense.separate(small_model, noise(100), 44100, wiener=wiener)


@pytest.mark.parametrize(
    ("sources", "head", "channels"),
    [(("bass", "vocals"), "mask", 2), (("vocals",), "magnitude", 1)],
)
def test_library_and_runner_agree(tmp_path, sources, head, channels):
    keras.utils.set_random_seed(0)  # some weights give an estimate of nothing
    model = keras_mmdense.build(
        sources=sources, shared=True, head=head, scales=1, channels=channels, **SMALL
    )
    disturb(model)
    keras_mmdense.annotate(model, licence="CC0-1.0", training_data="noise")
    keras_mmdense.export(model, tmp_path / "model.tflite", window_frames=32)
    separator = Separator(tmp_path / "model.tflite")
    for audio, rate in (noise(40001), 44100), (noise(20000, 1), 48000):
        expected = keras_mmdense.separate(model, audio, rate, residual=True, wiener=2)
        found = separator.separate(audio, rate, residual=True, wiener=2)
        plain = separator.separate(audio, rate, residual=True)
        assert list(found) == list(expected)
        for source, stem in expected.items():
            assert np.abs(found[source] - stem).max() < 1e-3 * np.abs(audio).max()
            assert np.abs(found[source] - plain[source]).max() > 1e-2 * np.abs(audio).max()
