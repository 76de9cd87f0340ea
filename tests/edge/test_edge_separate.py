"""`mmdense separate`: what it writes and prints, how it ends; pipes, parallel songs, signals."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile as sf
from command_runs import contents, everything, said, started
from mmdense_edge import __version__
from mmdense_edge.errors import MMDenseError
from mmdense_edge.separate import picture, pool
from mmdense_edge.separate.inputs import Song
from mmdense_edge.separate.jobs import plan
from mmdense_edge.separate.song_report import SongReport, StemReport, clock, table


@pytest.fixture
def separate(mmdense, model_path):
    """Runs the command in this process; returns (code, stdout, lines of stderr)."""
    return lambda *arguments: mmdense("separate", *arguments, "--model", model_path("shares"))


@pytest.fixture
def process(model_path):
    """Runs the command as a process of its own; returns it when it has finished."""

    def run(*arguments: object, **options):
        argv = ["separate", *map(str, arguments), "--model", model_path("shares")]
        return subprocess.run(
            [sys.executable, "-m", "mmdense_edge", *argv],
            capture_output=True, check=False, **options,
        )  # fmt: skip

    return run


def test_all_options_together(separate, song, tmp_path, noise, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://absent.backend")  # as a notebook's shell may
    reference = tmp_path / "references"
    reference.mkdir()
    sf.write(reference / "vocals.flac", noise(20000) * 0.5, 44100)
    sf.write(reference / "drums.wav", np.zeros((20000, 2)), 44100)
    path = song("mixture.wav")
    code, out, err = separate(
        path, "-o", tmp_path / "out", "--residual", "--format", "flac", "--picture",
        "--threads", "2", "--sources", "vocals, drums", "--reference", reference,
    )  # fmt: skip
    assert (code, err, os.environ["MPLBACKEND"]) == (0, [], "agg")
    names = ["drums.flac", "residual.flac", "spectrogram.png", "vocals.flac"]
    assert everything(tmp_path / "out") == ["mixture", *(f"mixture/{name}" for name in names)]
    lines = out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[2:]}
    assert rows["drums"][3:5] == ["n/a", "n/a"]
    vocals = sf.read(tmp_path / "out" / "mixture" / "vocals.flac")[0]
    expected = sf.read(reference / "vocals.flac")[0]
    sdr = 10 * np.log10((expected**2).sum() / ((expected - vocals) ** 2).sum())
    assert rows["vocals"][3:5] == [f"{sdr:.2f}", "0.00"]
    assert len(rows["residual"]) == 4
    assert lines[-1].startswith("model shares, weights: MIT; ")
    assert lines[-1].endswith(", 2 thread(s)")


def test_json_is_one_object_and_a_failing_song_does_not_stop_the_others(separate, song, tmp_path):
    first, last = song("first.wav"), song("last.wav")
    bad = [tmp_path / "none.wav", tmp_path / "fifo.wav"]
    os.mkfifo(bad[1])
    code, out, err = separate(first, *bad, last, "-o", tmp_path / "out", "--json")
    errors = [f"{bad[0]}: no such file", f"{bad[1]}: not a regular file"]
    assert (code, err) == (1, [f"mmdense: {e}" for e in [*errors, "2 of 4 songs failed"]])
    report = json.loads(out)
    assert (report["version"], report["model"]) == (__version__, "shares")
    good, failed, *others = report["songs"]
    assert [song["error"] for song in (good, failed, *others)] == [None, *errors, None]
    assert good["duration_seconds"] == pytest.approx(20000 / 44100)
    assert [stem["source"] for stem in good["stems"]] == ["drums", "bass", "vocals"]
    assert failed["real_time_factor"] is None
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"first", "last"}


def test_folders_patterns_and_names(separate, song, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    song("music/a.wav")
    song("music/Album/b.flac")
    (tmp_path / "music" / "notes.txt").write_text("x")
    options = ["-o", "music/out", "--sources", "bass", "--filename"]
    options.append("{folder}/{track} {stem} ({model}).{ext}")
    code, out, err = separate("music", *options)
    assert (code, err) == (0, [])
    assert out.splitlines()[-1] == "skipped 1 file(s) that are not audio"
    written = ["Album", "Album/b bass (shares).wav", "a bass (shares).wav"]
    assert everything(tmp_path / "music" / "out") == written
    # What was written is not taken for a song.
    assert separate("mus*", *options, "--overwrite")[0] == 0
    assert everything(tmp_path / "music" / "out") == written


def test_what_a_damaged_song_holds_is_separated_with_a_warning(separate, song, tmp_path):
    path = song()
    path.write_bytes(path.read_bytes()[:-40000])
    code, out, err = separate(
        path, "-o", tmp_path / "out", "--allow-truncated", "--sum-to-mixture", "--clip", "scale"
    )
    assert (code, err) == (0, [])
    assert "  null test: the stems add up to the song within 0.00 steps of 16 bits" in out
    assert "  warning: cut short: its header promises 80000 bytes, the file holds 40000" in out
    assert sf.info(tmp_path / "out" / "song" / "bass.wav").frames == 10000


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("song.wav", 2, "required: -o/--out"),
        ("song.wav -o out --nonsense", 2, "unrecognized arguments: --nonsense"),
        ("song.wav -o out --format mp3", 2, "invalid choice: 'mp3'"),
        ("song.wav -o out --sources guitar", 2, r"drums, bass, vocals.*\['guitar'\]"),
        ("song.wav -o out --sources=", 2, "must be a list of drums, bass, vocals"),
        ("song.wav -o out --threads 0", 2, "threads must be from 1 to 256.* 0"),
        ("song.wav -o out --jobs 0", 2, "--jobs must be from 1 to 64; received 0"),
        ("song.wav -o out --jobs 65", 2, "--jobs must be from 1 to 64; received 65"),
        ("song.wav -o out --jobs 2 --cluster :1", 2, "Drop --jobs"),
        ("song.wav -o - --sources bass --cluster :1", 2, "--cluster takes files and folders"),
        (
            "song.wav -o out --cluster tcp://10.0.0.1:1",
            2,
            "lets anyone run code; received tcp://10",
        ),
        ("song.wav -o out --wiener 11", 2, "wiener must be 0 to 10 iterations; received 11"),
        (
            "song.wav -o out --reference none",
            2,
            "none contains no reference. It needs files such as drums.wav",
        ),
        ("song.wav -o out --other sum", 2, "--other needs --two-stems"),
        ("song.wav -o out --two-stems bass --sources bass", 2, "Drop --sources"),
        ("song.wav -o out --two-stems piano", 2, "one of drums, bass, vocals.*'piano'"),
        ("song.wav -o out --sources bass --sum-to-mixture", 2, "needs at least two stems"),
        ("song.wav -o out --format flac --bit-depth 32f", 2, "flac files have no floats"),
        ("song.wav -o out --format ogg --bit-depth 16", 2, "ogg files are lossy"),
        ("song.wav -o out --format ogg --sum-to-mixture", 2, "ogg files are lossy"),
        ("song.wav -o out --filename ../{stem}.{ext}", 2, "must stay below the output folder"),
        ("song.wav song.wav -o out", 2, "would both write to"),
        ("*.xyz -o out", 2, r"no file matches '\*.xyz'"),
        ("- - -o out", 2, r"standard input \(-\) can be read only once"),
        ("song.wav -o -", 2, r"received 3 stem\(s\) of 1 song\(s\)"),
        ("song.wav song.wav -o - --sources bass", 2, r"received 1 stem\(s\) of 2 song\(s\)"),
        ("song.wav -o - --sources bass --json", 2, "Drop --json and --picture"),
        ("song.wav -o out --model nonsense", 2, "no bundled model or file is called"),
        ("song.wav -o out --model none.tflite", 1, "no model file at"),
        ("song.wav -o out --model text.tflite", 1, "not a TFLite model"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    mmdense, song, model_path, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    song()
    (tmp_path / "text.tflite").write_text("hello there")
    model = [] if "--model" in arguments else ["--model", model_path("shares")]
    found, out, err = mmdense("separate", *arguments.split(), *model)
    assert (found, out) == (code, "")
    assert re.search(words, err[-1])
    assert len(err) == 1 or err[0].startswith("usage: ")
    assert everything(tmp_path) == ["song.wav", "text.tflite"]


def test_a_terminal_is_no_pipe(separate, song, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "stdout is a terminal" in separate(song(), "-o", "-", "--sources", "bass")[2][0]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert "stdin is a terminal" in separate("-", "-o", "out")[2][0]


def test_from_pipe_to_pipe(process, song, separators):
    path = song("a.flac")
    arguments = ["-", "-o", "-", "--sources", "bass", "--format", "flac"]
    done = process(*arguments, input=path.read_bytes())
    assert done.returncode == 0
    assert said(done.stderr.decode())[0].startswith("-: 0:00 long, ")
    (stem,) = separators["shares"].separate(sf.read(path)[0], 44100, sources=["bass"]).values()
    found = sf.read(io.BytesIO(done.stdout))[0]
    np.testing.assert_allclose(found, stem, atol=0.51 / 32768)
    done = process(*arguments, "--quiet", input=path.read_bytes()[:-4000])
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = said(done.stderr.decode())
    assert "-: damaged after" in line


@pytest.mark.parametrize("arguments", [["-o", "-", "--sources", "bass"], ["-o", "out"]])
def test_a_closed_output_pipe_is_one_line(song, model_path, tmp_path, arguments):
    path = song(audio=np.zeros((300000, 2)))
    argv = ["separate", path, *arguments, "--model", model_path("shares")]
    with subprocess.Popen(
        [sys.executable, "-m", "mmdense_edge", *map(str, argv)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        # Buffered, as users have it: only then something is left to flush at the very end.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    ) as process:  # fmt: skip
        process.stdout.close()
        lines = said(process.stderr.read().decode())
    assert (process.returncode, lines) == (1, ["mmdense: the output pipe was closed"])


def test_songs_in_parallel_are_the_same_songs(separate, process, song, tmp_path):
    songs = [song(f"{index}.wav", rate=44100 + index) for index in range(2)]
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"text")
    first, second = tmp_path / "out1", tmp_path / "out2"
    assert separate(*songs, bad, "-o", first)[0] == 1
    done = process(*songs, bad, "-o", second, "--jobs", 2, "--json")
    assert (done.returncode, len(said(done.stderr.decode()))) == (1, 2)
    rows = json.loads(done.stdout)["songs"]
    assert [row["song"] for row in rows] == [str(path) for path in (*songs, bad)]
    assert "cannot be read as audio" in rows[2]["error"]
    assert contents(first) == contents(second)


def signalled(tmp_path: Path, program: str, arguments: list[object], ignored: tuple[str, ...] = ()):
    """Runs a program that calls the command with other parts, in a session of its own."""
    (tmp_path / "program.py").write_text(
        "import os, signal, sys\n"
        "from mmdense_edge.cli.main import main\n"
        f"{program}\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main())\n"
    )
    argv = [sys.executable, tmp_path / "program.py", "separate", *arguments]
    return subprocess.run(
        started([*map(str, argv)], ignored),
        capture_output=True, check=False, start_new_session=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "ignored", "code", "words"),
    [
        ("SIGHUP", (), 129, "mmdense: terminated: the current song was not written"),
        ("SIGHUP", ("SIGHUP",), 0, ""),  # as under `nohup`
    ],
)
def test_a_signal_in_the_middle_leaves_nothing(
    song, model_path, tmp_path, name, ignored, code, words
):
    program = (
        "from tqdm import tqdm\n"
        f"tqdm.update = lambda self, seconds: os.kill(os.getpid(), signal.{name})"
    )
    arguments = [song(), "-o", tmp_path / "out", "--model", model_path("shares")]
    done = signalled(tmp_path, program, arguments, ignored)
    assert (done.returncode, "".join(said(done.stderr))) == (code, words)
    assert (tmp_path / "out" / "song" / "vocals.wav").is_file() == (code == 0)
    assert (tmp_path / "out").exists() == (code == 0)


@pytest.mark.parametrize(
    ("name", "code", "send", "word"),
    [("SIGINT", 130, "killpg", "interrupted"), ("SIGTERM", 143, "kill", "terminated")],
)
def test_signals_end_parallel_songs_cleanly(song, model_path, tmp_path, name, code, send, word):
    """Once the first samples are done: Ctrl-C on a terminal, and `kill`."""
    songs = [song(f"{index}.wav", np.full((1_500_000, 2), 0.1)) for index in range(3)]
    program = (
        "from mmdense_edge.separate import pool\n"
        "def show(songs, done, expected, sent=[]):\n"
        "    if done and not sent:\n"
        "        sent.append(1)\n"
        f"        os.{send}(os.getpid(), signal.{name})\n"
        "real = pool.separate_all\n"
        "pool.separate_all = lambda *arguments: real(*arguments[:4], show)"
    )
    arguments = [*songs, "-o", tmp_path / "out", "--jobs", 2, "--model", model_path("mono")]
    done = signalled(tmp_path, program, arguments)
    assert done.returncode == code, done.stderr
    assert said(done.stderr) == [f"mmdense: {word}: the current song was not written"]
    assert everything(tmp_path) == ["0.wav", "1.wav", "2.wav", "program.py"]


def _die(*_: object) -> None:
    os._exit(9)


def test_a_process_that_dies_is_one_line(song, model_path, tmp_path, monkeypatch):
    jobs = plan([Song(song())], tmp_path / "out", {"bass": ("bass",)})
    monkeypatch.setattr(pool, "_work", _die)
    with pytest.raises(MMDenseError, match="a process died, perhaps because memory ran out"):
        pool.separate_all(jobs, model_path("shares"), 1, 2)


@pytest.mark.parametrize(
    ("song", "words"),
    [
        (Song(Path("/tmp/stdin"), piped=True), "-: no such file"),
        (Song(Path("a\nb.wav")), "a\\nb.wav: no such file"),
    ],
)
def test_an_error_names_its_song_once(separators, tmp_path, song, words):
    (job,) = plan([song], tmp_path, {"b": ("bass",)})
    assert pool.attempt(separators["shares"], job).error == words


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_a_terminal_shows_a_bar_that_goes_away(separate, song, tmp_path, monkeypatch, noise, quiet):
    path, stream = song("a\nb.wav", noise(3 * 44100)), io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    assert separate(path, "-o", tmp_path / "out", *quiet)[0] == 0
    shown = stream.getvalue().split("\r")
    bar = f"{tmp_path}/a\\nb.wav:   0%|          | 0/3 [00:00<?, ? s/s]"
    assert (bar in shown) == (not quiet)
    assert "".join(shown[-2:]).strip() == ""


def test_a_picture_without_matplotlib(separate, song, tmp_path, monkeypatch):
    monkeypatch.setattr("mmdense_edge.cli.separate_command.find_spec", lambda name: None)
    code, _, (line,) = separate(song(), "-o", tmp_path / "out", "--picture")
    assert code == 2
    assert 'need matplotlib. Run pip install ".[plot]"' in line
    assert everything(tmp_path) == ["song.wav"]


def test_a_picture_that_fails_costs_a_line_and_no_stem(separate, song, tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "draw", Mock(side_effect=ValueError("two\nlines")))
    old = tmp_path / "song" / "spectrogram.png"
    old.parent.mkdir()
    old.write_text("mine")
    code, _, (line,) = separate(song(), "-o", tmp_path, "--picture", "--overwrite", "--quiet")
    assert (code, old.read_text()) == (0, "mine")
    assert "song.wav: no picture was drawn (ValueError: two\\nlines)" in line
    assert sorted(os.listdir(old.parent)) == ["bass.wav", "drums.wav", old.name, "vocals.wav"]


def test_the_table_of_a_song():
    stems = (
        StemReport("vocals", "o/vocals.wav", -20.04, 3, True, 5.126, -1.0),
        StemReport("bass", "o/bass.wav", None, 0),
    )
    form = ("a.wav", None, 44100, 2, 441000, 0.5)
    report = SongReport(*form, stems, "o/spectrogram.png", ("cut\nshort",), -1.5, 0.25, 16)
    assert table(report).splitlines() == [
        "a.wav: 0:10 long, separated in 0.50 s, real-time factor 0.050",
        "  stem    RMS dBFS  clipped  SDR dB  SDR dB of mixture  file",
        "  vocals     -20.0        3    5.13              -1.00  o/vocals.wav",
        "  bass      silent        0                             o/bass.wav",
        "  null test: the stems add up to the song within 0.25 steps of 16 bits",
        "  stems attenuated by 1.50 dB to avoid clipping",
        "  spectrogram: o/spectrogram.png",
        "  warning: cut\\nshort",
    ]
    assert table(SongReport(*form, stems[1:])).splitlines()[1:] == [
        "  stem  RMS dBFS  clipped  file",
        "  bass    silent        0  o/bass.wav",
    ]
    assert clock(3599.6) == "1:00:00"
