"""A step from waveforms: the loss is that of the model on its own spectrograms."""

import keras
import numpy as np
import pytest
from small import SMALL

import keras_mmdense
from keras_mmdense.data import Mixing, training_set, validation_set
from keras_mmdense.data.augmentation import mix
from keras_mmdense.errors import SettingsError


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_it_learns_what_the_model_alone_learns(tracks):
    """After two steps, both have the same losses and weights."""
    mixing = Mixing(equalizer=3, speed=0.1, width=0.5, level=(0, 0))
    options = {"batch_size": 2, "examples": 4, "mixing": mixing, "epoch": 0}
    results = []
    for wrapped in (False, True):
        keras.utils.set_random_seed(0)
        model = keras_mmdense.build("mdensenet", ("bass", "vocals"), head="mask", **SMALL)
        fitted = keras_mmdense.TrainingModel(model, frames=32) if wrapped else model
        fitted.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        frames = {} if wrapped else {"frames": 32}
        valid = validation_set(tracks, fitted, batch_size=2, excerpts_per_track=1, **frames)
        data = training_set(tracks, fitted, **options, **frames)
        history = fitted.fit(data, validation_data=valid, shuffle=False, verbose=0).history
        results.append((history, model.get_weights()))
    (alone, plain), (together, trained) = results
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        assert together[name] == pytest.approx(value, rel=1e-4), name
    for x, y in zip(plain, trained, strict=True):
        np.testing.assert_allclose(y, x, atol=1e-4)


def test_the_level_of_a_mixture_does_not_change_the_loss(tracks):
    """The network sees the quiet mixture; estimates and targets are compared at the old level."""
    model = keras_mmdense.build("mdensenet", ("bass", "vocals"), head="mask", **SMALL)
    trainer = keras_mmdense.TrainingModel(model, frames=32)
    batch = next(iter(training_set(tracks, trainer, batch_size=2, mixing=Mixing(offset=0))))
    loud, quiet = (
        keras.tree.map_structure(keras.ops.convert_to_numpy, trainer(batch | {"level": level}))
        for level in (np.ones((2, 2), "float32"), np.array([[0.5] * 2, [0.01] * 2], "float32"))
    )
    for source in ("bass", "vocals"):
        targets = loud["targets"][source], quiet["targets"][source]
        np.testing.assert_allclose(*targets, rtol=1e-4, atol=1e-4)
        estimates = loud["estimates"][source], quiet["estimates"][source]
        assert np.abs(np.subtract(*estimates)).max() > 1e-3  # of another input
        ratio = np.linalg.norm(estimates[0]) / np.linalg.norm(estimates[1])
        assert ratio == pytest.approx(1, abs=0.5)


def test_targets_are_averaged_with_what_teachers_make_of_the_unchanged_mixture(tracks):
    """The model sees one channel and an offset; the teachers see the mixture as it was."""
    form = ("mdensenet", ("bass", "vocals"))
    model, *teachers = (keras_mmdense.build(*form, head="mask", **SMALL) for _ in range(3))
    alone, taught = (
        keras_mmdense.TrainingModel(model, frames=32, teachers=others, teacher_share=0.25)
        for others in ((), teachers)
    )
    assert taught.trainable_weights == model.trainable_weights
    batch = next(iter(training_set(tracks, alone, batch_size=2, mixing=Mixing(offset=0.3))))
    plain = {name: batch[name] for name in batch if name not in ("level", "offset")}
    changed = batch | {"level": np.array([[0.5, 0], [0.1, 0.1]], "float32")}
    heard = mix(plain, alone.settings, 32)[0]
    told = [teacher(heard, training=False) for teacher in teachers]
    for training, share in ((True, 0.25), (False, 0)):
        own, mixed = (trainer(changed, training=training) for trainer in (alone, taught))
        for source in ("bass", "vocals"):
            unit = np.array([[1, 0], [1, 1]])[:, None, None]
            expected = (1 - share) * to_numpy(own["targets"][source])
            expected += share * unit * np.mean([to_numpy(one[source]) for one in told], axis=0)
            np.testing.assert_allclose(
                to_numpy(mixed["targets"][source]), expected, rtol=1e-3, atol=1e-3
            )
    with pytest.raises(SettingsError, match="a teacher must have the model's form"):
        keras_mmdense.TrainingModel(model, 32, teachers=[keras_mmdense.build(*form, bins=32)])
    with pytest.raises(SettingsError, match="teacher_share must be 0 to 1"):
        keras_mmdense.TrainingModel(model, 32, teacher_share=1.5)


def test_a_target_in_phase_may_oppose_the_mixture(tracks):
    model = keras_mmdense.build("mdensenet", ("bass", "vocals"), head="mask", **SMALL)
    trainer = keras_mmdense.TrainingModel(model, frames=32, target="in_phase")
    results = trainer(next(iter(training_set(tracks, trainer, batch_size=1))))
    results = keras.tree.map_structure(keras.ops.convert_to_numpy, results)
    assert np.min(results["targets"]["bass"]) < 0
