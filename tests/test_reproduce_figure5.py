"""Figure 5: norms against NumPy, the split against what the network really reads, files."""

import json

import keras
import numpy as np
import pytest
from small import SMALL, disturb

import keras_mmdense
from training.paper import figure5
from training.paper.__main__ import main
from training.paper.baseline_networks import build_network
from training.paper.figure5 import Block, as_json, blocks, mean_ratio, report
from training.paper.markdown import ReproductionError

FORMS = {
    "as in the paper": {},
    "norm after": {"norm": "after"},
    "bottleneck": {"bottleneck": True},
    "all maps": {"block_output": "all"},
    "new maps": {"block_output": "new", "norm": "after"},
    "shared masks": {"sources": ("bass", "vocals"), "shared": True, "head": "mask"},
    "a network per source": {"preset": "mdensenet", "sources": ("bass", "vocals")},
    "one scale": {"scales": 1},
    "pairs of bins": {"fold": 2},
    "fixed frames": {"frames": 16},
}


@pytest.fixture(params=FORMS.values(), ids=FORMS, scope="module")
def model(request):
    made = keras_mmdense.build(**{**SMALL, **request.param})
    disturb(made)
    return made


def first_conv(model, block):
    """Return the first convolution of a block, found by name."""
    name = f"{block.network}_dense{block.number}_layer1"
    kind = "_bottleneck_conv" if f"{name}_bottleneck_conv" in names(model) else "_conv"
    return model.get_layer(name + kind)


def names(model):
    return {layer.name for layer in model.layers}


def test_every_dense_block_after_an_up_sampling_is_there(model):
    found = {(block.network, block.number) for block in blocks(model)}
    ups = {name.removesuffix("_conv") for name in names(model) if "_up" in name}
    ups = {name for name in ups if not name.endswith(("_norm", "_relu"))}
    assert found == {(n.rpartition("_up")[0], int(n.rpartition("_up")[2])) for n in ups}


def test_norms_are_those_of_the_weights(model):
    for block in blocks(model):
        kernel = np.asarray(first_conv(model, block).kernel.numpy(), np.float64)
        expected = [np.linalg.norm(kernel[:, :, index].ravel()) for index in range(kernel.shape[2])]
        np.testing.assert_allclose([*block.up, *block.skip], expected, rtol=1e-12)
        assert block.ratio == pytest.approx(np.mean(block.up) / np.mean(block.skip))


@pytest.mark.parametrize("loaded", [False, True])
def test_blocks_stand_in_the_order_of_bands_and_sources(loaded, tmp_path):
    made = keras_mmdense.build(**SMALL, sources=("vocals", "bass"), scales=2)
    if loaded:
        made.save(tmp_path / "model.keras")
        made = keras_mmdense.build(weights=tmp_path / "model.keras")
    bands = [
        f"{source}_{band}" for source in ("vocals", "bass") for band in ("low", "high", "full")
    ]
    expected = [(band, number) for band in bands for number in (4, 5)]
    assert [(block.network, block.number) for block in blocks(made)] == expected


SOME = ("as in the paper", "norm after", "all maps", "one scale")


@pytest.mark.parametrize("model", [FORMS[name] for name in SOME], ids=SOME, indirect=True)
def test_without_the_weights_of_one_part_the_other_part_alone_is_read(model):
    """What the t.conv makes reaches the convolution through the up-sampled maps alone."""
    block = blocks(model)[-1]
    conv, number = first_conv(model, block), len(block.up)
    up = model.get_layer(f"{block.network}_up{block.number}_conv")
    output = keras.Model(model.input, conv.output)
    x = np.random.default_rng(0).rayleigh(size=(1, 16, 64, 2)).astype("float32")
    kernel = conv.kernel.numpy()
    for part in (slice(None, number), slice(number, None)):
        cut = kernel.copy()
        cut[:, :, part] = 0
        conv.kernel.assign(cut)
        before = output(x).numpy()
        weights = up.kernel.numpy()
        up.kernel.assign(-3 * weights)
        reads = not np.array_equal(output(x).numpy(), before)
        up.kernel.assign(weights)
        found = blocks(model)[-1]
        assert found.up.any() == reads
        assert found.skip.any() != reads
    conv.kernel.assign(kernel)


def test_the_mean_ratio_is_geometric():
    two, half = (Block("low", 5, np.full(3, a), np.full(2, b)) for a, b in ((2.0, 1.0), (1.0, 2.0)))
    assert (two.ratio, half.ratio) == (2, 0.5)
    assert mean_ratio([two, half]) == pytest.approx(1)
    text = report([two, half], "model", "before")
    assert "| low | 5 | 3 | 2 | 2.000 | 1.000 | 2.00 |" in text
    assert "of 2 blocks: 1.00." in text
    assert 'norm="after"' in report([two], "model", "after")


def test_the_ratio_to_nothing_is_null_in_json():
    block = Block("low", 5, np.ones(2), np.zeros(2))
    found = json.loads(as_json([block], "model"))
    assert found["mean_ratio"] is None
    assert found["blocks"][0]["ratio"] is None
    assert found["blocks"][0]["skipped"] == [0, 0]


@pytest.mark.parametrize(
    "made",
    [
        lambda: keras_mmdense.build(**SMALL, scales=0),
        lambda: build_network("fnn", bins=8, hidden=2),
    ],
    ids=["no scales", "fnn"],
)
def test_a_model_without_an_up_sampling_path_is_refused(made):
    with pytest.raises(ReproductionError, match="with an up-sampling path"):
        blocks(made())


@pytest.fixture
def file(small_model, tmp_path):
    path = tmp_path / "model.keras"
    small_model.save(path)
    return path


def test_the_command_prints_and_writes_all_forms(file, small_model, tmp_path, capsys):
    out = tmp_path / "figure"
    assert main(["figure5", str(file), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (out / "figure5.md").read_text() == printed
    assert (out / "figure5.png").read_bytes().startswith(b"\x89PNG")
    svg = (out / "figure5.svg").read_text()
    for block in blocks(small_model):
        assert f"{block.network}, dense {block.number}, ratio {block.ratio:.2f}" in svg
    content = json.loads((out / "figure5.json").read_text())
    assert f"blocks: {content['mean_ratio']:.2f}." in printed
    assert [len(block["up_sampled"]) for block in content["blocks"]] == [3] * 9


def test_the_same_model_gives_the_same_picture(file, tmp_path):
    for name in ("one", "other"):
        assert main(["figure5", str(file), "--out", str(tmp_path / name)]) == 0
    for ending in ("svg", "png", "json"):
        one, other = (tmp_path / name / f"figure5.{ending}" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()


def test_without_out_nothing_is_written(file, tmp_path, capsys):
    assert main(["figure5", str(file)]) == 0
    assert "| low | 5 | 3 | 3 |" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_came_up_meanwhile_is_left_alone(small_model, tmp_path):
    with pytest.raises(ReproductionError, match="nothing is overwritten"):
        figure5.write(blocks(small_model), "model", "before", tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_nothing_half_written_left(file, tmp_path, capsys, monkeypatch):
    out = tmp_path / "figure"
    out.mkdir()
    assert main(["figure5", str(file), "--out", str(out)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    out.rmdir()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure5, "draw", full)
    assert main(["figure5", str(file), "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", None])
def test_what_is_no_model_is_told_in_one_line(content, tmp_path, capsys):
    path = tmp_path / "broken.keras"
    if content is not None:
        path.write_bytes(content)
    assert main(["figure5", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("reproduce: ")
    assert error.count("\n") == 1
    assert "broken.keras" in error
