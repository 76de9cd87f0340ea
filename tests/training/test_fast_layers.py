"""Fast layers give what Keras' own give: outputs, gradients, moving averages, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.layers import Conv2D
from runs import MODEL
from small import disturb

import keras_mmdense
from training.train import fast_layers, trainer
from training.train.fast_layers import (
    has_avx512,
    is_fast,
    kernel_gradient,
    moments,
    normalize,
    speed_up,
)
from training.train.recipe import Recipe

small = st.integers(1, 6)


@settings(deadline=None, max_examples=40)
@given(small, small, small, small, small, st.tuples(small, small))
def test_the_kernels_gradient_is_tensorflows_own(batch, frames, bins, channels, maps, size):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((batch, frames, bins, channels)).astype(np.float32)
    upstream = rng.standard_normal((batch, frames, bins, maps)).astype(np.float32)
    found = kernel_gradient(tf.constant(inputs), tf.constant(upstream), size)
    own = tf.raw_ops.Conv2DBackpropFilter(
        input=inputs,
        filter_sizes=[*size, channels, maps],
        out_backprop=upstream,
        strides=[1] * 4,
        padding="SAME",
    )
    np.testing.assert_allclose(found, own, atol=1e-4)


# maps of whole vectors, and such that 2, 4, 8 and 16 bins are folded; bins that cannot be
@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([1, 6, 16]),
    st.sampled_from([1, 6, 8, 12, 16]),
    st.sampled_from(["float32", "bfloat16"]),
    st.booleans(),
)
def test_normalizing_is_the_definition_in_double_precision(
    batch, frames, bins, maps, dtype, rectify
):
    rng = np.random.default_rng(0)
    shape = (batch, frames, bins, maps)
    x, upstream = (tf.cast(2 + 3 * rng.standard_normal(shape), dtype) for _ in range(2))
    scale, offset = (tf.constant(rng.uniform(0.5, 2, maps), tf.float32) for _ in range(2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, scale, offset])
        mean, variance = moments(x)
        outputs = normalize(x, mean, variance, scale, offset, 1e-3, rectify)
    found = [outputs, mean, variance, *tape.gradient(outputs, [x, scale, offset], upstream)]
    x, g, scale = (np.asarray(value, np.float64) for value in (x, upstream, scale))
    if rectify:
        g = g * (np.asarray(outputs, np.float64) > 0)
    axes = (0, 1, 2)
    deviation = np.sqrt(x.var(axes) + 1e-3)
    normal = (x - x.mean(axes)) / deviation
    centered = g - g.mean(axes) - normal * (g * normal).mean(axes)
    y = normal * scale + offset
    expected = [np.maximum(y, 0) if rectify else y, x.mean(axes), x.var(axes)]
    expected += [scale / deviation * centered]
    expected += [(g * normal).sum(axes), g.sum(axes)]
    assert outputs.dtype == found[3].dtype == dtype
    for one, value in zip(expected, found, strict=True):
        rounding = 1e-2 if value.dtype == tf.bfloat16 else 1e-4
        bound = rounding * (1 + np.abs(one).max() + np.abs(scale / deviation * g).max())
        np.testing.assert_allclose(np.asarray(value, np.float64), one, atol=bound)


@pytest.fixture(scope="module", params=[False, True], ids=["avx2", "avx512"])
def twins(request):
    """The same model twice, the second sped up for one kind of processor."""
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        models.append(keras_mmdense.build(**MODEL | {"sources": ["bass"], "num_layers": 2}))
        disturb(models[-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_layers, "has_avx512", lambda: request.param)
        count = speed_up(models[1])
    kinds = {type(layer) for layer in models[1].layers if is_fast(layer)}
    layers = keras.layers
    assert kinds == {layers.BatchNormalization, layers.Concatenate, Conv2D, layers.ReLU}
    assert count > len(kinds)
    return models


def gradients(model, inputs):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(inputs, training=True)["bass"] - inputs / 2))
    return tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("compiled", [False, True])
def test_all_gradients_and_moving_averages_of_a_model_are_the_same(twins, compiled):
    inputs = tf.constant(np.random.default_rng(1).rayleigh(size=(2, 16, 64, 2)).astype(np.float32))
    run = tf.function(gradients) if compiled else gradients
    plain, fast = (run(model, inputs) + model.non_trainable_variables for model in twins)
    names = twins[0].trainable_variables + twins[0].non_trainable_variables
    for name, a, b in zip(names, plain, fast, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5, err_msg=name.path)


def test_what_the_model_gives_and_what_its_file_holds_stay_the_same(twins, tmp_path):
    inputs = np.random.default_rng(1).rayleigh(size=(1, 16, 64, 2)).astype(np.float32)
    twins[1].set_weights(twins[0].get_weights())
    plain, fast = (model.predict(inputs, verbose=0)["bass"] for model in twins)
    np.testing.assert_array_equal(fast, plain)
    twins[1].save(tmp_path / "fast.keras")
    loaded = keras.saving.load_model(tmp_path / "fast.keras")
    assert not any(is_fast(layer) for layer in loaded.layers)
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0)["bass"], plain)


def model_of(layer):
    inputs = keras.Input((8, 8, 4))
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize(
    ("kind", "options", "other"),
    [
        *(
            (Conv2D, {"filters": 4, "kernel_size": 3, "padding": "same"}, other)
            for other in (
                {"strides": 2}, {"dilation_rate": 2}, {"padding": "valid"}, {"groups": 2},
                {"dtype": "float16"},
            )
        ),
        *(
            (keras.layers.BatchNormalization, {}, other)
            for other in (
                {"synchronized": True}, {"renorm": True}, {"axis": 1}, {"dtype": "float16"},
            )
        ),
        *(
            (keras.layers.ReLU, {}, other)
            for other in ({"max_value": 6}, {"negative_slope": 0.1}, {"threshold": 1})
        ),
    ],
)  # fmt: skip
def test_other_layers_are_left_alone_and_fast_ones_stay(kind, options, other):
    assert speed_up(model_of(kind(**options | other))) == 0
    model = model_of(kind(**options))
    assert speed_up(model) == 1
    once = dict(vars(model.layers[1]))
    assert speed_up(model) == 1
    assert vars(model.layers[1]) == once


@pytest.mark.parametrize(
    ("options", "avx512", "count"),
    [
        ({}, False, 1), ({}, True, 0), ({"kernel_size": 1}, False, 0), ({"filters": 5}, False, 0),
        ({"dtype": "mixed_bfloat16"}, False, 0),
    ],
)  # fmt: skip
def test_the_kernels_gradient_is_a_product_where_that_is_faster(
    options, avx512, count, monkeypatch
):
    calls = []

    def counted(*args):
        calls.append(args)
        return kernel_gradient(*args)

    monkeypatch.setattr(fast_layers, "has_avx512", lambda: avx512)
    monkeypatch.setattr(fast_layers, "kernel_gradient", counted)
    model = model_of(Conv2D(**{"filters": 4, "kernel_size": 3, "padding": "same"} | options))
    assert speed_up(model) == 1
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.ones((1, 8, 8, 4))))
    tape.gradient(loss, model.trainable_variables)
    assert len(calls) == count


def dense_layers():
    """A model whose maps several layers read, with ReLU and without, alone and concatenated."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 4))
    first = layers.BatchNormalization(name="first")(inputs)
    x = layers.ReLU()(first)
    beside = layers.Concatenate(2)([inputs, x])
    both = layers.Concatenate(-1)([inputs, x])
    normal = layers.BatchNormalization()(both)
    all_maps = layers.Concatenate(3)([both, layers.ReLU()(normal)])
    last = layers.ReLU()(layers.BatchNormalization()(all_maps))
    outputs = [first, normal, last, layers.BatchNormalization()(beside)]
    for number, y in enumerate((last, both, beside, x)):
        outputs.append(layers.Conv2D(3 + number, (3, 4), padding="same")(y))
    return keras.Model(inputs, outputs)


