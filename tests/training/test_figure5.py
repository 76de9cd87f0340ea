"""Figure 5: norms against NumPy, the split against what the network really reads, files."""

import keras
import numpy as np
import pytest
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense import SettingsError
from training.paper import figure5
from training.paper.baseline_networks import build_network
from training.paper.figure5 import Block, blocks, main, report

FORMS = {
    "as in the paper": {},
    "norm after": {"norm": "after"},
    "bottleneck": {"bottleneck": True},
    "all maps": {"block_output": "all"},
    "new maps": {"block_output": "new", "norm": "after"},
    "shared masks": {"sources": ("bass", "vocals"), "shared": True, "head": "mask"},
    "a network per source": {"preset": "mdensenet", "sources": ("vocals", "bass"), "scales": 2},
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
    names = {layer.name for layer in model.layers}
    kind = "_bottleneck_conv" if f"{name}_bottleneck_conv" in names else "_conv"
    return model.get_layer(name + kind)


def test_every_block_is_there_with_the_norms_of_its_weights(model):
    found = blocks(model)
    ups = [name.rpartition("_up") for name in (layer.name for layer in model.layers)]
    ups = {(network, int(end[:-5])) for network, up, end in ups if up and end.endswith("_conv")}
    assert {(block.network, block.number) for block in found} == ups
    settings = keras_mmdense.settings_of(model)
    alone = settings.shared or len(settings.sources) == 1
    order = [
        f"{source}_{band.name}" for source in settings.sources for band in settings.bands
    ] if not alone else [band.name for band in settings.bands]  # fmt: skip
    places = [(order.index(block.network), block.number) for block in found]
    assert places == sorted(places)
    for block in found:
        kernel = np.asarray(first_conv(model, block).kernel.numpy(), np.float64)
        expected = [np.linalg.norm(kernel[:, :, index].ravel()) for index in range(kernel.shape[2])]
        np.testing.assert_allclose([*block.up, *block.skip], expected, rtol=1e-12)
        assert block.ratio == pytest.approx(np.mean(block.up) / np.mean(block.skip))


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
    text = report([two, half], "model", "before")
    assert "| low | 5 | 3 | 2 | 2.000 | 1.000 | 2.00 |" in text
    assert "of 2 blocks: 1.00." in text
    assert "of 1 blocks: inf." in report([Block("low", 5, np.ones(2), np.zeros(2))], "m", "after")


def test_a_model_without_an_up_sampling_path_is_refused():
    for made in (
        keras_mmdense.build(**SMALL, scales=0), build_network("fnn", bins=8, hidden=2)
    ):  # fmt: skip
        with pytest.raises(SettingsError, match="with an up-sampling path"):
            blocks(made)


@pytest.fixture
def file(small_model, tmp_path):
    small_model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_the_command_prints_and_writes_all_forms(file, small_model, tmp_path, capsys):
    out, again = tmp_path / "figure", tmp_path / "again"
    assert main([str(file), "--out", str(again)]) == 0
    capsys.readouterr()
    assert main([str(file), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (out / "figure5.md").read_text() == printed
    svg = (out / "figure5.svg").read_text()
    for block in blocks(small_model):
        assert f"{block.network}, dense {block.number}, ratio {block.ratio:.2f}" in svg
    for path in out.iterdir():  # the same model gives the same picture
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_nothing_is_overwritten_and_nothing_half_written_left(file, tmp_path, capsys, monkeypatch):
    out = tmp_path / "figure"
    out.mkdir()
    assert main([str(file), "--out", str(out)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    out.rmdir()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure5, "draw", full)
    assert main([str(file), "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert list(tmp_path.iterdir()) == [file]
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 nonsense")
    assert main([str(tmp_path / "broken.keras")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("figure5: ")
    assert "broken.keras" in line
