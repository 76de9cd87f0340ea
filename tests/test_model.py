"""build(): the graph against the paper's table, its options, its names."""

import math

import keras
import numpy as np
import pytest
from small import SMALL

import keras_mmdense
from keras_mmdense import Band

# arXiv 1706.09588, Table 1: band -> (first kernel, maps), (growth, layers) of dense1..dense7
TABLE = {
    "mdensenet": {"full": (((3, 4), 32), [(12, 4)] * 7)},
    "mmdensenet": {
        "low": (((3, 4), 32), [(14, 4)] + [(16, 4)] * 6),
        "high": (((3, 3), 32), [(10, 3)] * 6 + [(16, 3)]),
        "full": (((3, 4), 32), [(6, 2)] * 3 + [(6, 4)] + [(6, 2)] * 3),
    },
}


NORM = keras.layers.BatchNormalization
CONV = keras.layers.Conv2D | keras.layers.Conv2DTranspose


def trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def dense_layers(model, block):
    """The convolutions of a block: (kernel, maps read, maps made) in order."""
    found = []
    while f"{block}_layer{len(found) + 1}_conv" in {layer.name for layer in model.layers}:
        kernel = model.get_layer(f"{block}_layer{len(found) + 1}_conv").kernel
        found.append((tuple(kernel.shape[:2]), *kernel.shape[2:]))
    return found


@pytest.mark.parametrize("preset", TABLE)
def test_the_graph_is_the_paper_s_table(preset):
    model = keras_mmdense.build(preset)
    for band, ((kernel, maps), blocks) in TABLE[preset].items():
        first = model.get_layer(f"{band}_first_conv").kernel.shape
        assert tuple(first) == (*kernel, 2, maps)
        skips, read = [], maps
        for index, (growth, layers) in enumerate(blocks):
            if index > 3:
                assert tuple(model.get_layer(f"{band}_up{index + 1}_conv").kernel.shape) == (
                    2,
                    2,
                    read,
                    read,
                )
                read += skips.pop()
            expected = [((3, 3), read + i * growth, growth) for i in range(layers)]
            assert dense_layers(model, f"{band}_dense{index + 1}") == expected
            read = growth
            if index < 3:
                skips.append(growth)
    joined = {"mdensenet": 12, "mmdensenet": 16 + 6}[preset]
    assert dense_layers(model, "final_dense") == [((3, 3), joined, 4), ((3, 3), joined + 4, 4)]
    assert tuple(model.get_layer("final_conv").kernel.shape) == (1, 2, 4, 2)


@pytest.mark.parametrize("preset", TABLE)
def test_where_the_normalisations_are(preset):
    model = keras_mmdense.build(preset)
    norms = {layer.name for layer in model.layers if isinstance(layer, NORM)}
    convs = [layer.name for layer in model.layers if isinstance(layer, CONV)]
    dense_or_up = {n for n in convs if "_layer" in n or "_up" in n}
    assert len(dense_or_up) < len(convs)
    assert norms == {name.replace("_conv", "_norm") for name in dense_or_up}
    assert all(model.get_layer(n).use_bias for n in convs)


@pytest.mark.parametrize(
    ("options", "single", "multi"),
    [
        ({}, 121_102, 277_622),
        ({"bottleneck": True}, 207_134, 503_330),
        ({"block_output": "new"}, 292_658, 653_884),
        ({"block_output": "all"}, 3_604_082, 8_360_916),
    ],
)
def test_sizes_of_the_readings(options, single, multi):
    assert trainable(keras_mmdense.build("mdensenet", **options)) == single
    assert trainable(keras_mmdense.build("mmdensenet", **options)) == multi


def test_the_other_readings_of_the_table():
    high = keras_mmdense.build(growth_rate={"high": 10})
    assert dense_layers(high, "high_dense7")[0][2] == 10
    assert tuple(high.get_layer("high_match_conv").kernel.shape) == (1, 1, 10, 16)
    full = keras_mmdense.build(num_layers={"full": 2})
    assert len(dense_layers(full, "full_dense4")) == 2


def test_overrides_per_band_and_scale():
    model = keras_mmdense.build(
        bins=64,
        growth_rate={"low": (1, 2, 3, 4, 5, 6, 7)},
        num_layers=1,
        kernel_size={"full": ((3, 3),) * 3 + ((5, 1),) + ((3, 3),) * 3},
    )
    made = [dense_layers(model, f"low_dense{i}")[-1][2] for i in range(1, 8)]
    assert made == [1, 2, 3, 4, 5, 6, 7]
    assert dense_layers(model, "full_dense4")[0][0] == (5, 1)
    assert dense_layers(model, "full_dense3")[0][0] == (3, 3)


@pytest.mark.parametrize("scales", [0, 1, 2, 4])
def test_number_of_scales(scales, rng):
    model = keras_mmdense.build(scales=scales, **SMALL)
    settings = keras_mmdense.settings_of(model)
    assert settings.frame_multiple == 2**scales
    x = rng.random((1, 2**scales, 64, 2), np.float32)
    assert model.predict(x, verbose=0)["vocals"].shape == x.shape


