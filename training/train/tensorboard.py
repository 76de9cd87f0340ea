"""Stems of one validation excerpt as audio and spectrograms for TensorBoard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mmdense_edge.signal.stft import stft

from keras_mmdense import separate, settings_of
from keras_mmdense.data import Track
from training.paper.baseline_networks import float32_copy
from training.train.run_folder import Row

SECONDS = 6.0
FLOOR_DB = -80.0


def epoch_writer(
    model: keras.Model, track: Track, folder: Path, every: int = 5
) -> Callable[[Row], None]:
    """Return a function that writes the scores of an epoch and, every few epochs, stems.

    The stems are those of the middle of the track, as audio and as spectrograms.

    Args:
        model: The model in training.
        track: The track.
        folder: Where TensorBoard looks: `tensorboard --logdir FOLDER`.
        every: Epochs between two excerpts.
    """
    settings = settings_of(model)
    length = min(track.num_samples, round(SECONDS * track.sample_rate))
    start = (track.num_samples - length) // 2
    names = ["mixture", *(source for source in settings.sources if source in track.sources)]
    references = {name: track.read(name, start, length) for name in names}
    peak = np.abs(stft(references["mixture"], settings.transform)).max() + 1e-9
    writer = tf.summary.create_file_writer(str(folder))

    def show(kind: str, stems: dict[str, Any]) -> None:
        for name, stem in stems.items():
            level = np.abs(stft(stem, settings.transform)).mean(-1) / peak
            picture = 1 - np.clip(20 * np.log10(level + 1e-9) / FLOOR_DB, 0, 1)
            picture = picture.T[None, ::-1, :, None].astype(np.float32)  # low bins below
            tf.summary.audio(f"{name}/{kind}", np.clip(stem, -1, 1)[None], track.sample_rate)
            tf.summary.image(f"{name}/{kind}_spectrogram", picture)

    with writer.as_default(step=0):
        show("reference", references)

    def write(row: Row) -> None:
        epoch = int(row["epoch"])
        with writer.as_default(step=epoch):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            if (epoch - 1) % every == 0:
                # a float32 copy, so that the training continues with the model as it is
                stems = separate(float32_copy(model), references["mixture"], track.sample_rate)
                show("estimate", stems)
        writer.flush()

    return write
