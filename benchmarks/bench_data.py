"""Seconds of audio that the data pipeline delivers per second, from several forms of file.

    python -m benchmarks.bench_data                      # generated data
    python -m benchmarks.bench_data --data DIR           # a data set, as it is and prepared
    python -m benchmarks.bench_data --train-step 5       # and how long training waits for data

An example is 128 frames of the mixture with all its sources, drawn, augmented and mixed as in
training. Beside the pipeline stands a plain loop around soundfile on the same files: it draws a
place, reads all sources there as float32, and does no more. Each figure is measured in a process
of its own, held to one or two cores, in rounds that take all of them in turn: medians of the
rounds; the ratio is the pipeline's over the loop's of the same process.

`--train-step N` trains the paper's network (mmdensenet, one source) for N batches of 8 on two
cores and tells which part of the time the step waited for its batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from keras_mmdense.band import Band
from keras_mmdense.data import Dataset, DatasetError, open_dataset
from keras_mmdense.settings import Settings
from training.prepare import make_plan, soundfile_blocks, write_tracks
from training.profile_data import measure, pipeline_batches

FRAMES, BATCH_SIZE = 128, 8
SOURCES = ("bass", "drums", "other", "vocals")
FORMS = (
    ("WAV, 24 bits", "wav", "PCM_24"),
    ("FLAC, 16 bits", "flac", "PCM_16"),
    ("Ogg Vorbis", "ogg", "VORBIS"),
)
PREPARED = "prepared (WAV, 16 bits)"
Row = tuple[str, int]  # form, cores


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    if args.worker:
        print(json.dumps(_work(args)))
        return 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            trees = _trees(args.data, Path(folder))
            rows = measure_rounds(trees, args.rounds, args.seconds)
            print(f"\n{_machine()}; {args.rounds} rounds of {args.seconds:g} s\n")
            print(table(rows))
            if args.train_step:
                steps = {form: _run(root, 2, steps=args.train_step) for form, root in trees.items()}
                print("\n" + step_table(steps))
    except (DatasetError, OSError) as error:
        print(f"bench_data: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"bench_data: a measurement failed: {error.stderr.strip()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def measure_rounds(
    trees: dict[str, Path], rounds: int, seconds: float
) -> dict[Row, list[dict[str, float]]]:
    """Measure every tree with one and two cores, all of them once in each round.

    Args:
        trees: roots of data sets by form.
        rounds: how often.
        seconds: time for the plain loop, and again for the pipeline.

    Returns:
        By form and cores, for each round "loop" and "pipeline" in seconds of audio per second.
    """
    cores = range(1, 1 + min(2, len(os.sched_getaffinity(0))))
    rows: dict[Row, list[dict[str, float]]] = {(f, c): [] for f in trees for c in cores}
    begin = time.monotonic()
    for number in range(rounds):
        for done, (form, count) in enumerate(rows, number * len(rows) + 1):
            rows[form, count].append(_run(trees[form], count, seconds=seconds))
            left = (time.monotonic() - begin) * (rounds * len(rows) - done) / done
            print(f"{done} of {rounds * len(rows)}, {left:.0f} s left", file=sys.stderr)
    return rows


def table(rows: dict[Row, list[dict[str, float]]]) -> str:
    """Return a Markdown table of the medians and of the median ratio."""
    lines = [
        "| files | cores | plain soundfile loop | pipeline | ratio |",
        "|---|---|---|---|---|",
    ]
    for (form, cores), results in rows.items():
        loop, pipeline = (statistics.median(r[k] for r in results) for k in ("loop", "pipeline"))
        ratio = statistics.median(r["pipeline"] / r["loop"] for r in results)
        lines.append(f"| {form} | {cores} | {loop:,.0f} | {pipeline:,.0f} | {ratio:.2f} |")
    return "\n".join([*lines, "", "Seconds of audio (a mixture with its sources) per second."])


def step_table(steps: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table of training steps and their waiting."""
    lines = ["| files | seconds a step | share of waiting for data |", "|---|---|---|"]
    for form, result in steps.items():
        share = result["waiting"] / result["wall"]
        lines.append(f"| {form} | {result['wall'] / result['steps']:.2f} | {share:.2%} |")
    return "\n".join(lines)


