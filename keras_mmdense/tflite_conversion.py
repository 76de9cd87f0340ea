"""The conversion's own process: `python -m keras_mmdense.tflite_conversion MODEL.keras OUT FRAMES`.

Reads a model, writes the bare flatbuffer and prints a line `PARITY {...}`: how far the file is
from Keras. Called by `keras_mmdense.export`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np


def main(source: str, flatbuffer: str, frames: str) -> None:
    """Convert and compare."""
    import keras

    from keras_mmdense.model_settings import settings_of

    loaded = keras.saving.load_model(source, compile=False)
    settings = replace(settings_of(loaded), frames=int(frames))
    network = _network_to_export(loaded, settings)
    content = _convert(network, settings)
    Path(flatbuffer).write_bytes(content)
    print("PARITY", json.dumps(_compare(network, content, settings)))


def _network_to_export(loaded: Any, settings: Any) -> Any:
    """Return the network with a fixed number of frames and, with a mask head, masks as output."""
    import keras

    from keras_mmdense.model import build_from_settings
    from keras_mmdense.normalization import copy_weights

    fixed = build_from_settings(settings)
    copy_weights(loaded, fixed)
    if settings.head == "magnitude":
        return fixed
    prefix = settings.shared or len(settings.sources) > 1
    masks = {s: fixed.get_layer(f"{s}_mask" if prefix else "mask") for s in settings.sources}
    return keras.Model(fixed.input, {s: layer.output for s, layer in masks.items()})


def _convert(network: Any, settings: Any) -> bytes:
    """All shapes static, one signature with our names, built-in operators only."""
    import keras
    import tensorflow as tf

    shape = (1, settings.frames, settings.bins, settings.channels)
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        "serving_default",
        lambda mixture: network(mixture, training=False),
        input_signature=[tf.TensorSpec(shape, tf.float32, name="mixture")],
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content: bytes = converter.convert()
    return content


def _compare(network: Any, content: bytes, settings: Any) -> dict[str, float]:
    """Largest difference and signal-to-noise ratio on noise that falls off like music."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content).get_signature_runner("serving_default")
    rng = np.random.default_rng(0)
    slope = 300 / (1 + np.arange(settings.bins)) ** 0.9
    shape = (1, settings.frames, settings.bins, settings.channels)
    mixture = (rng.rayleigh(size=shape) * slope[:, None]).astype(np.float32)
    expected = {k: np.asarray(v) for k, v in network(mixture, training=False).items()}
    found = runner(mixture=mixture)
    scale = max(1.0, max(float(np.abs(value).max()) for value in expected.values()))
    error = {k: found[k].astype(np.float64) - expected[k] for k in expected}
    noise = sum(float((e**2).sum()) for e in error.values())
    signal = sum(float((v.astype(np.float64) ** 2).sum()) for v in expected.values())
    return {
        "max_error": max(float(np.abs(e).max()) for e in error.values()) / scale,
        "snr_db": round(10 * float(np.log10((signal + 1e-30) / (noise + 1e-30))), 2),
    }


if __name__ == "__main__":
    main(*sys.argv[1:4])
