"""Prepare a data set once: every source as a WAV file of 16-bit integers, the fastest to read.

`python -m training.prepare DATA --out DIR` decodes Ogg, FLAC, 24-bit and float WAV and MUSDB18's
.stem.mp4 into DIR/[SUBSET/]TRACK/SOURCE.wav, a tree of kind "folder" with the same names, subsets
and sources. A track appears in DIR when it is complete; the command run again goes on where it
stopped. Memory stays small: signals pass through in blocks (the tfio decoder holds one whole file).

Samples that are not stored in 16 bits are rounded, without dither: a source changes by at most
half a step of 1/32768, so the sum of n sources lies within n/2 steps of what it was. A mixture is
written only where the tree has one, and from its own file: in MUSDB18 (AAC) it is only nearly the
sum of the sources, before as after. Training mixes the sources itself and does not read it.
A sample beyond full scale does not fit: its track is refused, or limited and counted with --clip.

Exit code 0: all tracks are prepared; 1: some are not, each is named; 2: nothing could be done;
130: stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmdense_edge.errors import printable

from keras_mmdense.data import KINDS, Dataset, DatasetError, Track, TrackError, open_dataset
from keras_mmdense.data.audio_files import Audio, Stream, open_audio_file
from keras_mmdense.data.problems import Fault
from keras_mmdense.data.readers import entries
from keras_mmdense.data.tfio_decoder import check_tfio, tfio_blocks

BLOCK = 1 << 20  # samples per channel that are in memory at a time
HEADER_BYTES = 44
MAX_WAV_BYTES = (1 << 32) - 1 - HEADER_BYTES  # a WAV file counts its bytes in 32 bits
DISK_BLOCK = 4096  # a file takes whole blocks on most disks
FULL_SCALE = 32768
PARTIAL = ".partial-"

Decoder = Callable[[Stream], Iterator[Audio]]


@dataclass(frozen=True)
class Plan:
    """What is to be written, known before the first byte.

    Args:
        dataset: what was opened.
        out: folder of the prepared tree.
        finished: labels of the tracks that are there already.
        pending: tracks to write.
        faults: tracks that cannot be prepared, with the reason.
    """

    dataset: Dataset
    out: Path
    finished: tuple[str, ...]
    pending: tuple[Track, ...]
    faults: tuple[Fault, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes to write."""
        return sum(track_bytes(track) for track in self.pending)

    def describe(self) -> str:
        """Return the announcement: what comes from where, its size and the room there is."""
        files = sum(len(track.streams) for track in self.pending)
        seconds = sum(track.duration for track in self.pending)
        return (
            f"{printable(self.dataset.root)} ({self.dataset.kind}): {len(self.pending)} tracks, "
            f"{seconds / 60:.1f} min, {len(self.finished)} finished before; to write in "
            f"{printable(self.out)}: {files} files, {megabytes(self.num_bytes)}, "
            f"{megabytes(free_bytes(self.out))} free"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    try:
        decoder = _decoder(args.decoder)
        dataset = open_dataset(args.data, kind=args.kind, sample_rate=args.sample_rate)
        if args.decoder == "tfio" and dataset.kind == "musdb18":
            raise DatasetError("tensorflow-io cannot read .stem.mp4: use --decoder soundfile")
        plan = make_plan(dataset, Path(args.out).absolute())
        print(plan.describe())
        failed = write_tracks(plan, decoder, args.clip, _progress())
    except DatasetError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        text = f"{printable(args.out)} cannot be written: {error.strerror or error}"
        print(f"prepare: {text}; finished tracks are kept", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; finished tracks are kept, the same command goes on", file=sys.stderr)
        return 130
    faults = [*plan.faults, *failed]
    for fault in faults:
        print(f"fault: {fault.describe(dataset.root)}", file=sys.stderr)
    done = len(plan.finished) + len(plan.pending) - len(failed)
    left_out = len({fault.track for fault in faults})
    print(f"{printable(plan.out)}: {done} tracks prepared, {left_out} left out")
    return 1 if faults else 0


def make_plan(dataset: Dataset, out: Path) -> Plan:
    """Tell what is to be written and what is there already. Writes nothing.

    Args:
        dataset: an opened data set.
        out: folder of the prepared tree; need not exist.

    Raises:
        DatasetError: `out` lies in the data set, or the disk has not enough room.
    """
    if out.resolve().is_relative_to(dataset.root.resolve()):
        raise DatasetError(f"--out must lie outside the data set; received {printable(out)}")
    finished, pending, faults = [], [], list(dataset.faults)
    for track in dataset:
        reason = _unfit(track, out)
        if reason:
            faults.append(Fault(track.path, reason, _label(track)))
        elif _place(track, out).exists():
            finished.append(_label(track))
        else:
            pending.append(track)
    plan = Plan(dataset, out, tuple(finished), tuple(pending), tuple(faults))
    if plan.num_bytes > free_bytes(out):
        raise DatasetError(f"the disk has not enough room: {plan.describe()}")
    return plan


def write_tracks(
    plan: Plan,
    decoder: Decoder,
    clip: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Fault]:
    """Write the pending tracks, each in a hidden folder that is renamed when complete.

    Args:
        plan: what to write.
        decoder: gives the samples of a stream in blocks.
        clip: limit and count samples beyond full scale instead of refusing the track.
        progress: called after each track with bytes done, bytes in all, and a line on the track.

    Returns:
        A fault for each track that could not be read. Nothing of it is left in `plan.out`.

    Raises:
        OSError: `plan.out` cannot be written, the disk is full.
    """
    faults, done = [], 0
    for leftover in plan.out.glob(f"{PARTIAL}*"):  # of a run that was killed
        shutil.rmtree(leftover)
    # with a number: a second run at the same time would end with an error, never mix the two
    hidden = plan.out / f"{PARTIAL}{os.getpid()}"
    for track in plan.pending:
        try:
            counts = _write_track(track, hidden, decoder, clip)
            _place(track, plan.out).parent.mkdir(exist_ok=True)
            hidden.rename(_place(track, plan.out))
            note = "".join(f"; {k} samples of {name} limited" for name, k in counts.items() if k)
        except TrackError as error:
            faults.append(Fault(error.path, error.reason, _label(track)))
            note = "; left out"
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        done += track_bytes(track)
        if progress:
            progress(done, plan.num_bytes, printable(_label(track)) + note)
    return faults


def soundfile_blocks(stream: Stream) -> Iterator[Audio]:
    """Yield a stream's samples in blocks, int16 where they are stored so, else float32.

    Raises:
        TrackError: samples are missing, unreadable, NaN or infinite.
    """
    for start in range(0, stream.num_samples, BLOCK):
        count = min(BLOCK, stream.num_samples - start)
        yield stream.read(start, count, "int16" if stream.pcm16 else "float32")


def to_int16(audio: Audio) -> tuple[Audio, int]:
    """Round samples to 16 bits.

    Args:
        audio: int16, or float32 with full scale 1.0, any shape.

    Returns:
        int16 samples, and how many lay beyond full scale and were limited. Full scale itself,
        1.0, becomes 32767 and does not count.

    Example:
        >>> samples, beyond = to_int16(np.array([0.5, 1.0, -1.5], np.float32))
        >>> samples.tolist(), beyond
        ([16384, 32767, -32768], 1)
    """
    if audio.dtype == np.int16:
        return audio, 0
    steps = np.rint(audio * np.float32(FULL_SCALE))
    beyond = int(np.count_nonzero(np.abs(steps) > FULL_SCALE))
    return np.clip(steps, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16), beyond


def track_bytes(track: Track) -> int:
    """Return the bytes that a prepared track takes on the disk."""
    sizes = [HEADER_BYTES + _data_bytes(stream) for stream in track.streams.values()]
    return sum(-(-size // DISK_BLOCK) * DISK_BLOCK for size in sizes)


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that holds `folder`, which need not exist."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def megabytes(num_bytes: int) -> str:
    """Return a size for people: "12.3 MB"."""
    return f"{num_bytes / 1e6:,.1f} MB"


def _write_track(track: Track, folder: Path, decoder: Decoder, clip: bool) -> dict[str, int]:
    """Write a track's files and return the samples limited in each."""
    folder.mkdir(parents=True)
    counts = {
        name: _write_wav(folder / f"{name}.wav", stream, decoder)
        for name, stream in track.streams.items()
    }
    if any(counts.values()) and not clip:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
        reason = f"has samples beyond full scale ({listed}): --clip limits them"
        raise TrackError(track.path, reason)
    return counts


def _write_wav(path: Path, stream: Stream, decoder: Decoder) -> int:
    beyond = 0
    # not soundfile: it reports a full disk as a failed assertion
    with path.open("xb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(stream.channels)
        file.setsampwidth(2)
        file.setframerate(stream.sample_rate)
        file.setnframes(stream.num_samples)
        for block in decoder(stream):
            samples, count = to_int16(block)
            file.writeframesraw(np.ascontiguousarray(samples, "<i2").data)
            beyond += count
    return beyond


def _unfit(track: Track, out: Path) -> str:
    """Why a track cannot be prepared: too long, or something else is in its place."""
    if max(map(_data_bytes, track.streams.values())) > MAX_WAV_BYTES:
        return "is too long for a WAV file (4 GiB): split it"
    place = _place(track, out)
    if place.exists() and not _is_prepared(track, place):
        return f"{printable(place)} is there and is no prepared copy of it: move it away"
    return ""


def _is_prepared(track: Track, place: Path) -> bool:
    """Tell by the headers whether a folder holds the prepared track and no other files."""
    names = {f"{name}.wav" for name in track.streams}
    if {path.name for path in entries(place)} != names:
        return False
    try:
        files = {name: open_audio_file(place / f"{name}.wav") for name in track.streams}
    except TrackError:
        return False
    return all(f.pcm16 and _facts(f) == _facts(track.streams[name]) for name, f in files.items())


def _facts(stream: Stream) -> tuple[int, int, int]:
    return stream.num_samples, stream.sample_rate, stream.channels


def _data_bytes(stream: Stream) -> int:
    return stream.num_samples * stream.channels * 2


def _place(track: Track, out: Path) -> Path:
    return out / track.subset / track.name


def _label(track: Track) -> str:
    return f"{track.subset}/{track.name}" if track.subset else track.name


def _decoder(name: str) -> Decoder:
    if name == "soundfile":
        return soundfile_blocks
    check_tfio()
    return tfio_blocks


def _progress(clock: Callable[[], float] = time.monotonic) -> Callable[[int, int, str], None]:
    begin = clock()

    def show(done: int, total: int, line: str) -> None:
        left = (clock() - begin) * (total - done) / done
        print(f"{100 * done / total:5.1f} %, {left:.0f} s left: {line}", file=sys.stderr)

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DATA", help="root of the data set")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the prepared tree")
    parser.add_argument("--kind", choices=KINDS, default="auto", help="form of the tree")
    parser.add_argument(
        "--sample-rate", type=int, default=44100, metavar="HZ", help="rate of every file"
    )
    parser.add_argument(
        "--decoder",
        choices=("soundfile", "tfio"),
        default="soundfile",
        help="tfio: tensorflow-io's decoders, with TensorFlow 2.17 only",
    )
    parser.add_argument(
        "--clip", action="store_true", help="limit samples beyond full scale, and count them"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
