"""Training sets: what a batch holds, that targets are the sources, epochs and their repetition."""

import keras
import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.signal.stft import analyze

import keras_mmdense
from keras_mmdense.band import Band
from keras_mmdense.data import DatasetError, open_dataset, training_set, validation_set
from keras_mmdense.data.mixing import ExcerptSampler, Mixing
from keras_mmdense.data.pipeline import measure_waiting
from keras_mmdense.data.read_ahead import ReadAhead
from keras_mmdense.settings import Settings

ALL = ("bass", "drums", "other", "vocals")
BINS, EXCERPT = 256, 7 * 256 + 512  # samples of 8 frames


def settings(sources=ALL, **options):
    transform = keras_mmdense.Transform(2 * BINS, BINS)
    return Settings(sources, (Band("full"),), bins=BINS, transform=transform, **options)


def magnitude(audio):
    return np.abs(analyze(audio, settings().transform))[:, :BINS]


def mixed(example):
    """Return the sources of an example of 16-bit stems, without effects: (sources, samples, 2)."""
    stems = np.einsum("sct,snt->snc", example["channel_mix"], example["stems"] / np.float32(32768))
    return stems * example["level"]


def test_a_batch_is_the_spectrum_of_the_excerpts(tracks):
    """The mixture is the sum of the sources and each target is its own source, not the mixture."""
    data = training_set(tracks, settings(), frames=8, batch_size=24, examples=24, seed=4)
    mixture, targets = next(iter(data))
    sampler = ExcerptSampler(tracks, EXCERPT, seed=4)
    examples = [sampler(number) for number in range(24)]
    numbers = [0, 1, next(n for n, one in enumerate(examples) if one["offset"].any())]
    assert len({tuple(examples[n]["level"]) for n in numbers}) > 1
    for example in numbers:
        stems = mixed(examples[example])
        offset = examples[example]["level"] * examples[example]["offset"]
        np.testing.assert_allclose(mixture[example], magnitude(stems.sum(0) + offset), atol=1e-4)
        for source, stem in zip(ALL, stems, strict=True):
            np.testing.assert_allclose(targets[source][example], magnitude(stem), atol=1e-4)
            assert np.abs(targets[source][example] - mixture[example]).max() > 1


def test_every_epoch_is_new_and_the_run_repeats(tracks):
    def epochs(count=3, **options):
        data = training_set(tracks, settings(), frames=8, batch_size=2, examples=4, **options)
        return [[x.numpy() for x, _ in data] for _ in range(count)]

    first, again = epochs(), epochs()
    assert [len(epoch) for epoch in first] == [2, 2, 2]
    examples = [example.tobytes() for epoch in first for batch in epoch for example in batch]
    assert len(set(examples)) == len(examples) == 12
    for number, (a, b) in enumerate(zip(first, again, strict=True)):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, epochs(1, epoch=number)[0])
    (rest,) = epochs(1, epoch=1, first_step=1)
    np.testing.assert_array_equal(rest, first[1][1:])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], epochs(1, seed=1)[0])


def test_the_length_of_an_epoch(tracks):
    data = training_set(tracks, settings(), frames=8, batch_size=4)
    examples = sum(track.num_samples for track in tracks) // EXCERPT
    assert len(list(data)) == len(data) == -(-examples // 4)
    assert len(training_set(tracks, settings(), frames=8, batch_size=4, examples=5)) == 2


def test_accompaniment_is_all_but_the_vocals_and_one_source_of_many(tracks):
    mixing = Mixing(gain=(1, 1), swap=False, pan=0, balance=0)
    s = settings(("accompaniment", "drums"))
    _, two = next(iter(training_set(tracks, s, frames=8, batch_size=1, mixing=mixing)))
    stems = mixed(ExcerptSampler(tracks, EXCERPT, mixing=mixing)(0))
    assert list(two) == ["accompaniment", "drums"]
    np.testing.assert_allclose(two["accompaniment"][0], magnitude(stems[:3].sum(0)), atol=1e-3)
    np.testing.assert_allclose(two["drums"][0], magnitude(stems[1]), atol=1e-3)


def test_validation_is_fixed_and_covers_the_track(tracks):
    data = validation_set(tracks, settings(), frames=8, batch_size=4, excerpts_per_track=3)
    first, second = ([x.numpy() for x, _ in data] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(tracks) == 3  # so there are four of each: all batches are full
    assert [len(x) for x in first] == [4, 4, 4]
    last = tracks[0].read("mixture", tracks[0].num_samples - EXCERPT, EXCERPT)
    np.testing.assert_allclose(first[0][3], magnitude(last), atol=1e-2)


def test_silence_gives_finite_batches(tmp_path):
    (tmp_path / "song").mkdir()
    for source in ALL:
        sf.write(tmp_path / "song" / f"{source}.wav", np.zeros((9000, 2), np.int16), 44100)
    mixture, targets = next(
        iter(training_set(open_dataset(tmp_path), settings(), frames=8, mixing=Mixing(offset=0)))
    )
    assert not mixture.numpy().any()
    assert not any(target.numpy().any() for target in targets.values())


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, {"frames": 12}, "2\\*\\*scales = 8"),
        ({}, {"frames": 0}, "2\\*\\*scales = 8; received 0"),
        ({}, {"batch_size": 0}, "batch_size"),
        ({"frames": 16}, {"frames": 8}, "frames must be 16; received 8. Try 16"),
        ({"sources": ("piano",)}, {}, "piano"),
        ({"sample_rate": 22050}, {}, "22050"),
        ({}, {"target": "phase"}, "in_phase; received 'phase'"),
        ({}, {"tracks": []}, "received 'none'"),
    ],
)
def test_what_does_not_fit_is_refused(tracks, changes, options, words):
    for make in (training_set, validation_set):
        with pytest.raises(DatasetError, match=words):
            make(**{"tracks": tracks, "model": settings(**changes), "frames": 8} | options)


