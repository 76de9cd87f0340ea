"""What the samples tell of a tree: sources that are the sum of others, mixtures that are no sum.

The mixture of training is the sum of the sources: a file "instrumental" beside the instruments
would make it twice the music.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import numpy as np

from keras_mmdense.data.audio_files import Audio
from keras_mmdense.data.problems import TrackError
from keras_mmdense.data.tracks import MIXTURE, Track

MAX_TRACKS = 8  # that are looked at, evenly spaced over the tree
EXCERPTS = 4  # of each, evenly spaced, too
SECONDS = 0.5
ALIKE = 1e-3  # largest share of the energy by which a sum may differ, up to a gain: -30 dB
MAX_OTHERS = 10  # with more others than this only sums of few and of nearly all are tried


def find_sums(tracks: Sequence[Track], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the sources that are the sum of others, or a copy of one, each with its parts.

    Gains do not matter. What is a sum itself is nobody's part. Nothing is told of a tree whose
    sources are all copies of one signal.

    Args:
        tracks: Tracks of one tree; evenly spaced ones are looked at.
        known: Of two copies the one with a name among these stays.
    """
    names = [name for name in tracks[0].streams if name != MIXTURE] if tracks else []
    products = [_products(track, names) for track in _some(tracks)]
    heard = [k for k in range(len(names)) if any(product[k, k] > 0 for product in products)]

    def alike(index: int, parts: Sequence[int]) -> bool:
        own = [product for product in products if product[index, index] > 0]
        return all(_difference(product, index, parts) <= ALIKE for product in own)

    sums: dict[int, tuple[int, ...]] = {}
    if all(alike(k, heard[:1]) for k in heard):
        return {}
    for index in sorted(heard, key=lambda k: (names[k] in known, names[k])):
        others = [k for k in heard if k != index and k not in sums]
        few = range(1, len(others) + 1) if len(others) <= MAX_OTHERS else (1, 2)
        for size in dict.fromkeys((*few, len(others) - 1, len(others))):
            found = [parts for parts in itertools.combinations(others, size) if alike(index, parts)]
            if found and size:
                sums[index] = found[0]
                break
    return {names[k]: tuple(names[part] for part in parts) for k, parts in sums.items()}


def mixtures_apart(tracks: Sequence[Track]) -> dict[Track, float]:
    """Return the tracks whose stored mixture is not the sum of their sources, and how far it is.

    Args:
        tracks: Tracks of one tree; evenly spaced ones are looked at.

    Returns:
        Energy of the difference as a share of the mixture's, with the gain that fits best.
    """
    apart = {}
    for track in _some(tracks):
        names = list(track.streams)
        if MIXTURE not in names:
            continue
        product, index = _products(track, names), names.index(MIXTURE)
        parts = [k for k in range(len(names)) if k != index]
        difference = _difference(product, index, parts)
        if product[index, index] > 0 and difference > ALIKE:
            apart[track] = difference
    return apart


def _difference(product: Audio, index: int, parts: Sequence[int]) -> float:
    """Return the energy of a signal less a gain times the parts' sum, as a share of its own."""
    own, both = product[index, index], product[index, list(parts)].sum()
    total = product[np.ix_(parts, parts)].sum()
    if own <= 0 or total <= 0 or both <= 0:
        return 1.0
    return float(1 - both**2 / (own * total))


def _products(track: Track, names: Sequence[str]) -> Audio:
    """Return the inner products of all pairs of signals over excerpts of a track."""
    product = np.zeros((len(names), len(names)))
    length = min(track.num_samples, round(SECONDS * track.sample_rate))
    for start in np.linspace(0, track.num_samples - length, EXCERPTS).astype(int):
        try:
            signals = np.stack([_read(track, name, int(start), length) for name in names])
        except TrackError:
            continue  # what cannot be read is told when it is needed
        product += signals @ signals.T
    return product


def _read(track: Track, name: str, start: int, length: int) -> Audio:
    stream = track.streams[name]
    audio = stream.read(start, length, "float32").astype(np.float64)
    return np.broadcast_to(audio, (length, track.channels)).ravel()


def _some(tracks: Sequence[Track]) -> list[Track]:
    places = np.linspace(0, len(tracks) - 1, min(len(tracks), MAX_TRACKS)).astype(int)
    return [tracks[k] for k in dict.fromkeys(places.tolist())]
