"""The model that comes with the runner, on the example song: what `make demo` relies on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mmdense_edge import Separator

EXAMPLE = Path(__file__).parents[1] / "edge" / "example"


@pytest.fixture(scope="module")
def song():
    return {path.stem: sf.read(path, dtype="float32")[0] for path in EXAMPLE.glob("*.flac")}


def sdr(reference, estimate):
    return 10 * np.log10((reference**2).sum() / ((reference - estimate) ** 2).sum())


def test_the_example_is_the_sum_of_its_stems(song):
    sources = [audio for name, audio in song.items() if name != "mixture"]
    assert len(sources) == 4
    np.testing.assert_allclose(sum(sources), song["mixture"], atol=1e-7)
    assert sum(path.stat().st_size for path in EXAMPLE.iterdir()) < 6_000_000


def test_every_stem_is_whole_and_nearer_to_its_source_than_the_mixture(song):
    mixture = song["mixture"]
    stems = Separator().separate(mixture, 44100)
    assert sorted(stems) == ["bass", "drums", "other", "vocals"]
    for source, stem in stems.items():
        assert stem.shape == mixture.shape
        assert 20 * np.log10(stem.std()) > -45
        assert sdr(song[source], stem) > sdr(song[source], mixture) + 3


def test_it_says_what_it_is():
    contract = Separator().contract
    assert contract.licence == "CC BY-SA 4.0"
    assert "Nagoya Institute of Technology" in contract.training_data
