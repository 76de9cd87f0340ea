"""Random excerpts and their augmentation.

All random choices depend on the example's number only, so that any example can be reproduced.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from keras_mmdense.data.audio_files import Audio
from keras_mmdense.data.problems import DatasetError, TrackError
from keras_mmdense.data.tracks import Track

ACCOMPANIMENT = "accompaniment"
SILENCE = 1e-3  # largest amplitude of an excerpt that counts as silent: -60 dB of full scale
ATTEMPTS = 8
LOWEST_HZ, HIGHEST_HZ, POINTS = 40.0, 16000.0, 7
# Transforms have a multiple of this length: with a large prime in it they take twice as long.
FFT_MULTIPLE = 4096
Place = tuple[Track, int]
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mixing:
    """How training examples are mixed.

    Args:
        real_share: Share of examples whose sources come from the same position of one song, 0 to 1;
            in the others each source comes from a song and position of its own.
        silent_share: Share of examples that are used as drawn, 0 to 1; in the others a silent
            source is drawn again, at most 8 times.
        gain: Range of the random gain of each source; (1, 1) for none.
        swap: Swap left and right of each source at random.
        equalizer: Largest gain in dB, up or down, of a random curve per source, 0 to 24; 0 for
            none.
        speed: Largest change of speed, tempo and pitch together, 0 to 0.3: 0.1 plays between
            0.9 and 1.1 times as fast. Sources of one place change together. 0 for none.
        width: Largest change of the stereo width of each source, 0 to 1; 0 for none.

    Example:
        >>> Mixing(real_share=1.0).gain
        (0.25, 1.25)

    Source: arXiv 1706.09588, section 4 (swap, gain, random excerpt, mixing of songs).
    """

    real_share: float = 0.5
    silent_share: float = 0.1
    gain: tuple[float, float] = (0.25, 1.25)
    swap: bool = True
    equalizer: float = 0.0
    speed: float = 0.0
    width: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        largest = {"real_share": 1, "silent_share": 1, "equalizer": 24, "speed": 0.3, "width": 1}
        for name, most in largest.items():
            if not 0 <= getattr(self, name) <= most:
                raise DatasetError(f"{name} must be 0 to {most}; received {getattr(self, name)!r}.")
        if len(self.gain) != 2 or not 0 < self.gain[0] <= self.gain[1]:
            raise DatasetError(f"gain must be (low, high), 0 < low <= high; received {self.gain}.")


@dataclass(frozen=True)
class Example:
    """The composition of a training example, without its samples.

    Args:
        places: Track and first sample of each source's excerpt.
        gains: Factor of each source, float32.
        swaps: Whether left and right of each source are swapped, bool.
    """

    places: tuple[Place, ...]
    gains: Audio
    swaps: Audio


class ExcerptReader:
    """Make example number i: the excerpts of all sources, with gains and swaps applied.

    The same seed and number give the same example, in any order, thread or process. If a file
    cannot be read, it is logged once and another position is drawn.

    Args:
        tracks: Tracks with the same sources and sample rate; longer ones are drawn more often.
        num_samples: Length of an excerpt in samples. A shorter track is followed by silence.
        channels: 1 or 2; stereo is averaged for 1.
        seed: Seed of all random choices.
        mixing: How examples are mixed.

    Raises:
        DatasetError: No tracks, or tracks that do not fit together.
        TrackError: Raised for an example if eight positions in a row could not be read.
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
        self._tracks, self._num_samples, self._channels = list(tracks), num_samples, channels
        self._seed, self._mixing = seed, mixing or Mixing()
        speed = self._mixing.speed  # faster playing needs more of the track
        self._num_read = int(np.ceil(num_samples * (1 + speed))) + bool(speed)
        self._reported: set[object] = set()
        lengths = np.array([track.num_samples for track in tracks], np.float64)
        self._weights = lengths / lengths.sum()

    def __call__(self, index: int) -> Audio:
        """Return example number `index`: (sources, num_samples, channels), float32."""
        example, stems = self.draw(index)
        m = self._mixing
        if m.equalizer or m.speed or m.width:
            # drawn apart, so that what an example is made of does not depend on the effects
            rng = np.random.default_rng((self._seed, int(index), 1))
            one_place = len(set(example.places)) == 1
            factors = 1 + m.speed * rng.uniform(-1, 1, 1 if one_place else len(stems))
            made = []
            for stem, factor in zip(stems, np.broadcast_to(factors, len(stems)), strict=True):
                curve = m.equalizer * rng.uniform(-1, 1, POINTS)
                width = 1 + m.width * rng.uniform(-1, 1)
                if m.speed:
                    stem = respeed(stem, float(factor), self._num_samples)
                if m.equalizer:
                    stem = equalize(stem, curve, self._tracks[0].sample_rate)
                made.append(widen(stem, width) if m.width else stem)
            stems = np.stack(made)
        stems[example.swaps] = stems[example.swaps, :, ::-1]
        return stems * example.gains[:, None, None]

    def draw(self, index: int) -> tuple[Example, Audio]:
        """Return the composition of example number `index`, and its excerpts as stored."""
        rng = np.random.default_rng((self._seed, int(index)))
        attempts = 1 if rng.random() < self._mixing.silent_share else ATTEMPTS
        one_place = rng.random() < self._mixing.real_share
        groups = [self.sources] if one_place else [(source,) for source in self.sources]
        drawn = [self._sounding(rng, group, attempts) for group in groups]
        stems = np.concatenate([excerpts for _, excerpts in drawn])
        places = [place for place, excerpts in drawn for _ in excerpts]
        gains = rng.uniform(*self._mixing.gain, len(stems)).astype(np.float32)
        swaps = (rng.random(len(stems)) < 0.5) & self._mixing.swap
        return Example(tuple(places), gains, swaps), stems

    def _sounding(
        self, rng: np.random.Generator, sources: Sequence[str], attempts: int
    ) -> tuple[Place, Audio]:
        """Draw a place of these sources; draw again if one is silent there or cannot be read."""
        unreadable = 0
        while True:
            track = self._tracks[rng.choice(len(self._tracks), p=self._weights)]
            start = int(rng.integers(max(1, track.num_samples - self._num_read + 1)))
            try:
                stems = np.stack([self.read(track, source, start) for source in sources])
            except TrackError as error:
                unreadable += 1
                if unreadable == ATTEMPTS:
                    raise
                if error.path not in self._reported:
                    self._reported.add(error.path)
                    _LOGGER.warning("%s; drawing another position", error)
                continue
            attempts, unreadable = attempts - 1, 0
            if not attempts or (np.abs(stems).max((1, 2)) > SILENCE).all():
                return (track, start), stems

    def read(self, track: Track, source: str, start: int) -> Audio:
        """Return one excerpt, (num_samples, channels), float32, with silence after the end."""
        count = min(self._num_read, track.num_samples - start)
        audio = track.read(source, start, count, channels=track.channels)
        if audio.shape[1] > self._channels:
            audio = audio.mean(axis=1, keepdims=True)
        audio = np.broadcast_to(audio, (count, self._channels))
        return np.pad(audio, ((0, self._num_read - count), (0, 0)))


