"""The systems of bench_peers that run in Keras on TensorFlow, all with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peer_system import RATE, SECONDS_PER_FRAME, SOURCES, Step, System

if TYPE_CHECKING:
    import keras

    from benchmarks.spleeter_shape import Network

WINDOW_FRAMES = 256  # what keras_mmdense.separate takes


class SpleeterKeras(System):
    """Four U-Nets of Spleeter's shape."""

    def __init__(self, threads: int, folder: Path) -> None:
        from benchmarks import spleeter_shape

        self.models = [spleeter_shape.build(seed) for seed in range(len(SOURCES))]
        self.networks = [_predicting(model) for model in self.models]

    def separate(self, audio: Any) -> list[Any]:
        """Returns four stems, in windows of 512 frames."""
        from benchmarks import spleeter_shape

        return list(spleeter_shape.separate(audio, self.networks))

    def describe(self) -> dict[str, float]:
        """Returns parameters and multiply-adds."""
        from benchmarks.spleeter_shape import FRAMES

        macs = len(SOURCES) * _multiply_adds(self.models[0])
        return {
            "parameters": sum(model.count_params() for model in self.models),
            "gmac_per_s": macs / (FRAMES * SECONDS_PER_FRAME) / 1e9,
        }

    @classmethod
    def training(cls, threads: int) -> Step:
        """A network of one source, batch 1 of 512 frames."""
        import keras

        from benchmarks import spleeter_shape

        shape = (1, spleeter_shape.FRAMES, spleeter_shape.BINS, spleeter_shape.CHANNELS)
        model = spleeter_shape.build()
        model.compile(keras.optimizers.Adam(1e-4), "mae")
        return _step(model, shape, spleeter_shape.FRAMES * SECONDS_PER_FRAME / len(SOURCES))


class MMDenseNetKeras(System):
    """`keras_mmdense.separate` with four networks of the published form."""

    def __init__(self, threads: int, folder: Path) -> None:
        import keras_mmdense

        self.model = keras_mmdense.build("mmdensenet", SOURCES)

    def separate(self, audio: Any) -> list[Any]:
        """Returns four stems, in windows whose context is discarded."""
        import keras_mmdense

        stems = keras_mmdense.separate(self.model, audio, RATE, window_frames=WINDOW_FRAMES)
        return [stems[source] for source in SOURCES]

    def describe(self) -> dict[str, float]:
        """Returns parameters and multiply-adds."""
        import keras_mmdense
        from keras_mmdense.receptive_field import context_frames

        frames = WINDOW_FRAMES + 2 * context_frames(keras_mmdense.settings_of(self.model))
        macs = _multiply_adds(keras_mmdense.build("mmdensenet", SOURCES, frames=frames))
        return {
            "parameters": sum(w.shape.num_elements() for w in self.model.trainable_weights),
            "gmac_per_s": macs / (WINDOW_FRAMES * SECONDS_PER_FRAME) / 1e9,
        }

    @classmethod
    def training(cls, threads: int) -> Step:
        """A network of one source, batch 4 of 128 frames."""
        return _mmdense_step("mmdensenet", 1 / len(SOURCES))


class MMDenseNetEdgeKeras(System):
    """The device model in Keras: only to train."""

    @classmethod
    def training(cls, threads: int) -> Step:
        """One network for all sources, batch 4 of 128 frames."""
        return _mmdense_step("mmdensenet-edge", 1)


def _mmdense_step(preset: str, share: float) -> Step:
    import keras

    import keras_mmdense

    model = keras_mmdense.build(preset)
    bins = keras_mmdense.settings_of(model).bins
    model.compile(keras.optimizers.RMSprop(1e-3), "mse")
    return _step(model, (4, 128, bins, 2), 4 * 128 * SECONDS_PER_FRAME * share)


def _step(model: keras.Model, shape: tuple[int, ...], seconds: float) -> Step:
    import numpy as np

    given = np.random.default_rng(0).rayleigh(size=shape).astype(np.float32)
    names = list(model.output) if isinstance(model.output, dict) else None
    wanted = given / 2 if names is None else {name: given / 2 for name in names}

    def step() -> float:
        model.train_on_batch(given, wanted)
        return seconds

    return step


def _predicting(model: keras.Model) -> Network:
    return lambda windows: model.predict(windows, batch_size=1, verbose=0)


def _multiply_adds(model: keras.Model) -> int:
    """Counts from layers, because this environment has no TFLite file and no interpreter."""
    total = 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        places = layer.input.shape if "Transpose" in type(layer).__name__ else layer.output.shape
        total += places[1] * places[2] * kernel.shape.num_elements()
    return int(total)
