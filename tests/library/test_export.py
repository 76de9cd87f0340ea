"""export(): files agree with Keras, carry their contract, are written whole or not at all."""

import contextlib
import hashlib
import io
import json
import zipfile
from unittest import mock

import keras
import numpy as np
import pytest
import soundfile as sf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from mmdense_edge import Separator
from mmdense_edge.model import contract as contract_module
from mmdense_edge.model.interpreter import for_signal
from mmdense_edge.model.model_file import read_contract
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense import ExportError, SettingsError
from keras_mmdense.cli import main
from keras_mmdense.inspection import multiply_adds, multiply_adds_per_second
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.tflite import convert, export
from keras_mmdense.tflite.calibration import read_music
from keras_mmdense.tflite.precisions import PRECISIONS

RATE, WINDOW, SOURCES = 2000, 64, ("bass", "vocals")
TINY = SMALL | {"sample_rate": RATE, "scales": 1, "num_layers": 1, "sources": SOURCES}
# no select (Flex) and no custom operators
BUILT_IN = {
    "ADD", "CONCATENATION", "CONV_2D", "DELEGATE", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE",
    "DEQUANTIZE", "LOGISTIC", "LOG", "MUL", "QUANTIZE", "RELU", "RESHAPE", "STRIDED_SLICE", "SUB",
    "TRANSPOSE_CONV",
}  # fmt: skip


def write_songs(folder, songs=2, rate=RATE, seconds=24, level=0.2, stems=True):
    """Songs of colored noise; with stems or as plain files."""
    for song in range(songs):
        rng = np.random.default_rng(song)
        bass, vocals = rng.standard_normal((2, seconds * rate, 2))
        bass = np.cumsum(bass, axis=0)
        bass -= np.linspace(bass[0], bass[-1], len(bass))
        audio = {"bass": bass, "vocals": vocals}
        audio = {name: level * x / max(np.abs(x).max(), 1e-9) for name, x in audio.items()}
        path = folder / f"song{song}"
        path.mkdir(parents=True)
        for name, samples in audio.items() if stems else ():
            sf.write(path / f"{name}.wav", samples, rate)
        if not stems:
            sf.write(folder / f"song{song}.wav", sum(audio.values()), rate)
    return folder


@pytest.fixture(scope="module")
def model():
    made = keras_mmdense.build(
        shared=True, head="mask", norm="after", compression="log", fold=2, **TINY
    )
    disturb(made)
    keras_mmdense.annotate(made, license="CC0-1.0", training_data="noise")
    return made


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """All precisions, in the processes that users get."""
    folder, said = tmp_path_factory.mktemp("precisions"), []
    contracts = keras_mmdense.export(
        model,
        folder / "small-{precision}.tflite",
        precision=list(PRECISIONS),
        music=write_songs(folder / "songs"),
        window_frames=WINDOW,
        scores={"bass": 1.234},
        thresholds={name: {"snr_db": 15, "sdr_loss_db": 0.5} for name in PRECISIONS},
        report=True,
        progress=said.append,
    )
    return folder, contracts, said


@pytest.fixture
def in_process(monkeypatch):
    """Run conversion and probe here: TensorFlow is loaded already."""

    def run(folder, task, *arguments):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.chdir(folder):
            getattr(convert, task)(*arguments)
        return iter(out.getvalue().splitlines())

    monkeypatch.setattr(export, "_run", run)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Warning. Enabling:UserWarning")  # the quantizer's