def test_waiting_is_counted_and_the_data_stay_the_same(tracks):
    plain = training_set(tracks, settings(), frames=8, batch_size=2, examples=4, epoch=0)
    measured, seconds = measure_waiting(plain)
    for (x, _), (again, _) in zip(plain, measured, strict=True):
        np.testing.assert_array_equal(x, again)
    assert float(seconds) > 0  # an empty buffer at the start
    assert len(measured) == len(plain)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("mixes", [False, True])
def test_other_backends_get_the_same_batches(mixes, tracks, monkeypatch):
    model = keras_mmdense.build_from_settings(settings(frames=8))
    model = keras_mmdense.TrainingModel(model, frames=8) if mixes else model
    options = {"frames": 8, "batch_size": 2, "examples": 6}
    options["mixing"] = Mixing(equalizer=3, speed=0.1, width=0.5)
    expected = training_set(tracks, model, **options)
    expected = [list(expected), list(expected)]  # two epochs
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    found = training_set(tracks, model, **options)
    assert isinstance(found, ReadAhead)
    assert len(found) == 3
    found.on_epoch_begin()
    keras.tree.map_structure(assert_close, found[2], expected[0][0])  # whatever the index
    for epoch in expected:
        found.on_epoch_begin()  # Keras may have read a batch or two before
        for step, batch in enumerate(epoch):
            keras.tree.map_structure(assert_close, found[step], batch)
    assert found.waited > 0


@pytest.mark.parametrize("mixing", [Mixing(), Mixing(equalizer=3, speed=0.2, width=0.5)])
def test_songs_that_rest_on_the_device_give_the_same_examples(mixing, tracks):
    model = keras_mmdense.build_from_settings(settings())
    trainer = keras_mmdense.TrainingModel(model, frames=8)
    options = {"batch_size": 3, "examples": 6, "mixing": mixing, "epoch": 0}
    plain = training_set(tracks, trainer, **options)
    resident = training_set(tracks, trainer, **options, resident=True)
    for batch, chosen in zip(plain, resident, strict=True):
        assert "stems" not in chosen
        keras.tree.map_structure(assert_close, trainer(chosen), trainer(batch))
    held, _ = trainer.hold(tracks, EXCERPT)
    assert trainer.hold(tracks, EXCERPT)[0] is held
    assert not [v for v in trainer.variables if v.shape == held.shape]
    with pytest.raises(DatasetError, match="must be a TrainingModel"):
        training_set(tracks, model, frames=8, resident=True)
    # what is there stays, although it takes memory; without an accelerator nothing is put there
    assert "starts" in next(iter(training_set(tracks, trainer, resident="auto")))
    other = keras_mmdense.TrainingModel(model, frames=8)
    assert "stems" in next(iter(training_set(tracks, other, resident="auto")))
    assert len(next(iter(training_set(tracks, model, frames=8, resident="auto")))) == 2


def test_a_training_model_has_its_own_frames_and_target(tracks):
    model = keras_mmdense.build_from_settings(settings())
    trainer = keras_mmdense.TrainingModel(model, frames=16, target="in_phase")
    batch = next(iter(training_set(tracks, trainer, batch_size=1)))
    assert batch["stems"].shape[2] == 15 * 256 + 512
    for wrong in ({"frames": 8}, {"target": "magnitude"}):
        with pytest.raises(DatasetError, match="must be the TrainingModel's"):
            training_set(tracks, trainer, **wrong)


def test_the_target_in_phase_with_the_mixture(tracks):
    """Its squared error is that of the complex estimate, but for what no mask can reach."""
    options = {"frames": 8, "batch_size": 1, "examples": 1, "seed": 4, "target": "in_phase"}
    mixture, targets = next(iter(training_set(tracks, settings(), **options)))
    stems = mixed(ExcerptSampler(tracks, EXCERPT, seed=4)(0))
    transform = settings().transform
    mixture_spectrum = analyze(stems.sum(0), transform)[:, :BINS]
    estimate = 0.7 * mixture[0].numpy()
    for source, stem in zip(ALL, stems, strict=True):
        spectrum = analyze(stem, transform)[:, :BINS]
        turned = spectrum * np.exp(-1j * np.angle(mixture_spectrum))
        np.testing.assert_allclose(targets[source][0], turned.real, atol=1e-3)
        error = np.abs(spectrum - 0.7 * mixture_spectrum) ** 2
        along = (estimate - targets[source][0].numpy()) ** 2
        np.testing.assert_allclose(error, along + turned.imag**2, rtol=1e-3, atol=1e-2)
    assert min(target.numpy().min() for target in targets.values()) < 0
