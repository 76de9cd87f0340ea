"""What a model makes of one validation excerpt, for TensorBoard: to hear and to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdense_edge.signal.stft import stft

from keras_mmdense import separate, settings_of
from keras_mmdense.data import Track
from training.train.recipe import RecipeError
from training.train.run_folder import Row

if TYPE_CHECKING:
    import keras

SECONDS = 6.0
FLOOR_DB = -80.0


class Samples:
    """Writes scores, and every few epochs audio and spectrograms of the first validation track.

    The excerpt is the middle of the track.

    Args:
        model: The model in training.
        track: The track.
        folder: Where TensorBoard looks: `tensorboard --logdir FOLDER`.
        every: Epochs between two excerpts.

    Raises:
        RecipeError: TensorBoard is not installed.
    """

    def __init__(self, model: keras.Model, track: Track, folder: Path, every: int = 5) -> None:
        import tensorflow as tf

        try:
            import tensorboard  # noqa: F401  tf.summary.audio lives in it
        except ImportError as error:
            raise RecipeError(
                "--tensorboard needs the package tensorboard; received an environment without it. "
                "pip install tensorboard"
            ) from error
        settings = settings_of(model)
        length = min(track.num_samples, round(SECONDS * track.sample_rate))
        start = (track.num_samples - length) // 2
        self._rate = track.sample_rate
        self._model, self._every, self._transform = model, every, settings.transform
        self._mixture = track.read("mixture", start, length)
        known = [source for source in settings.sources if source in track.sources]
        self._references = {source: track.read(source, start, length) for source in known}
        self._writer = tf.summary.create_file_writer(str(folder))
        self._shown = False

    def __call__(self, row: Row) -> None:
        """Write the row of an epoch."""
        import tensorflow as tf

        epoch = int(row["epoch"])
        with self._writer.as_default(step=epoch):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            if not self._shown:
                self._show("reference", {"mixture": self._mixture, **self._references})
                self._shown = True
            if (epoch - 1) % self._every == 0:
                self._show("estimate", separate(self._model, self._mixture, self._rate))
        self._writer.flush()

    def _show(self, kind: str, signals: dict[str, Any]) -> None:
        import tensorflow as tf

        for name, signal in signals.items():
            tf.summary.audio(f"{name}/{kind}", np.clip(signal, -1, 1)[None], self._rate)
            tf.summary.image(f"{name}/{kind}_spectrogram", self._picture(signal))

    def _picture(self, signal: Any) -> Any:
        """Levels from -80 to 0 dB of the mixture's largest one, low bins below: (1, h, w, 1)."""
        peak = np.abs(stft(self._mixture, self._transform)).max() + 1e-9
        level = 20 * np.log10(np.abs(stft(signal, self._transform)).mean(-1) / peak + 1e-9)
        picture = 1 - np.clip(level / FLOOR_DB, 0, 1)
        return picture.T[None, ::-1, :, None].astype(np.float32)