def test_a_causal_model_becomes_one_step_that_answers_as_the_whole_song(
    in_process, tmp_path, rng, monkeypatch
):
    options = {"shared": True, "head": "mask", "norm": "after", "compression": "log", "fold": 2}
    model = keras_mmdense.build(causal=True, dilation_rate=(1, 2, 1), **TINY | options)
    disturb(model)
    contracts = keras_mmdense.export(
        model, tmp_path / "{precision}.tflite", precision=["float32", "int8"],
        music=write_songs(tmp_path / "songs"), window_frames=WINDOW,
    )  # fmt: skip
    assert contracts["float32"]["parity"]["max_error"] < 1e-5
    separator = Separator(tmp_path / "float32.tflite")
    contract = separator.contract
    assert contract.name == "mmdensenet"  # of the preset: the file's name holds the precision alone
    assert (contract.frames, contract.context_frames) == (1, 0)
    assert contract.states.windows < context_frames(keras_mmdense.settings_of(model))
    assert contract.macs_per_second == pytest.approx(multiply_adds_per_second(model), abs=1)
    song = rng.random((1, 50, contract.bins, 2)).astype(np.float32)
    whole, network = model(song), for_signal(separator.network)
    for frame in range(50):
        for source, mask in network(song[0, frame : frame + 1]).items():
            estimate = mask[0] * song[0, frame]
            np.testing.assert_allclose(estimate, whole[source][0, frame], atol=1e-5)
    monkeypatch.setattr(contract_module, "MAX_PAST_VALUES", contract.states.read - 1)
    with pytest.raises(ExportError, match=r"runner must take the file.* 'states' must have"):
        keras_mmdense.export(model, tmp_path / "large.tflite", window_frames=WINDOW)
    assert not (tmp_path / "large.tflite").exists()


@pytest.mark.slow
def test_every_precision_reaches_its_figures(exported):
    _, contracts, said = exported
    assert list(contracts) == list(PRECISIONS)
    for name, contract in contracts.items():
        parity = contract["parity"]
        assert (contract["precision"], contract["name"]) == (name, "small")
        assert parity["snr_db"] == min(parity["snr_db_bass"], parity["snr_db_vocals"])
        assert parity["sdr_loss_db"] <= 0.5
    for name, least, most in (("float32", 100, 200), ("float16", 45, 100), ("int8", 15, 60)):
        assert least < contracts[name]["parity"]["snr_db"] < most
    assert [line.split()[-1] for line in said] == ["music", "Keras", *PRECISIONS, "Keras"]


@pytest.mark.slow
def test_the_contract_is_in_the_file_and_its_checksum_holds(exported, model):
    folder, contracts, _ = exported
    content = (folder / "small-float32.tflite").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (info,) = archive.infolist()
        found = json.loads(archive.read(info))
    assert found == json.loads(json.dumps(contracts["float32"]))
    assert hashlib.sha256(content[: info.header_offset]).hexdigest() == found["model_sha256"]
    settings = keras_mmdense.settings_of(model)
    assert keras_mmdense.Settings.from_json(json.dumps(found["settings"])) == settings
    read = read_contract(folder / "small-float32.tflite")
    assert (read.sources, read.output, read.scores) == (SOURCES, "mask", {"bass": 1.23})
    assert read.frames == WINDOW + 2 * read.context_frames
    assert (read.license, read.training_data) == ("CC0-1.0", "noise")
    # each window of new frames is computed with its context
    expected = multiply_adds(model, read.frames) / WINDOW * RATE / settings.transform.hop_length
    assert read.macs_per_second == pytest.approx(expected)


@pytest.mark.slow
def test_the_file_agrees_with_keras_and_the_runner_with_the_library(exported, model, rng):
    folder, contracts, _ = exported
    audio = (0.1 * rng.standard_normal((4001, 2))).astype(np.float32)
    whole = Separator(folder / "small-float32.tflite")
    for rate, limit in ((RATE, 1e-4), (3000, 1e-3)):  # two resamplers' edges apart
        stems = whole.separate(audio, rate)
        for source, stem in keras_mmdense.separate(model, audio, rate).items():
            assert np.abs(stems[source] - stem).max() < limit * max(1, np.abs(stem).max())
    expected = whole.separate(audio, RATE)
    for name in contracts:
        stems = Separator(folder / f"small-{name}.tflite").separate(audio, RATE)
        for source, stem in expected.items():
            error = np.square(stems[source] - stem).sum() / np.square(stem).sum()
            assert 10 * np.log10(error + 1e-20) < -12


