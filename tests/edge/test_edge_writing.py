"""Writing stems: depths, steps that add up, clipping, formats' limits."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmdense_edge.audio import AudioInfo
from mmdense_edge.audio import writing as module
from mmdense_edge.audio.reading import audio_info
from mmdense_edge.audio.writing import StemFiles, StemForm, stem_form
from mmdense_edge.errors import AudioError

INFO = AudioInfo(44100, 2, 500, "PCM_16")


@pytest.mark.parametrize(
    ("subtype", "file_format", "bit_depth", "expected"),
    [
        ("PCM_16", "wav", None, "PCM_16"),
        ("PCM_U8", "wav", None, "PCM_16"),
        ("PCM_24", "flac", None, "PCM_24"),
        ("PCM_32", "wav", None, "PCM_32"),
        ("PCM_32", "flac", None, "PCM_24"),
        ("FLOAT", "flac", None, "PCM_24"),
        ("DOUBLE", "wav", None, "FLOAT"),
        ("VORBIS", "flac", None, "PCM_16"),
        ("MPEG_LAYER_III", "wav", None, "PCM_16"),
        ("ULAW", "flac", None, "PCM_16"),
        ("PCM_16", "wav", "24", "PCM_24"),
        ("PCM_16", "wav", "32f", "FLOAT"),
        ("FLOAT", "flac", "16", "PCM_16"),
        ("PCM_24", "ogg", None, "VORBIS"),
    ],
)
def test_depths(subtype, file_format, bit_depth, expected):
    form = stem_form(AudioInfo(44100, 2, 1, subtype), file_format, bit_depth)
    assert (form.file_format, form.subtype) == (file_format, expected)


@pytest.mark.parametrize("file_format", ["wav", "flac", "ogg"])
def test_what_the_limits_allow_can_be_written_and_no_more(tmp_path, noise, file_format):
    rate, channels = module._LIMITS[file_format]
    most = f"{file_format} files have at most {rate} Hz and {channels} channels; received "
    for beyond in ((rate + 1, 2), (44100, channels + 1)):
        with pytest.raises(AudioError, match=most + f"{beyond[0]} Hz and {beyond[1]}. Use --fo"):
            stem_form(AudioInfo(*beyond, 1, "PCM_16"), file_format)
    rate, channels = min(rate, 768000), min(channels, 64)
    info = AudioInfo(rate, channels, 500, "PCM_16")
    path = tmp_path / "a"
    with StemFiles({"a": path}, info, stem_form(info, file_format)) as files:
        files.write({"a": noise(500, channels)}, noise(500, channels))
    assert (sf.info(path).samplerate, sf.info(path).channels) == (rate, channels)


def written(tmp_path, stems, mixture, bits, **options):
    """Writes stems at a depth and returns them as steps, with the writer."""
    paths = {name: tmp_path / f"{name}.wav" for name in stems}
    form = StemForm("wav", {16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}[bits])
    info = AudioInfo(44100, mixture.shape[1], len(mixture), form.subtype)
    with StemFiles(paths, info, form, **options) as files:
        files.write(stems, mixture)
    read = {name: sf.read(path, dtype="int32", always_2d=True)[0] for name, path in paths.items()}
    return {name: stem.astype(np.int64) >> (32 - bits) for name, stem in read.items()}, files


laws = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@laws
@given(
    bits=st.sampled_from([16, 24, 32]),
    level=st.sampled_from([1e-4, 0.1, 3.0]),
    count=st.integers(2, 4),
    exact=st.booleans(),
    seed=st.integers(0, 99),
)
def test_files_add_up_to_the_mixture(tmp_path, bits, level, count, exact, seed):
    generator = np.random.default_rng(seed)
    stems = {str(index): generator.normal(0, level, (300, 2)) for index in range(count)}
    mixture = sum(stems.values())
    options = {"exact": True} if exact else {"rest": str(count - 1)}
    steps, files = written(tmp_path, stems, mixture, bits, **options)
    full = 2 ** (bits - 1)
    target = np.clip(np.rint(mixture * full), -full, full - 1)
    np.testing.assert_array_equal(sum(steps.values()), target)
    assert (level < 1) <= (sum(files.clipped.values()) == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_rounding_goes_to_the_nearest_step(tmp_path, bits, dtype):
    ramp = np.linspace(-1.1, 1.1, 20001)[:, None].astype(dtype)
    steps, files = written(tmp_path, {"a": ramp}, ramp, bits)
    assert written(tmp_path, {"a": 0 * ramp}, 0 * ramp, bits)[1].level_dbfs("a") is None
    full = 2 ** (bits - 1)
    wanted = np.rint(ramp.astype(np.float64) * full)
    np.testing.assert_array_equal(steps["a"], np.clip(wanted, -full, full - 1))
    assert files.clipped["a"] == np.count_nonzero((wanted < -full) | (wanted >= full))


def test_the_gain_is_of_all(tmp_path, noise):
    stems = {"a": noise(300) * 3, "rest": np.zeros((300, 2))}
    mixture = noise(300, seed=1) * 2
    steps, files = written(tmp_path, stems, mixture, 16, rest="rest", gain=0.25)
    assert files.clipped == {"a": 0, "rest": 0}
    np.testing.assert_array_equal(steps["a"], np.rint(stems["a"] * 0.25 * 32768))
    np.testing.assert_array_equal(sum(steps.values()), np.rint(mixture * 0.25 * 32768))


def test_steps_that_are_left_go_to_the_loudest_stem_with_room(tmp_path):
    full = 1.0
    stems = {"a": np.array([[0.3], [full], [0.0]]), "b": np.array([[-0.5], [0.2], [0.0]])}
    mixture = np.array([[0.0], [full - 2**-15], [2**-15]])
    steps, _ = written(tmp_path, stems, mixture, 16, exact=True)
    # -0.5 is the loudest; a is full, so b gives way; a comes first among equals.
    assert steps["b"][0, 0] == -round(0.3 * 32768)
    assert (steps["a"][1, 0], steps["b"][1, 0]) == (32767 - round(0.2 * 32768), round(0.2 * 32768))
    assert (steps["a"][2, 0], steps["b"][2, 0]) == (1, 0)


def test_floats_keep_what_is_beyond_full_scale(tmp_path, noise):
    paths = {name: tmp_path / f"{name}.wav" for name in ("a", "rest")}
    stems, mixture = {"a": noise(100) * 4, "rest": noise(100)}, noise(100, seed=1) * 5
    with StemFiles(paths, INFO, StemForm("wav", "FLOAT"), rest="rest") as files:
        files.write(stems, mixture.astype(np.float64))
    first, rest = (sf.read(path)[0] for path in paths.values())
    np.testing.assert_array_equal(first, stems["a"])
    np.testing.assert_allclose(first + rest, mixture, atol=2e-7)
    assert files.peak == max(np.abs(first).max(), np.abs(rest).max())
    assert files.clipped == {"a": 0, "rest": 0}
    assert files.level_dbfs("a") == pytest.approx(20 * np.log10(np.sqrt(np.mean(first**2))))


def test_files_beyond_4_gib_become_rf64(tmp_path, monkeypatch, noise):
    monkeypatch.setattr(module, "RIFF_LIMIT", 1000)
    with StemFiles({"a": tmp_path / "a.wav"}, INFO, StemForm("wav", "PCM_16")) as files:
        files.write({"a": noise(500)}, noise(500))
    assert (sf.info(tmp_path / "a.wav").format, sf.info(tmp_path / "a.wav").frames) == ("RF64", 500)
    short = AudioInfo(44100, 2, 0, "PCM_16")
    with (
        pytest.raises(AudioError, match=r"longer than its header states, .*Use --format flac"),
        StemFiles({"a": tmp_path / "b.wav"}, short, StemForm("wav", "PCM_16")) as files,
    ):
        files.write({"a": noise(500)}, noise(500))


def test_a_file_that_is_not_whole_after_all_is_noticed(tmp_path, monkeypatch, noise):
    monkeypatch.setattr(module.sf, "info", lambda name: AudioInfo(1, 1, 1, ""))
    monkeypatch.setattr(AudioInfo, "frames", 499, raising=False)
    with (
        pytest.raises(AudioError, match="a was not written completely"),
        StemFiles({"a": tmp_path / "a.wav"}, INFO, StemForm("wav", "PCM_16")) as files,
    ):
        files.write({"a": noise(500)}, noise(500))


@pytest.mark.parametrize("file_format", ["wav", "flac", "ogg"])
def test_tags_go_along_as_far_as_the_format_takes_them(tmp_path, noise, file_format):
    tags = {"title": "Für Elise", "artist": "B", "date": "1810", "tracknumber": "25"}
    odd = {"album": "\ud800\n\x1b[31m", "genre": "", "comment": "ü" * 1001}
    info, path = AudioInfo(44100, 2, 500, "PCM_16", {**tags, **odd}), tmp_path / "a"
    with StemFiles({"a": path}, info, stem_form(info, file_format)) as files:
        files.write({"a": noise(500)}, noise(500))
    kept = audio_info(path)
    assert {name: kept.tags[name] for name in tags} == tags
    assert kept.num_samples == 500
    lost = file_format == "wav"
    assert (files.lost_tags, "comment" in kept.tags) == (["comment"] * lost, not lost)
