"""build(): the graph against the paper's table, options, names; the size of the device presets."""

import keras
import numpy as np
import pytest
from keras import layers
from small import SMALL

import keras_mmdense
from keras_mmdense import Band
from keras_mmdense.band import _LAYER, RESERVED_NAMES
from keras_mmdense.inspection import multiply_adds_per_second, parameters
from keras_mmdense.receptive_field import context_frames, receptive_field

# arXiv 1706.09588, Table 1: band -> (first kernel, maps), (growth, layers) of dense1..dense7
TABLE = {
    "mdensenet": {"full": (((3, 4), 32), [(12, 4)] * 7)},
    "mmdensenet": {
        "low": (((3, 4), 32), [(14, 4)] + [(16, 4)] * 6),
        "high": (((3, 3), 32), [(10, 3)] * 6 + [(16, 3)]),
        "full": (((3, 4), 32), [(6, 2)] * 3 + [(6, 4)] + [(6, 2)] * 3),
    },
}
CONV = layers.Conv2D | layers.Conv2DTranspose


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
        for index, (growth_rate, num_layers) in enumerate(blocks):
            if index > 3:
                up = model.get_layer(f"{band}_up{index + 1}_conv").kernel.shape
                assert tuple(up) == (2, 2, read, read)
                read += skips.pop()
            expected = [((3, 3), read + i * growth_rate, growth_rate) for i in range(num_layers)]
            assert dense_layers(model, f"{band}_dense{index + 1}") == expected
            read = growth_rate
            if index < 3:
                skips.append(growth_rate)
    joined = {"mdensenet": 12, "mmdensenet": 16 + 6}[preset]
    assert dense_layers(model, "final_dense") == [((3, 3), joined, 4), ((3, 3), joined + 4, 4)]
    assert tuple(model.get_layer("final_conv").kernel.shape) == (1, 2, 4, 2)


def test_where_the_normalizations_are():
    model = keras_mmdense.build(**SMALL)
    norms = {layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)}
    convs = {layer.name for layer in model.layers if isinstance(layer, CONV)}
    dense_or_up = {name for name in convs if "_layer" in name or "_up" in name}
    assert len(dense_or_up) < len(convs)
    assert norms == {name.replace("_conv", "_norm") for name in dense_or_up}
    assert all(model.get_layer(name).use_bias for name in convs)
    after = keras_mmdense.build(norm="after", **SMALL)
    makers = [
        layer.input._keras_history.operation
        for layer in after.layers
        if isinstance(layer, layers.BatchNormalization)
    ]
    assert len(makers) > len(norms)
    assert all(isinstance(one, CONV) for one in makers)  # so that it folds into the convolution


@pytest.mark.parametrize(
    ("preset", "options", "size"),
    [
        ("mmdensenet", {}, 277_622),
        ("mdensenet", {}, 121_102),
        ("mdensenet", {"bottleneck": True}, 207_134),
        ("mdensenet", {"block_output": "new"}, 292_658),
        ("mdensenet", {"block_output": "all"}, 3_604_082),
    ],
)
def test_sizes_of_the_readings(preset, options, size):
    assert parameters(keras_mmdense.build(preset, **options)) == size


@pytest.mark.parametrize(
    ("preset", "size", "work", "context", "with_context"),
    [
        ("mmdensenet-edge", 537_704, 1.03e9, 56, 2e9),
        ("mmdensenet-micro", 144_864, 0.414e9, 32, 0.6e9),
    ],
)
def test_the_device_models_keep_within_what_small_processors_have(
    preset, size, work, context, with_context
):
    model = keras_mmdense.build(preset, frames=256)
    assert parameters(model) == size
    assert multiply_adds_per_second(model) == pytest.approx(work, rel=0.01)
    assert context_frames(keras_mmdense.settings_of(model)) == context
    assert multiply_adds_per_second(model) * 256 / (256 - 2 * context) < with_context
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert {layer.filters % 8 for layer in convolutions} == {0}  # maps fill vector lanes


def test_the_live_model_waits_for_no_frame_and_has_the_device_models_work():
    model = keras_mmdense.build("mmdensenet-live")
    settings = keras_mmdense.settings_of(model)
    transform = settings.transform
    assert receptive_field(settings) == (140, 0)  # 1.6 s
    assert (transform.n_fft + transform.hop_length) / settings.sample_rate < 0.06
    assert parameters(model) == 519_656
    assert multiply_adds_per_second(model) == pytest.approx(1.41e9, rel=0.01)


