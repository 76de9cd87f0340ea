"""`mmdense separate`: its options, pipes, parallel songs, signals."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.cli.main import main
from mmdense_edge.errors import MMDenseError
from mmdense_edge.separate import pool
from mmdense_edge.separate.files import separate_file
from mmdense_edge.separate.inputs import Song
from mmdense_edge.separate.jobs import plan
from shells import started


@pytest.fixture
def command(model_path):
    """Runs the command as its own process; returns the finished process."""

    def run(*arguments: object, model: str = "shares", **options):
        argv = ["separate", *map(os.fspath, map(str, arguments)), "--model", model_path(model)]
        return subprocess.run(
            [sys.executable, "-m", "mmdense_edge", *argv],
            capture_output=True, check=False, **options,
        )  # fmt: skip

    return run


def lines(stderr: bytes) -> list[str]:
    """What the command said, without the interpreters' own notes, which may run together."""
    text = re.sub(r"INFO: |Created TensorFlow Lite XNNPACK delegate for CPU\.", "", stderr.decode())
    return [line for line in text.splitlines() if line]


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def separate(model_path, capfd):
    """Runs the command in this process; returns (code, stdout, stderr lines)."""

    def run(*arguments: object, model: str = "shares"):
        try:
            code = main(["separate", *map(str, arguments), "--model", str(model_path(model))])
        except SystemExit as error:
            code = error.code
        printed = capfd.readouterr()
        return code, printed.out, lines(printed.err.encode())

    return run


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_from_pipe_to_pipe(command, song, separators, file_format):
    path = song("a.flac")
    arguments = ["-", "-o", "-", "--sources", "bass", "--format", file_format]
    done = command(*arguments, input=path.read_bytes())
    assert done.returncode == 0
    said = lines(done.stderr)
    assert said[0].startswith("-: 0:00 long, ")
    assert said[2].endswith("  -")
    (stem,) = separators["shares"].separate(sf.read(path)[0], 44100, sources=["bass"]).values()
    found = path.with_name(f"found.{file_format}")
    found.write_bytes(done.stdout)
    assert sf.info(found).subtype == "PCM_16"
    np.testing.assert_allclose(sf.read(found)[0], stem, atol=0.51 / 32768)
    done = command(*arguments, "--quiet", input=path.read_bytes()[:-4000])
    assert (done.returncode, done.stdout) == (1, b"")
    assert len(lines(done.stderr)) == 1
    assert "-: damaged after" in lines(done.stderr)[0]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "one stem of one song, got 3 stems of 1 songs"),
        (["--two-stems", "bass"], "got 2 stems of 1 songs"),
        (["--sources", "bass", "--json"], "drop --json and --picture"),
        (["{song}", "--sources", "bass"], "got 1 stems of 2 songs"),
    ],
)
def test_what_a_pipe_cannot_take(separate, song, arguments, match):
    path = song()
    arguments = [str(path) if argument == "{song}" else argument for argument in arguments]
    code, out, err = separate(path, *arguments, "-o", "-")
    assert (code, out, len(err)) == (2, "", 1)
    assert match in err[0]


