"""Turn tracks into batches for `fit`: threads read excerpts, which are mixed and transformed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.data.audio_files import Audio
from keras_mmdense.data.augmentation import excerpt_samples, mix
from keras_mmdense.data.mixing import (
    ACCOMPANIMENT,
    MAX_BANK,
    ExcerptSampler,
    Mixing,
    check_tracks,
    song_starts,
)
from keras_mmdense.data.problems import DatasetError
from keras_mmdense.data.tracks import Track
from keras_mmdense.errors import require
from keras_mmdense.normalization import ready
from keras_mmdense.settings import Settings

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

TARGETS = ("magnitude", "in_phase")
Example = dict[str, Audio]


def training_set(
    tracks: Sequence[Track],
    model: keras.Model | Settings,
    *,
    frames: int | None = None,
    batch_size: int = 8,
    examples: int | None = None,
    mixing: Mixing | None = None,
    seed: int = 0,
    epoch: int | None = None,
    first_step: int = 0,
    target: str | None = None,
    resident: bool | str = False,
    accompaniments: Sequence[Track] = (),
) -> Any:
    """Return a training set: magnitudes of random excerpts, augmented and mixed.

    The excerpts depend only on the seed, the epoch and their position in the epoch. Each iteration
    over the set is a new epoch, unless `epoch` selects one, which lets a run continue where another
    run stopped.

    Args:
        tracks: Tracks of `keras_mmdense.data.open_dataset`.
        model: The model to train, or its settings: sources, transform, bins, channels. A source
            named "accompaniment" is the sum of all sources but the vocals. With a
            `keras_mmdense.TrainingModel`, the batches hold excerpts, which the model itself mixes
            and transforms on its device; frames and target are then those of the model.
        frames: Frames of an excerpt, a multiple of 2**scales; default 128.
        batch_size: Examples in a batch.
        examples: Examples in an epoch; by default as many as fill the length of all tracks, and
            at least one batch. Rounded up to whole batches.
        mixing: Share of real mixes and of silent sources, augmentation; default `Mixing()`.
        seed: Seed of all random choices.
        epoch: Number of the epoch that every iteration yields, from 0; None for a new epoch at
            each iteration.
        first_step: Number of batches to skip at the start of the epoch.
        target: What the model learns to estimate: the source's "magnitude" (as in the paper), or
            the part of it that is "in_phase" with the mixture, |S| cos(angle(S) - angle(X)), which
            is negative where the phases are opposite. Estimates have the mixture's phase, so a
            squared error of the second is the error of the estimate itself (Erdogan and others,
            ICASSP 2015).
        resident: Whether the device holds all songs, so that the host only chooses the excerpts:
            True, False, or "auto" (on an accelerator with JAX or PyTorch, if the songs take at most
            half of its free memory). Needs a `TrainingModel` and 16-bit files; four stereo sources
            take 42 MB per minute at 44.1 kHz.
        accompaniments: Tracks with all sources but the vocals, for `Mixing.accompaniment_share`;
            by default, those examples use `tracks`.

    Returns:
        A `tf.data.Dataset` with the TensorFlow backend, a `keras.utils.PyDataset` with the others.
        Its batches are (mixture, {source: target}), both (batch, frames, bins, channels), float32;
        with a `TrainingModel` they are dicts of excerpts.

    Raises:
        DatasetError: The tracks do not fit together or lack a source, or an argument is wrong.

    Example:
        >>> import keras_mmdense
        >>> tracks = keras_mmdense.data.open_dataset(root, subset="train")  # doctest: +SKIP
        >>> model = keras_mmdense.build()  # doctest: +SKIP
        >>> model.compile("rmsprop", "mse")  # doctest: +SKIP
        >>> model.fit(keras_mmdense.data.training_set(tracks, model))  # doctest: +SKIP
    """
    form = _form(model, tracks, frames, batch_size, target)
    choice = (tracks, form.num_samples, form.settings.channels, seed, mixing)
    sampler, songs = ExcerptSampler(*choice, accompaniments=accompaniments), {}
    every = [*tracks, *accompaniments]
    if resident == "auto":
        end = song_starts(every, sampler.num_read)[1]
        fits = end <= MAX_BANK and 8 * len(sampler.sources) * end < _free_device_memory()
        resident = bool(form.trainer) and (
            form.trainer.holds(every, sampler.num_read) or (sampler.dtype == "int16" and fits)
        )
    require(
        not resident or form.trainer,
        "model must be a TrainingModel to hold resident songs",
        type(model).__name__,
        "",
        DatasetError,
    )
    if resident:
        held, peaks = form.trainer.hold(every, sampler.num_read)
        songs, sampler = {"songs": held}, ExcerptSampler(*choice, peaks, accompaniments)
    if examples is None:
        examples = int(sum(track.num_samples for track in tracks) / form.num_samples)
    steps = max(1, -(-examples // batch_size))
    left_out = min(first_step, steps)

    def numbers(passes: int) -> range:
        """Return the numbers of the examples of one pass over the set."""
        start = (passes if epoch is None else epoch) * steps
        return range((start + left_out) * batch_size, (start + steps) * batch_size)

    return _batches(sampler, numbers, form, songs)


def validation_set(
    tracks: Sequence[Track],
    model: keras.Model | Settings,
    *,
    frames: int | None = None,
    batch_size: int = 8,
    excerpts_per_track: int = 8,
    target: str | None = None,
) -> Any:
    """Return a validation set: fixed excerpts, evenly spaced over each track, never augmented.

    Args:
        tracks: Tracks of `keras_mmdense.data.open_dataset`.
        model: As for `training_set`.
        frames: Frames of an excerpt, a multiple of 2**scales; default 128.
        batch_size: Examples in a batch.
        excerpts_per_track: Excerpts of each track; more if needed to fill all batches.
        target: As for `training_set`.

    Returns:
        A set like that of `training_set`, with the same batches in every epoch.

    Raises:
        DatasetError: As for `training_set`.
    """
    form = _form(model, tracks, frames, batch_size, target)
    sampler = ExcerptSampler(tracks, form.num_samples, form.settings.channels)
    # a smaller last batch would be compiled again, and some of several devices would get nothing
    whole = batch_size // math.gcd(batch_size, len(tracks))
    count = whole * -(-excerpts_per_track // whole)
    places = [
        (track, int(start))
        for track in tracks
        for start in np.linspace(0, max(0, track.num_samples - form.num_samples), count)
    ]
    return _batches(
        lambda number: sampler.fixed(*places[number]), lambda _: range(len(places)), form
    )


@dataclass(frozen=True)
class _Form:
    """What batches look like, and the TrainingModel that mixes them itself, if there is one."""

    settings: Settings
    frames: int
    batch_size: int
    target: str
    parts: Audio
    trainer: Any

    @property
    def num_samples(self) -> int:
        return excerpt_samples(self.frames, self.settings.transform)


def _form(
    model: keras.Model | Settings,
    tracks: Sequence[Track],
    frames: int | None,
    batch_size: int,
    target: str | None,
) -> _Form:
    """Check the arguments against each other and the tracks; return the form of the batches."""
    trainer: Any = model if hasattr(model, "separator") else None
    if trainer:
        for name, asked in (("frames", frames), ("target", target)):
            own = getattr(trainer, name)
            rule = f"{name} must be the TrainingModel's, {own!r}"
            require(asked in (None, own), rule, asked, "", DatasetError)
        frames, target = trainer.frames, trainer.target
    frames = 128 if frames is None else frames
    target = "magnitude" if target is None else target
    require(
        target in TARGETS,
        f"target must be one of {', '.join(TARGETS)}",
        target,
        'The paper uses "magnitude".',
        DatasetError,
    )
    s = model if isinstance(model, Settings) else ready(trainer.separator if trainer else model)
    check_tracks(tracks)
    names = tracks[0].sources
    require(
        set(s.sources) <= {*names} | ({ACCOMPANIMENT} if "vocals" in names else set()),
        f"the tracks must have the model's sources {s.sources}",
        names,
        "Build the model with sources of the data set.",
        DatasetError,
    )
    require(
        tracks[0].sample_rate == s.sample_rate,
        f"tracks must have the model's rate of {s.sample_rate} Hz",
        tracks[0].sample_rate,
        "Build the model with that sample_rate.",
        DatasetError,
    )
    multiple = s.frames or f"a multiple of 2**scales = {s.frame_multiple}"
    require(
        frames >= 1 and frames % s.frame_multiple == 0 and s.frames in (None, frames),
        f"frames must be {multiple}",
        frames,
        f"Try {s.frames or max(128, s.frame_multiple)}.",
        DatasetError,
    )
    require(batch_size >= 1, "batch_size must be 1 or more", batch_size, "Try 8.", DatasetError)
    # each source of the model as a sum of sources of the tracks
    parts = [[n == s if s in names else n != "vocals" for n in names] for s in s.sources]
    return _Form(s, frames, batch_size, target, np.array(parts, np.float32), trainer)


def _free_device_memory() -> int:
    """Return the free bytes of the accelerator; 0 if there is none, or with TensorFlow."""
    import keras

    if keras.config.backend() == "jax":
        import jax

        stats = jax.local_devices()[0].memory_stats() or {}
        return int(stats.get("bytes_limit", 0) - stats.get("bytes_in_use", 0))
    if keras.config.backend() == "torch":
        import torch  # type: ignore[import-not-found,unused-ignore]

        return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0
    return 0  # TensorFlow does not report it


def _batches(
    make: Callable[[int], Example],
    numbers: Callable[[int], range],
    form: _Form,
    songs: dict[str, Any] | None = None,
) -> Any:
    """Return a backend's data set: examples read ahead by several threads, in order."""
    import keras

    def example(number: int) -> Example:
        return {**make(int(number)), "parts": form.parts}

    def transform(batch: Any) -> Any:
        return mix(batch, form.settings, form.frames, form.target)

    if keras.config.backend() != "tensorflow":
        from keras_mmdense.data.read_ahead import ReadAhead

        if form.trainer:
            # JAX takes the songs with each batch: a step that closes over them would copy them
            return ReadAhead(example, numbers, form.batch_size, lambda x: {**x, **(songs or {})})
        if keras.config.backend() == "jax":
            import jax

            transform = jax.jit(transform)
        return ReadAhead(example, numbers, form.batch_size, transform)
    import tensorflow as tf

    passes = itertools.count()  # counted in Python: tf.data would start over with each
    indices = tf.data.Dataset.from_generator(
        lambda: numbers(next(passes)), output_signature=tf.TensorSpec((), tf.int64)
    )
    like = example(0)
    types = [tf.as_dtype(value.dtype) for value in like.values()]

    def load(index: Any) -> Any:
        values = tf.numpy_function(
            lambda number: list(example(number).values()), [index], types, stateful=False
        )
        named = zip(like.items(), values, strict=True)
        return {name: tf.ensure_shape(value, one.shape) for (name, one), value in named}

    # deterministic: the same batches in the same order, whatever thread reads first
    data = indices.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    data = data.batch(form.batch_size, drop_remainder=True)
    if not form.trainer:
        data = data.map(transform, num_parallel_calls=1)
    steps = len(numbers(0)) // form.batch_size
    return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def measure_waiting(data: tf.data.Dataset) -> tuple[tf.data.Dataset, tf.Variable]:
    """Return the same data set, and a variable that adds up the seconds spent waiting for it.

    A batch that is ready adds nothing; one that is not adds the time until it is. Set the variable
    to 0 to start over.

    Args:
        data: Any prefetched data set.

    Returns:
        The data set, and the seconds as a float64 variable.

    Example:
        >>> import tensorflow as tf
        >>> data, seconds = measure_waiting(tf.data.Dataset.range(3).prefetch(1))
        >>> len(list(data)), float(seconds) < 1
        (3, True)
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    # zip asks its parts in order: first the clock, at the request, then the data, which may block
    clock = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

    def account(requested: Any, batch: Any) -> Any:
        with tf.control_dependencies([seconds.assign_add(tf.timestamp() - requested)]):
            return tf.nest.map_structure(tf.identity, batch)

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # it would ask ahead of the step
    return tf.data.Dataset.zip((clock, data)).map(account).with_options(options), seconds
