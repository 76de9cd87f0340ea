"""Estimators give what their definitions and public functions give; signals lie in raw files."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmdense_edge import Separator
from mmdense_edge.model.interpreter import for_signal
from mmdense_edge.model.model_file import load_model
from scipy.signal import istft, stft
from small import disturb
from trees import make_folder

import keras_mmdense
from keras_mmdense import SettingsError
from keras_mmdense.data import TrackError, open_dataset
from training.evaluate.estimators import (
    MASKS,
    JoinedNetwork,
    mask_estimates,
    open_estimator,
    open_signals,
)
from training.evaluate.rows import REST, Row

TFLITE = Path(__file__).parents[2] / "edge" / "data"
FORM = {"window": "hann", "nperseg": 2048, "noverlap": 1024}


def noise(rng, num_samples, *sources):
    """Seeded noise for every source, and their sum."""
    signals = {s: rng.uniform(-0.2, 0.2, (num_samples, 2)).astype(np.float32) for s in sources}
    return {"mixture": np.sum(list(signals.values()), axis=0, dtype=np.float32), **signals}


def joined(stream):
    """All blocks of a stream in one array per source."""
    blocks = list(stream)
    assert all(len({len(x) for x in block.values()}) == 1 for block in blocks)
    return {source: np.concatenate([block[source] for block in blocks]) for source in blocks[0]}


def estimates(row, signals):
    num_samples, channels = signals["mixture"].shape
    track = SimpleNamespace(num_samples=num_samples, channels=channels, sample_rate=44100)
    return open_estimator(row)(track, signals)


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_masks_are_those_of_their_definition(mask, rng):
    signals = noise(rng, 30011, "bass", "other", "vocals")
    found = joined(mask_estimates(signals, MASKS[mask], ("bass", "other", "vocals")))
    spectra = {s: stft(x.T, boundary="even", padded=True, **FORM)[2] for s, x in signals.items()}
    magnitudes = {name: np.abs(s) for name, s in spectra.items()}
    whole = magnitudes.pop("mixture")
    for source, own in magnitudes.items():
        values = {
            "irm": own / sum(magnitudes.values()),
            "iwf": own**2 / sum(m**2 for m in magnitudes.values()),
            "ibm": (own / whole >= 0.5).astype(float),
        }[mask]
        expected = istft(values * spectra["mixture"], boundary=True, **FORM)[1].T
        assert np.abs(found[source] - expected[:30011]).max() < 1e-5
        assert np.abs(expected).max() > 0.05


@pytest.mark.parametrize("mask", sorted(MASKS))
@pytest.mark.parametrize("num_samples", [1, 1023, 5000, 300000])
def test_masks_return_a_source_that_is_alone(mask, num_samples, rng):
    signals = noise(rng, num_samples, "vocals") | {"bass": np.zeros((num_samples, 2), np.float32)}
    found = joined(mask_estimates(signals, MASKS[mask], ("vocals", "bass")))
    assert np.abs(found["vocals"] - signals["mixture"]).max() < 1e-5
    assert not found["bass"].any()
    with np.errstate(all="raise"):
        silence = np.zeros((2, 3, 4), np.float32)
        assert not MASKS[mask](silence, silence[0]).any()


TINY = {"bins": 64, "growth_rate": 2, "num_layers": 1, "scales": 1, "head": "mask"}


def model_file(folder, name, seed=0, **kwargs):
    model = keras_mmdense.build("mdensenet", **TINY, **kwargs)
    disturb(model, seed)
    model.save(folder / f"{name}.keras")
    return model


def row_of(*paths, sources, wiener=0):
    return Row("model", paths[0].suffix[1:], "", tuple(sources), paths, str(paths), wiener)


def test_keras_rows_are_what_separate_gives_and_others_are_refused(tmp_path, rng):
    models = [
        model_file(tmp_path, "bass", 1, sources=("bass",), frames=16),
        model_file(tmp_path, "vocals", 2, sources=("vocals",)),
    ]
    signals = noise(rng, 30000, "bass", "vocals")
    bass, vocals = (tmp_path / f"{name}.keras" for name in ("bass", "vocals"))
    found = joined(estimates(row_of(bass, vocals, sources=["vocals"], wiener=1), signals))
    expected = keras_mmdense.separate(models, signals["mixture"], 44100, wiener=1)
    assert set(found) == {"vocals"}
    assert np.abs(found["vocals"] - expected["vocals"]).max() < 1e-5
    for paths, message in (
        ((bass, bass), "different sources and the same transform"),
        ((TFLITE / "identity.tflite", TFLITE / "mono.tflite"), "the same rate"),
    ):
        with pytest.raises(SettingsError, match=message):
            open_estimator(row_of(*paths, sources=["bass"]))


def test_joined_networks_have_a_memory_for_each_signal():
    class Remembering:
        runtime, num_threads = "none", 1

        def __init__(self, source):
            contract = load_model(TFLITE / "causal.tflite").contract
            self.contract = replace(contract, sources=(source,))

        def for_signal(self):
            return Remembering(*self.contract.sources)

    joined = JoinedNetwork([Remembering("bass"), Remembering("vocals")])
    one, two = for_signal(joined), for_signal(joined)
    assert one.contract.sources == ("bass", "vocals")
    assert not {*one._networks} & {*two._networks, *joined._networks}


@pytest.mark.parametrize("wiener", [0, 1])
def test_a_tflite_row_is_what_the_runner_gives(rng, wiener):
    signals = noise(rng, 50000, "bass", "vocals")
    path = TFLITE / "shares.tflite"
    found = joined(estimates(row_of(path, sources=["bass", "vocals"], wiener=wiener), signals))
    expected = Separator(path).separate(signals["mixture"], 44100, wiener=wiener)
    assert set(found) == {"bass", "vocals"}
    assert all(np.array_equal(found[source], expected[source]) for source in found)


def test_the_rest_of_the_mixture_is_the_accompaniment_in_every_block(rng):
    signals = noise(rng, 300000, "bass", "vocals")
    sources, files = ("vocals", "accompaniment"), (TFLITE / "shares.tflite",)
    found = joined(estimates(Row("x", "tflite", "", sources, files, accompaniment=REST), signals))
    assert np.abs(found["vocals"]).max() > 0.01
    assert np.abs(sum(found.values()) - signals["mixture"]).max() < 1e-6


@pytest.mark.parametrize(
    "row",
    [
        Row("irm", "baseline", "", ("bass", "vocals")),
        Row("shares", "tflite", "", ("bass", "vocals"), (TFLITE / "shares.tflite",)),
    ],
)
def test_memory_does_not_grow_with_the_song(row, rng):
    def peak(seconds):
        stream = estimates(row, noise(rng, 44100 * seconds, "bass", "vocals"))
        tracemalloc.start()
        for _ in stream:
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # the least of three: threads that an earlier test left behind allocate, too
    assert min(peak(26) for _ in range(3)) < 1.1 * peak(13)


def test_the_signals_are_those_of_the_track_and_leave_no_files(tmp_path):
    make_folder(tmp_path / "tree", num_tracks=1, seconds=7)  # more than one block
    track = open_dataset(tmp_path / "tree")[0]
    report = tmp_path / "report"
    report.mkdir()
    signals = open_signals(track, True, report)
    assert list(signals) == ["mixture", "bass", "drums", "other", "vocals", "accompaniment"]
    others = signals.pop("accompaniment")
    assert all(np.array_equal(x, track.read(source)) for source, x in signals.items())
    expected = sum(signals[source].astype(float) for source in ("bass", "drums", "other"))
    assert np.abs(others - expected).max() < 1e-7
    assert "accompaniment" not in open_signals(track, False, report)
    data = (track.path / "vocals.wav").read_bytes()
    (track.path / "vocals.wav").write_bytes(data[: len(data) // 2])
    with pytest.raises(TrackError, match="vocals"):
        open_signals(track, False, report)
    assert list(report.iterdir()) == []
