"""Random excerpts and their augmentation.

All random choices depend only on the seed and the example's number, so that any example can be
reproduced.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from keras_mmdense.data.audio_files import FULL_SCALE, Audio, DType
from keras_mmdense.data.augmentation import POINTS, SPEED_STEPS, TAPS
from keras_mmdense.data.problems import DatasetError, TrackError
from keras_mmdense.data.tracks import Track
from keras_mmdense.errors import require

ACCOMPANIMENT = "accompaniment"
SILENCE = 1e-3  # largest amplitude of an excerpt that counts as silent: -60 dB of full scale
ATTEMPTS = 8
BLOCK = 512  # samples of the bank whose peak is known
# Shares of the examples: another level, an offset; and of unbalanced ones: one channel is silent.
LEVELED, OFFSET, ONE_SIDED = 0.5, 0.06, 0.4
LEAST_BALANCE = -40.0  # dB of the quieter channel
MAX_BANK = (1 << 31) - 1  # samples that int32 can count
Place = tuple[Track, int]
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mixing:
    """How training examples are mixed.

    Args:
        real_share: Share of examples whose sources come from the same position of one song, 0 to 1.
        accompaniment_share: Share of examples in which all sources but the vocals come from the
            same position of one song and are changed alike, 0 to 1 - real_share: the accompaniment
            of one song and the voice of another. In all other examples, each source has its own
            song and position.
        silent_share: Share of examples that are used as drawn, 0 to 1; in the others, a silent
            source is drawn again, at most 8 times.
        gain: Range of the random gain of each source; (1, 1) for none.
        level: Range in dB of the level of the whole mixture, which half of the examples change;
            -90 to 20, (0, 0) for none. A `keras_mmdense.TrainingModel` takes it back before the
            loss, so that quiet examples count as much as loud ones.
        pan: Largest difference in dB between left and right of each source, 0 to 24; 0 for none.
        balance: Share of examples in which one channel of the mixture is up to 40 dB quieter or,
            in two fifths of them, silent, 0 to 1.
        offset: Largest constant that is added to a channel of the mixture, 0 to 1 (full scale), in
            6 % of the examples; 0 for none.
        swap: Whether to swap left and right of each source at random.
        equalizer: Largest gain in dB, up or down, of a random curve per source, 0 to 24; 0 for
            none.
        speed: Largest change of speed (tempo and pitch together), 0 to 0.3: 0.1 plays sources
            between 0.9 and 1.1 times as fast. Sources from the same position of one song change
            together. 0 for none.
        width: Largest change of the stereo width of each source, 0 to 1; 0 for none.

    Example:
        >>> Mixing(real_share=1.0).gain
        (0.1, 1.25)

    Source: arXiv 1706.09588, section 4 (swap, gain from 0.25 to 1.25, random excerpt, mixing of
    songs).
    """

    real_share: float = 0.5
    accompaniment_share: float = 0.0
    silent_share: float = 0.1
    gain: tuple[float, float] = (0.1, 1.25)
    level: tuple[float, float] = (-45.0, 6.0)
    pan: float = 6.0
    balance: float = 0.25
    offset: float = 0.3
    swap: bool = True
    equalizer: float = 0.0
    speed: float = 0.0
    width: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        largest = {
            "real_share": 1, "accompaniment_share": 1, "silent_share": 1,
            "equalizer": 24, "speed": 0.3, "width": 1, "pan": 24, "balance": 1, "offset": 1,
        }  # fmt: skip
        for name, most in largest.items():
            if not 0 <= getattr(self, name) <= most:
                raise DatasetError(f"{name} must be 0 to {most}; received {getattr(self, name)!r}.")
        if self.real_share + self.accompaniment_share > 1:
            raise DatasetError(
                "real_share and accompaniment_share must be 1 or less together; received "
                f"{self.real_share} and {self.accompaniment_share}."
            )
        if type(self.swap) is not bool:
            raise DatasetError(f"swap must be True or False; received {self.swap!r}.")
        if len(self.gain) != 2 or not 0 < self.gain[0] <= self.gain[1]:
            raise DatasetError(f"gain must be (low, high), 0 < low <= high; received {self.gain}.")
        if len(self.level) != 2 or not -90 <= self.level[0] <= self.level[1] <= 20:
            raise DatasetError(
                f"level must be (low, high), -90 <= low <= high <= 20 dB; received {self.level}."
            )


class ExcerptSampler:
    """Draw example number i: the excerpts of all sources, and how to change them.

    The same seed and number give the same example, in any order, thread or process. A file that
    cannot be read is logged once, and another position is drawn. The samples are changed and mixed
    later, on the device, by `keras_mmdense.data.augmentation.mix`.

    Args:
        tracks: Tracks with the same sources and sample rate; longer ones are drawn more often.
        num_samples: Length of an excerpt in samples. A shorter track is followed by silence.
        channels: Channels of the mixture, 1 or 2; with 1, stereo is averaged.
        seed: Seed of all random choices.
        mixing: How examples are mixed.
        peaks: If the device holds all songs, the peaks of `song_bank`. An example then contains
            the positions of its excerpts there instead of their samples.
        accompaniments: Tracks with all sources but the vocals, which are used for
            `Mixing.accompaniment_share` alone; by default, those examples use `tracks`.

    Raises:
        DatasetError: There are no tracks, or they do not fit together.
        TrackError: Raised for an example if eight positions in a row cannot be read.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        num_samples: int,
        channels: int = 2,
        seed: int = 0,
        mixing: Mixing | None = None,
        peaks: Audio | None = None,
        accompaniments: Sequence[Track] = (),
    ) -> None:
        check_tracks(tracks, accompaniments)
        every = [*tracks, *accompaniments]
        self.sources, self.channels = tracks[0].sources, channels
        self.dtype: DType = "int16" if all(track.pcm16 for track in every) else "float32"
        self._seed, self._mixing = seed, mixing or Mixing()
        self._alike = [k for k, source in enumerate(self.sources) if source != "vocals"]
        self._pools = []  # tracks, and where in the sum of their lengths each ends, 0 to 1
        for pool in (list(tracks), list(accompaniments or tracks)):
            ends = np.cumsum([track.num_samples for track in pool], dtype=np.float64)
            self._pools.append((pool, ends / ends[-1]))
        self.num_read = num_samples
        if self._mixing.speed:  # playing faster needs more of the track
            fastest = np.rint(SPEED_STEPS * (1 + self._mixing.speed))
            self.num_read = int(np.ceil(num_samples * fastest / SPEED_STEPS)) + TAPS // 2
        self._loudest_silence = SILENCE * (FULL_SCALE if self.dtype == "int16" else 1)
        self._reported: set[object] = set()
        self._peaks, self._song_starts = peaks, song_starts(every, self.num_read)[0]

    def __call__(self, index: int) -> dict[str, Audio]:
        """Return example number `index`.

        Returns:
            A dict with "stems", (sources, num_read, 2), int16 or float32, the excerpts as stored,
            or with `peaks` "starts", (sources,), int32, the positions of their first samples in
            the bank; "channel_mix", (sources, channels, 2), what each channel takes from left and
            right; with `speed` "speeds", (sources,), int32, in units of 1 / `SPEED_STEPS`; with
            `equalizer` "curves", (sources, POINTS), in dB; with `level` or `balance` "level",
            (channels,), the gains of the mixture; and with `offset` "offset", (channels,), added to
            the mixture before.
        """
        m, count = self._mixing, len(self.sources)
        places, stems, gains, swaps = self.draw(index)
        # a generator of their own, so that the effects do not change which excerpts are drawn
        rng = np.random.default_rng((self._seed, int(index), 1))
        one_place = len(set(places)) == 1
        factors = 1 + m.speed * np.resize(rng.uniform(-1, 1, 1 if one_place else count), count)
        effects = rng.uniform(-1, 1, (count, POINTS + 1))
        whether = rng.random(4) < (LEVELED, OFFSET, m.balance, ONE_SIDED)
        level, balance = rng.uniform(*m.level), rng.uniform(LEAST_BALANCE, 0)
        offset, side = m.offset * rng.uniform(-1, 1, self.channels), rng.integers(2)
        pans = m.pan / 2 * rng.uniform(-1, 1, count)
        if m.accompaniment_share and not one_place and len({places[k] for k in self._alike}) == 1:
            for values in (factors, effects, pans, gains, swaps):
                values[self._alike] = values[self._alike[0]]
        width = (1 + m.width * effects[:, POINTS])[:, None, None]
        # left and right from their mean and their difference
        matrices = 0.5 + width * (np.eye(2) - 0.5) if m.width else np.tile(np.eye(2), (count, 1, 1))
        matrices[swaps] = matrices[swaps, ::-1]
        if self.channels == 1:
            matrices = matrices.mean(axis=1, keepdims=True)
        else:
            matrices *= _amplitude(np.stack([pans, -pans], axis=1))[:, :, None]
        example = {"channel_mix": gains[:, None, None] * matrices.astype(np.float32)}
        if any(m.level) or m.balance:
            levels = np.full(self.channels, _amplitude(level) if whether[0] else 1, np.float32)
            if whether[2] and self.channels == 2:
                levels[side] *= 0 if whether[3] else _amplitude(balance)
            example["level"] = levels
        if m.offset:
            example["offset"] = (offset * whether[1]).astype(np.float32)
        if self._peaks is not None:
            starts = [self._song_starts[track] + start for track, start in places]
            example["starts"] = np.array(starts, np.int32)
        else:
            example["stems"] = stems
        if m.speed:
            example["speeds"] = np.rint(SPEED_STEPS * factors).astype(np.int32)
        if m.equalizer:
            example["curves"] = (m.equalizer * effects[:, :POINTS]).astype(np.float32)
        return example

    def fixed(self, track: Track, start: int) -> dict[str, Audio]:
        """Return the unchanged example at one position of one track."""
        stems = self._empty()
        for source, out in zip(self.sources, stems, strict=True):
            self.read(track, source, start, out)
        matrix = np.full((1, 2), 0.5) if self.channels == 1 else np.eye(2)
        matrices = np.tile(matrix.astype(np.float32), (len(stems), 1, 1))
        return {"stems": stems, "channel_mix": matrices}

    def _empty(self) -> Audio:
        return np.empty((len(self.sources), self.num_read, 2), self.dtype)

    def draw(self, index: int) -> tuple[list[Place], Audio, Audio, NDArray[np.bool_]]:
        """Return each source's place, excerpt and gain, and whether to swap left and right.

        With `peaks`, the excerpts are not read.
        """
        rng = np.random.default_rng((self._seed, int(index)))
        attempts = 1 if rng.random() < self._mixing.silent_share else ATTEMPTS
        share = rng.random() - self._mixing.real_share
        count = len(self.sources)
        # the sources of each group are drawn together
        groups = [[*range(count)]] if share < 0 else [[k] for k in range(count)]
        accompanied = 0 <= share < self._mixing.accompaniment_share
        if accompanied:
            groups = [self._alike, *(group for group in groups if group[0] not in self._alike)]
        stems, drawn = self._empty(), dict[int, Place]()
        for number, group in enumerate(groups):
            pool = self._pools[accompanied and number == 0]
            drawn |= dict.fromkeys(group, self._sounding(rng, pool, group, attempts, stems))
        places = [drawn[k] for k in range(count)]
        gains = rng.uniform(*self._mixing.gain, len(places)).astype(np.float32)
        swaps = (rng.random(len(places)) < 0.5) & self._mixing.swap
        return places, stems, gains, swaps

    def _sounding(
        self,
        rng: np.random.Generator,
        pool: tuple[list[Track], Audio],
        group: Sequence[int],
        attempts: int,
        stems: Audio,
    ) -> Place:
        """Draw a place for a group of sources, again if one is silent or unreadable there."""
        unreadable, (tracks, ends) = 0, pool
        while True:
            track = tracks[ends.searchsorted(rng.random(), side="right")]
            start = int(rng.integers(max(1, track.num_samples - self.num_read + 1)))
            try:
                if self._peaks is not None:
                    sounding = all(
                        self._sounds_in_bank(self._peaks[k], track, self.sources[k], start)
                        for k in group
                    )
                else:  # all are read, whether one before is silent or not
                    read = [self.read(track, self.sources[k], start, stems[k]) for k in group]
                    sounding = all(map(self._sounds, read))
            except TrackError as error:
                unreadable += 1
                if unreadable == ATTEMPTS:
                    raise
                if error.path not in self._reported:
                    self._reported.add(error.path)
                    _LOGGER.warning("%s; drawing another position", error)
                continue
            attempts, unreadable = attempts - 1, 0
            if not attempts or sounding:
                return track, start

    def _sounds(self, stem: Audio) -> bool:
        return bool(max(stem.max(), -float(stem.min())) > self._loudest_silence)

    def _sounds_in_bank(self, peaks: Audio, track: Track, source: str, start: int) -> bool:
        """Return what `_sounds` says of an excerpt, which is read only in doubtful cases."""
        first = self._song_starts[track] + start
        last = first + self.num_read - 1
        loud = peaks[first // BLOCK : last // BLOCK + 1] > self._loudest_silence
        if loud[1:-1].any() or not loud.any():  # the outer blocks are in the excerpt only in part
            return bool(loud.any())
        return self._sounds(self.read(track, source, start, self._empty()[0]))

    def read(self, track: Track, source: str, start: int, out: Audio) -> Audio:
        """Read an excerpt as stored into `out`, (num_read, 2), with silence after the track."""
        count = min(self.num_read, track.num_samples - start)
        track.read(source, start, count, self.dtype, channels=2, out=out[:count])
        out[count:] = 0
        return out


def _amplitude(decibels: Any) -> Any:
    return 10 ** (decibels / 20)


def song_starts(tracks: Sequence[Track], num_read: int) -> tuple[dict[Track, int], int]:
    """Return where each track's first sample lies in `song_bank`, and the bank's length.

    A track shorter than the `num_read` samples of an excerpt is followed by silence.
    """
    starts, end = {}, 0
    for track in tracks:
        starts[track] = end
        end += max(track.num_samples, num_read) + TAPS
    return starts, -(-end // BLOCK) * BLOCK


def song_bank(tracks: Sequence[Track], num_read: int) -> tuple[Audio, Audio]:
    """Read all songs into one array for a device to hold.

    Args:
        tracks: Tracks of 16-bit files that fit together, accompaniments last.
        num_read: As for `song_starts`.

    Returns:
        The array, (sources, samples, 2), int16, and the largest amplitudes of its blocks of
        `BLOCK` samples, (sources, blocks).

    Raises:
        DatasetError: The tracks hold more than 16 bits or are too long.
        TrackError: A file cannot be read.
    """
    starts, end = song_starts(tracks, num_read)
    if end > MAX_BANK or not all(track.pcm16 for track in tracks):
        raise DatasetError(
            f"songs that a device holds must be 16-bit files of at most {MAX_BANK} samples in all; "
            f"received {end} samples. python -m training.prepare writes 16-bit files."
        )
    bank = np.zeros((len(tracks[0].sources), end, 2), np.int16)
    for track, start in tqdm(starts.items(), desc="reading songs", disable=None):
        for source in track.sources:
            samples = bank[tracks[0].sources.index(source), start : start + track.num_samples]
            track.read(source, dtype="int16", channels=2, out=samples)
    blocks = bank.reshape(len(bank), -1, BLOCK * 2)
    peaks = np.maximum(blocks.max(axis=2).astype(np.int32), -blocks.min(axis=2).astype(np.int32))
    return bank, peaks


def check_tracks(tracks: Sequence[Track], accompaniments: Sequence[Track] = ()) -> None:
    """Check that tracks form one data set, and that accompaniments have its sources but vocals.

    Raises:
        DatasetError: There are no tracks, or their sources or sample rates differ.
    """
    require(
        bool(tracks), "a data set needs at least one track", "none", "See its faults.", DatasetError
    )
    first = tracks[0]
    for track in tracks:
        require(
            (track.sources, track.sample_rate) == (first.sources, first.sample_rate),
            "all tracks must have the same sources and rate",
            {str(t.path): (t.sources, t.sample_rate) for t in (track, first)},
            "Name the sources in open_dataset().",
            DatasetError,
        )
    for track in accompaniments:
        require(
            (track.sources, track.sample_rate)
            == (tuple(s for s in first.sources if s != "vocals"), first.sample_rate),
            "accompaniments must have the sources of the tracks but the vocals, and their rate",
            {str(t.path): (t.sources, t.sample_rate) for t in (track, first)},
            "Name the sources in open_dataset().",
            DatasetError,
        )