def check_tracks(tracks: Sequence[Track]) -> None:
    """Check that tracks form one data set.

    Raises:
        DatasetError: There are no tracks, or their sources or sample rates differ.
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


def equalize(stem: Audio, decibels: npt.ArrayLike, sample_rate: int) -> Audio:
    """Filter a stem with a smooth curve, without delay.

    Args:
        stem: (num_samples, channels), float32.
        decibels: Gain at frequencies evenly spaced on a logarithmic axis from 40 Hz to 16 kHz;
            between them it goes in straight lines, beyond them it stays.
        sample_rate: In Hz.

    Returns:
        Array of the same shape.

    Example:
        >>> bool(np.allclose(equalize(np.ones((8, 1), "float32"), [6.0206] * 7, 44100), 2))
        True
    """
    decibels = np.asarray(decibels, np.float64)
    # Few samples are not padded: zeros would be most of what is filtered.
    multiple = FFT_MULTIPLE if len(stem) > FFT_MULTIPLE else 1
    n_fft = -(-len(stem) // multiple) * multiple
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    points = np.geomspace(LOWEST_HZ, HIGHEST_HZ, len(decibels))
    curve = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(points), decibels)
    gain = (10 ** (curve / 20)).astype(np.float32)
    # "ortho" keeps NumPy 2 in float32 both ways; without a norm its rfft computes in float64.
    filtered = np.fft.rfft(np.ascontiguousarray(stem.T), n_fft, norm="ortho") * gain
    samples = np.fft.irfft(filtered, n_fft, norm="ortho").astype(np.float32, copy=False)
    return np.ascontiguousarray(samples[:, : len(stem)].T)


def respeed(stem: Audio, factor: float, num_samples: int) -> Audio:
    """Play the beginning of a stem faster or slower: tempo and pitch move together.

    Args:
        stem: (at least num_samples * factor samples, channels), float32.
        factor: Speed, more than 1 is faster.
        num_samples: Samples to return.

    Returns:
        (num_samples, channels), float32.
    """
    played: Audio = soxr.resample(stem[: int(np.ceil(num_samples * factor)) + 1], factor, 1.0, "MQ")
    return np.pad(played, ((0, max(0, num_samples - len(played))), (0, 0)))[:num_samples]


def widen(stem: Audio, factor: float) -> Audio:
    """Scale the difference of left and right: 0 is mono, 1 changes nothing; mono stays mono."""
    # not mean(axis=1), which takes ten times as long over an axis of two
    middle: Audio = np.asarray(sum(stem.T) / stem.shape[1], np.float32)
    widened: Audio = middle[:, None] + np.float32(factor) * (stem - middle[:, None])
    return widened
