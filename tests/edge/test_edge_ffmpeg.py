"""Reading through ffmpeg: programs that stand in for it."""

import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from mmdense_edge.audio import ffmpeg
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError

FORM = {
    "streams": [{"codec_name": "aac", "sample_rate": "8000", "channels": 2, "duration": "0.5"}],
    "format": {"duration": "9.0", "tags": {"TITLE": "T", "track": "3/12", "encoder": "x"}},
}


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs called ffmpeg and ffprobe on an otherwise empty path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(form: object = FORM, samples: int = 1000, then: str = "") -> Path:
        probe = f"print({json.dumps(form)!r})" if not isinstance(form, str) else form
        decode = (
            f"import array, os; out = array.array('f', [i / 4096 for i in range({2 * samples})]); "
            f"sys.stdout.buffer.write(out.tobytes()); {then}"
        )
        record = f"open({str(folder / 'arguments')!r}, 'a').write(repr(sys.argv) + '\\n'); "
        for name, code in (("ffprobe", probe), ("ffmpeg", decode)):
            path = folder / name
            path.write_text(f"#!{sys.executable}\nimport sys\n{record}{code}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return folder

    return make


@pytest.fixture
def unknown(tmp_path) -> Path:
    """A file that libsndfile does not know, with a name that a program could misread."""
    path = tmp_path / "-i http:song \n'\".m4a"
    path.write_bytes(b"not known to libsndfile" * 10)
    return path


def test_form_and_samples_come_from_the_programs(programs, unknown):
    folder = programs()
    info = audio_info(unknown)
    assert (info.sample_rate, info.channels, info.num_samples) == (8000, 2, 4000)
    assert (info.subtype, dict(info.tags)) == ("PCM_16", {"title": "T", "tracknumber": "3/12"})
    audio = np.concatenate(list(read_blocks(unknown, dtype="float64")))
    np.testing.assert_array_equal(audio, np.arange(2000).reshape(-1, 2) / 4096)
    for line in (folder / "arguments").read_text().splitlines():
        # No shell, no other protocol, and a name that is nothing but a name.
        assert "'-format_whitelist', 'mov,mp4," in line
        assert f"'-protocol_whitelist', 'file', '-i', {f'file:{unknown}'!r}" in line


@pytest.mark.parametrize(
    ("stream", "subtype"),
    [
        ({"codec_name": "alac", "bits_per_raw_sample": "24"}, "PCM_24"),
        ({"codec_name": "alac", "bits_per_raw_sample": "16"}, "PCM_16"),
        ({"codec_name": "pcm_f32le", "bits_per_raw_sample": "32"}, "FLOAT"),
        ({"codec_name": "aac", "bits_per_raw_sample": "N/A"}, "PCM_16"),
        ({}, "PCM_16"),
    ],
)
def test_the_depth_of_lossless_sound_is_kept(programs, unknown, stream, subtype):
    programs({"streams": [{"sample_rate": "44100", "channels": 1, **stream}], "format": {}})
    info = audio_info(unknown)
    assert (info.subtype, info.num_samples) == (subtype, 0)


def test_many_blocks_arrive_whole(programs, unknown):
    programs(samples=200001)
    lengths = [len(block) for block in read_blocks(unknown)]
    assert sum(lengths) == 200001
    assert max(lengths) == ffmpeg.BLOCK


def test_without_a_program_the_way_out_is_named(programs, unknown):
    (programs() / "ffmpeg").unlink()
    with pytest.raises(AudioError, match=r"program ffmpeg, .*is not installed. Install ffmpeg"):
        list(read_blocks(unknown))
    (programs() / "ffprobe").unlink()
    with pytest.raises(AudioError, match=r"program ffprobe, .*is not installed. Install ffmpeg"):
        audio_info(unknown)


@pytest.mark.parametrize(
    ("form", "match"),
    [
        ({"streams": [], "format": {}}, "has no audio track"),
        ({}, "ffprobe does not report"),
        ([], "ffprobe does not report"),
        ({"streams": [{}], "format": {}}, "ffprobe does not report"),
        ({"streams": [{"sample_rate": "x", "channels": 2}], "format": {}}, "does not report"),
        ({"streams": [{"sample_rate": "0", "channels": 2}], "format": {}}, "2 channels at 0 Hz"),
        ({"streams": [{"sample_rate": "9", "channels": 2}], "format": 3}, "does not report"),
        ("print('not JSON')", "ffprobe does not report"),
        ("sys.exit('a\\nInvalid data')", "ffmpeg says: Invalid data"),
        ("sys.exit(3)", "ffmpeg says: nothing"),
    ],
)
def test_what_ffprobe_does_not_tell_is_refused(programs, unknown, form, match):
    programs(form)
    with pytest.raises(AudioError, match=match) as caught:
        audio_info(unknown)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "then",
    [
        "sys.exit(1)",
        "sys.stderr.write('partial file')",
        "os.kill(os.getpid(), 9)",
        "sys.stderr.write('x' * 2000000)",  # messages without end stop nothing
    ],
)
def test_what_ffmpeg_complains_of_is_damage(programs, unknown, then):
    programs(then=then)
    with pytest.raises(AudioError, match="damaged at or before sample 1000"):
        list(read_blocks(unknown))
    told: list[str] = []
    assert sum(map(len, read_blocks(unknown, damaged=told.append))) == 1000
    assert len(told) == 1
    assert len(told[0]) < 600


@pytest.mark.parametrize(
    ("said", "damage"),
    [
        ("[h264 @ 0x5] no frame!", False),
        ("[png @ 0x5] chunk too big\\n[libdav1d @ 0x5] bad", False),
        ("[aac @ 0x5] channel element is not allocated\\n[h264 @ 0x5] no frame!", True),
        ("[mpegts @ 0x5] no frame!", True),
        ("h264", True),
    ],
)
def test_what_ffmpeg_says_of_a_film_is_no_damage_to_its_sound(programs, unknown, said, damage):
    films = [{"codec_type": "video", "codec_name": name} for name in ("h264", "png", "av1")]
    form = {**FORM, "streams": [films[0], *FORM["streams"], *films[1:]]}
    programs(form, then=f"sys.stderr.write('{said}\\n' + '[png @ 0x5] no\\n' * 9999)")
    told: list[str] = []
    assert sum(map(len, read_blocks(unknown, damaged=told.append))) == 1000
    assert [said.replace("\\n", "\n").splitlines()[0] in line for line in told] == [True] * damage


def test_no_sound_at_all_is_an_error_even_if_damage_is_taken(programs, unknown):
    programs(samples=0, then="sys.exit('no decoder')")
    with pytest.raises(AudioError, match=r"ffmpeg decodes no audio \(no decoder\)"):
        list(read_blocks(unknown, damaged=[].append))


def test_a_reader_that_stops_ends_the_program(programs, unknown):
    # The program would wait for ever, and does not mind that nobody reads.
    programs(samples=70_000, then="import signal; sys.stdout.flush(); signal.pause()")
    blocks = read_blocks(unknown)
    next(blocks)
    blocks.close()
