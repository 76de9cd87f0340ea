"""Writes the small models of the edge tests into tests/edge/data; needs TensorFlow.

Run: python tests/edge/make_models.py
"""

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

DATA = Path(__file__).with_name("data")
STEREO = {
    "sample_rate": 44100,
    "transform": {"n_fft": 2048, "hop_length": 1024, "window": "hann"},
    "bins": 1024,
    "channels": 2,
    "frames": 16,
    "context_frames": 4,
    "frame_multiple": 4,
}
# Small enough for all of its numbers to be published: docs/how-to/apps.
APPS = {**STEREO, "frames": 8, "context_frames": 2, "frame_multiple": 2}
MONO = {**APPS, "sample_rate": 16000, "bins": 120, "channels": 1, "frames": 12}
MONO["transform"] = {"n_fft": 256, "hop_length": 96, "window": "hann"}
# Masks of the frame, the one before and the one two before, half of it: (start, stop, delay).
CAUSAL = {**STEREO, "bins": 64, "frames": 1, "context_frames": 0, "frame_multiple": 1}
CAUSAL["transform"] = {"n_fft": 2048, "hop_length": 512, "window": "hann"}
CAUSAL["states"] = {"input": "past", "output": "present", "taps": [[0, 128, 1], [0, 64, 2]]}


def convolution(x: tf.Tensor, outputs: int, seed: int) -> tf.Tensor:
    """Returns a 3 x 5 convolution of log(1 + x) with seeded weights."""
    shape = (3, 5, x.shape[-1], outputs)
    weights = np.random.default_rng(seed).normal(0, 0.4, shape).astype(np.float32)
    return tf.nn.conv2d(tf.math.log(1 + x), weights, 1, "SAME")


def identity(x: tf.Tensor, sources: list[str]) -> list[tf.Tensor]:
    """A mask of ones for every source."""
    return [x * 0 + 1 for _ in sources]


def shares(x: tf.Tensor, sources: list[str]) -> list[tf.Tensor]:
    """Masks that add up to one."""
    channels = x.shape[-1]
    scores = convolution(x, channels * len(sources), seed=1)
    scores = tf.stack(tf.split(scores, len(sources), axis=-1), axis=-1)
    return tf.unstack(tf.nn.softmax(scores), axis=-1)


def magnitudes(x: tf.Tensor, sources: list[str]) -> list[tf.Tensor]:
    """Magnitudes, not bounded by the mixture's."""
    return [tf.nn.relu(convolution(x, x.shape[-1], seed)) for seed, _ in enumerate(sources, 2)]


def quantizable(x: tf.Tensor, sources: list[str]) -> list[tf.Tensor]:
    """Masks of two convolutions, of operators that tflite-runtime 2.14 has in int8."""
    generator = np.random.default_rng(5)
    weights = [
        generator.normal(0, deviation, (3, 5, *channels)).astype(np.float32)
        for deviation, channels in ((0.3, (x.shape[-1], 8)), *[(0.2, (8, x.shape[-1]))] * 2)
    ]
    hidden = tf.nn.relu6(tf.nn.conv2d(tf.nn.tanh(x / 32), weights[0], 1, "SAME"))
    masks = [tf.nn.conv2d(hidden, weight, 1, "SAME") for weight in weights[1:]]
    return [tf.nn.sigmoid(mask) for _, mask in zip(sources, masks, strict=True)]


def causal(mixture: tf.Tensor, past: tf.Tensor, sources: list[str]) -> list[tf.Tensor]:
    """Masks of this frame and of past ones, and the values to keep."""
    present = tf.reshape(tf.math.log(1 + mixture), (1, 128))
    one_before, two_before = tf.split(past, [128, 64], axis=1)
    two_before = tf.concat([two_before, tf.zeros((1, 64))], axis=1)
    mask = tf.sigmoid(tf.reshape(present + one_before - 3 * two_before, mixture.shape))
    return [mask, 1 - mask, present]


def calibration(shape: tuple[int, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Magnitudes that fall off with frequency as music's do."""
    generator = np.random.default_rng(6)
    slope = 300 / (1 + np.arange(shape[2])) ** 0.9
    for _ in range(8):
        mixture = generator.rayleigh(size=shape) * slope[:, None]
        yield {"mixture": mixture.astype(np.float32)}


def convert(
    sizes: dict[str, Any], sources: list[str], network: Any, precision: str = "float32"
) -> bytes:
    """Returns the TFLite model of a network with the signature that the contract asks for."""
    shape = (1, sizes["frames"], sizes["bins"], sizes["channels"])
    module = tf.Module()
    specs, outputs = [tf.TensorSpec(shape, tf.float32, name="mixture")], sources
    if "states" in sizes:
        read = sum(stop - start for start, stop, _ in sizes["states"]["taps"])
        specs.append(tf.TensorSpec((1, read), tf.float32, name="past"))
        outputs = [*sources, "present"]
    module.serve = tf.function(
        lambda *inputs: dict(zip(outputs, network(*inputs, sources), strict=True)),
        input_signature=specs,
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: calibration(shape)
        return converter.convert()


def write(
    name: str,
    sizes: dict[str, Any],
    sources: list[str],
    network: Any,
    output: str,
    precision: str = "float32",
) -> None:
    """Writes one model file with its contract."""
    content = convert(sizes, sources, network, precision)
    contract = {
        "format": "mmdense-model",
        "version": 2 if "states" in sizes else 1,
        "name": name,
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "sources": sources,
        **sizes,
        "input": "mixture",
        "outputs": {source: source for source in sources},
        "output": output,
        "precision": precision,
        "licence": "MIT",
        "training_data": "none: seeded weights for tests",
        "parity": {},
        "settings": {},
    }
    path = DATA / f"{name}.tflite"
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("contract.json", json.dumps(contract, indent=1))


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    write("identity", STEREO, ["everything"], identity, "mask")
    write("shares", STEREO, ["drums", "bass", "vocals"], shares, "mask")
    write("magnitudes", STEREO, ["vocals", "accompaniment"], magnitudes, "magnitude")
    write("mono", MONO, ["speech", "noise"], shares, "mask")
    write("mono_identity", MONO, ["everything"], identity, "mask")
    write("causal", CAUSAL, ["drums", "vocals"], causal, "mask")
    write("apps", APPS, ["vocals", "accompaniment"], shares, "mask")
    write("int8", STEREO, ["drums", "vocals"], quantizable, "mask", "int8")
