"""The output side of a live run: stems that are in time, otherwise the unprocessed mixture."""

import numpy as np

from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.stats import LiveStats
from mmdense_edge.signal.stft import Array, Audio


class Player:
    """Play the mix of the stems at a fixed latency behind the input.

    Rule "pass": if stems are not ready in time, the mixture is played from the same position, with
    cross-fades of `plan.fade` samples; late stems are never played. Therefore the output never
    stops, never clicks and never falls behind.

    The audio side calls `capture` and `play`; the worker calls `deliver`. They need no
    lock: each counter is written by one side only, and only after the samples that it counts.

    Args:
        stats: Counters of the run, and its plan: if it is paced, `plan.latency` samples of silence
            precede the signal.
        mixer: Gains of the stems.
        capacity: Samples that may be captured and not yet played.
    """

    def __init__(self, stats: LiveStats, mixer: Mixer, capacity: int) -> None:
        plan = stats.plan
        self.delivered = 0
        self.position = -plan.latency if stats.paced else 0
        self._stats, self._mixer, self._fade = stats, mixer, plan.fade
        # Rings: the sample at position n of the signal is in row n % capacity.
        self._mixture = np.zeros((capacity, plan.channels), np.float32)
        self._stems = np.zeros((capacity, len(mixer.stems), plan.channels), np.float32)
        self._valid = np.zeros(capacity, np.bool_)
        self.ended = False  # whether the last sample of the signal was captured
        self._wet = plan.fade  # share of the stems in the last sample played, in steps

    @property
    def ready(self) -> int:
        """Samples that can be played now without falling back on the mixture."""
        if self.ended and self.delivered == self._stats.captured:
            return self.delivered - self.position
        return max(0, self.delivered - self._fade - self.position)

    @property
    def finished(self) -> bool:
        """Whether the signal has ended and was played to its end."""
        return self.ended and self.position >= self._stats.captured

    def capture(self, block: Audio) -> None:
        """Take the next samples of the mixture, shape (samples, channels); none end the signal."""
        self.ended = not len(block)
        self._mixture[self._rows(self._stats.captured, len(block))] = block
        self._stats.captured += len(block)

    def deliver(self, stems: Audio, valid: Array) -> None:
        """Take the next samples of the stems.

        Args:
            stems: Shape (samples, stems, channels).
            valid: Which samples are valid, shape (samples,).
        """
        if len(stems):
            ahead = self._stats.captured - self.delivered
            self._stats.worst_delay = max(self._stats.worst_delay, ahead)
        rows = self._rows(self.delivered, len(stems))
        self._stems[rows], self._valid[rows] = stems, valid
        self.delivered += len(stems)

    def play(self, num_samples: int) -> Audio:
        """Return the next samples of the output, shape (num_samples, channels).

        The signal is preceded and followed by silence.
        """
        first, end = max(0, self.position), self._stats.captured
        before = min(first - self.position, num_samples)
        inside = min(num_samples - before, max(0, end - first))
        block = np.zeros((num_samples, self._stats.plan.channels), np.float32)
        if inside:
            wet = self._shares(first, inside)[:, None]
            rows = self._rows(first, inside)
            stems = self._mixer.mix(self._stems[rows])
            block[before : before + inside] = wet * stems + (1 - wet) * self._mixture[rows]
        self.position += num_samples
        self._stats.played += inside
        return block

    def _rows(self, first: int, count: int) -> Array:
        return np.arange(first, first + count) % len(self._valid)

    def _shares(self, first: int, count: int) -> Audio:
        """Return the share of the stems in each sample, and count the drop-outs.

        It falls to 0 at the first sample without stems, which is known in advance because the
        player looks ahead by the length of a fade, and rises again at the same rate.
        """
        # Which samples have stems by now; none are missing beyond the signal's end.
        usable = np.zeros(count + self._fade, np.bool_)
        here = min(max(0, self.delivered - first), len(usable))
        usable[:here] = self._valid[self._rows(first, here)]
        if self.ended:
            usable[max(0, self._stats.captured - first) :] = True
        # Counted in whole steps of 1 / fade: rounding must not look like a fade.
        index = np.arange(len(usable))
        next_gap = np.where(usable, len(usable) + self._fade, index)
        distance = np.minimum.accumulate(next_gap[::-1])[::-1] - index
        target = np.minimum(self._fade, distance[:count])
        rise = np.minimum.accumulate(target - index[:count]) + index[:count]
        wet = np.minimum(rise, self._wet + 1 + index[:count])
        dry = np.concatenate([[self._wet], wet]) < self._fade
        self._stats.dropouts += int(np.count_nonzero(dry[1:] & ~dry[:-1]))
        self._stats.unprocessed += int(np.count_nonzero(dry[1:]))
        self._wet = int(wet[-1])
        return (wet / self._fade).astype(np.float32)
