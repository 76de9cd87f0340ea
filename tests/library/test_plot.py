"""Pictures: what they show is what they were given; files are whole, and never replaced unasked."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

import keras_mmdense
from keras_mmdense import AudioError, Band, PlotError, Settings, plot
from keras_mmdense.inspection import trace
from keras_mmdense.plot.architecture import band_blocks, final_block, part_width
from keras_mmdense.presets import resolve_settings
from keras_mmdense.receptive_field import context_frames, receptive_field
from keras_mmdense.tflite.parity import write_report

UNEQUAL = Settings(
    ("bass", "vocals"),
    (
        Band("low", 0, 0.5, growth_rate=(5, 6, 7), num_layers=(2, 1, 3), first_filters=9),
        Band("high", 0.5, 1, growth_rate=(4,), num_layers=(2,)),
        Band("full", growth_rate=(3, 4, 5, 6, 7), num_layers=(1,) * 5),
    ),
    bins=64,
    shared=True,
    head="mask",
    transform=keras_mmdense.Transform(128, 64),
)


@pytest.mark.parametrize("output", ["last", "new", "all"])
def test_numbers_of_maps_are_those_of_the_network(output):
    s = replace(UNEQUAL, block_output=output)
    calls = trace(keras_mmdense.build_from_settings(s), 16)
    for band in s.bands:
        for block in band_blocks(band, s):
            layer = f"{band.name}_dense{block.number}_layer"
            first = calls[f"{layer}1_conv"]
            assert (first.input_shapes[0][-1], first.output_shape[-1]) == (
                block.read, block.growth_rate,
            )  # fmt: skip
            assert first.output_shape[1] == 16 >> block.scale
            assert f"{layer}{block.num_layers}_conv" in calls
            assert f"{layer}{block.num_layers + 1}_conv" not in calls
    assert calls["bands"].output_shape[-1] == part_width(s)
    assert calls["joined"].output_shape[-1] == final_block(s).read
    assert calls["bass_final_conv"].input_shapes[0][-1] == final_block(s).made


def test_the_architecture_shows_every_band_block_and_source():
    figure = plot.architecture(UNEQUAL, title="x $y$ z")
    shown = [text.get_text() for text in figure.axes[0].texts]
    for band in UNEQUAL.bands:
        assert band.name in shown
        for block in band_blocks(band, UNEQUAL):
            assert f"{block.read} > {block.made}" in shown
            assert f"{block.num_layers} x {block.growth_rate}" in shown
    assert sum(text.startswith("dense ") for text in shown) == 3 + 1 + 5
    assert any("bass\nvocals" in text for text in shown)
    assert r"x \$y\$ z" in shown
    assert "1 x 1 conv, 7 maps" in shown  # the high band's four maps are brought to the low one's
    arrows = [text.arrow_patch for text in figure.axes[0].texts if text.get_text() == ""]
    assert sum(arrow.get_linestyle() == "--" for arrow in arrows) == 1 + 0 + 2  # the skips


@pytest.mark.parametrize("options", [{"preset": "mmdensenet"}, {"scales": 0, "num_layers": 1}])
def test_the_receptive_field_drawn_is_the_one_counted(options):
    s = resolve_settings(**options)
    field = plot.architecture(s).axes[1]
    bars = [
        (round(-p.get_x() - 0.5), round(p.get_x() + p.get_width() - 0.5)) for p in field.patches
    ]
    assert max(before for before, _ in bars) == receptive_field(s)[0]
    assert max(after for _, after in bars) == receptive_field(s)[1]
    assert {abs(line.get_xdata()[0]) for line in field.lines} == {context_frames(s)}


def test_spectrograms_share_one_scale_and_long_songs_are_averaged():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 1_100_000).astype("float32")
    figure = plot.spectrograms({"a": noise, "b": noise / 10, "c": 0 * noise}, 44100, columns=2)
    meshes = [axes.collections[0] for axes in figure.axes[:4] if axes.collections]
    assert len({mesh.get_clim() for mesh in meshes}) == 1
    loud, soft, silent = (mesh.get_array() for mesh in meshes)
    assert loud.shape == (128, 1000)
    assert figure.axes[0].get_xlim() == pytest.approx((0, 1_100_000 / 44100))
    assert float((loud - soft).mean()) == pytest.approx(20, abs=0.1)
    assert silent.max() == pytest.approx(-120)


@pytest.mark.parametrize(
    "signals",
    [{}, {"a": np.zeros(9), "b": np.zeros(8)}, {"a": np.zeros(0)}, {"a": np.full(9, np.nan)}],
)
def test_wrong_signals_are_refused(signals):
    with pytest.raises(PlotError, match="received"):
        plot.spectrograms(signals, 44100)
    with pytest.raises(PlotError, match="'sample_rate': 999"):
        plot.spectrograms({"a": np.zeros(9)}, 999)


def embedded(page, form):
    codes = re.findall(rf'src="data:{form};base64,(.+?)"', page)
    return [io.BytesIO(base64.b64decode(code)) for code in codes]


@pytest.mark.parametrize("peak", [0.5, 2.0])
@pytest.mark.parametrize("shape", [(3000,), (3000, 1), (3000, 2)])
def test_players_keep_the_levels_to_each_other(rng, shape, peak):
    """What is beyond full scale makes all stems softer."""
    loud = rng.uniform(-0.4, 0.4, shape).astype("float32")
    loud[5:6] = -peak
    page = plot.listen({"<loud>": loud, "soft": loud / 100}, 8000, seconds=0.25)._repr_html_()
    played = [soundfile.read(file, dtype="int16") for file in embedded(page, "audio/wav")]
    for (samples, rate), x in zip(played, (loud, loud / 100), strict=True):
        assert rate == 8000
        heard = samples.reshape(x[:2000].shape) * max(1, peak) / 32767
        np.testing.assert_allclose(heard, x[:2000], atol=1e-4)
    pictures = [imread(file)[..., :3].mean() for file in embedded(page, "image/png")]
    assert pictures[0] > pictures[1] + 0.1  # one scale: the softer is darker
    assert re.search("(?s)&lt;loud&gt;.*soft.*0.2 of 0.4 s; 40 to 4000 Hz", page)
    assert ("played 6.0 dB softer" in page) == (peak == 2)


def test_low_frequencies_are_at_the_bottom_of_a_player_s_picture():
    low = np.sin(np.arange(8000) * 2 * np.pi * 100 / 8000)
    (file,) = embedded(plot.listen({"low": low}, 8000)._repr_html_(), "image/png")
    assert imread(file)[..., :3].mean((1, 2)).argmax() > 64


@pytest.mark.parametrize(
    ("stems", "options", "words"),
    [
        (np.zeros(9), {}, "must be a dict"),
        ({}, {}, "one or more"),
        ({"a": np.zeros((2, 900))}, {}, "pass audio.T"),
        ({"a": np.zeros((900, 3))}, {}, "one or two channels"),
        ({"a": np.zeros(9, int)}, {}, "floats"),
        ({"a": np.zeros(9), "b": np.zeros(8)}, {"seconds": 0.001}, "one length"),
        ({"a": np.full(9, np.nan)}, {}, "finite"),
        ({"a": np.zeros(9)}, {"seconds": 0}, "above 0"),
        ({"a": np.zeros(9)}, {"sample_rate": 8000.5}, "whole number"),
    ],
)
def test_what_cannot_be_played_is_refused(stems, options, words):
    with pytest.raises((PlotError, AudioError), match=words) as error:
        plot.listen(stems, **{"sample_rate": 8000, **options})
    assert "\n" not in str(error.value)


def test_without_ipython_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(PlotError, match=r'pip install "\.\[plot\]" ipython'):
        plot.listen({"a": np.zeros(9)}, 8000)


def test_curves_show_the_history_and_mark_the_best_epoch(tmp_path):
    history = {"loss": [4.0, 2.0, 1.0], "val_loss": [4.0, float("nan"), 3.0], "sdr": [-1, 0, 1]}
    figure = plot.training_curves(history, metrics=("loss", "sdr"))
    training, validation, best = figure.axes[0].lines
    assert list(training.get_ydata()) == [4, 2, 1]
    assert validation.get_linestyle() == "--"
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (3, 3)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    (tmp_path / "h.csv").write_text("epoch,loss,val_loss\n1,4,4\n2,2,\n3,1,3\n")
    again = plot.training_curves(tmp_path / "h.csv")
    np.testing.assert_array_equal(again.axes[0].lines[1].get_ydata(), [4, np.nan, 3])
    assert list(again.axes[0].lines[0].get_xdata()) == [1, 2, 3]


@pytest.mark.parametrize("content", ["", "epoch,loss\n", "epoch,loss\n1,many\n", "a\n1,2,3\n"])
def test_what_is_no_history_is_refused(tmp_path, content):
    (tmp_path / "h.csv").write_text(content)
    for history in (tmp_path / "h.csv", [1, 2]):
        with pytest.raises(PlotError, match="received"):
            plot.training_curves(history)


FIGURES = {
    "max_error": 0.1,
    "sdr_db": {"vocals": 5.0},
    "float_sdr_db": {"vocals": 5.5},
    "size_bytes": 7000,
    "predicted_bytes": 6000,
    "probe": {"cpu_rtf": 0.02, "peak_mb": 90.0, "delegates": 1},
}
EXPORTED = [
    {"precision": name, "snr_db": {"vocals": snr}, **FIGURES}
    for name, snr in (("float32", 120.0), ("int8", 30.0))
]


def test_parity_from_figures_and_from_the_report_is_the_same(tmp_path):
    write_report(tmp_path, "m", EXPORTED)
    figure = plot.parity(tmp_path / "m.parity.json", tmp_path / "again")
    assert [bar.get_height() for bar in figure.axes[0].patches] == [120, 30]
    assert [bar.get_height() for bar in figure.axes[1].patches] == [0.5, 0.5]
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "m.parity.svg").read_bytes()
    rows = json.loads((tmp_path / "m.parity.json").read_text())
    for wrong in ("[]", "{}", "[1]", json.dumps([{**rows[0], "snr_db": {}}, rows[1]])):
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(PlotError, match="received"):
            plot.parity(tmp_path / "wrong.json")


CURVE = {"loss": [2.0, 1.0]}


def test_both_forms_one_form_and_the_same_bytes(tmp_path):
    for name in ("run.a", "run.b", "one.PNG"):
        plot.training_curves(CURVE, tmp_path / name)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(files) == ["one.PNG", "run.a.png", "run.a.svg", "run.b.png", "run.b.svg"]
    assert files["run.a.svg"] == files["run.b.svg"]
    assert files["run.a.png"] == files["run.b.png"] == files["one.PNG"]
    assert files["one.PNG"].startswith(b"\x89PNG")


def test_in_a_notebook_a_cell_replaces_its_own_files(tmp_path, monkeypatch):
    kernel = mock.Mock(return_value=SimpleNamespace(kernel=True))
    monkeypatch.setattr("builtins.get_ipython", kernel, raising=False)
    for _ in range(2):
        plot.training_curves(CURVE, tmp_path / "a.png")
    (tmp_path / "a.svg").write_text("mine")
    with pytest.raises(PlotError, match=r"a\.svg exists already"):
        plot.training_curves(CURVE, tmp_path / "a")
    (tmp_path / "a.png").write_bytes(b"changed since")
    with pytest.raises(PlotError, match=r"a\.png exists already"):
        plot.training_curves(CURVE, tmp_path / "a.png")


def test_nothing_is_replaced_unasked_and_nothing_half_written_stays(tmp_path):
    (tmp_path / "a.svg").write_text("mine")
    with pytest.raises(PlotError, match="exists already"):
        plot.training_curves(CURVE, tmp_path / "a")
    for name, words in (("no/a", "folder must exist"), ("a.pdf", "png or .svg")):
        with pytest.raises(PlotError, match=words):
            plot.training_curves(CURVE, tmp_path / name)
    with (
        mock.patch("matplotlib.figure.Figure.savefig", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        plot.training_curves(CURVE, tmp_path / "b")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["mine"]
    plot.training_curves(CURVE, tmp_path / "a", overwrite=True)
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_the_user_s_settings_and_pyplot_are_left_alone():
    code = (
        "import sys, matplotlib\n"
        "matplotlib.rcParams['lines.linewidth'] = 7\n"
        "names = [name for name in matplotlib.rcParams if name != 'backend']\n"
        "before = [matplotlib.rcParams[name] for name in names]\n"
        "from keras_mmdense import plot\n"
        "figure = plot.training_curves({'loss': [2, 1]})\n"
        "assert figure.axes[0].lines[0].get_linewidth() == 1.5\n"
        "assert [matplotlib.rcParams[name] for name in names] == before\n"
        "sys.exit(str({'matplotlib.pyplot', 'keras', 'tensorflow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "set()\n"


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    monkeypatch.delattr("matplotlib.style", raising=False)
    with pytest.raises(PlotError, match=r'pip install "\.\[plot\]"'):
        plot.training_curves(CURVE)


def test_box_plots_have_a_dot_per_track_and_values_of_silence_lie_beyond_the_axis():
    panels = {"bass": {"one": [1.0, 2.0, 200.0, -200.0], "$t_w$o": [3.0, 5.0]}, "vocals": {"x": []}}
    figure, again = (plot.boxes(panels, "SDR in dB") for _ in range(2))
    dots_of_one = (each.axes[0].collections[0].get_offsets() for each in (figure, again))
    np.testing.assert_array_equal(*dots_of_one)  # in the same places every time
    dots = [[len(dots.get_offsets()) for dots in axes.collections] for axes in figure.axes]
    assert dots == [[4, 2, 0], [0, 0, 0]]
    assert "2 values lie beyond the axis" in figure.get_supxlabel()
    assert max(np.abs(figure.axes[0].get_xlim())) < 10


def test_the_figures_of_an_export_stay(tmp_path, caplog, monkeypatch):
    failing = mock.Mock(side_effect=RuntimeError("the fonts\nare gone"))
    monkeypatch.setattr("matplotlib.figure.Figure.__init__", failing)
    write_report(tmp_path, "m", EXPORTED)
    assert caplog.messages == ["a picture was not drawn: the fonts are gone"]
    assert {path.name for path in tmp_path.iterdir()} == {"m.parity.json", "m.parity.md"}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(
            ["-c", "import training.train.trainer, training.evaluate.scoring"],
            marks=pytest.mark.slow,
        ),
        ["-m", "keras_mmdense", "plot", "mmdensenet", "-o", "{out}/net.svg"],
    ],
)
def test_the_shell_s_backend_does_not_matter(arguments, tmp_path):
    """A notebook's shell names a backend that is absent elsewhere."""
    done = subprocess.run(
        [sys.executable, *(a.format(out=tmp_path) for a in arguments)],
        env=os.environ | {"MPLBACKEND": "no_such_backend"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
