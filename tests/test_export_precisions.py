"""export() in several precisions: parity, the report, the music that it calibrates on."""

import json

import numpy as np
import pytest
import soundfile as sf
from small import SMALL, disturb
from test_tflite import BUILT_IN

import keras_mmdense
from keras_mmdense import ExportError, Transform
from keras_mmdense.tflite import convert
from keras_mmdense.tflite.calibration import read_music
from keras_mmdense.tflite.parity import compare
from keras_mmdense.tflite.precisions import PRECISIONS, failures, thresholds_of

RATE, SECONDS, WINDOW = 8000, 24, 256
OPTIONS = SMALL | {"sample_rate": RATE, "scales": 1, "num_layers": 1}


def write_songs(folder, songs=2, rate=RATE, seconds=SECONDS, level=0.2, stems=True):
    """Songs of coloured noise; with stems or as plain files."""
    for song in range(songs):
        rng = np.random.default_rng(song)
        audio = {}
        for number, name in enumerate(("bass", "vocals")):
            noise = rng.standard_normal((seconds * rate, 2))
            smooth = np.cumsum(noise, axis=0) if number == 0 else noise
            smooth -= np.linspace(smooth[0], smooth[-1], len(smooth))
            audio[name] = level * smooth / max(np.abs(smooth).max(), 1e-9)
        path = folder / f"song{song}"
        path.mkdir(parents=True)
        if stems:
            for name, samples in audio.items():
                sf.write(path / f"{name}.wav", samples, rate)
        else:
            sf.write(folder / f"song{song}.wav", sum(audio.values()), rate)
    return folder


@pytest.fixture(scope="module")
def model():
    built = keras_mmdense.build(
        sources=("bass", "vocals"), shared=True, head="mask", norm="after", compression="log",
        fold=2, **OPTIONS,
    )  # fmt: skip
    disturb(built)
    return built


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("precisions")
    said = []
    contracts = keras_mmdense.export(
        model,
        folder / "small-{precision}.tflite",
        precision=list(PRECISIONS),
        music=write_songs(folder / "songs"),
        window_frames=WINDOW,
        thresholds={name: {"snr_db": 15, "sdr_loss_db": 0.5} for name in PRECISIONS},
        report=True,
        progress=said.append,
    )
    return folder, contracts, said


def test_every_precision_is_written_and_reaches_its_figures(exported):
    _, contracts, said = exported
    assert list(contracts) == list(PRECISIONS)
    for name, contract in contracts.items():
        parity = contract["parity"]
        assert contract["precision"] == name
        assert contract["name"] == "small"
        assert parity["snr_db"] == min(parity["snr_db_bass"], parity["snr_db_vocals"])
        assert parity["sdr_loss_db"] <= 0.5
    snr = {name: contract["parity"]["snr_db"] for name, contract in contracts.items()}
    assert snr["float32"] > 100
    assert 45 < snr["float16"] < 100
    assert 15 < snr["int8"] < 60
    assert said == ["reading music", "1/7 Keras"] + [
        f"{i + 2}/7 {name}" for i, name in enumerate(PRECISIONS)
    ]


def test_operators_are_built_in_and_one_delegate_takes_all(exported):
    folder, _, _ = exported
    for row in json.loads((folder / "small.parity.json").read_text("utf-8")):
        assert set(row["probe"]["operators"]) <= BUILT_IN
        if row["precision"] != "int16x8":  # no delegate knows 16-bit values
            assert row["probe"]["delegates"] == 1
            # copies around the network are cheap wherever they are
            assert set(row["probe"]["outside"]) <= {"LOG", "QUANTIZE", "DEQUANTIZE", "RESHAPE"}


