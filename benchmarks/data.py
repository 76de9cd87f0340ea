"""Seconds of audio that the data pipeline delivers per second, from several forms of file.

    python -m benchmarks.data                      # generated data
    python -m benchmarks.data --data DIR           # a data set, as it is and prepared
    python -m benchmarks.data --train-step 5       # and how long training waits for data

An example is 128 frames of the mixture with all its sources, drawn, augmented and mixed as in
training. The pipeline is compared with a plain loop around soundfile on the same files, which draws
a place, reads all sources there as float32, and does no more. Each figure is measured in a process
of its own, held to one or two cores, in rounds that take all of them in turn: medians of the
rounds; the ratio is the pipeline's over the loop's of the same process.

`--train-step N` trains the paper's network (mmdensenet, one source) for N batches of 8 on two
cores and reports the share of the time that the step waited for its batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from benchmarks.harness import call, finish, machine_line, number, on_cpu, say, table
from keras_mmdense import Band
from keras_mmdense.data import DatasetError, open_dataset, training_set
from keras_mmdense.settings import Settings
from training.prepare import prepare
from training.profile_data import ENDLESS, measure

FRAMES, BATCH_SIZE = 128, 8
SOURCES = ("bass", "drums", "other", "vocals")
FORMS = (
    ("WAV, 24 bits", "wav", "PCM_24"),
    ("FLAC, 16 bits", "flac", "PCM_16"),
    ("Ogg Vorbis", "ogg", "VORBIS"),
)
PREPARED = "prepared (WAV, 16 bits)"


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
        folder = root / f"track {index}"
        folder.mkdir(parents=True)
        for source in SOURCES:
            spectrum = np.fft.rfft(rng.standard_normal((round(seconds * 44100), 2)), axis=0)
            spectrum *= 1 / np.arange(1, len(spectrum) + 1)[:, None]
            audio = np.fft.irfft(spectrum, round(seconds * 44100), axis=0)
            audio = (0.5 / np.abs(audio).max() * audio).astype(np.float32)
            with sf.SoundFile(folder / f"{source}.{suffix}", "w", 44100, 2, subtype) as file:
                for block in np.array_split(audio, 16):  # its Vorbis fails on one long block
                    file.write(block)
    return root


def _trees(data: Path | None, folder: Path) -> dict[str, Path]:
    """Return the trees to measure: the generated forms or the one given, and it prepared."""
    if data:
        trees = {"as they are": data}
    else:
        trees = {
            form: make_tree(folder / suffix, suffix, subtype) for form, suffix, subtype in FORMS
        }
    out = folder / "prepared"
    _, faults = prepare(open_dataset(next(iter(trees.values()))), out)
    if faults:
        raise DatasetError(f"not every track can be prepared: {faults[0].describe(out)}")
    return {**trees, PREPARED: out}


def _hold(cores: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def throughput(root: str, cores: int, seconds: float) -> dict[str, float]:
    """Return the seconds of audio per second of the plain "loop" and of the "pipeline"."""
    _hold(cores)
    dataset = open_dataset(root)
    settings = Settings(dataset.sources, (Band("full"),))
    num_samples = (FRAMES - 1) * settings.transform.hop_length + settings.transform.n_fft
    example = num_samples / settings.sample_rate
    shape = {"frames": FRAMES, "batch_size": BATCH_SIZE}
    batches = iter(training_set(dataset, settings, examples=ENDLESS, **shape))
    rng = np.random.default_rng(0)

    def read() -> float:
        track = dataset[int(rng.integers(len(dataset)))]
        start = int(rng.integers(max(1, track.num_samples - num_samples + 1)))
        for source in dataset.sources:
            with sf.SoundFile(track.streams[source].path) as file:
                file.seek(start)
                file.read(num_samples, dtype="float32", always_2d=True)
        return example

    return {
        "loop": measure(read, seconds).per_second,
        "pipeline": measure(lambda: len(next(batches)[0]) * example, seconds).per_second,
    }


def waiting(root: str, cores: int, steps: int) -> dict[str, float]:
    """Train for some batches after one that does not count; return time and waiting."""
    _hold(cores)
    import keras_mmdense
    from keras_mmdense.data.tf_pipeline import measure_waiting

    dataset = open_dataset(root)
    model = keras_mmdense.build("mmdensenet", sources=dataset.sources[-1])
    model.compile("rmsprop", "mse")
    data = training_set(dataset, model, frames=FRAMES, batch_size=BATCH_SIZE, examples=1 << 30)
    batches, waited = measure_waiting(data)
    stream = iter(batches)
    model.train_on_batch(*next(stream))
    waited.assign(0.0)
    begin = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(*next(stream))
    wall = time.perf_counter() - begin
    return {"steps": steps, "wall": wall, "waiting": float(waited.numpy())}


def throughput_table(rows: dict[tuple[str, int], list[dict[str, float]]]) -> str:
    """Return a table of medians and of the median ratio, by form and cores."""

    def cells(rounds: Sequence[dict[str, float]]) -> Iterator[str]:
        for key in ("loop", "pipeline"):
            yield f"{statistics.median(one[key] for one in rounds):,.0f}"
        yield f"{statistics.median(one['pipeline'] / one['loop'] for one in rounds):.2f}"

    head = ["files", "cores", "plain soundfile loop", "pipeline", "ratio"]
    return table(head, [[form, str(n), *cells(rounds)] for (form, n), rounds in rows.items()])


def _work(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trees = _trees(args.data, Path(folder))
        cores = range(1, 1 + min(2, len(os.sched_getaffinity(0))))
        rows: dict[tuple[str, int], list[dict[str, float]]] = {
            (form, count): [] for form in trees for count in cores
        }
        for index in range(args.rounds):
            for (form, count), rounds in rows.items():
                say(f"round {index + 1} of {args.rounds}: {form}, {count} core(s)")
                rounds.append(call(
                    "benchmarks.data:throughput", environ=on_cpu(count),
                    root=str(trees[form]), cores=count, seconds=args.seconds,
                ))  # fmt: skip
        print(f"{machine_line()}; {args.rounds} rounds of {args.seconds:g} s\n")
        print(throughput_table(rows))
        print("\nSeconds of audio (a mixture with its sources) per second.")
        if args.train_step:
            cells = []
            for form, root in trees.items():
                found: dict[str, Any] = call(
                    "benchmarks.data:waiting", environ=on_cpu(2),
                    root=str(root), cores=2, steps=args.train_step,
                )  # fmt: skip
                share = f"{found['waiting'] / found['wall']:.2%}"
                cells.append([form, f"{found['wall'] / found['steps']:.2f}", share])
            print("\n" + table(["files", "seconds a step", "share of waiting for data"], cells))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.data", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", type=Path, help="a data set; default: generated data")
    parser.add_argument("--rounds", type=number(int, 1, 100), default=5, help="default 5")
    parser.add_argument(
        "--seconds", type=number(float, 0.1, 600), default=3.0, help="per measurement; default 3"
    )
    parser.add_argument(
        "--train-step", type=number(int, 1, 1000), metavar="N",
        help="also train for N batches and report the waiting",
    )  # fmt: skip
    args = parser.parse_args(argv)
    return finish("data", lambda: _work(args))


if __name__ == "__main__":
    sys.exit(main())
