"""A model whose training starts from waveforms: mixing and transform run in the compiled step."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_mmdense.data.augmentation import mix
from keras_mmdense.data.mixing import song_bank
from keras_mmdense.data.tracks import Track
from keras_mmdense.normalization import ready

SUM = "sum_of_sources"


class TrainingModel(keras.Model):
    """Train a separation model on excerpts that are mixed and transformed on the device.

    The host only reads files. `fit` it on `keras_mmdense.data.training_set(tracks, trainer)`; the
    model that was passed in learns, and is what you save, export and separate with.

    Args:
        model: A model made by `keras_mmdense.build`.
        frames: Frames of an excerpt, a multiple of 2**scales.
        target: "magnitude" or "in_phase", see `keras_mmdense.data.training_set`.
        sums: Whether there is one more output, the sum of all sources, for a loss of its own.

    Example:
        >>> import keras_mmdense
        >>> model = keras_mmdense.build("mdensenet", bins=64)
        >>> trainer = keras_mmdense.TrainingModel(model, frames=32)
        >>> trainer.compile("adam", "mse")
        >>> tracks = keras_mmdense.data.open_dataset(root)  # doctest: +SKIP
        >>> trainer.fit(keras_mmdense.data.training_set(tracks, trainer))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: keras.Model,
        frames: int = 128,
        target: str = "magnitude",
        sums: bool = False,
    ) -> None:
        super().__init__(name=f"{model.name}_training", dtype="float32")
        self.separator, self.frames, self.target, self.sums = model, frames, target, sums
        self.settings = ready(model)
        self.built = True  # it has no variables of its own
        self._held: tuple[Any, ...] = ()
        self._songs: Any = None

    def hold(self, tracks: Sequence[Track], num_read: int) -> Any:
        """Put all songs on the device, unless they are there already; return them.

        They are no variable of the model, so no file holds them.

        Args:
            tracks: Tracks of 16-bit files.
            num_read: Samples of an excerpt.
        """
        if self._held != (*tracks, num_read):
            self._songs = keras.ops.convert_to_tensor(song_bank(tracks, num_read))
            self._held = (*tracks, num_read)
        return self._songs

    def call(self, batch: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """Return "estimates" and "targets" of a batch of excerpts, by source."""
        if "starts" in batch:
            batch = {"songs": self._songs, **batch}
        mixture, targets = mix(batch, self.settings, self.frames, self.target)
        estimates = dict(self.separator(mixture, training=training))
        if self.sums:
            for values in (estimates, targets):
                values[SUM] = sum(values[source] for source in self.settings.sources)
        return {"estimates": estimates, "targets": targets}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss between the estimates and the targets, which are both in `y_pred`."""
        return super().compute_loss(x, y_pred["targets"], y_pred["estimates"], None, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the losses; a spectrogram's other metrics say nothing of a song."""
        return self.get_metrics_result()