def test_any_number_of_bands(rng):
    third = [
        Band(n, a, b, (2,) * 3, (1,) * 3)
        for n, a, b in [("low", 0, 0.25), ("mid", 0.25, 0.75), ("high", 0.75, 1)]
    ]
    model = keras_mmdense.build(bands=third, bins=64)
    assert model.get_layer("mid_crop").output.shape[2] == 32
    assert model.predict(rng.random((1, 4, 64, 2)), verbose=0)["vocals"].shape == (1, 4, 64, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"head": "magnitude"},
        {"head": "mask"},
        {"norm": "after"},
        {"pooling": "max"},
        {"block_output": "all", "bottleneck": True},
        {"channels": 1, "frames": 16},
    ],
)
def test_shapes_and_ranges(options, rng):
    model = keras_mmdense.build(sources=("a", "b"), scales=2, **SMALL | options)
    channels = options.get("channels", 2)
    x = rng.random((2, 16, 64, channels), np.float32)
    before = x.copy()
    outputs = model.predict(x, verbose=0)
    assert list(outputs) == ["a", "b"]
    for source, y in outputs.items():
        assert y.shape == x.shape
        assert (y >= 0).all()
        assert model.output[source].shape == (None, options.get("frames"), 64, channels)
    if options.get("head") == "mask":
        assert all((y <= x).all() for y in outputs.values())
    assert (x == before).all()


def test_one_network_per_source_or_one_for_all():
    both, shared, one = (
        keras_mmdense.build(sources=s, shared=sh, **SMALL)
        for s, sh in [(("a", "b"), False), (("a", "b"), True), ("a", False)]
    )
    assert trainable(both) == 2 * trainable(one)
    assert trainable(shared) == trainable(one) + 3 * 2 * 2 + 2  # one more final convolution
    assert {layer.name.split("_")[0] for layer in both.layers} >= {"a", "b"}


def test_norm_after_has_no_normalisation_before_a_convolution():
    model = keras_mmdense.build(norm="after", **SMALL)
    for layer in model.layers:
        if isinstance(layer, NORM):
            assert isinstance(layer._inbound_nodes[0].parent_nodes[0].operation, CONV)


def test_no_layer_can_have_the_name_of_an_output():
    """Every layer of every form ends in what sources must not end in."""
    from keras_mmdense.settings import _LAYER, RESERVED_NAMES

    forms = [{"head": "mask"},
             {"head": "magnitude", "growth_rate": {"high": 5}, "bottleneck": True},
             {"block_output": "all", "norm": "after", "pooling": "max"}]  # fmt: skip
    for form in forms:
        for layer in keras_mmdense.build(sources=("a", "b"), **SMALL | form).layers:
            taken = _LAYER.fullmatch(layer.name) or layer.name in RESERVED_NAMES
            assert taken or layer.name in ("a", "b")


def test_silence_gives_finite_values(small_model):
    x = np.zeros((1, 16, 64, 2), np.float32)
    assert all(np.isfinite(y).all() for y in small_model.predict(x, verbose=0).values())


def test_float16_policy_keeps_the_head_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras_mmdense.build(**SMALL)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output["vocals"].dtype == "float32"
    assert model.get_layer("final_conv").compute_dtype == "bfloat16"


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [None, 8])
def test_folded_bins_are_neighbours_and_unfold_in_their_places(channels, frames):
    options = {**SMALL, "channels": channels, "frames": frames, "shared": True, "norm": "after"}
    model = keras_mmdense.build(sources=("a", "b"), head="mask", fold=4, **options)
    first = model.get_layer("full_first_conv")
    assert first.input.shape[2:] == (16, 4 * channels)
    assert first.output.shape[2] == 16
    biases = np.linspace(-2, 2, 4 * channels, dtype="float32")
    last = model.get_layer("b_final_conv")
    last.set_weights([np.zeros_like(last.kernel), biases])
    mixture = np.random.default_rng(0).random((1, 8, 64, channels), dtype="float32")
    found = np.asarray(model(mixture)["b"]) / mixture
    expected = np.tile(1 / (1 + np.exp(-biases.reshape(4, channels))), (16, 1))
    np.testing.assert_allclose(found[0], np.tile(expected, (8, 1, 1)), atol=1e-5)


def test_a_folded_position_reads_its_own_bins():
    model = keras_mmdense.build("mdensenet", fold=4, **SMALL)
    mixture = np.zeros((1, 8, 64, 2), "float32")
    mixture[0, :, 20:24] = np.arange(8, dtype="float32").reshape(4, 2)
    folded = keras.Model(model.input, model.get_layer("fold").output)(mixture)
    np.testing.assert_array_equal(np.asarray(folded)[0, 0, 5], np.arange(8))
