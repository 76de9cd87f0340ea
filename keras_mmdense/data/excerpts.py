"""Which excerpts an example is made of: drawn by number, so that any example can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_mmdense.data.faults import DatasetError
from keras_mmdense.data.streams import Audio, DType
from keras_mmdense.data.tracks import Track

ACCOMPANIMENT = "accompaniment"
SILENCE = 1e-3  # largest amplitude of an excerpt that counts as silent: -60 dB of full scale
ATTEMPTS = 8


@dataclass(frozen=True)
class Mixing:
    """How training examples are mixed.

    Args:
        real_share: Share of examples whose sources come from one place of one song, 0 to 1; the
            others take each source from a song and place of its own.
        silent_share: Share of examples that are taken as drawn, 0 to 1; in the others a source
            that is silent is drawn again, at most 8 times.
        gain: Range of the random gain of each source; (1, 1) for none.
        swap: Swap left and right of each source at random.

    Example:
        >>> Mixing(real_share=1.0).gain
        (0.25, 1.25)

    Source: arXiv 1706.09588, section 4 (swap, gain, random excerpt, mixing of songs).
    """

    real_share: float = 0.5
    silent_share: float = 0.1
    gain: tuple[float, float] = (0.25, 1.25)
    swap: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("real_share", "silent_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise DatasetError(f"{name} must be 0 to 1; received {getattr(self, name)!r}.")
        if not 0 < self.gain[0] <= self.gain[1]:
            raise DatasetError(f"gain must be (low, high), 0 < low <= high; received {self.gain}.")


class ExcerptReader:
    """Makes example number i: the excerpts of all sources, gains and swaps applied.

    The same seed and number give the same example, in any order, thread or process.

    Args:
        tracks: Tracks with the same sources and sample rate; longer ones are drawn more often.
        num_samples: Length of an excerpt in samples. A shorter track is followed by silence.
        channels: 1 or 2; stereo is averaged for 1.
        seed: Seed of all random choices.
        mixing: How examples are mixed.

    Raises:
        DatasetError: No tracks, or tracks that do not fit together.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        num_samples: int,
        channels: int = 2,
        seed: int = 0,
        mixing: Mixing | None = None,
    ) -> None:
        check_tracks(tracks)
        self.sources = tracks[0].sources
        self._tracks = list(tracks)
        self._num_samples = num_samples
        self._channels = channels
        self._seed = seed
        self._mixing = mixing or Mixing()
        lengths = np.array([track.num_samples for track in tracks], np.float64)
        self._weights = lengths / lengths.sum()

    def __call__(self, index: int) -> Audio:
        """Return example number `index`: (sources, num_samples, channels), float32."""
        rng = np.random.default_rng((self._seed, int(index)))
        as_drawn = rng.random() < self._mixing.silent_share
        one_place = rng.random() < self._mixing.real_share
        attempts = 1 if as_drawn else ATTEMPTS
        stems = self._from_one_song(rng, attempts) if one_place else self._mixed(rng, attempts)
        low, high = self._mixing.gain
        gains = rng.uniform(low, high, len(stems)).astype(np.float32)
        swaps = rng.random(len(stems)) < 0.5
        if self._mixing.swap:
            stems[swaps] = stems[swaps, :, ::-1]
        return stems * gains[:, None, None]

    def _from_one_song(self, rng: np.random.Generator, attempts: int) -> Audio:
        for _ in range(attempts):
            track, start = self._draw(rng)
            stems = np.stack([self.read(track, source, start) for source in self.sources])
            if (np.abs(stems).max((1, 2)) > SILENCE).all():
                break
        return stems

    def _mixed(self, rng: np.random.Generator, attempts: int) -> Audio:
        return np.stack([self._one_source(rng, source, attempts) for source in self.sources])

    def _one_source(self, rng: np.random.Generator, source: str, attempts: int) -> Audio:
        for _ in range(attempts):
            track, start = self._draw(rng)
            stem = self.read(track, source, start)
            if np.abs(stem).max() > SILENCE:
                break
        return stem

    def _draw(self, rng: np.random.Generator) -> tuple[Track, int]:
        track = self._tracks[rng.choice(len(self._tracks), p=self._weights)]
        return track, int(rng.integers(max(1, track.num_samples - self._num_samples + 1)))

    def read(self, track: Track, source: str, start: int) -> Audio:
        """Return one excerpt, (num_samples, channels), float32, with silence after the end."""
        count = min(self._num_samples, track.num_samples - start)
        dtype: DType = "int16" if track.pcm16 else "float32"
        audio = track.read(source, start, count, dtype, channels=track.channels)
        if dtype == "int16":  # a sixth of the cost of reading float32
            audio = audio.astype(np.float32) / 32768
        if audio.shape[1] > self._channels:
            audio = audio.mean(axis=1, keepdims=True)
        audio = np.broadcast_to(audio, (count, self._channels))
        return np.pad(audio, ((0, self._num_samples - count), (0, 0)))


def check_tracks(tracks: Sequence[Track]) -> None:
    """Refuse tracks that cannot make one data set.

    Raises:
        DatasetError: There is none, or sources or sample rates differ.
    """
    if not tracks:
        raise DatasetError("a data set needs at least one track; received none. See its faults.")
    first = tracks[0]
    for track in tracks:
        if (track.sources, track.sample_rate) != (first.sources, first.sample_rate):
            raise DatasetError(
                f"all tracks must have the same sources and rate; received {track.sources}, "
                f"{track.sample_rate} Hz in {track.path} and {first.sources}, "
                f"{first.sample_rate} Hz in {first.path}. Name the sources in open_dataset()."
            )
