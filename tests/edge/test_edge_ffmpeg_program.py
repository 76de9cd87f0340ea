"""Reading through the program ffmpeg itself, which these tests need."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.audio import audio_info, read_blocks
from mmdense_edge.errors import AudioError


def real(*arguments: object) -> None:
    """Runs ffmpeg, or says that there is none."""
    program = shutil.which("ffmpeg")
    assert program, "these tests need the program ffmpeg: install it"
    subprocess.run([program, "-v", "error", *map(str, arguments)], check=True)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "alac"), ("a.m4a", "aac"), ("a.mov", "pcm_s24le"), ("a.mkv", "pcm_f32le")],
)
def test_the_program_itself(tmp_path, noise, name, codec):
    sf.write(tmp_path / "a.wav", noise(30011), 44100, subtype="PCM_16")
    path = tmp_path / name
    tags = ["-metadata", "title=Tä", "-metadata", "track=7"]
    real("-i", tmp_path / "a.wav", "-c:a", codec, *tags, path)
    info = audio_info(path)
    assert (info.sample_rate, info.channels) == (44100, 2)
    assert (info.tags["title"], info.tags.get("tracknumber", "7")) == ("Tä", "7")
    audio = np.concatenate(list(read_blocks(path)))
    if codec == "aac":
        real("-i", path, "-f", "f32le", tmp_path / "raw")
        expected = np.fromfile(tmp_path / "raw", "<f4").reshape(-1, 2)
    else:
        expected = sf.read(tmp_path / "a.wav", dtype="float32")[0]
        assert abs(info.num_samples - 30011) < 50
    np.testing.assert_array_equal(audio, expected)


def test_the_program_itself_on_a_file_cut_short(tmp_path, noise):
    sf.write(tmp_path / "a.wav", noise(100000), 44100)
    path = tmp_path / "a.m4a"
    real("-i", tmp_path / "a.wav", "-movflags", "+faststart", path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"damaged after .* partial file"):
        list(read_blocks(path))


def test_a_flac_file_without_a_length_goes_through_the_program(tmp_path, noise):
    sf.write(tmp_path / "a.wav", noise(30011), 44100, subtype="PCM_16")
    with (tmp_path / "a.flac").open("wb") as file:
        subprocess.run(
            [shutil.which("ffmpeg"), "-v", "error", "-i", tmp_path / "a.wav", "-f", "flac", "-"],
            stdout=file, check=True,
        )  # fmt: skip
    audio = np.concatenate(list(read_blocks(tmp_path / "a.flac")))
    np.testing.assert_array_equal(audio, sf.read(tmp_path / "a.wav", dtype="float32")[0])


def test_a_playlist_names_no_other_file(tmp_path, noise):
    """ffmpeg would play the file that the list names."""
    sf.write(tmp_path / "secret.wav", noise(3000), 44100)
    for name, text in (
        ("list.m3u8", "#EXTM3U\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile secret.wav\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="cannot be read as audio"):
            audio_info(tmp_path / name)
