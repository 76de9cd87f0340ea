"""A model whose training starts from waveforms: mixing and transform run in the compiled step."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_mmdense.data.augmentation import mix
from keras_mmdense.data.mixing import song_bank
from keras_mmdense.data.tracks import Track
from keras_mmdense.errors import require
from keras_mmdense.normalization import ready


class TrainingModel(keras.Model):
    """Train a separation model on excerpts that are mixed and transformed on the device.

    The host only reads files. Call `fit` with `keras_mmdense.data.training_set(tracks, trainer)`.
    This trains the model that you passed in: save it, export it and separate with it.

    Args:
        model: A model made by `keras_mmdense.build`.
        frames: Frames of an excerpt, a multiple of 2**scales.
        target: "magnitude" or "in_phase", see `keras_mmdense.data.training_set`.
        teachers: Trained models with the same sources, transform and bins. They estimate the
            sources of each mixture as it was before its level and offset were changed, and the
            targets are averaged with the mean of these estimates: what the teachers know of other
            music is kept. Their weights are frozen.
        teacher_share: Weight of the teachers' estimates in the targets, 0 to 1.

    Raises:
        SettingsError: A teacher does not fit.

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
        teachers: Sequence[keras.Model] = (),
        teacher_share: float = 0.5,
    ) -> None:
        super().__init__(name=f"{model.name}_training", dtype="float32")
        self.separator, self.frames, self.target = model, frames, target
        self.settings = ready(model)
        self.teachers, self.teacher_share = list(teachers), teacher_share
        require(0 <= teacher_share <= 1, "teacher_share must be 0 to 1", teacher_share, "Try 0.5.")
        for teacher in self.teachers:
            asked, own = (
                (s.sources, s.transform, s.bins, s.channels, s.sample_rate)
                for s in (self.settings, ready(teacher))
            )
            require(asked == own, f"a teacher must have the model's form, {asked}", own, "")
            teacher.trainable = False
        self.built = True  # it has no variables of its own
        self._held: tuple[Any, ...] = ()
        self._songs: Any = None
        self._peaks: Any = None

    def holds(self, tracks: Sequence[Track], num_read: int) -> bool:
        """Return whether `hold` has put these songs on the device."""
        return self._held == (*tracks, num_read)

    def hold(self, tracks: Sequence[Track], num_read: int) -> Any:
        """Put all songs on the device, unless they are there already.

        They are not a variable of the model, so they are not saved with it.

        Args:
            tracks: Tracks of 16-bit files.
            num_read: Samples that are read for an excerpt.

        Returns:
            The songs on the device, and the peaks of `keras_mmdense.data.mixing.song_bank`.
        """
        if not self.holds(tracks, num_read):
            # compiled steps have the songs from before
            self.train_function = self.test_function = self.predict_function = None
            songs, self._peaks = song_bank(tracks, num_read)
            self._songs = keras.ops.convert_to_tensor(songs)
            self._held = (*tracks, num_read)
        return self._songs, self._peaks

    def call(self, batch: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """Return the "estimates" and the "targets" for a batch of excerpts, each by source.

        Both are those of the mixture before its level was changed, see
        `keras_mmdense.data.Mixing`; a channel that was made quieter than the other one remains so.
        """
        if "starts" in batch:
            batch = {"songs": self._songs, **batch}
        mixture, targets = mix(batch, self.settings, self.frames, self.target)
        estimates = dict(self.separator(mixture, training=training))
        levels: Any = 1.0
        if "level" in batch:
            levels = keras.ops.cast(batch["level"], "float32")[:, None, None]
        if self.teachers and training:
            unchanged = {k: v for k, v in batch.items() if k not in ("level", "offset")}
            before, _ = mix(unchanged, self.settings, self.frames, self.target)
            share = self.teacher_share
            told = [teacher(before, training=False) for teacher in self.teachers]
            for source, target in targets.items():
                mean = sum(keras.ops.cast(one[source], "float32") for one in told) / len(told)
                targets[source] = (1 - share) * target + share * mean * levels
        if "level" in batch:
            unit = 1 / keras.ops.max(levels, axis=-1, keepdims=True)
            for values in (estimates, targets):
                values.update({name: value * unit for name, value in values.items()})
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
        """Return only the losses; other metrics of spectrograms say nothing about songs."""
        return self.get_metrics_result()
