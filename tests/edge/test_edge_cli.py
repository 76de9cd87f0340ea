"""The command: what it writes, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge import __version__
from mmdense_edge.cli.main import main
from mmdense_edge.errors import printable
from mmdense_edge.separate import picture
from mmdense_edge.separate.song_report import SongReport, StemReport, clock, table
from shells import started
from tqdm import tqdm


@pytest.fixture
def separate(model_path, tmp_path, capfd):
    """Runs `mmdense separate` with a test model; returns (code, stdout, stderr)."""

    def run(*arguments: object, model: str = "shares", out: object = None) -> tuple[int, str, str]:
        out = tmp_path / "out" if out is None else out
        argv = ["separate", *map(str, arguments), "-o", str(out)]
        try:
            code = main([*argv, "--model", str(model_path(model))])
        except SystemExit as error:
            code = error.code
        printed = capfd.readouterr()
        # The interpreter's own notes come first, from its C code.
        errors = [line for line in printed.err.splitlines() if not line.startswith("INFO: ")]
        return code, printed.out, "\n".join(errors)

    return run


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_song_becomes_its_stems(separate, song, tmp_path):
    code, out, err = separate(song())
    assert (code, err) == (0, "")
    stems = [f"song/{source}.wav" for source in ("bass", "drums", "vocals")]
    assert everything(tmp_path / "out") == ["song", *stems]
    assert out.startswith(f"{tmp_path}/song.wav: 0:00 long, ")
    assert float(out.partition("real-time factor ")[2].split()[0]) > 0
    for stem in stems:
        assert f"{tmp_path}/out/{stem}" in out
    assert "SDR" not in out


def test_all_options_together(separate, song, tmp_path, noise):
    reference = tmp_path / "references"
    reference.mkdir()
    sf.write(reference / "vocals.flac", noise(20000) * 0.5, 44100)
    sf.write(reference / "drums.wav", np.zeros((20000, 2)), 44100)
    code, out, err = separate(
        song("mixture.wav"), "--residual", "--format", "flac", "--picture", "--threads", "2",
        "--sources", "vocals, drums", "--reference", reference,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert everything(tmp_path / "out") == [
        "mixture",
        "mixture/drums.flac",
        "mixture/residual.flac",
        "mixture/spectrogram.png",
        "mixture/vocals.flac",
    ]
    rows = {line.split()[0]: line.split() for line in out.splitlines()[1:]}
    assert rows["drums"][3:5] == ["n/a", "n/a"]
    vocals = sf.read(tmp_path / "out" / "mixture" / "vocals.flac")[0]
    expected = sf.read(reference / "vocals.flac")[0]
    sdr = 10 * np.log10((expected**2).sum() / ((expected - vocals) ** 2).sum())
    assert rows["vocals"][3:5] == [f"{sdr:.2f}", "0.00"]
    assert len(rows["residual"]) == 4
    assert out.splitlines()[-2].endswith("out/mixture/spectrogram.png")
    assert re.fullmatch(r"model shares, [a-z-]+ [\d.]+, 2 thread\(s\)", out.splitlines()[-1])


def test_json_is_one_object(separate, song, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"")
    code, out, _ = separate(song(), bad, "--json")
    assert code == 1
    report = json.loads(out)
    assert (report["version"], report["model"]) == (__version__, "shares")
    good, failed = report["songs"]
    assert good["error"] is None
    assert good["duration_seconds"] == pytest.approx(20000 / 44100)
    assert good["real_time_factor"] == pytest.approx(good["seconds"] / good["duration_seconds"])
    assert [stem["source"] for stem in good["stems"]] == ["drums", "bass", "vocals"]
    assert failed["real_time_factor"] is None
    assert "bad.wav: cannot be read as audio" in failed["error"]


def test_one_failing_song_does_not_stop_the_others(separate, song, tmp_path):
    first, last = song("first.wav"), song("last.wav")
    os.mkfifo(tmp_path / "fifo.wav")
    code, out, err = separate(first, tmp_path / "none.wav", tmp_path / "fifo.wav", last)
    assert code == 1
    assert err.splitlines() == [
        f"mmdense: {tmp_path}/none.wav: no such file",
        f"mmdense: {tmp_path}/fifo.wav: not a regular file",
        "mmdense: 2 of 4 songs failed",
    ]
    assert f"{tmp_path}/none.wav: FAILED" in out
    assert {name.partition("/")[0] for name in everything(tmp_path / "out")} == {"first", "last"}


def nan_audio() -> np.ndarray:
    audio = np.zeros((1000, 2), np.float32)
    audio[441, 0] = np.nan
    return audio


@pytest.mark.parametrize(
    ("name", "audio", "match"),
    [
        ("nan.wav", nan_audio(), "nan.wav: sample 441 (0.010 s) of channel 1 is nan"),
        ("many.wav", np.zeros((100, 65)), "many.wav: audio must have 1 to 64 channels, got 65"),
        ("none.wav", np.zeros((0, 2)), "none.wav: audio must have at least 1 sample, got 0"),
    ],
)
def test_audio_that_cannot_be_separated(separate, song, tmp_path, name, audio, match):
    code, _, err = separate(song(name, audio, subtype="FLOAT"))
    assert code == 1
    assert match in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["text.wav", "zero.mp3", "odd\nname.flac"])
def test_files_that_are_no_audio(separate, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"some text\n" * 100 if name == "text.wav" else b"")
    code, _, err = separate(path)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "cannot be read as audio" in err
    assert everything(tmp_path) == [name]


def test_an_output_folder_that_cannot_be(separate, song, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = separate(song(), out=out)
        assert code == 1
        assert len(err.splitlines()) == 1
        assert f"song.wav: cannot write to {out} (" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_existing_results_are_kept_unless_asked(separate, song, tmp_path):
    assert separate(song())[0] == 0
    target = tmp_path / "out" / "song" / "bass.wav"
    target.write_bytes(b"mine")
    code, _, err = separate(song())
    assert code == 1
    assert "exists: choose another folder (-o) or pass --overwrite" in err
    assert target.read_bytes() == b"mine"
    assert separate(song(), "--overwrite")[0] == 0
    assert sf.info(target).frames == 20000


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--sources", "guitar"], "must be a list of drums, bass, vocals, got ['guitar']"),
        (["--sources", ""], "must be a list of drums, bass, vocals"),
        (["--threads", "0"], "threads must be from 1 to 256, got 0"),
        (["--reference", "none"], "none holds no reference"),
        (["--format", "mp3"], "invalid choice: 'mp3'"),
        (["song.wav"], "would both write to"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_usage(separate, song, tmp_path, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    song()
    code, out, err = separate("song.wav", *arguments)
    assert (code, out) == (2, "")
    assert match in err
    assert everything(tmp_path) == ["song.wav"]


def test_results_onto_the_input(separate, song, tmp_path):
    path = song("vocals/vocals.wav")
    before = path.read_bytes()
    code, _, err = separate(path, "--overwrite", out=tmp_path)
    assert code == 2
    assert "is read and would be replaced" in err
    assert path.read_bytes() == before


def test_models_that_cannot_be_used(song, tmp_path, capfd):
    (tmp_path / "text.tflite").write_text("hello there")
    argv = ["separate", str(song()), "-o", str(tmp_path / "out"), "--model"]
    for model, code, match in (
        ("nonsense", 2, "no bundled model and no file is called 'nonsense'"),
        (str(tmp_path / "none.tflite"), 1, "no model file at"),
        (str(tmp_path / "text.tflite"), 1, "not a TFLite model"),
    ):
        assert main([*argv, model]) == code
        assert match in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_interruption_ends_with_130_and_leaves_nothing(separate, song, tmp_path, monkeypatch):
    def stop(self: tqdm, seconds: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "update", stop)
    code, out, err = separate(song())
    assert (code, out) == (130, "")
    assert err == "mmdense: interrupted: the song in work was not written"
    assert everything(tmp_path) == ["song.wav"]


def signalled(model_path, path: Path, out: Path, name: str, ignored: tuple[str, ...]):
    """Runs a separation that sends itself a signal each time that some samples are done."""
    program = (
        "import os, signal, sys\n"
        "from mmdense_edge.cli.main import main\n"
        "from tqdm import tqdm\n"
        f"tqdm.update = lambda self, seconds: os.kill(os.getpid(), signal.{name})\n"
        "sys.exit(main())\n"
    )
    arguments = ["separate", path, "-o", out, "--model", model_path("shares")]
    return subprocess.run(
        started([sys.executable, "-c", program, *map(str, arguments)], ignored),
        check=False, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("SIGINT", 130, "interrupted"),
        ("SIGTERM", 143, "terminated"),
        ("SIGHUP", 129, "terminated"),
    ],
)
def test_a_signal_in_the_middle_leaves_nothing(song, model_path, tmp_path, name, code, told):
    done = signalled(model_path, song(), tmp_path / "out", name, ())
    assert done.returncode == code
    assert done.stderr.endswith(f"mmdense: {told}: the song in work was not written\n")
    assert everything(tmp_path) == ["song.wav"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_is_ignored_from_the_start_stays_so(song, model_path, tmp_path, name):
    """As under `nohup`, and in the background of a script."""
    done = signalled(model_path, song(), tmp_path / "out", name, (name,))
    assert (done.returncode, "mmdense:" in done.stderr) == (0, False)
    assert (tmp_path / "out" / "song" / "vocals.wav").is_file()


def test_quiet_prints_errors_only(separate, song, tmp_path):
    assert separate(song(), "--quiet") == (0, "", "")
    code, out, err = separate(tmp_path / "none.wav", "--quiet")
    assert (code, out) == (1, "")
    assert err.endswith("none.wav: no such file")


@pytest.mark.parametrize("name", ["with space.wav", "two\nlines.wav", "ä 音楽.wav", b"\xff.wav"])
def test_odd_names(separate, song, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    os.rename(song("plain.wav"), path)
    code, out, err = separate(path)
    assert (code, err) == (0, "")
    assert (tmp_path / "out" / path.stem / "vocals.wav").is_file()
    assert len(out.splitlines()) == 6


def test_a_picture_without_matplotlib(separate, song, tmp_path, monkeypatch):
    def missing() -> None:
        raise picture.UsageError("pictures need matplotlib")

    monkeypatch.setattr(picture, "check_available", missing)
    code, _, err = separate(song(), "--picture")
    assert (code, err) == (2, "mmdense: pictures need matplotlib")
    assert everything(tmp_path) == ["song.wav"]


@pytest.mark.parametrize(
    ("backend", "more"), [("module://absent.backend", []), ("nonsense", ["--jobs", "2"])]
)
def test_a_picture_is_drawn_whatever_backend_the_environment_names(
    song, model_path, tmp_path, backend, more
):
    songs = [song(), song("other.wav")]
    argv = ["separate", *songs, "-o", tmp_path / "out", "--model", model_path("shares"), *more]
    done = subprocess.run(
        [sys.executable, "-m", "mmdense_edge", *map(str, argv), "--picture", "--quiet"],
        env=os.environ | {"MPLBACKEND": backend}, capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr, "picture" in done.stderr) == (0, 0, 0)
    for name in ("song", "other"):
        assert (tmp_path / "out" / name / "spectrogram.png").is_file()


@pytest.mark.parametrize("error", [ValueError("two\nlines"), OSError("disk"), ImportError("gone")])
def test_a_picture_that_fails_costs_a_line_and_no_stem(
    separate, song, tmp_path, monkeypatch, error
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(picture, "draw", fail)
    old = tmp_path / "out" / "song" / "spectrogram.png"
    old.parent.mkdir(parents=True)
    old.write_text("mine")
    code, out, err = separate(song(), "--picture", "--overwrite", "--quiet")
    assert (code, out) == (0, "")
    (line,) = err.splitlines()
    assert line.startswith(f"mmdense: {tmp_path}/song.wav: no picture was drawn (")
    assert printable(str(error)) in line
    stems = [f"song/{name}" for name in ("bass.wav", "drums.wav", "spectrogram.png", "vocals.wav")]
    assert everything(tmp_path / "out") == ["song", *stems]
    assert old.read_text() == "mine"


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["separate", "--help"]])
def test_help_ends_with_0(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 0
    assert capsys.readouterr().out


def test_the_table_is_aligned():
    stems = (
        StemReport("vocals", "o/vocals.wav", -20.04, 3, True, 5.126, -1.0),
        StemReport("bass", "o/bass.wav", None, 0),
    )
    report = SongReport("a.wav", None, 44100, 2, 441000, 0.5, stems, "o/spectrogram.png")
    assert table(report).splitlines() == [
        "a.wav: 0:10 long, 0.50 s taken, real-time factor 0.050",
        "  stem    RMS dBFS  clipped  SDR dB  SDR dB of mixture  file",
        "  vocals     -20.0        3    5.13              -1.00  o/vocals.wav",
        "  bass      silent        0                             o/bass.wav",
        "  spectrogram: o/spectrogram.png",
    ]
    assert clock(3599.6) == "1:00:00"


def test_the_table_tells_what_else_there_is():
    stems = (StemReport("vocals", "o/vocals.wav", -20.0, 0),)
    report = SongReport(
        "a.wav", None, 44100, 2, 441000, 0.5, stems, None, ("cut\nshort",), -1.5, 0.25, 16
    )
    assert table(report).splitlines()[3:] == [
        "  null test: the stems add up to the song within 0.25 steps of 16 bits",
        "  stems made quieter by 1.50 dB, so that none is clipped",
        "  warning: cut\\nshort",
    ]
