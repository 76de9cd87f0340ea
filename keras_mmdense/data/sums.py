"""Compare signals in a tree: find sources that are sums of others, and mixtures that are not sums.

The mixture of training is the sum of the sources: a file "instrumental" next to the instruments
would count them twice.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from keras_mmdense.data.audio_files import Audio
from keras_mmdense.data.problems import DatasetError, Fault, TrackError
from keras_mmdense.data.readers import MIXTURE, SOURCES
from keras_mmdense.data.tracks import Track
from keras_mmdense.errors import require

MAX_TRACKS = 8  # that are looked at, evenly spaced over the tree
EXCERPTS = 4  # of each, evenly spaced, too
SECONDS = 0.5
ALIKE = 1e-3  # largest share of the energy by which a sum may differ, up to a gain: -30 dB
MAX_OTHERS = 10  # with more others than this only sums of few and of nearly all are tried


def leave_out_sums(
    tracks: list[Track], asked: Sequence[str], needed: Sequence[str]
) -> tuple[list[Track], list[Fault]]:
    """Leave out sources that are in others, so that the mixture holds everything once.

    Args:
        tracks: The tracks of a tree.
        asked: The sources that the caller wants; empty for all.
        needed: The sources of a model: a sum of others stays if it is one of these.

    Returns:
        The tracks without the sources left out, and notes.

    Raises:
        DatasetError: Both a sum and its parts are asked for.
    """
    wanted, notes = {*asked, *needed}, []
    for total, parts in _find_sums(tracks, {*SOURCES, *wanted}).items():
        is_sum = f"{total} is {'the sum' if len(parts) > 1 else 'a copy'} of {', '.join(parts)}"
        require(
            total not in asked or not set(parts) & set(asked),
            f"sources must not hold each other, but {is_sum}",
            list(asked),
            "Ask for one or the other.",
            DatasetError,
        )
        left_out = set(parts) if total in wanted and not set(parts) & wanted else {total}
        reason = f"{is_sum}; not used as a source: {', '.join(sorted(left_out))}"
        notes.append(Fault(tracks[0].streams[total].path, reason, tracks[0].name))
        tracks = [
            replace(
                track,
                sources=tuple(name for name in track.sources if name not in left_out),
                streams={n: s for n, s in track.streams.items() if n not in left_out},
            )
            for track in tracks
        ]
    return tracks, notes


def _find_sums(tracks: Sequence[Track], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the sources that are the sum of others, or a copy of one, each with its parts.

    Gains do not matter. Sums are not parts of other sums. Nothing is reported for a tree whose
    sources are all copies of one signal. Of two copies, the one with a name in `known` stays.
    """
    names = [name for name in tracks[0].streams if name != MIXTURE]
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
        sizes = [size for size in (*few, len(others) - 1, len(others)) if size > 0]
        choices = (c for size in sizes for c in itertools.combinations(others, size))
        if parts := next((choice for choice in choices if alike(index, choice)), None):
            sums[index] = parts
    return {names[k]: tuple(names[part] for part in parts) for k, parts in sums.items()}


def note_mixtures(tracks: Sequence[Track]) -> list[Fault]:
    """Return a note for each stored mixture, of some tracks, that is not the sum of its sources."""
    notes = []
    for track in _some([track for track in tracks if track.has_mixture]):
        names = list(track.streams)
        product, index = _products(track, names), names.index(MIXTURE)
        share = _difference(product, index, [k for k in range(len(names)) if k != index])
        if product[index, index] > 0 and share > ALIKE:
            reason = (
                "is not the sum of its sources, which training mixes: the difference is at "
                f"{10 * math.log10(share):.0f} dB"
            )
            notes.append(Fault(track.streams[MIXTURE].path, reason, track.name))
    return notes


def _difference(product: Audio, index: int, parts: Sequence[int]) -> float:
    """Return the energy of a signal minus the scaled sum of its parts, as a share of its own."""
    own, both = product[index, index], product[index, list(parts)].sum()
    total = product[np.ix_(parts, parts)].sum()
    return float(1 - both**2 / (own * total)) if min(own, total, both) > 0 else 1.0


def _products(track: Track, names: Sequence[str]) -> Audio:
    """Return the inner products of all pairs of signals over excerpts of a track."""
    product = np.zeros((len(names), len(names)))
    length = min(track.num_samples, round(SECONDS * track.sample_rate))
    for start in np.linspace(0, track.num_samples - length, EXCERPTS).astype(int):
        try:
            stored = [track.streams[name].read(int(start), length) for name in names]
        except TrackError:
            continue  # reported when it is needed
        shape = (length, track.channels)
        signals = np.stack([np.broadcast_to(s.astype(float), shape).ravel() for s in stored])
        product += signals @ signals.T
    return product


def _some(tracks: Sequence[Track]) -> list[Track]:
    places = np.linspace(0, len(tracks) - 1, min(len(tracks), MAX_TRACKS)).astype(int)
    return [tracks[k] for k in dict.fromkeys(places.tolist())]
