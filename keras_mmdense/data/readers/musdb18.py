"""MUSDB18: `{train,test}/Artist - Title.stem.mp4`, five AAC streams each, read through PyAV.

PyAV, which brings its own decoder, is needed only here: pip install ".[musdb18]". Decoding starts
shortly before an excerpt's first sample, not at the start of the track. MUSDB18 as WAV
("musdb18hq") is still many times faster to read.

The mixture is a stream of its own. AAC is lossy, so it is only nearly the sum of the sources.
Samples are rounded to 16 bits, as musdb does, so int16 is exact. Sample 0 is the first that the
file presents: what its edit list cuts off (the encoder's delay) is left out. The length is the
header's, as in musdb, and never more than the packets hold; many headers round it to milliseconds.

Source: https://doi.org/10.5281/zenodo.1117372 and https://github.com/sigsep/sigsep-mus-db
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from keras_mmdense.data.audio_files import Audio, Stream, to_int16
from keras_mmdense.data.problems import DatasetError, Fault, TrackError
from keras_mmdense.data.readers import (
    MIXTURE,
    SOURCES,
    Candidate,
    entries,
    split_folders,
    strays,
)
from keras_mmdense.data.readers.musdb18hq import VALIDATION_TRACKS, subset_of
from keras_mmdense.errors import require

FORM = "{train,test}/TRACK.stem.mp4"
SUFFIX = ".stem.mp4"
STEM_INDEX = {MIXTURE: 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}

# AAC fills noisy bands from a generator that runs on from packet to packet. Each block of this
# many samples has a decoder of its own, so that a sample is the same whatever was read before it.
BLOCK = 32768
# A packet (1024 samples, 2048 in HE-AAC) is complete only after the one before it was decoded.
PREROLL = 4096


@dataclass(frozen=True)
class StemStream(Stream):
    """One stream of a .stem.mp4 file.

    Args:
        index: The stream's number in the file.
    """

    index: int

    def _decode(self, start: int, num_samples: int, out: Audio | None = None) -> Audio:
        """Return int16 samples, fewer if the file has a gap or ends early."""
        stop, first = start + num_samples, start - start % BLOCK
        with _open(self.path, f"samples {start} to {stop} cannot be decoded") as container:
            track = container.streams[self.index]
            origin = track.start_time or 0  # the time stamp of sample 0
            pieces = [np.empty((0, track.channels), np.int16)]
            for block in range(first, stop, BLOCK):
                begin, end = block, min(block + BLOCK, stop)
                container.seek(origin + begin - PREROLL, stream=track)
                for position, samples in _frames(container, track):
                    position -= origin
                    if begin >= end:
                        break
                    part = samples[max(0, begin - position) : end - position]
                    pieces.append(to_int16(part)[0])
                    begin = max(begin, position + len(samples))
        return np.concatenate(pieces)[start - first :]


def recognizes(root: Path) -> bool:
    """Return whether there is a .stem.mp4 file in train, valid or test."""
    return any(candidate.files for candidate in find(root, ()))


def find(root: Path, sources: Sequence[str]) -> list[Candidate]:
    """Return every .stem.mp4 file in train, valid and test as a track."""
    return [
        Candidate(
            path.name.removesuffix(SUFFIX),
            subset_of(split, path.name.removesuffix(SUFFIX)),
            path,
            dict.fromkeys((*SOURCES, MIXTURE), path),
        )
        for split, top in split_folders(root).items()
        for path in entries(top)
        if path.name.endswith(SUFFIX)
    ] + strays(root, lambda folder: any(folder.glob(f"*{SUFFIX}")))


def from_musdb(found: Any, sample_rate: int) -> tuple[Path, str, list[Candidate]]:
    """Return the tree, its kind, and the tracks of a `musdb.DB` or of a list of its tracks.

    Their attributes are enough: musdb itself, which needs ffmpeg, is not imported.

    Raises:
        DatasetError: There are no tracks of musdb, or they stand for parts of their files or for
            another sample rate.
    """
    tracks = getattr(found, "tracks", found)
    require(
        isinstance(tracks, Sequence) and bool(tracks) and all(hasattr(t, "is_wav") for t in tracks),
        "root must be the folder of a data set, a musdb.DB or a list of its tracks",
        found,
        "",
        DatasetError,
    )
    parts = {(t.chunk_start or 0, t.chunk_duration, t.sample_rate or sample_rate) for t in tracks}
    require(
        parts == {(0, None, sample_rate)},
        "tracks of musdb must be whole, at the sample rate of open_dataset",
        sorted(parts, key=str),
        "Leave out chunk_start, chunk_duration and sample_rate.",
        DatasetError,
    )
    setup = getattr(found, "setup", {})
    validation = setup.get("validation_tracks", VALIDATION_TRACKS)
    candidates = []
    for track in tracks:
        path = Path(track.path).absolute()
        files = dict.fromkeys((*SOURCES, MIXTURE), path)
        if track.is_wav:  # musdb leaves out sources without a file
            files |= {name: path.with_name(f"{name}.wav") for name in SOURCES}
            files |= {name: Path(source.path).absolute() for name, source in track.sources.items()}
        is_valid = track.subset == "train" and track.name in validation
        folder = path.parent if track.is_wav else path
        subset = "valid" if is_valid else track.subset
        candidates.append(Candidate(track.name, subset, folder, files))
    return folder.parents[1], "musdb18hq" if track.is_wav else "musdb18", candidates


def open_streams(candidate: Candidate) -> tuple[dict[str, Stream], list[Fault]]:
    """Probe a stem file: its five streams by name, or the fault that prevents it.

    Raises:
        DatasetError: PyAV is not installed.
    """
    path = candidate.path
    streams: dict[str, Stream] = {}
    if not candidate.files:
        return streams, []
    try:
        if not path.is_file():
            raise TrackError(path, "is not a file")
        with _open(path, "is not a readable stem file") as container:
            for name, index in STEM_INDEX.items():
                track = container.streams[index]
                length, origin = track.duration or 0, track.start_time or 0
                container.seek(origin + length, stream=track)
                # Not the last packet's own duration: FFmpeg 7 sets it from the header, 8 does not.
                stamps = [packet.pts for packet in container.demux(track) if packet.size]
                end = max(stamps) + track.codec_context.frame_size - origin if stamps else 0
                length = min(length, end)
                streams[name] = StemStream(path, length, track.rate, track.channels, True, index)
        empty = [name for name, stream in streams.items() if stream.num_samples < 1]
        if empty:
            raise TrackError(path, f"holds no samples of {', '.join(empty)}")
    except TrackError as error:
        return {}, [Fault(error.path, error.reason, candidate.label)]
    return streams, []


@contextmanager
def _open(path: Path, failure: str) -> Iterator[Any]:
    """Open a stem file and check its form; errors in the block become TrackErrors."""
    try:
        import av
    except ImportError as error:
        raise DatasetError(
            f"MUSDB18's .stem.mp4 files are read through PyAV ({error}): pip install "
            '".[musdb18]" in a checkout of keras_mmdense, or use MUSDB18-HQ (WAV)'
        ) from error
    try:
        missing = _missing_bytes(path)
        if missing:
            raise TrackError(path, f"is cut short: {missing} bytes are missing")
        # Tags in another encoding are no reason to refuse the audio.
        with av.open(str(path), metadata_errors="replace") as container:
            audio = container.streams.audio[: len(STEM_INDEX)]
            indices = [track.index for track in audio]
            channels = {track.channels for track in audio}
            if indices != list(STEM_INDEX.values()) or len(channels) != 1:
                raise TrackError(
                    path,
                    "must begin with five audio streams of the same number of channels (mixture, "
                    f"drums, bass, other, vocals); audio streams {indices} with "
                    f"{sorted(channels)} channels",
                )
            for track in audio:
                codec = track.codec_context.name
                if codec != "aac" or track.time_base != Fraction(1, track.rate):
                    raise TrackError(
                        path,
                        f"must hold AAC that counts time in samples (1/{track.rate} s); stream "
                        f"{track.index} is {codec} and counts in {track.time_base} s",
                    )
            yield container
    except TrackError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TrackError(path, f"{failure}: {reason}") from error


def _frames(container: Any, track: Any) -> Iterator[tuple[int, Audio]]:
    """Decode the packets from here on with a new decoder; yield time stamps and float samples."""
    import av

    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = track.codec_context.extradata
    # Frames stay whole; what the edit list cuts off is left out by its time stamp.
    decoder.flags2 |= av.codec.context.Flags2.skip_manual
    for packet in container.demux(track):
        for frame in decoder.decode(packet):
            yield frame.pts, frame.to_ndarray().T


def _missing_bytes(path: Path) -> int:
    """Return the bytes that an MP4 file's boxes promise beyond its end; 0 for other files."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            box = file.read(16)
            if position == 0 and box[4:8] != b"ftyp":
                return 0  # not MP4: opening it will fail
            length = int.from_bytes(box[:4], "big")
            if length == 1:  # the length follows in 64 bits
                length = int.from_bytes(box[8:16], "big")
            if length < 8:  # 0: up to the end of the file
                return 0
            position += length
    return max(0, position - size)
