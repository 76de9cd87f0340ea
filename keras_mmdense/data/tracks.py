"""A track: named sources of one length and one sample rate, read by excerpts."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from keras_mmdense.data.audio_files import Audio, DType, Stream
from keras_mmdense.data.problems import Fault, TrackError
from keras_mmdense.data.readers import MIXTURE, SUBSETS, Candidate, Reader

__all__ = ["MIXTURE", "SUBSETS", "Track", "open_track", "scan_track", "to_channels"]

LENGTH_TOLERANCE = 0.1  # seconds
# Long enough that few decoders start over for each block, short enough for any memory.
SCAN_SECONDS = 60


@dataclass(frozen=True)
class Track:
    """One song of a data set. Made by `open_dataset`, which checks it.

    A track holds no audio and no open file: it is small, can be pickled, and can be read from
    several threads and processes.

    Args:
        name: str, the track folder's or file's name.
        subset: "train", "valid", "test", or "" in a tree without subsets.
        path: the track's folder or file.
        sources: tuple of str, the sources that were asked for, in that order.
        num_samples: int, samples per channel that all sources have.
        sample_rate: int, Hz.
        channels: int, 1 or 2; 2 where any of the track's files is stereo.
        streams: the stored signals by name: every source of the tree, and "mixture" where the
            tree has mixture files.
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
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def has_mixture(self) -> bool:
        """True where the mixture is stored, False where it is the sum of the sources."""
        return MIXTURE in self.streams

    @property
    def pcm16(self) -> bool:
        """True where every stored signal can be read as int16 without loss."""
        return all(stream.pcm16 for stream in self.streams.values())

    def read(
        self,
        source: str,
        start: int = 0,
        num_samples: int | None = None,
        dtype: DType = "float32",
        channels: int | None = None,
    ) -> Audio:
        """Read an excerpt of one source, or of the mixture, without loading the track.

        Args:
            source: one of `sources`, or "mixture": the stored mixture, else the sum of all
                sources of the tree, whichever were asked for. A sum is not clipped.
            start: int, first sample, default 0.
            num_samples: int >= 1, samples per channel; default None: to the end.
            dtype: "float32" (default, full scale is 1.0) or "int16" (several times faster; only
                signals stored in 16 bits, never a sum).
            channels: 1 or 2; default None: the track's `channels`. Mono is duplicated; stereo is
                never mixed down.

        Returns:
            Array of shape (num_samples, channels): exactly what was asked for.

        Raises:
            TrackError: unknown source, excerpt not inside the track, samples missing or not
                finite, int16 asked of what is not stored in 16 bits, mono asked of stereo.
        """
        start, num_samples = self._excerpt(start, num_samples)
        if dtype not in get_args(DType):
            raise TrackError(self.path, f"dtype must be float32 or int16, not {dtype!r}")
        channels = self.channels if channels is None else channels
        if source == MIXTURE and not self.has_mixture:
            return self._sum(start, num_samples, dtype, channels)
        if source != MIXTURE and source not in self.sources:
            known = ", ".join((*self.sources, MIXTURE))
            raise TrackError(self.path, f"has no source {source!r}: it has {known}")
        return self._read_stream(self.streams[source], start, num_samples, dtype, channels)

    def _read_stream(
        self, stream: Stream, start: int, num_samples: int, dtype: DType, channels: int
    ) -> Audio:
        audio = stream.read(start, num_samples, dtype)
        try:
            return to_channels(audio, channels)
        except ValueError as error:
            raise TrackError(stream.path, str(error)) from error

    def _sum(self, start: int, num_samples: int, dtype: DType, channels: int) -> Audio:
        if dtype != "float32":
            raise TrackError(
                self.path,
                "has no stored mixture, and the sum of its sources can exceed int16: "
                "read it as float32",
            )
        total = np.zeros((num_samples, channels), np.float32)
        for stream in self.streams.values():
            total += self._read_stream(stream, start, num_samples, dtype, channels)
        return total

    def _excerpt(self, start: int, num_samples: int | None) -> tuple[int, int]:
        start = operator.index(start)
        length = self.num_samples - start if num_samples is None else operator.index(num_samples)
        if start < 0 or length < 1 or start + length > self.num_samples:
            raise TrackError(
                self.path,
                f"has samples 0 to {self.num_samples}; {length} samples from {start} were asked "
                "for",
            )
        return start, length


