"""Measure the data pipeline alone: `python -m training.profile_data DATA`.

Tells how many seconds of audio the pipeline delivers per second and per second of CPU time, and
where the time goes: reading excerpts (files, gains, mixing of songs) or the transform (the FFT of
mixture and sources). A second of audio is a second of the mixture with all its sources. Reading
and the transform run alone first, each in one thread of Python, then the pipeline as in training.

A part that uses less than one core waits: reading for the disk, any part for other programs. A
part's share is its CPU time for a second of audio over the pipeline's; the rest is copies and
threads (below zero: noise, measure longer).

Exit code 0: measured; 2: nothing could be measured; 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_mmdense.data import DatasetError, Track, TrackError, open_dataset
from keras_mmdense.data.mixing import ExcerptReader, Mixing
from keras_mmdense.errors import SettingsError
from keras_mmdense.settings import Band, Settings
from training.train.recipe import Recipe, RecipeError, load_recipe

ENDLESS = 1 << 40  # examples in an epoch that no measurement comes to the end of
HINTS = {
    "reading": "`python -m training.prepare` makes the files that are fastest to read",
    "transform": "it takes more cores, or fewer sources in one model",
    "rest": "copies and threads of tf.data take more than reading or the transform",
}


@dataclass(frozen=True)
class Speed:
    """How fast one part runs.

    Args:
        audio: seconds of audio made.
        wall: seconds that went by.
        cpu: seconds of CPU time, of all threads.
    """

    audio: float
    wall: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Seconds of audio per second."""
        return self.audio / self.wall

    @property
    def per_cpu_second(self) -> float:
        """Seconds of audio per second of CPU time."""
        return self.audio / self.cpu

    @property
    def cores(self) -> float:
        """Cores in use on average."""
        return self.cpu / self.wall


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    try:
        recipe = load_recipe(args.recipe) if args.recipe else Recipe("default")
        settings = _settings(recipe) if args.recipe else None
        rate = settings.sample_rate if settings else 44100
        dataset = open_dataset(args.data, sample_rate=rate)
        print(f"measuring, about {args.seconds:.0f} s", file=sys.stderr)
        result = profile(
            dataset,
            settings or Settings(dataset.sources, (Band("full"),)),
            frames=recipe.frames if args.frames is None else args.frames,
            batch_size=recipe.batch_size if args.batch_size is None else args.batch_size,
            mixing=recipe.mixing,
            seconds=args.seconds,
        )
    except (DatasetError, TrackError, RecipeError, SettingsError) as error:
        print(f"profile_data: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(table(result))
    return 0


def profile(
    tracks: Sequence[Track],
    settings: Settings,
    *,
    frames: int = 128,
    batch_size: int = 8,
    mixing: Mixing | None = None,
    seconds: float = 20.0,
) -> dict[str, Any]:
    """Measure reading alone, the transform alone, and the pipeline.

    Args:
        tracks: tracks of `open_dataset`.
        settings: of the model to feed: sources, transform, bins, channels.
        frames: frames of an excerpt.
        batch_size: examples in a batch.
        mixing: how examples are mixed.
        seconds: time for all three, >= 0; each runs at least once.

    Returns:
        "reading", "transform" and "pipeline": a `Speed` each; "shares": of the pipeline's CPU
        time by part, with the "rest"; "bottleneck": the part with the largest share.

    Raises:
        DatasetError: tracks that do not fit the settings, wrong frames, a negative time.
        TrackError: a file that cannot be read.
    """
    if not seconds >= 0:
        raise DatasetError(f"seconds must be 0 or more; received {seconds!r}")
    pipeline = pipeline_batches(tracks, settings, frames, batch_size, mixing)
    transform = settings.transform
    num_samples = (frames - 1) * transform.hop_length + transform.n_fft
    example = num_samples / settings.sample_rate
    reader = ExcerptReader(tracks, num_samples, settings.channels, 0, mixing)
    numbers = itertools.count()
    speeds = {
        "reading": measure(lambda: len(reader(next(numbers))[:1]) * example, seconds / 4),
        "transform": measure(_transform(settings, batch_size, num_samples), seconds / 4),
        "pipeline": measure(lambda: pipeline() * example, seconds / 2),
    }
    parts = shares(speeds)
    return {**speeds, "shares": parts, "bottleneck": max(parts, key=parts.__getitem__)}


def measure(work: Callable[[], float], seconds: float) -> Speed:
    """Repeat some work, after one run that does not count.

    Args:
        work: does it once and returns the seconds of audio made.
        seconds: it begins anew until this much time has passed; at least one run counts.

    Example:
        >>> measure(lambda: 2.5, 0).audio
        2.5
    """
    work()
    audio = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    while not audio or time.perf_counter() - wall < seconds:
        audio += work()
    # a coarse clock must not give 0
    passed, used = time.perf_counter() - wall, time.process_time() - cpu
    return Speed(audio, max(passed, 1e-9), max(used, 1e-9))


def pipeline_batches(
    tracks: Sequence[Track],
    settings: Settings,
    frames: int,
    batch_size: int,
    mixing: Mixing | None,
) -> Callable[[], int]:
    """Return a function that takes the pipeline's next batch and returns its size.

    Raises:
        DatasetError: tracks that do not fit the settings, wrong frames.
    """
    from keras_mmdense.data import training_set

    data = training_set(
        tracks,
        settings,
        frames=frames,
        batch_size=batch_size,
        examples=ENDLESS,
        mixing=mixing,
    )
    batches: Any = None

    def take() -> int:
        nonlocal batches
        batches = batches or iter(data)  # starts its threads, and no sooner
        return int(next(batches)[0].shape[0])

    return take


def shares(speeds: dict[str, Speed]) -> dict[str, float]:
    """Return the share of the pipeline's CPU time that reading, the transform and the rest take.

    Args:
        speeds: of "reading", "transform" and "pipeline".

    Example:
        >>> shares({"reading": Speed(4, 1, 1), "transform": Speed(2, 1, 1),
        ...         "pipeline": Speed(1, 1, 1)})
        {'reading': 0.25, 'transform': 0.5, 'rest': 0.25}
    """
    whole = speeds["pipeline"].per_cpu_second
    parts = {name: whole / speeds[name].per_cpu_second for name in ("reading", "transform")}
    return {**parts, "rest": 1 - sum(parts.values())}


def table(result: dict[str, Any]) -> str:
    """Return what `profile` measured as a text table and a line on the bottleneck."""
    lines = [f"{'part':<10} {'audio s/s':>10} {'audio s/CPU s':>14} {'cores':>6} {'share':>6}"]
    for name in ("reading", "transform", "pipeline"):
        speed, share = result[name], result["shares"].get(name, 1.0)
        lines.append(
            f"{name:<10} {speed.per_second:>10.1f} {speed.per_cpu_second:>14.1f} "
            f"{speed.cores:>6.2f} {share:>6.0%}"
        )
    lines.append(f"{'rest':<43} {result['shares']['rest']:>6.0%}")
    name = result["bottleneck"]
    return "\n".join([*lines, f"largest share: {name}; {HINTS[name]}"])


def _settings(recipe: Recipe) -> Settings:
    from keras_mmdense.model_settings import settings_of
    from training.paper.baseline_networks import build_model

    return settings_of(build_model(recipe.model))


def _transform(settings: Settings, batch_size: int, num_samples: int) -> Callable[[], float]:
    """Return a function that transforms one batch, mixture and sources."""
    import tensorflow as tf

    from keras_mmdense.data.tf_pipeline import spectrum_tf

    shape = (len(settings.sources) + 1, batch_size, num_samples, settings.channels)
    stems = tf.random.stateless_uniform(shape, (0, 0), -1.0, 1.0)
    run = tf.function(lambda x: tf.abs(spectrum_tf(x, settings.transform, settings.bins)))

    def work() -> float:
        run(stems)
        return batch_size * num_samples / settings.sample_rate

    return work


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.profile_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DATA", help="root of the data set")
    parser.add_argument(
        "--recipe", metavar="NAME", help="model and mixing; default: all sources of DATA"
    )
    parser.add_argument("--frames", type=int, help="frames of an excerpt, instead of the recipe's")
    parser.add_argument("--batch-size", type=int, help="examples, instead of the recipe's")
    parser.add_argument("--seconds", type=float, default=20.0, help="time to measure; default 20")
    return parser


if __name__ == "__main__":
    sys.exit(main())
