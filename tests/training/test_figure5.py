"""Figure 5: norms against NumPy, the split against what the network really reads, files."""

import re
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense import SettingsError
from training.paper import figure5
from training.paper.baseline_networks import build_network
from training.paper.figure5 import Block, blocks, main, report

FORMS = {  # with the order of the networks
    "norm after": ({"norm": "after", "scales": 1}, ["low", "high", "full"]),
    "all maps": ({"block_output": "all", "bottleneck": True}, ["low", "high", "full"]),
    "shared masks": (
        {"preset": "mdensenet", "sources": ("bass", "vocals"), "shared": True, "head": "mask"},
        ["full"],
    ),
    "a network per source": (
        {"preset": "mdensenet", "sources": ("vocals", "bass"), "scales": 2, "fold": 2},
        ["vocals_full", "bass_full"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_block_has_the_norms_of_what_its_convolution_reads(form):
    """What the t.conv makes reaches the convolution through the up-sampled maps alone."""
    settings, networks = FORMS[form]
    model = keras_mmdense.build(**{**SMALL, **settings})
    disturb(model)
    found = blocks(model)
    ups = {layer.name for layer in model.layers if re.search("_up.*_conv$", layer.name)}
    assert {f"{block.network}_up{block.number}_conv" for block in found} == ups
    assert list(dict.fromkeys(block.network for block in found)) == networks
    for block in found:
        kind = "bottleneck_conv" if "bottleneck" in settings else "conv"
        conv = model.get_layer(f"{block.network}_dense{block.number}_layer1_{kind}")
        kernel = conv.kernel.numpy()
        expected = np.linalg.norm(np.moveaxis(kernel, 2, 0).reshape(kernel.shape[2], -1), axis=1)
        np.testing.assert_allclose([*block.up, *block.skip], expected, rtol=1e-5)
        assert block.ratio == pytest.approx(np.mean(block.up) / np.mean(block.skip))
    up, number = model.get_layer(f"{block.network}_up{block.number}_conv"), len(block.up)
    output = keras.Model(model.input, conv.output)
    x = np.random.default_rng(0).rayleigh(size=(1, 16, 64, 2)).astype("float32")
    weights = up.kernel.numpy()
    for part, reads in ((slice(None, number), False), (slice(number, None), True)):
        cut = kernel.copy()
        cut[:, :, part] = 0
        conv.kernel.assign(cut)
        before = np.asarray(output(x))
        up.kernel.assign(-3 * weights)
        assert np.array_equal(np.asarray(output(x)), before) != reads
        up.kernel.assign(weights)


def test_the_mean_ratio_is_geometric():
    two, half = (Block("low", 5, np.full(3, a), np.full(2, b)) for a, b in ((2.0, 1.0), (1.0, 2.0)))
    text = report([two, half], "model", "before")
    assert "| low | 5 | 3 | 2 | 2.000 | 1.000 | 2.00 |" in text
    assert "of 2 blocks: 1.00." in text
    assert "of 1 blocks: inf." in report([Block("low", 5, np.ones(2), np.zeros(2))], "m", "after")
    with pytest.raises(SettingsError, match="with an up-sampling path"):
        blocks(build_network("fnn", bins=8, hidden=2))


def test_the_command_prints_and_writes_all_forms_or_nothing(
    small_model, small_file, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "figure"
    assert main([str(small_file), "--out", str(out)]) == 0
    assert (out / "figure5.md").read_text() == capsys.readouterr().out
    svg = (out / "figure5.svg").read_text()
    for block in blocks(small_model):
        assert f"{block.network}, dense {block.number}, ratio {block.ratio:.2f}" in svg
    monkeypatch.setattr(figure5, "draw", Mock(side_effect=OSError(28, "No space left on device")))
    for folder, code, words in (("figure", 2, "new or empty folder"), ("new", 1, "No space left")):
        assert main([str(small_file), "--out", str(tmp_path / folder)]) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
        assert not (tmp_path / "new").exists()