def test_overrides_per_band_and_scale():
    model = keras_mmdense.build(
        bins=64,
        growth_rate={"low": (1, 2, 3, 4, 5, 6, 7), "high": 5},
        num_layers={"low": 1, "high": 1, "full": 2},
        kernel_size={"full": ((3, 3),) * 3 + ((5, 1),) + ((3, 3),) * 3, "high": (1, 2)},
    )
    assert [dense_layers(model, f"low_dense{i}")[-1][2] for i in range(1, 8)] == [*range(1, 8)]
    assert tuple(model.get_layer("high_match_conv").kernel.shape) == (1, 1, 5, 7)
    assert dense_layers(model, "high_dense7")[0][0] == (1, 2)
    assert dense_layers(model, "full_dense4")[0][0] == (5, 1)
    assert dense_layers(model, "full_dense3")[0][0] == (3, 3)
    assert len(dense_layers(model, "full_dense4")) == 2


@pytest.mark.parametrize("scales", [0, 2, 4])
def test_number_of_scales(scales, rng):
    model = keras_mmdense.build(scales=scales, **SMALL)
    assert keras_mmdense.settings_of(model).frame_multiple == 2**scales
    x = rng.random((1, 2**scales, 64, 2), np.float32)
    assert model(x)["vocals"].shape == x.shape


def test_any_number_of_bands(rng):
    thirds = [
        Band(n, a, b, (2,) * 3, (1,) * 3)
        for n, a, b in [("low", 0, 0.25), ("mid", 0.25, 0.75), ("high", 0.75, 1)]
    ]
    model = keras_mmdense.build(bands=thirds, bins=64)
    assert model.get_layer("mid_crop").output.shape[2] == 32
    assert model(rng.random((1, 4, 64, 2)))["vocals"].shape == (1, 4, 64, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"head": "magnitude"},
        {"head": "mask"},
        {"norm": "after", "pooling": "max"},
        {"block_output": "all", "bottleneck": True, "channels": 1, "frames": 16},
    ],
)
def test_shapes_ranges_and_names(options, rng):
    model = keras_mmdense.build(sources=("a", "b"), scales=2, **SMALL | options)
    x = rng.random((2, 16, 64, options.get("channels", 2)), np.float32)
    outputs = {source: np.asarray(y) for source, y in model(x).items()}
    assert list(outputs) == ["a", "b"]
    for source, y in outputs.items():
        assert y.shape == x.shape
        assert (y >= 0).all()
        assert options.get("head") != "mask" or (y <= x).all()
        assert model.output[source].shape == (None, options.get("frames"), *x.shape[2:])
    for layer in model.layers:  # no layer can have the name of an output
        taken = _LAYER.fullmatch(layer.name) or layer.name in RESERVED_NAMES
        assert taken or layer.name in ("a", "b")


def test_one_network_per_source_or_one_for_all():
    both, shared, one = (
        keras_mmdense.build(sources=s, shared=sh, **SMALL)
        for s, sh in [(("a", "b"), False), (("a", "b"), True), ("a", False)]
    )
    assert parameters(both) == 2 * parameters(one)
    assert parameters(shared) == parameters(one) + 3 * 2 * 2 + 2  # one more final convolution


@pytest.mark.parametrize(("channels", "frames"), [(1, None), (2, 8)])
def test_folded_bins_are_neighbors_and_unfold_in_their_places(channels, frames, rng):
    options = {**SMALL, "channels": channels, "frames": frames, "shared": True, "norm": "after"}
    model = keras_mmdense.build(sources=("a", "b"), head="mask", fold=4, **options)
    mixture = np.zeros((1, 8, 64, channels), "float32")
    mixture[0, :, 20:24] = np.arange(4 * channels).reshape(4, channels)
    folded = keras.Model(model.input, model.get_layer("fold").output)(mixture)
    np.testing.assert_array_equal(np.asarray(folded)[0, 0, 5], np.arange(4 * channels))
    assert model.get_layer("full_first_conv").output.shape[2] == 16
    biases = np.linspace(-2, 2, 4 * channels, dtype="float32")
    last = model.get_layer("b_final_conv")
    last.set_weights([np.zeros_like(last.kernel), biases])
    mixture = rng.random((1, 8, 64, channels), dtype="float32")
    found = np.asarray(model(mixture)["b"]) / mixture
    expected = np.tile(1 / (1 + np.exp(-biases.reshape(4, channels))), (16, 1))
    np.testing.assert_allclose(found[0], np.tile(expected, (8, 1, 1)), atol=1e-5)