def to_channels(audio: Audio, channels: int) -> Audio:
    """Give audio the number of channels asked for by duplicating mono.

    Args:
        audio: array of shape (num_samples, 1 or 2).
        channels: int, 1 or 2.

    Returns:
        Array of shape (num_samples, channels); `audio` itself where nothing changes.

    Raises:
        ValueError: `channels` is neither 1 nor 2, or stereo would have to be mixed down.

    Example:
        >>> to_channels(np.array([[0.5], [1.0]]), 2).tolist()
        [[0.5, 0.5], [1.0, 1.0]]
    """
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, not {channels!r}")
    if audio.shape[1] == channels:
        return audio
    if audio.shape[1] != 1:
        raise ValueError(f"has {audio.shape[1]} channels, and {channels} were asked for")
    return np.repeat(audio, channels, axis=1)


def scan_track(track: Track) -> tuple[list[Fault], list[Fault]]:
    """Read every sample of a track.

    Args:
        track: a checked track.

    Returns:
        Faults (samples missing, unreadable, NaN or infinite) and notes (silent throughout).
    """
    label = f"{track.subset}/{track.name}" if track.subset else track.name
    faults, notes = [], []
    for name, stream in track.streams.items():
        block = SCAN_SECONDS * stream.sample_rate
        silent = True
        try:
            for start in range(0, stream.num_samples, block):
                num_samples = min(block, stream.num_samples - start)
                audio = stream.read(start, num_samples, "int16" if stream.pcm16 else "float32")
                silent = silent and not audio.any()
        except TrackError as error:
            faults.append(Fault(error.path, error.reason, label))
        else:
            if silent:
                notes.append(Fault(stream.path, f"{name} is silent throughout", label))
    return faults, notes


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate: a track, or None and at least one fault; and notes."""

    track: Track | None
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]


def open_track(
    reader: Reader, candidate: Candidate, sources: Sequence[str], sample_rate: int
) -> Outcome:
    """Open and check one candidate. Every fault is found, not only the first.

    Args:
        reader: the module that found it.
        candidate: what it found.
        sources: the sources to offer.
        sample_rate: int, Hz, that every file must have; nothing is resampled.

    Returns:
        The track, or the faults that rule it out.
    """
    streams, faults = reader.open_streams(candidate)
    faults = [*candidate.faults, *faults]
    faults += _format_faults(candidate, streams, sample_rate)
    faults += _length_faults(candidate, streams)
    if faults or not streams:
        return Outcome(None, tuple(faults), candidate.notes)
    track = Track(
        name=candidate.name,
        subset=candidate.subset,
        path=candidate.path,
        sources=tuple(sources),
        num_samples=min(stream.num_samples for stream in streams.values()),
        sample_rate=sample_rate,
        channels=max(stream.channels for stream in streams.values()),
        streams=streams,
    )
    return Outcome(track, (), (*candidate.notes, *_notes(candidate, track)))


def _format_faults(
    candidate: Candidate, streams: Mapping[str, Stream], sample_rate: int
) -> list[Fault]:
    faults = []
    for stream in streams.values():
        if stream.sample_rate != sample_rate:
            reason = f"has a sample rate of {stream.sample_rate} Hz, not {sample_rate} Hz"
            faults.append(Fault(stream.path, reason, candidate.label))
        if stream.channels > 2:
            reason = f"has {stream.channels} channels: 1 or 2 are read"
            faults.append(Fault(stream.path, reason, candidate.label))
    # The streams of one file share its path: one line is enough.
    return list(dict.fromkeys(faults))


def _length_faults(candidate: Candidate, streams: Mapping[str, Stream]) -> list[Fault]:
    durations = {name: s.num_samples / s.sample_rate for name, s in streams.items()}
    if not durations or max(durations.values()) - min(durations.values()) <= LENGTH_TOLERANCE:
        return []
    listed = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in durations.items())
    reason = f"has files that differ in length by more than {LENGTH_TOLERANCE} s: {listed}"
    return [Fault(candidate.path, reason, candidate.label)]


def _notes(candidate: Candidate, track: Track) -> list[Fault]:
    notes = []
    for name, stream in track.streams.items():
        surplus = stream.num_samples - track.num_samples
        if surplus:
            reason = f"{name} is {surplus} samples longer than the shortest file: they are not used"
            notes.append(Fault(stream.path, reason, candidate.label))
        if stream.channels != track.channels:
            reason = f"{name} is mono among stereo files: it is read in both channels"
            notes.append(Fault(stream.path, reason, candidate.label))
    return notes
