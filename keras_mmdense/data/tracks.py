"""A track: named sources with the same length and sample rate, checked once, read in excerpts."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from keras_mmdense.data.audio_files import Audio, DType, Stream
from keras_mmdense.data.problems import Fault, TrackError
from keras_mmdense.data.readers import MIXTURE, Candidate

LENGTH_TOLERANCE = 0.1  # seconds


@dataclass(frozen=True)
class Track:
    """One song of a data set. Made by `open_dataset`, which checks it.

    A track holds no audio and no open file: it is small, can be pickled, and can be read from
    several threads and processes.

    Args:
        name: The track folder's or file's name.
        subset: "train", "valid", "test", or "" in a tree without subsets.
        path: The track's folder or file.
        sources: The sources that were asked for, in that order.
        num_samples: Samples per channel that all sources have.
        sample_rate: In Hz.
        channels: 1 or 2; 2 if any of the track's files is stereo.
        streams: The stored signals by name: every source of the tree, and "mixture" if the tree
            has mixture files.
    """

    name: str
    subset: str
    path: Path
    sources: tuple[str, ...]
    num_samples: int
    sample_rate: int
    channels: int
    streams: Mapping[str, Stream] = field(repr=False, hash=False)

    @property
    def label(self) -> str:
        """The name with its subset: "test/Artist - Title"."""
        return f"{self.subset}/{self.name}" if self.subset else self.name

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def has_mixture(self) -> bool:
        """True if the mixture is stored, False if it is the sum of the sources."""
        return MIXTURE in self.streams

    @property
    def pcm16(self) -> bool:
        """True if every stored signal can be read as int16 without loss."""
        return all(stream.pcm16 for stream in self.streams.values())

    def read(
        self,
        source: str,
        start: int = 0,
        num_samples: int | None = None,
        dtype: DType = "float32",
        channels: int | None = None,
        out: Audio | None = None,
    ) -> Audio:
        """Read an excerpt of one source, or of the mixture, without loading the track.

        Args:
            source: One of `sources`, or "mixture": the stored mixture, else the sum of all
                sources of the tree, whichever were asked for. A sum is not clipped.
            start: First sample.
            num_samples: 1 or more samples per channel; None: to the end.
            dtype: "float32" (full scale is 1.0) or "int16" (several times faster; only signals
                stored in 16 bits, never a sum).
            channels: 1 or 2; None: the track's `channels`. Mono is duplicated; stereo is never
                mixed down.
            out: An array of this shape and type for the result; None: a new one.

        Returns:
            Array of shape (num_samples, channels): exactly what was asked for.

        Raises:
            TrackError: The source is unknown, the excerpt is outside the track, samples are missing
                or not finite, int16 was requested from a signal that is not 16-bit, or mono from
                stereo.
        """
        start = operator.index(start)
        length = self.num_samples - start if num_samples is None else operator.index(num_samples)
        if start < 0 or length < 1 or start + length > self.num_samples:
            raise TrackError(
                self.path,
                f"has samples 0 to {self.num_samples}; {length} samples from {start} were asked "
                "for",
            )
        if dtype not in get_args(DType):
            raise TrackError(self.path, f"dtype must be float32 or int16, not {dtype!r}")
        is_sum = source == MIXTURE and not self.has_mixture
        if is_sum and dtype != "float32":
            raise TrackError(
                self.path,
                "has no stored mixture, and the sum of its sources can exceed int16: "
                "read it as float32",
            )
        if source not in (*self.sources, MIXTURE):
            known = ", ".join((*self.sources, MIXTURE))
            raise TrackError(self.path, f"has no source {source!r}: it has {known}")
        total: Audio | None = None
        for stream in self.streams.values() if is_sum else [self.streams[source]]:
            audio = stream.read(start, length, dtype, out)
            try:
                audio = to_channels(audio, self.channels if channels is None else channels)
            except ValueError as error:
                raise TrackError(stream.path, str(error)) from error
            total = audio if total is None else total + audio
        if out is None:
            return np.asarray(total)
        if not np.may_share_memory(out, total):
            out[:] = total
        return out


def to_channels(audio: Audio, channels: int) -> Audio:
    """Convert audio to the requested number of channels by duplicating mono.

    Args:
        audio: Array of shape (num_samples, 1 or 2).
        channels: 1 or 2.

    Returns:
        Array of shape (num_samples, channels); `audio` itself if nothing changes.

    Raises:
        ValueError: `channels` is neither 1 nor 2, or stereo would have to be mixed down.

    Example:
        >>> to_channels(np.array([[0.5], [1.0]]), 2).tolist()
        [[0.5, 0.5], [1.0, 1.0]]
    """
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, not {channels!r}")
    if audio.shape[1] not in (1, channels):
        raise ValueError(f"has {audio.shape[1]} channels, and {channels} were asked for")
    return audio if audio.shape[1] == channels else np.repeat(audio, channels, axis=1)


def check_track(
    candidate: Candidate, streams: Mapping[str, Stream], sources: Sequence[str], sample_rate: int
) -> tuple[Track | None, list[Fault], list[Fault]]:
    """Check the opened files of a candidate against each other, and report every fault.

    Args:
        candidate: What the reader found.
        streams: Its good files by source.
        sources: The sources to offer.
        sample_rate: Hz that every file must have; nothing is resampled.

    Returns:
        The track, or None and at least one fault; and notes.
    """
    reasons: list[tuple[Path, str]] = []
    for stream in streams.values():
        if stream.sample_rate != sample_rate:
            reason = f"has a sample rate of {stream.sample_rate} Hz, not {sample_rate} Hz"
            reasons.append((stream.path, reason))
        if stream.channels > 2:
            reasons.append((stream.path, f"has {stream.channels} channels: 1 or 2 are read"))
    durations = {name: s.num_samples / s.sample_rate for name, s in streams.items()}
    if durations and max(durations.values()) - min(durations.values()) > LENGTH_TOLERANCE:
        listed = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in durations.items())
        reason = f"has files that differ in length by more than {LENGTH_TOLERANCE} s: {listed}"
        reasons.append((candidate.path, reason))
    # the streams of one stem file share its path: one line is enough
    faults = [Fault(*reason, candidate.label) for reason in dict.fromkeys(reasons)]
    if faults or not streams:
        return None, faults, []
    length = min(stream.num_samples for stream in streams.values())
    channels = max(stream.channels for stream in streams.values())
    notes = []
    for name, stream in streams.items():
        if surplus := stream.num_samples - length:
            reason = f"{name} is {surplus} samples longer than the shortest file: they are not used"
            notes.append(Fault(stream.path, reason, candidate.label))
        if stream.channels != channels:
            reason = f"{name} is mono among stereo files: it is read in both channels"
            notes.append(Fault(stream.path, reason, candidate.label))
    track = Track(
        candidate.name, candidate.subset, candidate.path, tuple(sources), length, sample_rate,
        channels, streams,
    )  # fmt: skip
    return track, [], notes
