"""Files in, files out: exact lengths and depths, sums, clipping, and nothing left behind."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge import audio
from mmdense_edge.audio import AudioInfo, StemFiles, audio_info, read_blocks, stem_subtype
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.files import plan, separate_file


def run(separator, song: Path, out: Path, **options):
    overwrite = options.pop("overwrite", False)
    progress = options.pop("progress", None)
    sources = options.pop("sources", separator.sources)
    (job,) = plan([song], out, sources, **options)
    return separate_file(separator, job, overwrite=overwrite, progress=progress)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("subtype", "file_format", "expected"),
    [
        ("PCM_16", "wav", "PCM_16"),
        ("PCM_U8", "wav", "PCM_16"),
        ("PCM_24", "wav", "PCM_24"),
        ("PCM_24", "flac", "PCM_24"),
        ("PCM_32", "wav", "PCM_32"),
        ("PCM_32", "flac", "PCM_24"),
        ("FLOAT", "wav", "FLOAT"),
        ("DOUBLE", "wav", "FLOAT"),
        ("FLOAT", "flac", "PCM_24"),
    ],
)
def test_a_mask_of_ones_copies_the_file(separators, song, tmp_path, subtype, file_format, expected):
    path = song(subtype=subtype)
    report = run(separators["identity"], path, tmp_path / "out", file_format=file_format)
    written = tmp_path / "out" / "song" / f"everything.{file_format}"
    assert [stem.file for stem in report.stems] == [str(written)]
    info = sf.info(written)
    assert (info.format, info.subtype) == (file_format.upper(), expected)
    assert (info.samplerate, info.channels, info.frames) == (44100, 2, 20000)
    assert report.num_samples == 20000
    # 16 bits come back as they were; float32 arithmetic shows below that.
    tolerance = 0 if subtype in ("PCM_16", "PCM_U8") else 2e-7
    before, after = sf.read(path)[0], sf.read(written)[0]
    np.testing.assert_allclose(after, before, atol=tolerance, rtol=0)
    assert everything(tmp_path / "out") == ["song", f"song/everything.{file_format}"]


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_every_input_format_keeps_its_length(separators, song, tmp_path, name, rate):
    path = song(name, rate=rate, subtype=None)
    run(separators["shares"], path, tmp_path / "out", residual=True)
    samples = sum(map(len, read_blocks(path)))
    for stem in ("drums", "bass", "vocals", "residual"):
        info = sf.info(tmp_path / "out" / "a" / f"{stem}.wav")
        assert (info.samplerate, info.frames, info.subtype) == (rate, samples, "PCM_16")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_integer_stems_add_up_to_the_mixture_exactly(
    separators, song, tmp_path, subtype, file_format
):
    path = song(subtype=subtype)
    run(separators["shares"], path, tmp_path / "out", residual=True, file_format=file_format)
    stems = [sf.read(stem, dtype="int32")[0] for stem in (tmp_path / "out" / "song").iterdir()]
    assert len(stems) == 4
    total = sum(stem.astype(np.int64) for stem in stems)
    np.testing.assert_array_equal(total, sf.read(path, dtype="int32")[0])


def test_what_is_beyond_full_scale_is_clipped_and_counted(separators, song, tmp_path):
    loud = np.zeros((3000, 2))
    loud[1000, 0], loud[2000, 1], loud[2001, 1] = 1.5, -1.5, 0.9
    path = song(audio=loud, subtype="FLOAT")
    report = run(separators["identity"], path, tmp_path / "float")
    assert report.stems[0].clipped == 0
    assert sf.read(report.stems[0].file)[0].max() == pytest.approx(1.5, abs=1e-6)
    report = run(separators["identity"], path, tmp_path / "flac", file_format="flac")
    assert report.stems[0].clipped == 2
    written = sf.read(report.stems[0].file, dtype="int32")[0] >> 8
    assert (written[1000, 0], written[2000, 1]) == (2**23 - 1, -(2**23))


def test_levels_are_those_of_the_files(separators, song, tmp_path):
    report = run(separators["shares"], song(), tmp_path / "out")
    for stem in report.stems:
        expected = 20 * np.log10(np.sqrt(np.mean(sf.read(stem.file)[0] ** 2)))
        assert stem.level_dbfs == pytest.approx(expected, abs=1e-6)
    silence = song("silence.wav", np.zeros((500, 1)))
    report = run(separators["shares"], silence, tmp_path / "out")
    assert [stem.level_dbfs for stem in report.stems] == [None] * 3


def test_songs_that_would_collide_are_refused(tmp_path):
    songs = [tmp_path / "a" / "Song.wav", tmp_path / "b" / "song.mp3"]
    with pytest.raises(UsageError, match=r"a/Song.wav and .*b/song.mp3 would both write to"):
        plan(songs, tmp_path / "out", ["vocals"])
    with pytest.raises(UsageError, match="would both write"):
        plan([songs[0], songs[0]], tmp_path / "out", ["vocals"])


@pytest.mark.parametrize("name", ["..wav", "...wav"])
def test_a_song_that_names_no_folder_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="rename the song"):
        plan([tmp_path / name], tmp_path / "out", ["vocals"])


def test_results_never_replace_what_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is read and would be replaced"):
        plan([tmp_path / "vocals" / "vocals.wav"], Path("."), ["vocals"])
    references = {"vocals": tmp_path / "out" / "song" / "vocals.wav"}
    with pytest.raises(UsageError, match="is read and would be replaced"):
        plan([Path("song.wav")], Path("out"), ["vocals"], references=references)
    with pytest.raises(UsageError, match="references belong to one song, got 2 songs"):
        plan([Path("a.wav"), Path("b.wav")], Path("out"), ["vocals"], references=references)
    with pytest.raises(UsageError, match="one of wav, flac, got 'mp3'"):
        plan([Path("a.wav")], Path("out"), ["vocals"], file_format="mp3")


def test_nothing_is_overwritten_unless_asked(separators, song, tmp_path):
    path, out = song(), tmp_path / "out"
    target = out / "song" / "vocals.wav"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    (target.parent / "notes.txt").write_text("mine too")
    with pytest.raises(AudioError, match=r"vocals.wav exists: .*--overwrite"):
        run(separators["shares"], path, out)
    assert target.read_bytes() == b"mine"
    assert everything(out) == ["song", "song/notes.txt", "song/vocals.wav"]
    run(separators["shares"], path, out, overwrite=True)
    assert sf.info(target).frames == 20000
    assert (target.parent / "notes.txt").read_text() == "mine too"


def test_a_result_that_appears_meanwhile_is_kept(separators, song, tmp_path):
    target = tmp_path / "out" / "song" / "vocals.wav"

    def progress(info):
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"mine")
        return lambda done: None

    with pytest.raises(AudioError, match=r"vocals.wav exists"):
        run(separators["shares"], song(), tmp_path / "out", progress=progress)
    assert target.read_bytes() == b"mine"
    assert everything(tmp_path / "out") == ["song", "song/vocals.wav"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, AudioError("x")])
@pytest.mark.parametrize("made", [True, False])
def test_an_interrupted_song_leaves_nothing(separators, song, tmp_path, error, made):
    out = tmp_path / "deep" / "out"
    if made:
        out.mkdir(parents=True)
    path = song(audio=np.full((200000, 2), 0.1))
    seen = []

    def progress(info: AudioInfo):
        def stop(done: int) -> None:
            if done > 60000:
                seen.extend(everything(out))
                raise error

        return stop

    with pytest.raises(error if isinstance(error, type) else type(error)):
        run(separators["shares"], path, out, progress=progress)
    assert any(name.endswith("vocals.wav") for name in seen)
    assert everything(tmp_path) == (["deep", "deep/out", "song.wav"] if made else ["song.wav"])


def test_a_full_disk_is_one_clear_error(separators, song, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = song(audio=np.full((200000, 2), 0.1))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, before[1]))
        with pytest.raises(AudioError, match=r"cannot write stems below .*space left"):
            run(separators["identity"], path, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert everything(tmp_path) == ["song.wav"]


def test_a_rate_that_the_format_lacks_is_one_clear_error(separators, song, tmp_path):
    path = song(rate=700000)
    with pytest.raises(AudioError, match="does the format have this sample rate"):
        run(separators["identity"], path, tmp_path / "out", file_format="flac")
    assert everything(tmp_path) == ["song.wav"]


def test_files_beyond_4_gib_become_rf64(tmp_path, monkeypatch, noise):
    monkeypatch.setattr(audio, "_RIFF_LIMIT", 1000)
    info = AudioInfo(44100, 2, 500, "PCM_16")
    with StemFiles({"vocals": tmp_path / "vocals.wav"}, info, "wav") as files:
        files.write({"vocals": noise(500)})
    assert sf.info(tmp_path / "vocals.wav").format == "RF64"
    assert sf.info(tmp_path / "vocals.wav").frames == 500


@pytest.mark.parametrize("content", [b"", b"hello, this is text\n" * 50, b"RIFF\0\0\0\0WAVE"])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.raw", "a"])
def test_a_file_without_audio_is_refused(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError, match=f"{name}: cannot be read as audio"):
        audio_info(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(AudioError, match="not a regular file"):
        audio_info(tmp_path)
    with pytest.raises(AudioError, match="no such file"):
        audio_info(tmp_path / "none.wav")
    os.mkfifo(tmp_path / "fifo.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        audio_info(tmp_path / "fifo.wav")


def test_a_damaged_flac_file_is_refused(separators, song, tmp_path):
    path = song("a.flac", audio=np.random.default_rng(0).uniform(-0.5, 0.5, (200000, 2)))
    path.write_bytes(path.read_bytes()[:100000])
    with pytest.raises(AudioError, match=r"a.flac: "):
        run(separators["identity"], path, tmp_path / "out")
    assert everything(tmp_path) == ["a.flac"]


def test_an_mp3_file_of_which_the_decoder_reads_a_part_is_refused(tmp_path):
    """Two bit rates and no length header: the decoder stops at the length it estimated."""
    generator = np.random.default_rng(0)
    parts = []
    for level in (0.0, 0.9):
        with sf.SoundFile(
            tmp_path / "a.mp3", "w", 44100, 1, compression_level=level, bitrate_mode="CONSTANT"
        ) as file:
            file.write(generator.uniform(-0.5, 0.5, 100000))
        data = (tmp_path / "a.mp3").read_bytes()
        # Without its first frame a file has no header that gives the length.
        parts.append(data[data.index(b"\xff\xfb", 4 + data.index(b"\xff\xfb")) :])
    path = tmp_path / "joined.mp3"
    path.write_bytes(parts[0] + parts[1] * 4)
    with pytest.raises(AudioError, match=r"joined.mp3: the MP3 file gives no length and"):
        list(read_blocks(path))


@pytest.mark.parametrize("name", ["with space.wav", "two\nlines.wav", "ä 音楽 🎵.wav", b"\xff.wav"])
def test_odd_names_work(separators, song, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    os.rename(song("plain.wav"), path)
    report = run(separators["identity"], path, tmp_path / "out")
    written = tmp_path / "out" / path.stem / "everything.wav"
    assert written.is_file()
    assert report.stems[0].file == str(written)


def test_subtypes_fall_back_to_16_bits():
    assert [stem_subtype(s, "flac") for s in ("VORBIS", "MPEG_LAYER_III", "ULAW")] == ["PCM_16"] * 3
