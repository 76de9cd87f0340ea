"""Measure the data pipeline alone: `python -m training.profile_data DATA`.

Report how many seconds of audio the pipeline delivers per second and per second of CPU time, and
where the time goes: reading excerpts (files, gains, mixing of songs) or the transform (the FFT of
mixture and sources). A second of audio is a second of the mixture with all its sources. Reading and
the transform are measured alone first, each in one Python thread, then the pipeline as in training.

A part that uses less than one core is waiting, for the disk or for other programs. A part's share
is its CPU time per second of audio relative to the pipeline's; the rest is copies and threads (if
it is below zero, that is noise: measure longer).

Exit code 0: measured; 1: a file cannot be read; 2: wrong usage or input; 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from keras_mmdense.data import DatasetError, Track, open_dataset, training_set
from keras_mmdense.data.mixing import ExcerptReader, Mixing
from keras_mmdense.settings import Band, Settings
from training import command, command_parser
from training.train.recipe import Recipe, load_recipe

ENDLESS = 1 << 40  # examples in an epoch that no measurement comes to the end of
HINTS = {
    "reading": "`python -m training.prepare` makes the files that are fastest to read",
    "transform": "use more cores, or fewer sources in one model",
    "rest": "copies and threads of tf.data take more than reading or the transform",
}


class Speed(NamedTuple):
    """How fast one part runs.

    Args:
        per_second: Seconds of audio per second.
        per_cpu_second: Seconds of audio per second of CPU time, of all threads.
    """

    per_second: float
    per_cpu_second: float


@command("profile_data")
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("training.profile_data", __doc__)
    parser.add_argument("data", metavar="DATA", help="root of the data set")
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="recipe that defines model and mixing (default: all sources of DATA)",
    )
    parser.add_argument("--frames", type=int, help="frames per excerpt (default: the recipe's)")
    parser.add_argument("--batch-size", type=int, help="examples per batch (default: the recipe's)")
    parser.add_argument("--seconds", type=float, default=20.0, help="time to measure (default: 20)")
    args = parser.parse_args(argv)
    recipe, settings = Recipe("default"), None
    if args.recipe:
        from keras_mmdense.model_settings import settings_of
        from training.paper.baseline_networks import build_model

        recipe = load_recipe(args.recipe)
        settings = settings_of(build_model(recipe.model))
    dataset = open_dataset(args.data, sample_rate=settings.sample_rate if settings else 44100)
    print(f"measuring, about {args.seconds:.0f} s", file=sys.stderr)
    speeds = profile(
        dataset,
        settings or Settings(dataset.sources, (Band("full"),)),
        frames=recipe.frames if args.frames is None else args.frames,
        batch_size=recipe.batch_size if args.batch_size is None else args.batch_size,
        mixing=recipe.mixing,
        seconds=args.seconds,
    )
    print(report(speeds))


def profile(
    tracks: Sequence[Track],
    settings: Settings,
    *,
    frames: int = 128,
    batch_size: int = 8,
    mixing: Mixing | None = None,
    seconds: float = 20.0,
) -> dict[str, Speed]:
    """Measure reading alone, the transform alone, and the pipeline.

    Args:
        tracks: Tracks of `open_dataset`.
        settings: Of the model to feed: sources, transform, bins, channels.
        frames: Frames of an excerpt.
        batch_size: Examples in a batch.
        mixing: How examples are mixed.
        seconds: Time for all three, >= 0; each runs at least once.

    Returns:
        The speeds of "reading", "transform" and "pipeline".

    Raises:
        DatasetError: Tracks that do not fit the settings, wrong frames, a negative time.
        TrackError: A file that cannot be read.
    """
    import tensorflow as tf

    from keras_mmdense.data.tf_pipeline import spectrum_tf

    if not seconds >= 0:
        raise DatasetError(f"seconds must be 0 or more; received {seconds!r}")
    data = training_set(
        tracks, settings, frames=frames, batch_size=batch_size, examples=ENDLESS, mixing=mixing
    )
    transform = settings.transform
    num_samples = (frames - 1) * transform.hop_length + transform.n_fft
    example = num_samples / settings.sample_rate
    reader = ExcerptReader(tracks, num_samples, settings.channels, 0, mixing)
    shape = (len(settings.sources) + 1, batch_size, num_samples, settings.channels)
    stems = tf.random.stateless_uniform(shape, (0, 0), -1.0, 1.0)
    spectra = tf.function(lambda x: tf.abs(spectrum_tf(x, transform, settings.bins)))
    numbers = itertools.count()

    def read() -> float:
        reader(next(numbers))
        return example

    def transform_batch() -> float:
        spectra(stems)
        return batch_size * example

    speeds = {
        "reading": measure(read, seconds / 4),
        "transform": measure(transform_batch, seconds / 4),
    }
    batches = iter(data)  # starts its threads, and no sooner
    pipeline = measure(lambda: len(next(batches)[0]) * example, seconds / 2)
    return {**speeds, "pipeline": pipeline}


def measure(work: Callable[[], float], seconds: float) -> Speed:
    """Repeat some work, after one run that does not count.

    Args:
        work: Does it once and returns the seconds of audio made.
        seconds: It is repeated until this much time has passed; at least one run counts.
    """
    work()
    audio = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    while not audio or time.perf_counter() - wall < seconds:
        audio += work()
    # a coarse clock must not give 0
    passed, used = time.perf_counter() - wall, time.process_time() - cpu
    return Speed(audio / max(passed, 1e-9), audio / max(used, 1e-9))


def report(speeds: dict[str, Speed]) -> str:
    """Return a table and a line on the part with the largest share of the pipeline's CPU time.

    Args:
        speeds: Of "reading", "transform" and "pipeline".
    """
    whole = speeds["pipeline"].per_cpu_second
    shares = {name: whole / speed.per_cpu_second for name, speed in speeds.items()}
    shares["rest"] = 1 - shares["reading"] - shares["transform"]
    lines = [f"{'part':<10} {'audio s/s':>10} {'audio s/CPU s':>14} {'cores':>6} {'share':>6}"]
    for name, (per_second, per_cpu_second) in speeds.items():
        lines.append(
            f"{name:<10} {per_second:>10.1f} {per_cpu_second:>14.1f} "
            f"{per_second / per_cpu_second:>6.2f} {shares[name]:>6.0%}"
        )
    lines.append(f"{'rest':<43} {shares['rest']:>6.0%}")
    largest = max(HINTS, key=shares.__getitem__)
    return "\n".join([*lines, f"largest share: {largest}; {HINTS[largest]}"])


if __name__ == "__main__":
    sys.exit(main())
