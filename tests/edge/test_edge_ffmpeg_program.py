"""Reading through the program ffmpeg itself, which these tests need."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError


def real(*arguments: object) -> None:
    """Runs ffmpeg, or says that there is none."""
    program = shutil.which("ffmpeg")
    assert program, "these tests need the program ffmpeg. Install it"
    subprocess.run([program, "-v", "error", *map(str, arguments)], check=True)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "alac"), ("a.m4a", "aac"), ("a.mkv", "pcm_f32le")],
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
    with pytest.raises(AudioError, match=r"damaged at or before .* partial file"):
        list(read_blocks(path))


PIPED = [
    ("flac", []), ("wav", []), ("aiff", []), ("caf", []), ("au", []), ("mp3", ["-q:a", "2"]),
    ("mp3", ["-q:a", "2", "-write_xing", "0"]), ("ogg", ["-c:a", "libvorbis"]), ("adts", []),
    ("mp2", []), ("matroska", []), ("mpegts", []), ("w64", []),
]  # fmt: skip


@pytest.mark.parametrize(("file_format", "options"), PIPED)
def test_what_the_program_wrote_into_a_pipe_is_read_whole(tmp_path, noise, file_format, options):
    """It cannot go back there to put the length into the header; and two such files joined."""
    sf.write(tmp_path / "a.wav", noise(100011), 44100, subtype="PCM_16")
    program = [shutil.which("ffmpeg"), "-v", "error", "-i", tmp_path / "a.wav"]
    command = [*program, *options, "-f", file_format, "-"]
    piped = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    path = tmp_path / f"piped.{file_format}"
    for joined in (1, 2):
        path.write_bytes(piped * joined)
        audio = np.concatenate(list(read_blocks(path)))
        if file_format in ("flac", "wav", "aiff", "caf", "au", "w64"):
            once = sf.read(tmp_path / "a.wav", dtype="float32")[0]
            np.testing.assert_array_equal(audio, np.tile(once, (joined, 1)))
        # What is lossy has some silence before the sound and behind it.
        assert 100011 * joined - 600 <= len(audio) < (100011 + 4000) * joined


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ["-c:a", "alac"]),
        ("a.mp4", ["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"]),
        ("a.webm", ["-c:a", "libopus", "-ar", "48000"]),
        ("a.wma", []),
        ("a.tta", ["-c:a", "tta"]),
        ("a.flv", ["-c:a", "aac"]),
        ("a.avi", ["-c:a", "ac3"]),
    ],
)
def test_joined_files_give_all_of_their_sound(tmp_path, noise, name, options):
    sf.write(tmp_path / "a.wav", noise(60011), 44100, subtype="PCM_16")
    real("-i", tmp_path / "a.wav", *options, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    odd = tmp_path / f"-i ,,:http: \n'\".{name}"
    lengths = []
    for joined in (1, 2):
        odd.write_bytes(data * joined)
        lengths.append(sum(map(len, read_blocks(odd))))
    assert lengths[0] > 57000
    assert abs(lengths[1] - 2 * lengths[0]) <= 2400
    if "alac" in options:
        assert audio_info(odd).num_samples == lengths[1] == 2 * 60011


def test_a_broken_cover_is_no_damage(tmp_path, noise):
    sf.write(tmp_path / "a.wav", noise(30011), 44100, subtype="PCM_16")
    real("-f", "lavfi", "-i", "testsrc", "-frames:v", "1", tmp_path / "cover.png")
    path = tmp_path / "a.m4a"
    cover = ["-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic"]
    real("-i", tmp_path / "a.wav", "-i", tmp_path / "cover.png", *cover, "-c:a", "alac", path)
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT")
    data[at - 20 : at + 200] = bytes(220)
    path.write_bytes(data)
    audio = np.concatenate(list(read_blocks(path)))
    np.testing.assert_array_equal(audio, sf.read(tmp_path / "a.wav", dtype="float32")[0])


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
def test_a_recording_that_starts_in_the_middle_of_a_film_is_no_damage(tmp_path, noise, codec):
    sf.write(tmp_path / "a.wav", noise(88200), 44100, subtype="PCM_16")
    path = tmp_path / "a.ts"
    film = ["-f", "lavfi", "-i", "testsrc=d=2", "-c:v", codec, "-g", "25", "-c:a", "aac"]
    real("-i", tmp_path / "a.wav", *film, path)
    path.write_bytes(path.read_bytes()[188 * 40 :])  # packets of 188 bytes
    assert sum(map(len, read_blocks(path))) > 60000


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
