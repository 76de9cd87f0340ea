"""The output side of a live run: stems where they came in time, the mixture where not."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmdense_edge.live.mixer import Mixer
from mmdense_edge.live.plan import Plan
from mmdense_edge.live.ring import Ring
from mmdense_edge.signal.stft import Audio

Flags = npt.NDArray[np.bool_]


@dataclass
class PlayerCounts:
    """What the output side counted, in samples.

    Args:
        captured: came in.
        played: of the signal, without the silence before it.
        dropouts: stretches that were played unprocessed.
        unprocessed: their samples, cross-fades included.
        worst_delay: the most that the input was ahead of a window's first sample when its stems
            came: the latency that would have done.
    """

    captured: int = 0
    played: int = 0
    dropouts: int = 0
    unprocessed: int = 0
    worst_delay: int = 0


class Player:
    """Plays the mix of the stems, `latency` samples behind the input.

    Rule "pass": where stems do not come in time, the mixture itself is played from the same place,
    with cross-fades of `plan.fade` samples; stems that come too late are never heard. So the
    output never stops, never clicks and never falls behind.

    `capture` and `play` belong to the audio side, `deliver` to the worker; a lock parts them.

    Args:
        plan: sizes of the run.
        mixer: gains of the stems.
        latency: samples of silence before the signal; 0 for a run that is not paced.
        capacity: samples that may be on their way.
    """

    def __init__(self, plan: Plan, mixer: Mixer, latency: int, capacity: int) -> None:
        """Starts before the first sample."""
        self.counts = PlayerCounts()
        self.delivered = 0
        self.position = -latency
        self._fade = plan.fade
        self._channels = plan.channels
        self._mixer = mixer
        self._mixture = Ring(capacity, (plan.channels,), np.float32)
        self._stems = Ring(capacity, (len(mixer.stems), plan.channels), np.float32)
        self._valid = Ring(capacity, (), np.bool_)
        self._ended = False
        self._wet = plan.fade  # share of the stems in the last sample played, in steps
        self._dry = False
        self._lock = threading.Lock()

    @property
    def ready(self) -> int:
        """Samples that can be played now without the mixture's help."""
        if self._ended and self.delivered == self.counts.captured:
            return self.delivered - self.position
        return max(0, self.delivered - self._fade - self.position)

    @property
    def finished(self) -> bool:
        """Tells whether the signal has ended and was played to its end."""
        return self._ended and self.position >= self.counts.captured

    def capture(self, block: Audio) -> None:
        """Takes the next samples of the mixture, shape (samples, channels)."""
        with self._lock:
            self._mixture.write(self.counts.captured, block)
            self.counts.captured += len(block)

    def end(self) -> None:
        """Says that no more samples come."""
        with self._lock:
            self._ended = True

    def deliver(self, stems: Audio, valid: Flags) -> None:
        """Takes the next samples of the stems.

        Args:
            stems: shape (samples, stems, channels).
            valid: which samples are of use, shape (samples,).
        """
        with self._lock:
            if len(stems):
                ahead = self.counts.captured - self.delivered
                self.counts.worst_delay = max(self.counts.worst_delay, ahead)
            self._stems.write(self.delivered, stems)
            self._valid.write(self.delivered, valid)
            self.delivered += len(stems)

    def play(self, num_samples: int) -> Audio:
        """Returns the next samples of the output, shape (num_samples, channels).

        Silence comes before the signal, and after its end.
        """
        with self._lock:
            before = min(max(0, -self.position), num_samples)
            end = self.counts.captured
            inside = min(num_samples - before, max(0, end - max(0, self.position)))
            block = np.zeros((num_samples, self._channels), np.float32)
            if inside:
                first = self.position + before
                block[before : before + inside] = self._signal(first, inside)
            self.position += num_samples
            self.counts.played += inside
            return block

    def _signal(self, first: int, count: int) -> Audio:
        stems = self._mixer.mix(self._stems.read(first, count))
        wet = self._shares(first, count)[:, None]
        if wet.min() == 1:
            return stems
        mixed: Audio = wet * stems + (1 - wet) * self._mixture.read(first, count)
        return mixed

    def _shares(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Returns the share of the stems in each sample.

        It falls to 0 at the first sample without stems, which is known in advance because as
        many samples as a fade has are looked ahead, and rises again as fast.
        """
        # Counted in whole steps of 1 / fade: rounding must not look like a fade.
        usable = self._usable(first, count + self._fade)
        index = np.arange(len(usable))
        next_gap = np.where(usable, len(usable) + self._fade, index)
        distance = np.minimum.accumulate(next_gap[::-1])[::-1] - index
        target = np.minimum(self._fade, distance[:count])
        rise = np.minimum.accumulate(target - index[:count]) + index[:count]
        wet = np.minimum(rise, self._wet + 1 + index[:count])
        self._count(wet)
        self._wet = int(wet[-1])
        return (wet / self._fade).astype(np.float32)

    def _usable(self, first: int, count: int) -> Flags:
        """Tells for each sample whether its stems are here; beyond the signal's end none miss."""
        here = min(max(0, self.delivered - first), count)
        usable = np.zeros(count, np.bool_)
        usable[:here] = self._valid.read(first, here)
        if self._ended:
            usable[max(0, self.counts.captured - first) :] = True
        return usable

    def _count(self, wet: npt.NDArray[np.int64]) -> None:
        dry = wet < self._fade
        before = np.concatenate([[self._dry], dry[:-1]])
        self._dry = bool(dry[-1])
        self.counts.dropouts += int(np.count_nonzero(dry & ~before))
        self.counts.unprocessed += int(np.count_nonzero(dry))
