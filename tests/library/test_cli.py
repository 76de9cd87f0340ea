"""The command keras-mmdense: each command does its work, or says in one line why not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.cli.main import main as mmdense

import keras_mmdense
from keras_mmdense.cli import main

RATE = 44100


def run(capsys, *arguments):
    """Run a command; return code, output and the lines of errors."""
    code = main([*map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err.strip().splitlines()


def write_song(path, seconds=0.3, channels=2, rate=RATE, level=0.1):
    audio = level * np.random.default_rng(0).standard_normal((round(seconds * rate) + 7, channels))
    sf.write(path, audio, rate, subtype="FLOAT" if path.suffix == ".wav" else "PCM_16")
    return path


def test_the_package_and_quick_commands_load_neither_keras_nor_tensorflow(small_file, tmp_path):
    code = (
        "import contextlib, sys, keras_mmdense\n"
        "assert not {'numpy', 'soundfile', 'scipy', 'av'} & set(sys.modules)\n"
        "from keras_mmdense.cli import main\n"
        "for words in ('--help', 'separate --help', 'completion bash', 'env', sys.argv[1]):\n"
        "    with contextlib.suppress(SystemExit): main(words.split())\n"
        "sys.exit(str({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, f"plot {small_file} -o {tmp_path}/a.svg"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == "set()\n"
    assert (tmp_path / "a.svg").is_file()


def test_summary_of_a_preset_and_of_a_file(small_file, capsys):
    code, out, errors = run(capsys, "summary", "mdensenet")
    assert (code, errors) == (0, [])
    assert "trainable weights  121,102" in out
    _, out, _ = run(capsys, "summary", small_file, "--layers", "--json", "--window-frames", 64)
    found = json.loads(out)
    assert found["window_frames"] == 64
    assert "low_dense4_layer2_conv" in [row["name"] for row in found["rows"]]


@pytest.mark.slow
def test_separate_gives_what_the_library_gives_sample_for_sample(
    small_file, small_model, tmp_path, capsys
):
    songs = [write_song(tmp_path / "one.wav"), write_song(tmp_path / "two.flac", 0.2, 1, 48000)]
    bad = tmp_path / os.fsdecode(b"bad\xff.wav")
    bad.write_bytes(songs[0].read_bytes()[:999])
    arguments = ["-o", tmp_path / "new/out", "--residual", "--bit-depth", "32f"]
    code, out, errors = run(capsys, "separate", small_file, bad, *songs, *arguments)
    assert (code, len(errors)) == (1, 2)  # a damaged song fails alone and leaves nothing
    assert errors[0].startswith("keras-mmdense: ")
    assert "bad\\udcff.wav: cut short: its header promises" in errors[0]
    assert errors[1].endswith("1 of 3 songs failed")
    assert out.splitlines()[-1].startswith("model small, weights: no license stated; keras 3.")
    assert {p.name for p in (tmp_path / "new/out").iterdir()} == {"one", "two"}
    for song in songs:
        audio, rate = sf.read(song, dtype="float32", always_2d=True)
        for name, stem in keras_mmdense.separate(small_model, audio, rate, residual=True).items():
            path = tmp_path / "new/out" / song.stem / f"{name}.wav"
            found, found_rate = sf.read(path, dtype="float32", always_2d=True)
            assert found_rate == rate
            np.testing.assert_allclose(found, stem, atol=1e-6)


def test_the_model_s_name_and_every_option_of_the_runner(small_file, tmp_path, capsys):
    song = write_song(tmp_path / "song.flac", channels=6)
    code, out, _ = run(
        capsys, "separate", small_file, song, "-o", tmp_path / "out", "--json", "--format", "flac",
        "--two-stems", "vocals", "--other", "sum", "--sum-to-mixture", "--wiener", 1,
        "--filename", "{model}-{track}.{stem}.{ext}", "--window-frames", 16,
    )  # fmt: skip
    (report,) = json.loads(out)["songs"]
    assert (code, report["channels"], report["null_test"]) == (0, 6, 0)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"small-song.vocals.flac", "small-song.no_vocals.flac"}


def test_every_refusal_is_one_line_and_leaves_nothing(small_file, tmp_path, capsys):
    song, out = write_song(tmp_path / "song.wav"), tmp_path / "out"
    (tmp_path / "a.svg").touch()
    (tmp_path / "broken.keras").write_bytes(Path(small_file).read_bytes()[:5000])
    separate = ["separate", small_file, song, "-o", out]
    before = sorted(tmp_path.rglob("*"))
    for code, words, arguments in [
        (1, "have no weights", ["separate", "mdensenet", song, "-o", out]),
        (1, "ZIP archive", ["separate", tmp_path / "broken.keras", song, "-o", out]),
        (1, "window_frames must be 1", [*separate, "--window-frames", 0]),
        (2, "wiener must be 0 to 10", [*separate, "--wiener", 99]),
        (1, "trained weights are", ["summary", "nothing"]),
        (1, "model file must exist", ["plot", "no.keras", "-o", out]),
        (1, "exists already", ["plot", "mdensenet", "-o", tmp_path / "a.svg"]),
        (1, "--score must be SOURCE=NUMBER", ["export", "no", "-o", out, "--score", "vocals"]),
        (1, "must be PRECISION:FIGURE=N", ["export", "no", "-o", out, "--threshold", "int8"]),
    ]:
        found, _, errors = run(capsys, *arguments)
        assert (found, len(errors)) == (code, 1), (words, errors)
        assert errors[0].startswith("keras-mmdense: ")
        assert words in errors[0]
    assert sorted(tmp_path.rglob("*")) == before
    for wrong in ([], ["separate"], ["completion", "tcsh"], ["plot", "mdensenet"]):
        with pytest.raises(SystemExit) as ending:
            main(wrong)
        assert ending.value.code == 2


def test_env_tells_versions_and_no_paths(capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    _, out, _ = run(capsys, "env", "--json")
    found = json.loads(out)
    assert found["packages"]["numpy"] == np.__version__
    assert found["backend"] == found["variables"]["KERAS_BACKEND"] == "jax"
    assert str(Path.home()) not in out


COMPLETE = """
eval "$SCRIPT"
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["keras-mmdense", "s"], {"summary", "separate"}),
        (["keras-mmdense", "separate", "x.keras", "--form"], {"--format"}),
        (["keras-mmdense", "separate", "x.keras", "--format", ""], {"wav", "flac", "ogg"}),
        (["keras-mmdense", "plot", "mdensenet", "-o", "a fi"], {"a file.png"}),
        (["keras-mmdense", "env", ""], {""}),
        (["mmdense", "completion", ""], {"bash", "zsh", "fish"}),
        (["mmdense", "separate", "x.wav", "a f"], {"a file.png"}),
        (["mmdense", "live", "--inp"], {"--input-device"}),
    ],
)
def test_bash_completes(words, expected, tmp_path, capsys):
    (tmp_path / "a file.png").touch()
    command = {"keras-mmdense": main, "mmdense": mmdense}[words[0]]
    assert command(["completion", "bash"]) == 0
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", *words],
        capture_output=True, text=True, cwd=tmp_path, env={"SCRIPT": capsys.readouterr().out,
                                                         "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.stderr == ""
    assert set(done.stdout.splitlines()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
@pytest.mark.parametrize("command", [main, mmdense])
def test_zsh_and_fish_get_a_script(command, shell, capsys):
    assert command(["completion", shell]) == 0
    assert "two-stems" in capsys.readouterr().out
