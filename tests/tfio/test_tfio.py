"""tensorflow-io against soundfile; run by `make test-tfio` in an environment of its own."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from keras_mmdense.data import TrackError, open_dataset
from keras_mmdense.data.audio_files import open_audio_file, to_int16
from keras_mmdense.data.tfio_decoder import check_tfio, tfio_blocks
from training.prepare import main

FORMS = [
    ("wav", {}),
    ("wav", {"subtype": "PCM_24"}),
    ("wav", {"subtype": "FLOAT"}),
    ("wav", {"subtype": "PCM_16", "format": "WAVEX"}),
    ("flac", {}),
    ("flac", {"subtype": "PCM_24"}),
    ("ogg", {}),
    ("mp3", {}),
]


def noise(channels, seed=0, num_samples=50002):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, 0.2, (num_samples, channels)), -0.9, 0.9)


def steps(audio):
    return audio.astype(np.float64) * (1 if audio.dtype == np.int16 else 32768)


def test_the_operations_work_here():
    check_tfio()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("suffix", "options"), FORMS)
def test_samples_are_those_of_soundfile(tmp_path, suffix, options, channels):
    path = tmp_path / f"a.{suffix}"
    sf.write(path, noise(channels), 44100, **options)
    stream = open_audio_file(path)
    (audio,) = tfio_blocks(stream)
    (expected,) = stream.blocks()
    assert audio.shape == (stream.num_samples, channels)
    assert audio.dtype == expected.dtype
    exact = suffix in ("wav", "flac")
    np.testing.assert_allclose(steps(audio), steps(expected), rtol=0, atol=0 if exact else 0.5)
    assert np.abs(steps(audio)).max() > 10000


@pytest.mark.parametrize("subtype", ["PCM_32", "DOUBLE", "PCM_U8"])
def test_what_would_be_decoded_wrongly_is_refused(tmp_path, subtype):
    sf.write(tmp_path / "a.wav", noise(2), 44100, subtype=subtype)
    with pytest.raises(TrackError, match=f"is WAV {subtype}"):
        next(tfio_blocks(open_audio_file(tmp_path / "a.wav")))


def test_an_odd_number_of_bytes_is_named_not_lost(tmp_path):
    sf.write(tmp_path / "a.wav", noise(1, num_samples=5001), 44100, subtype="PCM_24")
    with pytest.raises(TrackError, match=r"cannot decode it: EOF reached$"):
        next(tfio_blocks(open_audio_file(tmp_path / "a.wav")))


def test_a_broken_file_is_a_track_error(tmp_path):
    path = tmp_path / "a.flac"
    sf.write(path, noise(2), 44100)
    stream = open_audio_file(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(TrackError, match=r"a\.flac"):
        next(tfio_blocks(stream))


def test_prepare_makes_the_same_tree_with_both_decoders(tmp_path):
    for number, (suffix, options) in enumerate(FORMS[:-1]):
        for source in ("bass", "drums"):
            path = tmp_path / "set" / "train" / f"song {number}" / f"{source}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, noise(2, seed=number + len(source)), 44100, **options)
    for decoder in ("soundfile", "tfio"):
        out = str(tmp_path / decoder)
        assert main([str(tmp_path / "set"), "--out", out, "--decoder", decoder]) == 0
    one, two = (open_dataset(tmp_path / decoder) for decoder in ("soundfile", "tfio"))
    assert len(one) == len(FORMS) - 1
    assert [(t.name, t.subset) for t in one] == [(t.name, t.subset) for t in two]
    for expected, found in zip(one, two, strict=True):
        for source in ("bass", "drums"):
            a, b = (track.read(source, dtype="int16") for track in (expected, found))
            # Vorbis: two decoders may round a sample to either side
            assert np.abs(a.astype(int) - b).max() <= 1
            assert np.mean(a != b) < 0.01
    original = open_dataset(tmp_path / "set")[2].read("bass")
    np.testing.assert_array_equal(to_int16(original)[0], two[2].read("bass", dtype="int16"))
    assert not list(Path(tmp_path / "tfio").glob(".*"))
