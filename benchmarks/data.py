"""Seconds of audio that the data pipeline delivers per second, from several forms of file.

    python -m benchmarks.data                      # generated data
    python -m benchmarks.data --data DIR           # a data set, as it is and prepared

An example is 128 frames of the mixture with all its sources, drawn, augmented and mixed as in
training. The pipeline is compared with a plain loop around soundfile on the same files, which draws
a place, reads all sources there as float32, and does no more. "Excerpts" is the host's share of
the work if a device mixes: excerpts are drawn and read as they are stored. "Resident" is its share
if the device also holds the songs: excerpts are only drawn. Each measurement is a process of its
own, limited to one or two cores, and each round takes all of them in turn. The figures are medians
over the rounds; the ratio compares pipeline and loop within a process.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count, product
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

import keras_mmdense
from benchmarks.harness import (
    call,
    command_parser,
    exit_code,
    machine_line,
    number,
    on_cpu,
    say,
    table,
)
from keras_mmdense.data import DatasetError, open_dataset, training_set
from keras_mmdense.data.audio_files import Audio
from keras_mmdense.data.mixing import ExcerptSampler, song_bank
from training.prepare import prepare

FRAMES, BATCH_SIZE = 128, 8
LOOP = "plain soundfile loop"
COLUMNS = (LOOP, "pipeline", "excerpts", "resident")
ENDLESS = 1 << 30  # examples in an epoch that no measurement comes to the end of
FORMS = {
    "WAV, 24 bits": ("wav", "PCM_24"),
    "FLAC, 16 bits": ("flac", "PCM_16"),
    "Ogg Vorbis": ("ogg", "VORBIS"),
}


def make_tree(root: Path, suffix: str, subtype: str, tracks: int = 4, seconds: float = 40) -> Path:
    """Write a data set of noise that falls with frequency, as music does; seeded.

    Args:
        root: New folder.
        suffix: "wav", "flac" or "ogg".
        subtype: libsndfile's name of the sample format.
        tracks: Number of tracks of four stereo sources.
        seconds: Length of each.
    """
    for index in range(tracks):
        rng = np.random.default_rng(index)
        (root / f"track {index}").mkdir(parents=True)
        for source in ("bass", "drums", "other", "vocals"):
            spectrum = np.fft.rfft(rng.standard_normal((round(seconds * 44100), 2)), axis=0)
            spectrum *= 1 / np.arange(1, len(spectrum) + 1)[:, None]
            audio = np.fft.irfft(spectrum, round(seconds * 44100), axis=0)
            audio = (0.5 / np.abs(audio).max() * audio).astype(np.float32)
            path = root / f"track {index}" / f"{source}.{suffix}"
            with sf.SoundFile(path, "w", 44100, 2, subtype) as file:
                for block in np.array_split(audio, 16):  # its Vorbis fails on one long block
                    file.write(block)
    return root


def throughput(root: str, cores: int, seconds: float) -> dict[str, float]:
    """Return the seconds of audio per second of each column, by its name."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from training.train.devices import keep_freed_memory

    keep_freed_memory()  # as in training
    dataset = open_dataset(root)
    settings = keras_mmdense.Settings(dataset.sources, (keras_mmdense.Band("full"),))
    num_samples = (FRAMES - 1) * settings.transform.hop_length + settings.transform.n_fft
    example = num_samples / settings.sample_rate
    batches = iter(training_set(
        dataset, settings, frames=FRAMES, batch_size=BATCH_SIZE, examples=ENDLESS
    ))  # fmt: skip
    rng = np.random.default_rng(0)

    def read() -> float:
        track = dataset[int(rng.integers(len(dataset)))]
        start = int(rng.integers(max(1, track.num_samples - num_samples + 1)))
        for source in dataset.sources:
            sf.read(track.streams[source].path, num_samples, start, dtype="float32", always_2d=True)
        return example

    def per_second(work: Callable[[], float]) -> float:
        work()
        start, audio = time.perf_counter(), 0.0
        while not audio or time.perf_counter() - start < seconds:
            audio += work()
        return audio / (time.perf_counter() - start)

    def host(peaks: Audio | None = None) -> Callable[[], float]:
        sampler, numbers = ExcerptSampler(dataset, num_samples, peaks=peaks), count()

        def work() -> float:
            examples = [sampler(next(numbers)) for _ in range(BATCH_SIZE)]
            batch = {name: np.stack([one[name] for one in examples]) for name in examples[0]}
            return len(batch["channel_mix"]) * example

        return work

    figures = {LOOP: per_second(read), "excerpts": per_second(host())}
    if dataset.pcm16:
        figures["resident"] = per_second(host(song_bank(dataset, num_samples)[1]))
    # last: the pipeline's threads go on reading ahead
    figures["pipeline"] = per_second(lambda: len(next(batches)[0]) * example)
    return figures


@exit_code
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("data", __doc__)
    parser.add_argument("--data", type=Path, help="a data set; default: generated data")
    parser.add_argument("--rounds", type=number(int, 1, 100), default=5, help="default 5")
    parser.add_argument(
        "--seconds", type=number(float, 0.1, 600), default=3.0, help="per measurement; default 3"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        trees = {"as they are": args.data} if args.data else {
            form: make_tree(Path(folder, suffix), suffix, subtype)
            for form, (suffix, subtype) in FORMS.items()
        }  # fmt: skip
        out = Path(folder, "prepared")
        _, faults = prepare(open_dataset(next(iter(trees.values()))), out)
        if faults:
            raise DatasetError(f"not every track can be prepared: {faults[0].describe(out)}")
        trees["prepared (WAV, 16 bits)"] = out
        most = min(2, len(os.sched_getaffinity(0)))
        runs = []
        for index, form, cores in product(range(args.rounds), trees, range(1, 1 + most)):
            say(f"round {index + 1} of {args.rounds}: {form}, {cores} core(s)")
            runs.append({"files": form, "cores": cores} | call(
                "benchmarks.data:throughput", environ=on_cpu(cores),
                root=str(trees[form]), cores=cores, seconds=args.seconds,
            ))  # fmt: skip
        print(f"{machine_line()}; {args.rounds} rounds of {args.seconds:g} s\n")
        figures = pd.DataFrame(runs, columns=["files", "cores", *COLUMNS])
        figures["ratio"] = figures["pipeline"] / figures[LOOP]
        medians = figures.groupby(["files", "cores"], sort=False).median()
        rows = [
            [
                form,
                str(cores),
                *("" if pd.isna(one) else f"{one:,.0f}" for one in speeds),
                f"{ratio:.2f}",
            ]
            for (form, cores), *speeds, ratio in medians.itertuples(name=None)
        ]
        print(table(["files", "cores", *COLUMNS, "pipeline / loop"], rows))
        print("\nSeconds of audio (a mixture with its sources) per second.")


if __name__ == "__main__":
    sys.exit(main())
