"""What bench_peers asks of a system; nothing here needs more than NumPy and soundfile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCES = ("bass", "drums", "other", "vocals")
RATE = 44100
SECONDS_PER_FRAME = 1024 / RATE  # all systems that work on frames have a hop of 1024
# One step of training, four stems; returns the seconds of audio it learned from.
Step = Callable[[], float]


class System:
    """A separator, loaded and ready.

    Args:
        threads: that it may use.
        folder: with the files that `bench_peers` prepared.
    """

    def __init__(self, threads: int, folder: Path) -> None:
        raise NotImplementedError

    def separate(self, audio: Any) -> list[Any]:
        """Returns four stems of stereo audio, (num_samples, 2), float32, 44.1 kHz."""
        raise NotImplementedError

    def file_to_files(self, song: Path, folder: Path) -> None:
        """Separates a file into 16-bit WAV files; here with the whole song in memory.

        Args:
            song: stereo, 44.1 kHz.
            folder: where the stems go; it exists.
        """
        import soundfile as sf

        audio, rate = sf.read(song, dtype="float32", always_2d=True)
        for source, stem in zip(SOURCES, self.separate(audio), strict=True):
            sf.write(folder / f"{source}.wav", stem, rate, "PCM_16")

    def describe(self) -> dict[str, float]:
        """Returns parameters, of all four stems, and gmac_per_s.

        The multiply-adds (in billions, for a second of a long song) are those that are carried
        out: overlaps of windows and context that is discarded are counted.
        """
        raise NotImplementedError

    @classmethod
    def training(cls, threads: int) -> Step:
        """Returns a step of training: forward, backward, update, on random numbers.

        Where each source has a network of its own, a step trains one, and its seconds of audio
        count a quarter.

        Args:
            threads: that it may use.
        """
        raise NotImplementedError
