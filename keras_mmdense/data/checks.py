"""From a candidate to a track: the checks that files of one track must pass together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keras_mmdense.data.audio_files import Stream
from keras_mmdense.data.problems import Fault
from keras_mmdense.data.readers.candidates import Candidate, Reader
from keras_mmdense.data.tracks import Track

LENGTH_TOLERANCE = 0.1  # seconds


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