def test_shared_moments_and_rectified_outputs_reach_all_that_reads_them():
    keras.utils.set_random_seed(0)
    plain, fast = dense_layers(), dense_layers()
    fast.set_weights(plain.get_weights())
    speed_up(fast)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (2, 8, 8, 4)).astype(np.float32))
    found = []
    for model in (plain, fast):
        for _ in range(2):  # of the same tensor: nothing is kept of the first call
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = model(x, training=True)
                loss = sum(tf.reduce_sum(tf.sin(3 * y)) for y in outputs)
        slopes = tape.gradient(loss, [x, *model.trainable_variables])
        found.append([*outputs, *slopes, *model.non_trainable_variables])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3)


def test_each_maps_moments_are_computed_once(monkeypatch):
    model = dense_layers()
    speed_up(model)
    maps = []
    monkeypatch.setattr(fast_layers, "moments", lambda x: maps.append(x.shape[3]) or moments(x))
    model(tf.zeros((1, 8, 8, 4)), training=True)
    assert maps == [4] * 5  # instead of 4, 8, 16 and 4


def test_a_fast_layer_works_outside_its_model():
    model = dense_layers()
    speed_up(model)
    part = keras.Model(model.inputs, model.get_layer("first").output)
    inputs = tf.random.normal((2, 8, 8, 4))
    found = []
    for called in (part, lambda x, **options: model(x, **options)[0], part):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = called(inputs, training=True)
            loss = tf.reduce_sum(tf.sin(outputs))
        found.append((outputs, tape.gradient(loss, inputs)))
    for outputs, slopes in found[:2]:
        np.testing.assert_array_equal(outputs, found[2][0])
        np.testing.assert_allclose(slopes, found[2][1], atol=1e-5)


@pytest.mark.parametrize("state", ["frozen", "inference", "training"])
@pytest.mark.parametrize("options", [{}, {"scale": False, "center": False, "momentum": 0.5}])
def test_a_normalization_uses_and_moves_its_averages_as_keras_own(state, options):
    plain, fast = (model_of(keras.layers.BatchNormalization(**options)) for _ in range(2))
    speed_up(fast)
    inputs = np.random.default_rng(0).normal(3, 2, (2, 8, 8, 4)).astype(np.float32)
    for model in (plain, fast):
        model.trainable = state != "frozen"
    outputs = [model(inputs, training=state != "inference") for model in (plain, fast)]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    for a, b in zip(plain.weights, fast.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("flags", ["fpu avx2", "fpu avx2 avx512f avx512dq"])
def test_avx512_is_read_from_the_processors_flags(flags, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert has_avx512(tmp_path / "cpuinfo") == ("avx512f" in flags)
    assert not has_avx512(tmp_path / "none")


@pytest.mark.parametrize("has_gpu", [False, True])
def test_the_trainer_speeds_up_on_cpus_alone(has_gpu, tracks, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "has_accelerator", lambda: has_gpu)
    recipe = Recipe("test", model=MODEL, frames=8, batch_size=1, examples=1)
    model = trainer.Trainer(recipe, tracks, tracks, tmp_path).model
    assert any(is_fast(layer) for layer in model.layers) == (not has_gpu)
