"""Prepare a data set once: every source as a WAV file of 16-bit integers, the fastest to read.

`python -m training.prepare DATA --out DIR` decodes Ogg, FLAC, 24-bit and float WAV and MUSDB18's
.stem.mp4 into DIR/[SUBSET/]TRACK/SOURCE.wav, a tree of kind "folder" with the same names, subsets
and sources. A track appears in DIR when it is complete; run the command again to continue.
Memory stays small: signals pass through in blocks (the tfio decoder holds one whole file).

Samples that are not stored in 16 bits are rounded, without dither: a source changes by at most
half a step of 1/32768, so the sum of n sources lies within n/2 steps of what it was. A mixture is
written only if the tree has one, and from its own file: in MUSDB18 (AAC) it is only approximately
the sum of the sources. Training mixes the sources itself and does not read it. Samples beyond full
scale do not fit: such a track is refused, or clipped and counted with --clip.

Exit code 0: all tracks are prepared; 1: some failed and are listed, or the disk failed; 2: wrong
usage or input; 130: stopped with Ctrl-C.
"""

import os
import shutil
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from mmdense_edge.errors import printable
from tqdm import tqdm

from keras_mmdense.data import KINDS, Dataset, DatasetError, Track, TrackError, open_dataset
from keras_mmdense.data.audio_files import Audio, Stream, open_audio_file, to_int16
from keras_mmdense.data.problems import Fault
from keras_mmdense.data.readers import entries
from keras_mmdense.data.tfio_decoder import check_tfio, tfio_blocks
from keras_mmdense.errors import require
from training import command, command_parser

HEADER_BYTES = 44
MAX_WAV_BYTES = (1 << 32) - 1 - HEADER_BYTES  # a WAV file counts its bytes in 32 bits
DISK_BLOCK = 4096  # a file takes whole blocks on most disks
PARTIAL = ".partial-"

Decoder = Callable[[Stream], Iterator[Audio]]


@command("prepare")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser("training.prepare", __doc__)
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
        "--clip", action="store_true", help="clip samples beyond full scale and count them"
    )
    args = parser.parse_args(argv)
    if args.decoder == "tfio":
        check_tfio()
    dataset = open_dataset(args.data, kind=args.kind, sample_rate=args.sample_rate)
    require(
        args.decoder != "tfio" or dataset.kind != "musdb18",
        "--decoder tfio reads WAV, FLAC, Ogg and MP3",
        ".stem.mp4",
        "Use --decoder soundfile.",
    )
    decoder = tfio_blocks if args.decoder == "tfio" else Stream.blocks
    out = Path(args.out).absolute()
    prepared, faults = prepare(dataset, out, decoder, args.clip)
    for fault in faults:
        print(f"fault: {fault.describe(dataset.root)}", file=sys.stderr)
    left_out = len({fault.track for fault in faults})
    print(f"{printable(out)}: {prepared} tracks prepared, {left_out} left out")
    return 1 if faults else 0


