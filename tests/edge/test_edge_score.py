"""SDR over files against its definition, and the references of a folder."""

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.separate.files import find_references, score_files
from mmdense_edge.signal.sdr import MAX_SDR_DB, SDR


def test_sdr_of_files_equals_the_definition(tmp_path, noise):
    signals = [noise(150001, seed=seed) for seed in range(3)]
    signals[1] = signals[0] + 0.1 * signals[1]
    paths = [tmp_path / f"{index}.wav" for index in range(3)]
    for path, signal in zip(paths, signals, strict=True):
        sf.write(path, signal, 44100, subtype="FLOAT")
    scores = score_files(*paths)
    reference, estimate, mixture = (signal.astype(np.float64) for signal in signals)
    for value, other in zip(scores, (estimate, mixture), strict=True):
        expected = 10 * np.log10((reference**2).sum() / ((reference - other) ** 2).sum())
        assert value == pytest.approx(expected, abs=1e-9)


def test_silence_and_equality_give_no_nan(noise):
    sdr = SDR()
    assert sdr.value() is None
    sdr.add(np.zeros((10, 1), np.float32), noise(10, 1))
    assert sdr.value() is None
    sdr.add(np.ones((10, 1), np.float32), np.zeros((10, 1), np.float32))
    assert sdr.value() < 0
    equal = SDR()
    equal.add(noise(10), noise(10))
    assert equal.value() == pytest.approx(MAX_SDR_DB)


@pytest.mark.parametrize(
    ("length", "rate", "channels", "match"),
    [
        (99, 44100, 2, "mixture's length"),
        (150000, 44100, 2, "mixture's length"),
        (100, 48000, 2, r"sample rate and channels, \(44100, 2\); received \(48000, 2\)"),
        (100, 44100, 1, r"received \(44100, 1\)"),
    ],
)
def test_a_reference_of_another_form_is_refused(tmp_path, noise, length, rate, channels, match):
    sf.write(tmp_path / "mixture.wav", noise(100), 44100)
    sf.write(tmp_path / "vocals.wav", noise(length, channels), rate)
    mixture = tmp_path / "mixture.wav"
    with pytest.raises(AudioError, match=f"vocals.wav: .*{match}"):
        score_files(tmp_path / "vocals.wav", mixture, mixture)


def test_references_are_found_by_name(tmp_path):
    for name in ("vocals.flac", "bass.ogg", "drums.txt", "vocals.wav"):
        (tmp_path / name).write_bytes(b"")
    found = find_references(tmp_path, ("vocals", "drums", "bass"))
    assert found == {"vocals": tmp_path / "vocals.wav", "bass": tmp_path / "bass.ogg"}
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            UsageError, match=r"contains no reference. It needs files such as other.wav"
        ):
            find_references(folder, ("other",))