def test_compression_and_normalisation_stay_float_in_8_bits(exported):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    folder, _, _ = exported
    interpreter = Interpreter(
        model_content=(folder / "small-int8.tflite").read_bytes(),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    names = [operator["op_name"] for operator in interpreter._get_ops_details()]
    assert names[:5] == ["ADD", "LOG", "SUB", "MUL", "QUANTIZE"]


def test_ranges_hold_the_loudest_window_wherever_it_comes():
    class Quantizer:
        """What calibrate() gives for one window."""

        def calibrate(self, data):
            window = data["serving_default"][0]["mixture"]
            return {"x": {"min": window.min(), "max": window.max()}, "constant": {}}

    windows = np.array([[1.0, 2.0], [-3.0, 9.0], [0.0, 1.0]])
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        ranges = convert._ranges(Quantizer(), windows[order])
        assert ranges == {"x": {"min": -3.0, "max": 9.0}, "constant": {}}


def test_the_runner_separates_with_every_precision(exported, rng):
    from mmdense_edge import Separator

    folder, contracts, _ = exported
    audio = (0.1 * rng.standard_normal((4000, 2))).astype(np.float32)
    expected = Separator(folder / "small-float32.tflite").separate(audio, RATE)
    for name in contracts:
        found = Separator(folder / f"small-{name}.tflite").separate(audio, RATE)
        for source, stem in expected.items():
            error = np.square(found[source] - stem).sum() / np.square(stem).sum()
            assert 10 * np.log10(error + 1e-20) < -12


def test_the_report_has_a_row_a_precision_and_a_picture(exported):
    folder, _, _ = exported
    text = (folder / "small.parity.md").read_text("utf-8")
    assert all(f"| {name} |" in text for name in PRECISIONS)
    assert "SDR vocals (lost), dB" in text
    assert (folder / "small.parity.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (folder / "small.parity.svg").read_text("utf-8")
    rows = json.loads((folder / "small.parity.json").read_text("utf-8"))
    sizes = {row["precision"]: row["size_bytes"] for row in rows}
    assert sizes["int8"] < sizes["float32"]
    assert all(row["probe"]["peak_mb"] > 10 for row in rows)


@pytest.mark.parametrize("head", ["mask", "magnitude"])
def test_rewritten_networks_are_the_same_function(head, rng):
    from keras_mmdense.tflite.rewrite import rewrite

    for options in (
        {},
        {"norm": "after"},
        {"norm": "after", "shared": True, "sources": ("a", "b"), "fold": 2},
        {"bottleneck": True, "block_output": "all", "pooling": "max"},
    ):
        model = keras_mmdense.build(head=head, frames=16, scales=2, **(SMALL | options))
        disturb(model)
        x = rng.random((2, 16, 64, 2)).astype(np.float32)
        expected = model(x)
        for forms in ({}, {"depthwise_norms": False}, {"depth_to_space": False}):
            found = rewrite(model, **forms)(x)
            for name, value in expected.items():
                scale = np.abs(value).max()
                np.testing.assert_allclose(found[name] / scale, value / scale, atol=1e-5)


def test_music_is_the_same_every_time_and_never_both_to_calibrate_and_compare(model, tmp_path):
    settings = keras_mmdense.settings_of(model)
    folder = write_songs(tmp_path / "songs")
    first, again = (read_music(folder, settings, 512) for _ in range(2))
    np.testing.assert_array_equal(first.calibration, again.calibration)
    assert first.calibration.shape[1:] == (512, 64, 2)
    assert sorted(first.sources) == ["bass", "vocals"]
    total = sum(first.sources.values())
    np.testing.assert_allclose(first.check, total, atol=1e-2)
    for window in np.abs(first.check):
        assert not any(np.allclose(window, other) for other in first.calibration)


def test_songs_without_stems_calibrate_and_are_not_scored(model, tmp_path):
    settings = keras_mmdense.settings_of(model)
    music = read_music(write_songs(tmp_path / "songs", stems=False), settings, 512)
    assert music.calibration.shape[0] * 512 * 64 / RATE > 20
    assert music.sources == {}


@pytest.mark.parametrize(
    ("songs", "words"),
    [
        ({"level": 1e-5}, "20 s of sounding music"),
        ({"seconds": 8}, "20 s of sounding music"),
        ({"rate": 44100}, "sample rate of 44100 Hz"),
        ({"rate": 44100, "stems": False}, "8000 Hz; received 2 such, rates .44100."),
        ({"songs": 0}, "data set or a folder of songs"),
    ],
)
def test_music_that_does_not_do_is_refused(model, tmp_path, songs, words):
    folder = tmp_path / "songs"
    folder.mkdir()
    write_songs(folder, **songs)
    with pytest.raises(ExportError, match=words):
        read_music(folder, keras_mmdense.settings_of(model), 512)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int4"}, "one or several of float32"),
        ({"precision": []}, "one or several of"),
        ({"precision": ["int8", "int8"]}, "one or several of"),
        ({"precision": "int8"}, "int8 needs music"),
        ({"precision": ["float32", "float16"]}, "must hold {precision}"),
        ({"thresholds": {"int9": {}}}, "int9"),
        ({"thresholds": {"int8": {"psnr": 3}}}, "psnr"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(model, tmp_path, options, words):
    with pytest.raises(ExportError, match=words):
        keras_mmdense.export(model, tmp_path / "m.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_figures_and_thresholds_by_hand():
    mixture = np.full((1, 2, 2, 1), 2j, np.complex64)
    expected, found = np.full((1, 2, 2, 1), 0.5), np.full((1, 2, 2, 1), 0.4)
    error, snr, sdr, own = compare(
        {"a": found}, {"a": expected}, mixture, {"a": 0.5 * mixture}, "mask"
    )
    assert error == pytest.approx(0.1)
    assert snr["a"] == pytest.approx(10 * np.log10(1 / 0.04), abs=0.01)
    assert sdr["a"] == pytest.approx(10 * np.log10(1 / 0.04), abs=0.01)
    assert own["a"] > 100
    assert failures({"snr_db": 10.0, "max_error": 0.1}, {"snr_db": 11, "max_error": 0.2}) == [
        "snr_db must be at least 11; received 10"
    ]
    assert failures({"snr_db": float("nan")}, {"snr_db": 1})
    given = thresholds_of(PRECISIONS["int8"], {"int8": {"snr_db": 3}})
    assert given == {"snr_db": 3, "sdr_loss_db": 0.1}


def test_transform_of_the_test_is_that_of_the_model(model):
    assert keras_mmdense.settings_of(model).transform == Transform(128, 64)


def run(*arguments):
    from keras_mmdense.cli import main

    return main([*map(str, arguments)])


def test_the_command_exports(model, tmp_path, capsys):
    model.save(tmp_path / "m.keras")
    target = tmp_path / "m-{precision}.tflite"
    code = run("export", tmp_path / "m.keras", "-o", target, "--precision", "float32,float16",
               "--window-frames", 16)  # fmt: skip
    said = capsys.readouterr()
    assert code == 0
    assert "m-float16.tflite: SNR" in said.out
    assert "2/3 float32" in said.err
    assert sorted(p.name for p in tmp_path.glob("*.tflite")) == [
        "m-float16.tflite",
        "m-float32.tflite",
    ]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--threshold", "float32:snr_db=500"], "snr_db must be at least 500"),
        (["--threshold", "float32"], "PRECISION:FIGURE=NUMBER"),
        (["--score", "vocals"], "SOURCE=NUMBER"),
        (["--score", "piano=5"], "scores must be finite numbers by source, of "),
        (["--score", "vocals=nan"], "received {'vocals': nan}"),
        (["--precision", "int8"], "int8 needs music"),
        (["--music", "nowhere"], "nowhere"),
    ],
)
def test_the_command_refuses_in_one_line_and_leaves_nothing(model, tmp_path, capsys, extra, words):
    model.save(tmp_path / "m.keras")
    code = run("export", tmp_path / "m.keras", "-o", tmp_path / "m.tflite", "--window-frames", 16,
               *extra)  # fmt: skip
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 1
    assert words in said[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]


def test_the_command_refuses_what_is_no_model(tmp_path, capsys):
    (tmp_path / "m.keras").write_bytes(b"no model")
    assert run("export", tmp_path / "m.keras", "-o", tmp_path / "m.tflite") == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
