"""The deep check: every sample of a track is read once."""

from __future__ import annotations

from keras_mmdense.data.faults import Fault, TrackError
from keras_mmdense.data.streams import Stream
from keras_mmdense.data.tracks import Track

# Long enough that few decoders start over for each block, short enough for any memory.
BLOCK_SECONDS = 60


def scan_track(track: Track) -> tuple[list[Fault], list[Fault]]:
    """Read all of a track's stored signals.

    Args:
        track: a checked track.

    Returns:
        Faults (samples missing, unreadable, NaN or infinite) and notes (silent throughout).
    """
    label = f"{track.subset}/{track.name}" if track.subset else track.name
    faults, notes = [], []
    for name, stream in track.streams.items():
        try:
            if is_silent(stream):
                notes.append(Fault(stream.path, f"{name} is silent throughout", label))
        except TrackError as error:
            faults.append(Fault(error.path, error.reason, label))
    return faults, notes


def is_silent(stream: Stream) -> bool:
    """Read a whole signal in blocks and tell whether every sample is zero.

    Args:
        stream: the signal.

    Raises:
        TrackError: a block cannot be read in full, or is not finite.
    """
    block = BLOCK_SECONDS * stream.sample_rate
    silent = True
    for start in range(0, stream.num_samples, block):
        num_samples = min(block, stream.num_samples - start)
        audio = stream.read(start, num_samples, "int16" if stream.pcm16 else "float32")
        silent = silent and not audio.any()
    return silent