def make_tree(root: Path, suffix: str, subtype: str, tracks: int = 4, seconds: float = 40) -> Path:
    """Write a data set of noise that falls with frequency, as music does; seeded.

    Args:
        root: new folder.
        suffix: "wav", "flac" or "ogg".
        subtype: libsndfile's name of the sample format.
        tracks: number of tracks of four stereo sources.
        seconds: length of each.
    """
    for number in range(tracks):
        folder = root / f"track {number}"
        folder.mkdir(parents=True)
        for source, audio in _stems(number, round(seconds * 44100)):
            with sf.SoundFile(
                folder / f"{source}.{suffix}", "w", 44100, 2, subtype=subtype
            ) as file:
                for block in np.array_split(
                    audio, 16
                ):  # libsndfile's Vorbis fails on one long block
                    file.write(block)
    return root


def _stems(seed: int, num_samples: int) -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(seed)
    for source in SOURCES:
        spectrum = np.fft.rfft(rng.standard_normal((num_samples, 2)), axis=0)
        spectrum *= 1 / np.arange(1, len(spectrum) + 1)[:, None]
        audio = np.fft.irfft(spectrum, num_samples, axis=0)
        yield source, (0.5 / np.abs(audio).max() * audio).astype(np.float32)


def _trees(data: str | None, folder: Path) -> dict[str, Path]:
    """Return the trees to measure: the generated forms or the one given, and it prepared."""
    if data:
        trees = {"as they are": Path(data)}
    else:
        trees = {
            form: make_tree(folder / suffix, suffix, subtype) for form, suffix, subtype in FORMS
        }
    plan = make_plan(open_dataset(next(iter(trees.values()))), folder / "prepared")
    faults = [*plan.faults, *write_tracks(plan, soundfile_blocks)]
    if faults:
        raise DatasetError(f"not every track can be prepared: {faults[0].describe(plan.out)}")
    return {**trees, PREPARED: plan.out}


def _run(root: Path, cores: int, seconds: float = 0, steps: int = 0) -> dict[str, float]:
    """Measure in a process of its own, so that TensorFlow starts with these cores alone."""
    arguments = [str(root), str(cores), str(seconds), str(steps)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_data", "--worker", *arguments],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _work(args: argparse.Namespace) -> dict[str, float]:
    root, cores, seconds, steps = args.worker
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(int(cores))
    tf.config.threading.set_inter_op_parallelism_threads(int(cores))
    dataset = open_dataset(root)
    if int(steps):
        return _train(dataset, int(steps))
    settings = Settings(dataset.sources, (Band("full"),))
    num_samples = (FRAMES - 1) * settings.transform.hop_length + settings.transform.n_fft
    example = num_samples / settings.sample_rate
    take = pipeline_batches(dataset, settings, FRAMES, BATCH_SIZE, None)
    loop = _plain_loop(dataset, num_samples)
    return {
        "loop": measure(lambda: loop() * example, float(seconds)).per_second,
        "pipeline": measure(lambda: take() * example, float(seconds)).per_second,
    }


def _plain_loop(dataset: Dataset, num_samples: int) -> Callable[[], int]:
    rng = np.random.default_rng(0)

    def read() -> int:
        track = dataset[int(rng.integers(len(dataset)))]
        start = int(rng.integers(max(1, track.num_samples - num_samples + 1)))
        for source in dataset.sources:
            with sf.SoundFile(track.streams[source].path) as file:
                file.seek(start)
                file.read(num_samples, dtype="float32", always_2d=True)
        return 1

    return read


def _train(dataset: Dataset, steps: int) -> dict[str, float]:
    """Train for some batches after one that does not count; return time and waiting."""
    import keras_mmdense
    from keras_mmdense.data import pipeline
    from keras_mmdense.data.waiting import measure_waiting

    model = keras_mmdense.build("mmdensenet", sources=dataset.sources[-1])
    model.compile("rmsprop", "mse")
    data = pipeline.train(dataset, model, frames=FRAMES, batch_size=BATCH_SIZE, examples=1 << 30)
    batches, waited = measure_waiting(data)
    stream = iter(batches)
    model.train_on_batch(*next(stream))
    waited.assign(0.0)
    begin = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(*next(stream))
    wall = time.perf_counter() - begin
    return {"steps": steps, "wall": wall, "waiting": float(waited.numpy())}


def _machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    versions = f"Python {platform.python_version()}, soundfile {sf.__version__}"
    return (
        f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"load {os.getloadavg()[0]:.1f}, {versions}, {date.today().isoformat()}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DIR", help="a data set; default: generated data")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement; default 3")
    parser.add_argument(
        "--train-step", type=int, metavar="N", help="also train for N batches and tell the waiting"
    )
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