def prepare(
    dataset: Dataset, out: Path, decoder: Decoder = Stream.blocks, clip: bool = False
) -> tuple[int, list[Fault]]:
    """Write the missing tracks, each to a hidden folder that is renamed when it is complete.

    Source, size and free disk space are printed before anything is written.

    Args:
        dataset: An opened data set.
        out: Folder of the prepared tree; need not exist.
        decoder: Gives the samples of a stream in blocks.
        clip: Limit and count samples beyond full scale instead of refusing the track.

    Returns:
        The number of prepared tracks, and a fault for each failed one; `out` holds nothing of it.

    Raises:
        DatasetError: `out` is inside the data set, or there is not enough disk space.
        OSError: `out` cannot be written, or the disk is full.
    """
    there = next(path for path in (out, *out.parents) if path.exists())
    require(
        there.is_dir() and not out.resolve().is_relative_to(dataset.root.resolve()),
        "--out must be a folder outside the data set",
        printable(out),
        "",
        DatasetError,
    )
    pending, finished, faults = [], 0, list(dataset.faults)
    for track in dataset:
        place = out / track.subset / track.name
        if max(_data_bytes(stream) for stream in track.streams.values()) > MAX_WAV_BYTES:
            reason = "is too long for a WAV file (4 GiB): split it"
        elif not place.exists():
            pending.append(track)
            continue
        elif is_prepared(track, place):
            finished += 1
            continue
        else:
            reason = f"{printable(place)} exists and is not a prepared copy of it: move it away"
        faults.append(Fault(track.path, reason, track.label))
    size = sum(track_bytes(track) for track in pending)
    free = shutil.disk_usage(there).free
    plan = (
        f"{printable(dataset.root)} ({dataset.kind}): {len(pending)} tracks, "
        f"{sum(track.duration for track in pending) / 60:.1f} min, {finished} finished before; to "
        f"write in {printable(out)}: {sum(len(track.streams) for track in pending)} files, "
        f"{size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB free"
    )
    require(size <= free, "the disk must have room", plan, "Choose another --out.", DatasetError)
    print(plan)
    for leftover in out.glob(f"{PARTIAL}*"):  # of a run that was killed
        shutil.rmtree(leftover)
    # with a number: a second run at the same time would end with an error, never mix the two
    hidden = out / f"{PARTIAL}{os.getpid()}"
    with tqdm(total=size, unit="B", unit_scale=True) as bar:
        for track in pending:
            try:
                counts = write_track(track, hidden, decoder, clip)
                place = out / track.subset / track.name
                place.parent.mkdir(exist_ok=True)
                hidden.rename(place)
                finished += 1
                notes = [f"clipped {count} samples of {name}" for name, count in counts.items()]
            except TrackError as error:
                faults.append(Fault(error.path, error.reason, track.label))
                notes = ["left out"]
            except (OSError, KeyboardInterrupt):
                text = "finished tracks are kept; the same command continues"
                bar.write(f"{printable(out)}: {text}", file=sys.stderr)
                raise
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
            if notes:
                bar.write(f"{printable(track.label)}: {', '.join(notes)}", file=sys.stderr)
            bar.update(track_bytes(track))
    return finished, faults


def is_prepared(track: Track, place: Path) -> bool:
    """Tell by the headers whether a folder holds the prepared track and no other files."""
    if {path.name for path in entries(place)} != {f"{name}.wav" for name in track.streams}:
        return False
    try:
        files = {name: open_audio_file(place / f"{name}.wav") for name in track.streams}
    except TrackError:
        return False
    facts = ("num_samples", "sample_rate", "channels")
    return all(
        file.pcm16 and all(getattr(file, f) == getattr(track.streams[name], f) for f in facts)
        for name, file in files.items()
    )


def write_track(track: Track, folder: Path, decoder: Decoder, clip: bool) -> dict[str, int]:
    """Write a track's files; return the samples beyond full scale in those that have any.

    Raises:
        TrackError: It cannot be read, or has such samples and they may not be limited.
    """
    folder.mkdir(parents=True)
    counts: dict[str, int] = {}
    for name, stream in track.streams.items():
        # not soundfile: it reports a full disk as a failed assertion
        with (folder / f"{name}.wav").open("xb") as raw, wave.open(raw, "wb") as file:
            file.setparams((stream.channels, 2, stream.sample_rate, stream.num_samples, "NONE", ""))
            for block in decoder(stream):
                samples, beyond = to_int16(block)
                file.writeframesraw(np.ascontiguousarray(samples, "<i2").data)
                if beyond:
                    counts[name] = counts.get(name, 0) + beyond
    if counts and not clip:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        reason = f"has samples beyond full scale ({listed}): pass --clip to clip them"
        raise TrackError(track.path, reason)
    return counts


def track_bytes(track: Track) -> int:
    """Return the bytes that a prepared track takes on the disk."""
    sizes = [HEADER_BYTES + _data_bytes(stream) for stream in track.streams.values()]
    return sum(-(-size // DISK_BLOCK) * DISK_BLOCK for size in sizes)


def _data_bytes(stream: Stream) -> int:
    return stream.num_samples * stream.channels * 2


if __name__ == "__main__":
    sys.exit(main())
