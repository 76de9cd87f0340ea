"""`keras-mmdense env`: versions and devices, for a bug report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from mmdense_edge.machine import cpu_name, memory_bytes
from mmdense_edge.runtime import free_cores

from keras_mmdense.cli.models import start_backend

PACKAGES = (
    "keras-mmdense", "keras", "tensorflow", "jax", "numpy", "soundfile", "soxr",
    "ai-edge-litert", "ai-edge-quantizer", "tflite-runtime", "av", "matplotlib", "tensorflow-io",
)  # fmt: skip
BACKENDS = ("tensorflow", "jax")


def run(arguments: argparse.Namespace) -> int:
    """Print what is installed and what it runs on."""
    found = environment()
    if arguments.devices:
        found["devices"] = devices(found["backend"])
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, text in value.items():
                print(f"  {key:18} {'not installed' if text is None else text}")
        else:
            shown = ", ".join(value) or "none" if isinstance(value, list) else value
            print(f"{name:20} {shown}")
    return 0


def environment() -> dict[str, Any]:
    """Return versions and machine; imports neither Keras nor a backend, and names no paths."""
    from keras_mmdense import __version__

    memory = memory_bytes()
    return {
        "keras_mmdense": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": cpu_name(),
        "cores": free_cores(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
        "backend": _backend(),
        "gpus": _gpus(),
        "packages": {name: _version(name) for name in PACKAGES},
        "libsndfile": _libsndfile(),
        "variables": {k: v for k, v in sorted(os.environ.items()) if re.match(_VARIABLES, k)},
    }


_VARIABLES = (
    r"(KERAS_BACKEND|CUDA_VISIBLE_DEVICES|OMP_NUM_THREADS|TF_ENABLE_ONEDNN_OPTS|JAX_PLATFORMS)$"
)


def devices(backend: str) -> list[str]:
    """Return the devices that the backend sees; this loads it."""
    start_backend()
    if backend == "jax":
        import jax

        return [str(device) for device in jax.devices()]
    if backend == "tensorflow":
        import tensorflow as tf

        return [device.name for device in tf.config.list_physical_devices()]
    return [f"not known of the backend {backend}"]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _libsndfile() -> str:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        return f"cannot be loaded ({error})"
    return str(soundfile.__libsndfile_version__)


def _backend() -> str:
    """Return the backend that Keras would take: the variable, then its file, then TensorFlow."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        chosen = json.loads((home / "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        chosen = None
    return str(os.environ.get("KERAS_BACKEND") or chosen or "tensorflow")


def _gpus() -> list[str]:
    """Return what the driver's own program says; it is there wherever the driver is."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=name,memory.total,driver_version"
    try:
        done = subprocess.run(
            [program, query, "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"nvidia-smi failed ({error})"]
    return done.stdout.strip().splitlines()
