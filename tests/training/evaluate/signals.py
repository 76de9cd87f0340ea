"""Songs for the tests, without files."""

from types import SimpleNamespace

import numpy as np

from training.evaluate.songs import Song


def make_song(rng, num_samples, sources=("bass", "other", "vocals"), silent=(), channels=2,
              sample_rate=44100):  # fmt: skip
    """Seeded noise for every source that is not silent, and their sum."""
    shape = (num_samples, channels)
    references = {
        source: np.zeros(shape, np.float32)
        if source in silent
        else rng.uniform(-0.2, 0.2, shape).astype(np.float32)
        for source in sources
    }
    mixture = np.sum(list(references.values()), axis=0, dtype=np.float32)
    track = SimpleNamespace(
        name="Song", num_samples=num_samples, channels=channels, sample_rate=sample_rate
    )
    return Song(track, mixture, references)


def joined(stream):
    """All blocks of a stream in one array per source."""
    blocks = list(stream)
    assert all(len({len(x) for x in block.values()}) == 1 for block in blocks)
    return {source: np.concatenate([block[source] for block in blocks]) for source in blocks[0]}
