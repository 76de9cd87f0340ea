"""Reading through the program ffmpeg itself, which these tests need."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError


@pytest.fixture
def real(tmp_path, noise):
    """Runs ffmpeg in a folder with noise in a.wav; returns the written file, or what it printed."""
    program = shutil.which("ffmpeg")
    assert program, "these tests need the program ffmpeg. Install it"

    def run(arguments: str, num_samples: int = 30011):
        sf.write(tmp_path / "a.wav", noise(num_samples), 44100, subtype="PCM_16")
        command = [program, "-v", "error", *arguments.split()]
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True)
        return done.stdout or tmp_path / command[-1]

    return run


def read(path, **options):
    return np.concatenate(list(read_blocks(path, **options)))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "alac"), ("a.m4a", "aac"), ("a.mkv", "pcm_f32le")],
)
def test_the_program_itself(real, tmp_path, name, codec):
    path = real(f"-i a.wav -c:a {codec} -metadata title=Tä -metadata track=7 {name}")
    info = audio_info(path)
    assert (info.sample_rate, info.channels) == (44100, 2)
    assert (info.tags["title"], info.tags.get("tracknumber", "7")) == ("Tä", "7")
    if codec == "aac":
        raw = real(f"-i {name} -f f32le raw")
        expected = np.fromfile(raw, "<f4").reshape(-1, 2)
    else:
        expected = sf.read(tmp_path / "a.wav", dtype="float32")[0]
        assert abs(info.num_samples - 30011) < 50
    np.testing.assert_array_equal(read(path), expected)


def test_the_program_itself_on_a_file_cut_short(real):
    path = real("-i a.wav -movflags +faststart a.m4a", num_samples=100000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"damaged at or before .* partial file"):
        read(path)


LOSSLESS = ("flac", "wav", "caf", "w64", "-c:a alac a.m4a")


@pytest.mark.parametrize(
    "output",
    [
        *LOSSLESS, "mp3 -q:a 2", "mp3 -q:a 2 -write_xing 0", "ogg -c:a libvorbis", "adts",
        "matroska", "mpegts", "-c:a aac -movflags frag_keyframe+empty_moov a.mp4",
        "-c:a libopus a.webm",
    ],
)  # fmt: skip
def test_what_the_program_wrote_is_read_whole_and_two_such_files_joined(real, tmp_path, output):
    """Into a file, or into a pipe: it cannot go back there to put the length into the header."""
    piped = " a." not in f" {output}"
    written = real("-i a.wav " + (f"-f {output} -" if piped else output), num_samples=60011)
    data = written if piped else written.read_bytes()
    once = sf.read(tmp_path / "a.wav", dtype="float32")[0]
    path = tmp_path / "-i ,,:http: \n'\".x"
    lengths = []
    for joined in (1, 2):
        path.write_bytes(data * joined)
        audio = read(path)
        lengths.append(len(audio))
        if output in LOSSLESS:
            np.testing.assert_array_equal(audio, np.tile(once, (joined, 1)))
            assert "alac" not in output or audio_info(path).num_samples == len(audio)
    # What is lossy has some silence before the sound and behind it.
    rate = 48000 / 44100 if "opus" in output else 1
    assert rate * 60011 - 2400 < lengths[0] < rate * 60011 + 4000
    assert abs(lengths[1] - 2 * lengths[0]) <= 2400


def test_a_part_of_another_form_is_refused(real):
    first = real("-i a.wav -c:a alac a.m4a").read_bytes()
    path = real("-i a.wav -ac 1 -ar 22050 -c:a alac b.m4a")
    path.write_bytes(first + path.read_bytes())
    with pytest.raises(AudioError, match="follows sample 30011 has 1 channels at 22050 Hz, but"):
        read(path)
    told: list[str] = []
    assert len(read(path, damaged=told.append)) == 30011
    assert len(told) == 1


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
def test_a_recording_that_starts_in_the_middle_of_a_film_is_no_damage(real, codec):
    film = f"-f lavfi -i testsrc=d=2 -c:v {codec} -g 25"
    path = real(f"-i a.wav {film} -c:a aac a.ts", num_samples=88200)
    path.write_bytes(path.read_bytes()[188 * 40 :])  # packets of 188 bytes
    assert len(read(path)) > 60000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile a.wav\n"),
    ],
)
def test_a_playlist_names_no_other_file(tmp_path, song, name, text):
    """ffmpeg would play the file that the list names."""
    song("a.wav")
    (tmp_path / name).write_text(text)
    with pytest.raises(AudioError, match="cannot be read as audio"):
        audio_info(tmp_path / name)
