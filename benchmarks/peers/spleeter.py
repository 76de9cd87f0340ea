"""Four U-Nets of Spleeter's shape, with random weights: in int8 on LiteRT, and in Keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import spleeter_shape
from benchmarks.peers.system import (
    SECONDS_PER_FRAME,
    SOURCES,
    Step,
    System,
    keras_multiply_adds,
    keras_step,
)

WINDOW_SECONDS = spleeter_shape.FRAMES * SECONDS_PER_FRAME
FILE = "spleeter-int8.tflite"


class SpleeterInt8(System):
    """All four from one file."""

    def __init__(self, threads: int, folder: Path) -> None:
        self.folder = folder
        self.networks = [spleeter_shape.in_tflite(folder / FILE, threads) for _ in SOURCES]

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems, in windows of 512 frames."""
        return list(spleeter_shape.separate(audio, self.networks))

    def describe(self) -> dict[str, float]:
        """Return parameters and multiply-adds."""
        counted = spleeter_shape.multiply_adds((self.folder / FILE).read_bytes())
        macs = len(SOURCES) * sum(counted.values())
        parameters = json.loads((self.folder / "parameters.json").read_text("utf-8"))
        return {"parameters": parameters["spleeter"], "gmac_per_s": macs / WINDOW_SECONDS / 1e9}


class SpleeterKeras(System):
    """The same in Keras on TensorFlow."""

    def __init__(self, threads: int, folder: Path) -> None:
        self.models = [spleeter_shape.build(seed) for seed in range(len(SOURCES))]

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems, in windows of 512 frames."""
        networks = [spleeter_shape.in_keras(model) for model in self.models]
        return list(spleeter_shape.separate(audio, networks))

    def describe(self) -> dict[str, float]:
        """Return parameters and multiply-adds."""
        macs = len(SOURCES) * keras_multiply_adds(self.models[0])
        parameters = sum(model.count_params() for model in self.models)
        return {"parameters": parameters, "gmac_per_s": macs / WINDOW_SECONDS / 1e9}

    @classmethod
    def training(cls, threads: int) -> Step:
        """A network of one source, batch 1 of 512 frames."""
        import keras

        shape = (1, spleeter_shape.FRAMES, spleeter_shape.BINS, spleeter_shape.CHANNELS)
        model = spleeter_shape.build()
        model.compile(keras.optimizers.Adam(1e-4), "mae")
        return keras_step(model, shape, WINDOW_SECONDS / len(SOURCES))