@pytest.mark.slow
def test_the_report_and_operators_that_one_delegate_takes(exported):
    folder, _, _ = exported
    text = (folder / "small.parity.md").read_text("utf-8")
    assert (folder / "small.parity.svg").is_file()
    rows = {row["precision"]: row for row in json.loads((folder / "small.parity.json").read_text())}
    assert rows["int8"]["size_bytes"] < rows["float32"]["size_bytes"]
    for name, row in rows.items():
        assert f"| {name} |" in text
        assert set(row["probe"]["operators"]) <= BUILT_IN
        if name != "int16x8":  # no delegate knows 16-bit values
            assert row["probe"]["delegates"] == 1
            # copies around the network are cheap wherever they are
            assert set(row["probe"]["outside"]) <= {"LOG", "QUANTIZE", "DEQUANTIZE", "RESHAPE"}
    interpreter = Interpreter(
        str(folder / "small-int8.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    names = [operator["op_name"] for operator in interpreter._get_ops_details()]
    # compression and normalization stay float in 8 bits
    assert names[:5] == ["ADD", "LOG", "SUB", "MUL", "QUANTIZE"]


def test_layers_that_the_settings_do_not_describe_are_refused(tmp_path):
    """The file would be made without them, and parity would not notice."""
    made = keras_mmdense.build(**TINY)
    outputs = {name: keras.layers.LeakyReLU()(tensor) for name, tensor in made.output.items()}
    with pytest.raises(SettingsError, match=r"nothing added or replaced; .*LeakyReLU"):
        keras_mmdense.export(keras.Model(made.input, outputs), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def own_loss(target, estimate):
    return (target - estimate) ** 2


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_magnitudes_of_a_compiled_model_are_exported(tmp_path, rng):
    made = keras_mmdense.build(**TINY)
    disturb(made)
    made.compile("sgd", own_loss)
    path = tmp_path / "m.tflite"
    found = keras_mmdense.export(made, path, window_frames=16, states=True)
    assert found["float32"]["parity"]["snr_db"] > 80
    read = read_contract(path)
    assert (read.sources, read.output, read.step_frames) == (SOURCES, "magnitude", 16)
    assert found["float32"]["version"] == 3
    song = rng.random((7000, 2)).astype(np.float32)
    expected = keras_mmdense.separate(made, song, 44100)
    for source, stem in Separator(path).separate(song, 44100).items():
        np.testing.assert_allclose(stem, expected[source], atol=1e-5)


def test_the_command_passes_its_options_and_prints_what_is_reached(monkeypatch, capsys):
    seen = mock.Mock(return_value={
        "float16": {"parity": {"snr_db": 50.12, "sdr_loss_db": 0.002}},
        "int8": {"parity": {"snr_db": 20.0}},
    })  # fmt: skip
    monkeypatch.setattr(keras_mmdense, "export", seen)
    monkeypatch.setattr("keras_mmdense.cli.open_model", str.upper)
    code = main(
        ["export", "m", "-o", "m-{precision}.tflite", "--precision", "float16, int8", "--threshold",
         "int8:snr_db=15", "--threshold", "int8:sdr_loss_db=1", "--name", "n", "--score",
         "bass=1.5", "--music", "songs", "--window-frames", "32", "--states", "--report",
         "--overwrite"]
    )  # fmt: skip
    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "m-float16.tflite: SNR 50.1 dB, SDR lost 0.002 dB",
        "m-int8.tflite: SNR 20.0 dB",
    ]
    seen.assert_called_once_with(
        "M", "m-{precision}.tflite", precision=["float16", "int8"], music="songs",
        window_frames=32, states=True, name="n", scores={"bass": 1.5}, report=True,
        overwrite=True, thresholds={"int8": {"snr_db": 15, "sdr_loss_db": 1}}, progress=mock.ANY,
    )  # fmt: skip


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"thresholds": {"float32": {"snr_db": 500}}},
            "float32: snr_db must be at least 500; ",
            marks=pytest.mark.slow,
        ),
        ({"thresholds": {"int9": {"snr_db": 1}}}, "int9"),
        ({"thresholds": {"int8": {"psnr": 3}}}, "psnr"),
        ({"scores": {"piano": 5}}, "scores must be finite numbers by source, of "),
        ({"scores": {"vocals": float("nan")}}, "received {'vocals': nan}"),
        ({"precision": "int4"}, "one or several of float32"),
        ({"precision": ["int8", "int8"]}, "one or several of"),
        ({"precision": "int8"}, "int8 needs music"),
        ({"precision": ["float32", "float16"]}, "must hold {precision}"),
        ({"music": "nowhere"}, "nowhere"),
        ({"window_frames": 7}, r"2**scales = 2"),
        ({"window_frames": 0}, "received 0"),
        ({"path": "m.bin"}, "end in .tflite"),
        ({"path": "none/m.tflite"}, "folder must exist"),
        ({"path": "there.tflite"}, "exists already"),
    ],
)
def test_what_is_refused_is_refused_and_leaves_nothing(
    model, tmp_path, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.tflite").write_bytes(b"other")
    with pytest.raises(ExportError) as caught:
        keras_mmdense.export(
            model, **{"path": "m.tflite", "window_frames": 16, "report": True} | options
        )
    assert words in str(caught.value)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"other"]