def test_a_terminal_is_no_pipe(separate, song, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "stdout, which is a terminal" in separate(song(), "-o", "-", "--sources", "bass")[2][0]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert "stdin, which is a terminal" in separate("-", "-o", "out")[2][0]


@pytest.mark.parametrize("arguments", [["-o", "-", "--sources", "bass"], ["-o", "out"]])
def test_a_reader_that_has_gone_is_one_line(song, model_path, tmp_path, arguments):
    path = song(audio=np.zeros((300000, 2)))
    argv = ["separate", path, *arguments, "--model", model_path("shares")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mmdense_edge", *map(str, argv)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        # Buffered, as users have it: only then something is left to flush at the very end.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )  # fmt: skip
    process.stdout.close()
    said = lines(process.stderr.read())
    process.stderr.close()
    assert process.wait() == 1
    assert said == ["mmdense: the output pipe was closed"]


def test_folders_patterns_and_names(separate, song, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    song("music/a.wav")
    song("music/Album/b.flac")
    (tmp_path / "music" / "notes.txt").write_text("x")
    template = ["--filename", "{folder}/{track} {stem} ({model}).{ext}"]
    code, out, err = separate("music", "-o", "music/out", "--sources", "bass", *template)
    assert (code, err) == (0, [])
    assert out.splitlines()[-1] == "1 files that are not audio were left alone"
    written = ["Album", "Album/b bass (shares).wav", "a bass (shares).wav"]
    assert everything(tmp_path / "music" / "out") == written
    # What was written is not taken for a song.
    code, out, _ = separate(
        "mus*", "-o", "music/out", "--overwrite", "--sources", "bass", *template
    )
    assert code == 0
    assert everything(tmp_path / "music" / "out") == written


def test_stems_that_add_up_and_their_report(separate, song, tmp_path):
    code, out, _ = separate(song(), "-o", tmp_path / "a", "--sum-to-mixture", "--json")
    (report,) = json.loads(out)["songs"]
    assert (code, report["null_test"], report["null_test_bits"]) == (0, 0.0, 16)
    assert json.loads(out)["engine"].endswith(", 1 thread(s)")
    code, out, _ = separate(
        song(), "-o", tmp_path / "b", "--two-stems", "bass", "--other", "sum",
        "--sum-to-mixture", "--bit-depth", "24", "--format", "flac", "--clip", "scale",
    )  # fmt: skip
    assert "  null test: the stems add up to the song within 0.00 steps of 24 bits" in out
    assert sf.info(tmp_path / "b" / "song" / "no_bass.flac").subtype == "PCM_24"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--other", "sum"], "--other goes with --two-stems"),
        (["--two-stems", "bass", "--sources", "bass"], "drop --sources"),
        (["--two-stems", "piano"], "must be one of drums, bass, vocals, got 'piano'"),
        (["--sources", "bass", "--sum-to-mixture"], "needs two stems or more"),
        (["--format", "flac", "--bit-depth", "32f"], "flac files have no floats"),
        (["--filename", "../{stem}.{ext}"], "must stay below the output folder"),
        (["--jobs", "0"], "jobs must be from 1 to 64, got 0"),
        (["--jobs", "65"], "jobs must be from 1 to 64, got 65"),
        (["*.xyz"], "no file matches '*.xyz'"),
    ],
)
def test_wrong_usage(separate, song, tmp_path, arguments, match):
    code, out, err = separate(song(), *arguments, "-o", tmp_path / "out")
    assert (code, out, len(err)) == (2, "", 1)
    assert match in err[0]
    assert everything(tmp_path) == ["song.wav"]


def test_damage_is_refused_or_told(separate, song, tmp_path):
    path = song()
    path.write_bytes(path.read_bytes()[:-40000])
    code, _, err = separate(path, "-o", tmp_path / "out")
    assert (code, len(err)) == (1, 1)
    assert "cut short: its header promises 80000 bytes, the file holds 40000" in err[0]
    code, out, err = separate(
        path, "-o", tmp_path / "out", "--allow-truncated", "--sum-to-mixture",
        "--clip", "scale", "--picture",
    )  # fmt: skip
    assert (code, err) == (0, [])
    assert "  warning: cut short: its header promises 80000 bytes" in out
    assert sf.info(tmp_path / "out" / "song" / "bass.wav").frames == 10000


def test_songs_in_parallel_are_the_same_songs(command, song, tmp_path):
    songs = [song(f"{index}.wav", rate=44100 + index) for index in range(3)]
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"text")
    for jobs in (1, 2):
        done = command(*songs, bad, "-o", tmp_path / f"out{jobs}", "--jobs", jobs, "--json")
        assert done.returncode == 1
        assert len(lines(done.stderr)) == 2
        report = json.loads(done.stdout)
        assert report["jobs"] == jobs
        assert [row["song"] for row in report["songs"]] == [str(path) for path in (*songs, bad)]
        assert "cannot be read as audio" in report["songs"][3]["error"]
    first, second = tmp_path / "out1", tmp_path / "out2"
    assert everything(first) == everything(second)
    for path in first.rglob("*.wav"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


@pytest.mark.parametrize(
    ("number", "code", "whole_group"),
    [
        (signal.SIGINT, 130, True),
        (signal.SIGTERM, 143, True),
        (signal.SIGTERM, 143, False),
        (signal.SIGHUP, 129, True),
    ],
)
def test_signals_end_parallel_songs_cleanly(song, model_path, tmp_path, number, code, whole_group):
    """Once the first samples are done: from a terminal, from systemd, from `kill`."""
    songs = [song(f"{index}.wav", np.full((3_000_000, 2), 0.1)) for index in range(3)]
    program = (
        "import os, signal, sys\n"
        "from mmdense_edge.cli.main import main, separate_command\n"
        "from mmdense_edge.separate import pool\n"
        "def told(songs, done, expected, sent=[]):\n"
        "    if done and not sent:\n"
        "        sent.append(1)\n"
        f"        os.{'killpg' if whole_group else 'kill'}(os.getpid(), {int(number)})\n"
        "real = pool.separate_all\n"
        "separate_command.separate_all = lambda *a: real(*a[:4], told)\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main.main())\n"
    )
    (tmp_path / "program.py").write_text(program)
    argv = ["separate", *songs, "-o", tmp_path / "out", "--jobs", "2", "--model"]
    done = subprocess.run(
        started(
            [sys.executable, str(tmp_path / "program.py"), *map(str, argv), str(model_path("mono"))]
        ),
        capture_output=True, check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode()
    (said,) = lines(done.stderr)
    assert said.endswith("ed: the song in work was not written")
    assert everything(tmp_path) == ["0.wav", "1.wav", "2.wav", "program.py"]


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_that_goes_away(separate, song, tmp_path, monkeypatch, noise):
    path = song("a\nb.wav", noise(3 * 44100))
    for quiet in ([], ["--quiet"]):
        monkeypatch.setattr(sys, "stderr", Terminal())
        code, _, said = separate(path, "-o", tmp_path / f"out{len(quiet)}", *quiet)
        shown = sys.stderr.getvalue()
        assert (code, said) == (0, [])
        if quiet:
            assert shown == ""
        else:
            assert "a\\nb.wav:   0%|" in shown
            assert " 0/3 [00:00<?, ? s/s]" in shown
            assert shown.rpartition("\r")[2] == ""
            assert shown.split("\r")[-2].strip() == ""


def _die(*_: object) -> None:
    os._exit(9)


def test_a_process_that_dies_is_one_line(song, model_path, tmp_path, monkeypatch):
    jobs = plan([Song(song())], tmp_path / "out", {"bass": ("bass",)})
    monkeypatch.setattr(pool, "_work", _die)
    with pytest.raises(MMDenseError, match="a process died, perhaps for want of memory"):
        pool.separate_all(jobs, model_path("shares"), 1, 2)


def test_an_error_names_its_song_once(separators, tmp_path):
    (job,) = plan([Song(tmp_path / "stdin", label="-", track="stdin")], tmp_path, {"b": ("bass",)})
    report = pool.attempt(separators["shares"], job)
    assert report.error == "-: no such file"
    (job,) = plan([Song(Path("a\nb.wav"))], tmp_path, {"b": ("bass",)})
    assert pool.attempt(separators["shares"], job).error == "a\\nb.wav: no such file"
    with pytest.raises(MMDenseError, match="no such file"):
        separate_file(separators["shares"], job)
