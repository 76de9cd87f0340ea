"""Files in, files out: exact lengths and depths, sums, clipping, and nothing left behind."""

import tracemalloc
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from command_runs import contents, everything
from mmdense_edge.audio.mixture_sum import choose
from mmdense_edge.errors import AudioError, Cancelled
from mmdense_edge.separate import staging
from mmdense_edge.separate.files import separate_file
from mmdense_edge.separate.inputs import Song
from mmdense_edge.separate.jobs import Options, plan


def run(separator, song: Path, out: Path, **options):
    """Separates a song; what is no option of `Options` chooses the stems or is a callback."""
    callbacks = {name: options.pop(name, None) for name in ("progress", "cancel")}
    chosen = {
        name: options.pop(name) for name in ("residual", "two_stems", "other") if name in options
    }
    sources = options.pop("sources", separator.sources)
    whole = options.get("sum_to_mixture", False)
    parts = choose(separator.sources, sources, sum_to_mixture=whole, **chosen)
    (job,) = plan([Song(song)], out, parts, Options(**options))
    return separate_file(separator, job, **callbacks)


@pytest.mark.parametrize(
    ("subtype", "file_format", "expected"),
    [
        ("PCM_16", "wav", "PCM_16"),
        ("PCM_24", "flac", "PCM_24"),
        ("PCM_32", "wav", "PCM_32"),
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
    # 16 bits come back as they were; float32 arithmetic shows below that.
    tolerance = 0 if subtype == "PCM_16" else 4e-7
    before, after = sf.read(path)[0], sf.read(written)[0]
    np.testing.assert_allclose(after, before, atol=tolerance, rtol=0)
    level = 20 * np.log10(np.sqrt(np.mean(after**2)))
    assert report.stems[0].level_dbfs == pytest.approx(level, abs=1e-5)


def test_a_result_that_appears_meanwhile_is_kept(separators, song, tmp_path):
    target = tmp_path / "out" / "song" / "vocals.wav"

    def progress(done, expected):
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"mine")

    with pytest.raises(AudioError, match=r"vocals.wav exists"):
        run(separators["shares"], song(), tmp_path / "out", progress=progress)
    assert target.read_bytes() == b"mine"
    assert everything(tmp_path / "out") == ["song", "song/vocals.wav"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, Cancelled])
@pytest.mark.parametrize("made", [["deep", "deep/out"], []])
def test_an_interrupted_song_leaves_nothing(separators, song, tmp_path, error, made):
    for folder in made:
        (tmp_path / folder).mkdir()
    path, seen = song(audio=np.full((200000, 2), 0.1)), []

    def progress(done, expected):
        assert expected == 200000 / 44100
        seen.append((done, everything(tmp_path)))
        if done > 1.4 and error is not Cancelled:
            raise error

    with pytest.raises(error):
        run(
            separators["shares"], path, tmp_path / "deep" / "out",
            progress=progress, cancel=lambda: seen[-1][0] > 1.4,
        )  # fmt: skip
    assert any(name.endswith("/2.wav") for name in seen[-1][1])
    assert everything(tmp_path) == [*made, "song.wav"]


@pytest.mark.parametrize(
    ("subtype", "file_format", "bit_depth", "bits", "most"),
    [
        ("PCM_24", "wav", "16", 16, 0.5),
        ("PCM_24", "flac", "24", 24, 0),
        ("DOUBLE", "wav", "32f", 24, 2),
    ],
)
def test_stems_made_to_add_up_do(
    separators, song, tmp_path, subtype, file_format, bit_depth, bits, most
):
    path = song(subtype=subtype)
    report = run(
        separators["magnitudes"], path, tmp_path / "out",
        file_format=file_format, bit_depth=bit_depth, sum_to_mixture=True,
    )  # fmt: skip
    total = sum(sf.read(stem.file)[0] for stem in report.stems)
    steps = np.abs(total - sf.read(path)[0]).max() * 2 ** (bits - 1)
    assert (report.null_test, report.null_test_bits) == (pytest.approx(steps), bits)
    assert steps <= most


@pytest.mark.parametrize("residual", [True, False])
def test_scaled_stems_are_not_clipped_and_keep_their_balance(
    separators, song, tmp_path, noise, residual
):
    loud = noise(20000, 2) * 4
    path = song(audio=loud, subtype="FLOAT")
    run(separators["shares"], path, tmp_path / "float", residual=residual)
    report = run(
        separators["shares"], path, tmp_path / "scaled",
        bit_depth="24", clip="scale", residual=residual,
    )  # fmt: skip
    assert [stem.clipped for stem in report.stems] == [0] * len(report.stems)
    gain = 10 ** (report.gain_db / 20)
    assert gain < 0.7
    total, peak = 0, 0.0
    for stem in report.stems:
        written = sf.read(stem.file)[0]
        floats = sf.read(tmp_path / "float" / "song" / Path(stem.file).name)[0]
        np.testing.assert_allclose(written, gain * floats, atol=2**-22)
        total, peak = total + written, max(peak, np.abs(written).max())
    assert 0.999 < peak < 1
    if residual:
        assert np.abs(total - gain * sf.read(path)[0]).max() <= 0.51 * 2**-23
    assert run(separators["shares"], song("b.wav"), tmp_path / "quiet", clip="scale").gain_db == 0
    run(separators["shares"], song("b.wav"), tmp_path / "plain")
    assert contents(tmp_path / "quiet") == contents(tmp_path / "plain")


@pytest.mark.native
def test_memory_does_not_grow_with_the_song(separators, song, tmp_path):
    """From the file to its stems, with every stem and every block on the way."""

    def peak(seconds: int, number: int = 0) -> int:
        path = song(audio=np.full((seconds * 44100, 1), 0.1))
        tracemalloc.start()
        try:
            out = tmp_path / f"{seconds}-{number}"
            run(separators["identity"], path, out, residual=True, wiener=1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # the least of three: threads that an earlier test left behind allocate, too
    assert min(peak(60, number) for number in range(3)) < 1.1 * peak(20)


def test_a_tag_that_the_format_does_not_take_is_a_warning(separators, tmp_path):
    with sf.SoundFile(tmp_path / "a.flac", "w", 44100, 2) as file:
        file.comment = "x" * 2500
        file.write(np.full((2000, 2), 0.1))
    report = run(separators["identity"], tmp_path / "a.flac", tmp_path / "out")
    assert report.warnings == ("tags too long for the format: comment",)


@pytest.mark.parametrize(("clip", "needed"), [("clamp", 240000), ("scale", 720000)])
def test_too_little_space_is_refused_before_the_work(
    separators, song, tmp_path, monkeypatch, clip, needed
):
    usage = types.SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(AudioError, match=r"out has .* MB free. Free some space"):
        run(separators["shares"], song(), tmp_path / "out", clip=clip)
    assert everything(tmp_path) == ["song.wav"]
    usage.free += 1
    run(separators["shares"], song(), tmp_path / "out", clip=clip)


@pytest.mark.parametrize(
    ("file_format", "limit"),
    [("wav", 0), ("wav", 50000), ("flac", 5000), ("ogg", 5000)],
)
def test_a_full_disk_at_any_point_leaves_nothing(
    separators, song, tmp_path, noise, small_disk, file_format, limit
):
    path = song(audio=noise(200000))
    match = "cannot write the stems .*[Ii]s there space left"
    with small_disk(limit), pytest.raises(AudioError, match=match):
        run(separators["identity"], path, tmp_path / "out", file_format=file_format)
    assert everything(tmp_path) == ["song.wav"]