def test_missing_packages_are_named_before_any_work(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"'no ai_edge_litert, tensorflow'\. pip install"):
        keras_mmdense.export(model, tmp_path / "m.tflite", window_frames=16)
    with pytest.raises(ExportError, match=r"'no ai_edge_litert, ai_edge_quantizer, tensorflow'"):
        keras_mmdense.export(model, tmp_path / "m.tflite", precision="dynamic", window_frames=16)


def test_contracts_are_shown_in_a_line_each():
    parity = {"snr_db": 50.12, "sdr_loss_db": 0.002}
    contracts = export.Contracts(float16={"parity": parity}, int8={"parity": {"snr_db": 20.0}})
    assert repr(contracts) == "float16: SNR 50.1 dB, SDR lost 0.002 dB\nint8: SNR 20.0 dB"


def test_a_failing_conversion_ends_in_one_line(model, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ExportError, match=r"^.*ended with 1.*$"):
        keras_mmdense.export(model, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_neither_files_nor_processes(model, tmp_path, monkeypatch):
    started = []

    class Process(export.subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    (tmp_path / "python").write_text("#!/bin/sh\necho STEP Keras\nexec tail -f /dev/null\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(export.subprocess, "Popen", Process)
    progress = mock.Mock(side_effect=[None, KeyboardInterrupt])  # at the first step of the process
    with pytest.raises(KeyboardInterrupt):
        keras_mmdense.export(model, tmp_path / "m.tflite", window_frames=16, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["python"]
    assert [process.wait() for process in started] == [-9]


def test_music_is_the_same_every_time_and_never_both_to_calibrate_and_compare(model, tmp_path):
    settings = keras_mmdense.settings_of(model)
    folder = write_songs(tmp_path / "songs")
    first, again = (read_music(folder, settings, 128) for _ in range(2))
    np.testing.assert_array_equal(first.calibration, again.calibration)
    assert tuple(first.sources) == SOURCES
    np.testing.assert_allclose(first.check, sum(first.sources.values()), atol=1e-2)
    peaks = first.calibration.max(axis=(1, 2))
    for quiet, other in ((2, 0), (3, 1)):  # -20 and -45 dB, beside 0 and 6
        assert peaks[quiet].max() < 0.2 * peaks[other].max()
    assert peaks[4].min() == 0 < peaks[4].max()  # one channel is silent
    for window in np.abs(first.check):
        assert not any(np.allclose(window, other) for other in first.calibration)
    plain = read_music(write_songs(tmp_path / "plain", stems=False), settings, 128)
    assert plain.calibration.shape[0] * 128 * 64 / RATE > 20
    assert plain.sources == {}


@pytest.mark.parametrize(
    ("songs", "words"),
    [
        ({"level": 1e-5}, "20 s of sounding music"),
        ({"seconds": 8}, "20 s of sounding music"),
        ({"rate": 44100, "seconds": 2}, "sample rate of 44100 Hz"),
        ({"rate": 44100, "seconds": 2, "stems": False}, r"2000 Hz; .*2, 'other rates': \[44100\]"),
        ({"songs": 0}, "data set or a folder of songs"),
    ],
)
def test_music_that_does_not_do_is_refused(model, tmp_path, songs, words):
    (tmp_path / "songs").mkdir()
    folder = write_songs(tmp_path / "songs", **songs)
    with pytest.raises(ExportError, match=words):
        read_music(folder, keras_mmdense.settings_of(model), 128)
    (folder / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(ExportError, match=r"broken\.wav: is not a readable audio file"):
        read_music(folder, keras_mmdense.settings_of(model), 128)
