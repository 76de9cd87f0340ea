"""The tf.data pipeline: from tracks to batches of magnitude spectrograms."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdense_edge.signal.stft import hann

from keras_mmdense.data.audio_files import Audio
from keras_mmdense.data.mixing import ACCOMPANIMENT, ExcerptReader, Mixing, check_tracks
from keras_mmdense.data.problems import DatasetError
from keras_mmdense.data.tracks import Track
from keras_mmdense.normalization import ready
from keras_mmdense.settings import Settings, Transform

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

TARGETS = ("magnitude", "in_phase")


def training_set(
    tracks: Sequence[Track],
    model: keras.Model | Settings,
    *,
    frames: int = 128,
    batch_size: int = 8,
    examples: int | None = None,
    mixing: Mixing | None = None,
    seed: int = 0,
    epoch: int | None = None,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    target: str = "magnitude",
) -> tf.data.Dataset:
    """Return a training set: random excerpts, augmented, mixed, as magnitudes.

    The excerpts follow from seed, epoch and position alone. Each time that the set is iterated it
    is another epoch, unless `epoch` names one: then a run can go on where another one stopped.

    Args:
        tracks: Tracks of `keras_mmdense.data.open_dataset`.
        model: The model to train, or its settings: sources, transform, bins, channels. A source
            "accompaniment" is the sum of all but the vocals.
        frames: Frames of an excerpt, a multiple of 2**scales.
        batch_size: Examples in a batch.
        examples: Examples in an epoch; default as many as fill the length of all tracks, at
            least one batch. Rounded up to whole batches.
        mixing: Share of real mixes and of silent sources, augmentation; default `Mixing()`.
        seed: Seed of all random choices.
        epoch: Number of the epoch to hold, from 0; None for a new one at each iteration.
        first_step: Batches of the epoch to leave out.
        shard: (index, count): the part of each batch to make, for one of several workers. The
            others' examples are not read.
        target: What the model is trained to give: the source's "magnitude" (the paper), or the
            part of it that is "in_phase" with the mixture, |S| cos(angle(S) - angle(X)), which is
            below 0 where they oppose. Estimates have the mixture's phase, so with a squared error
            the second is the error of the estimate itself (Erdogan and others, ICASSP 2015).

    Returns:
        Batches (mixture, {source: target}), both (batch, frames, bins, channels), float32;
        batch is batch_size / count.

    Raises:
        DatasetError: Tracks that do not fit together or lack a source, wrong frames, shard or
            target.

    Example:
        >>> import keras_mmdense
        >>> tracks = keras_mmdense.data.open_dataset(root, subset="train")  # doctest: +SKIP
        >>> model = keras_mmdense.build()  # doctest: +SKIP
        >>> model.compile("rmsprop", "mse")  # doctest: +SKIP
        >>> model.fit(keras_mmdense.data.training_set(tracks, model))  # doctest: +SKIP
    """
    import tensorflow as tf

    settings = _checked_settings(model, tracks, frames, batch_size, shard, target)
    num_samples = (frames - 1) * settings.transform.hop_length + settings.transform.n_fft
    reader = ExcerptReader(tracks, num_samples, settings.channels, seed, mixing)
    if examples is None:
        examples = int(sum(track.num_samples for track in tracks) / num_samples)
    steps = max(1, -(-examples // batch_size))
    left_out = min(first_step, steps) * batch_size
    epochs = itertools.count() if epoch is None else itertools.repeat(epoch)
    index, count = shard

    def indices() -> Iterator[int]:
        start = next(epochs) * steps * batch_size
        yield from range(start + left_out + index, start + steps * batch_size, count)

    # An iterator of Python keeps count of the epochs: tf.data would start over with each.
    numbers = tf.data.Dataset.from_generator(
        indices, output_signature=tf.TensorSpec((), tf.int64)
    ).apply(tf.data.experimental.assert_cardinality((steps * batch_size - left_out) // count))
    return _spectrograms(
        numbers, reader, reader.sources, settings, batch_size // count, num_samples, target
    )


def validation_set(
    tracks: Sequence[Track],
    model: keras.Model | Settings,
    *,
    frames: int = 128,
    batch_size: int = 8,
    excerpts_per_track: int = 8,
    shard: tuple[int, int] = (0, 1),
    target: str = "magnitude",
) -> tf.data.Dataset:
    """Return a validation set: fixed excerpts, evenly spaced over each track, never augmented.

    Args:
        tracks: Tracks of `keras_mmdense.data.open_dataset`.
        model: The model or its settings.
        frames: Frames of an excerpt, a multiple of 2**scales.
        batch_size: Examples in a batch; the last batch may be smaller.
        excerpts_per_track: Excerpts of each track.
        shard: As `training_set`; a worker may get one example less of a smaller last batch.
        target: As `training_set`.

    Returns:
        Batches as of `training_set`, the same in every epoch.

    Raises:
        DatasetError: As `training_set`.
    """
    import tensorflow as tf

    settings = _checked_settings(model, tracks, frames, batch_size, shard, target)
    num_samples = (frames - 1) * settings.transform.hop_length + settings.transform.n_fft
    reader = ExcerptReader(tracks, num_samples, settings.channels)
    places = [
        (track, int(start))
        for track in tracks
        for start in np.linspace(0, max(0, track.num_samples - num_samples), excerpts_per_track)
    ]

    def read(number: int) -> Audio:
        track, start = places[int(number)]
        return np.stack([reader.read(track, source, start) for source in reader.sources])

    index, count = shard
    numbers = tf.data.Dataset.range(index, len(places), count)
    return _spectrograms(
        numbers, read, reader.sources, settings, batch_size // count, num_samples, target
    )


def _spectrograms(
    numbers: tf.data.Dataset,
    read: Callable[[int], Audio],
    names: Sequence[str],
    settings: Settings,
    batch_size: int,
    num_samples: int,
    target: str,
) -> tf.data.Dataset:
    """Read, batch, then transform whole batches: one call of the FFT for all."""
    import tensorflow as tf

    # each source of the model as the sum of sources of the tracks
    backing = [i for i, name in enumerate(names) if name != "vocals"]
    parts = [[names.index(s)] if s in names else backing for s in settings.sources]

    def load(index: Any) -> Any:
        stems = tf.numpy_function(read, [index], tf.float32, stateful=False)
        return tf.ensure_shape(stems, (len(names), num_samples, settings.channels))

    def transform(stems: Any) -> Any:
        sums = [tf.reduce_sum(stems, axis=1)]  # stems (batch, sources, num_samples, channels)
        sums += [tf.reduce_sum(tf.gather(stems, part, axis=1), axis=1) for part in parts]
        # The excerpt's own edges: frames lie wholly inside, as in the middle of a song.
        spectra = spectrum_tf(tf.stack(sums), settings.transform, settings.bins)
        mixture, targets = tf.abs(spectra[0]), tf.abs(spectra[1:])
        if target == "in_phase":
            along = tf.math.real(spectra[1:] * tf.math.conj(spectra[0]))
            targets = tf.math.divide_no_nan(along, mixture)
        return mixture, {name: targets[i] for i, name in enumerate(settings.sources)}

    # deterministic: the same batches in the same order, whatever thread reads first
    data = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    data = data.batch(batch_size).map(transform, num_parallel_calls=1)
    return data.prefetch(2)


def spectrum_tf(samples: tf.Tensor, transform: Transform, bins: int) -> tf.Tensor:
    """Return the spectrum of `mmdense_edge.signal.stft.analyze`, in TensorFlow.

    Args:
        samples: (..., num_samples, channels), float32, n_fft samples at least: the frames that
            lie wholly inside are transformed.
        transform: The transform.
        bins: Number of bins to keep, from bin 0.

    Returns:
        Spectrum (..., frames, bins, channels), complex64.
    """
    import tensorflow as tf

    by_channel = tf.linalg.matrix_transpose(samples)  # (..., channels, num_samples)
    frames = tf.signal.frame(by_channel, transform.n_fft, transform.hop_length)
    spectrum = tf.signal.rfft(frames * hann(transform.n_fft))[..., :bins]
    rank = len(samples.shape)  # (..., channels, frames, bins) -> (..., frames, bins, channels)
    return tf.transpose(spectrum, [*range(rank - 2), rank - 1, rank, rank - 2])


def _checked_settings(
    model: keras.Model | Settings,
    tracks: Sequence[Track],
    frames: int,
    batch_size: int,
    shard: tuple[int, int],
    target: str,
) -> Settings:
    """Return the model's settings, if data of the tracks can be made for it."""
    if target not in TARGETS:
        raise DatasetError(
            f"target must be one of {', '.join(TARGETS)}; received {target!r}. "
            'The paper has "magnitude".'
        )
    s = model if isinstance(model, Settings) else ready(model)
    check_tracks(tracks)
    known = {*tracks[0].sources} | ({ACCOMPANIMENT} if "vocals" in tracks[0].sources else set())
    if not set(s.sources) <= known:
        raise DatasetError(
            f"the tracks must have the model's sources {s.sources}; received "
            f"{tracks[0].sources}. Build the model with sources of the data set."
        )
    if tracks[0].sample_rate != s.sample_rate:
        raise DatasetError(
            f"tracks must have the model's rate of {s.sample_rate} Hz; received "
            f"{tracks[0].sample_rate}. Build the model with that sample_rate."
        )
    if frames < 1 or frames % s.frame_multiple or batch_size < 1 or s.frames not in (None, frames):
        raise DatasetError(
            f"frames must be {s.frames or f'a multiple of 2**scales = {s.frame_multiple}'} and "
            f"batch_size 1 or more; received {frames} and {batch_size}. Try 128 and 8."
        )
    index, count = shard
    if not 0 <= index < count or batch_size % count:
        raise DatasetError(
            "shard must be (index, count), 0 <= index < count, and count must divide "
            f"batch_size; received {shard} and {batch_size}."
        )
    return s


def measure_waiting(data: tf.data.Dataset) -> tuple[tf.data.Dataset, tf.Variable]:
    """Return the same data set, and a variable that adds up the seconds spent waiting for it.

    A batch that lies ready costs nothing; one that must still be made costs the time until it is
    there. Set the variable to 0 to start over.

    Args:
        data: Any data set, prefetched.

    Returns:
        The data set and the seconds, a float64 variable.

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
