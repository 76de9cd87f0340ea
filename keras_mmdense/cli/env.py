"""Versions and machine, for a bug report."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from mmdense_edge.bench.host import cpu_name, memory_bytes
from mmdense_edge.model.interpreter import free_cores

from keras_mmdense import __version__

PACKAGES = (
    "keras-mmdense", "keras", "tensorflow", "jax", "numpy", "soundfile", "soxr",
    "ai-edge-litert", "ai-edge-quantizer", "tflite-runtime", "av", "matplotlib", "tensorflow-io",
)  # fmt: skip
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "KERAS_BACKEND", "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Return versions and machine; imports neither Keras nor a backend, and names no paths."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:  # as Keras does: the variable, then its file, then TensorFlow
        chosen = json.loads((home / "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        chosen = None
    try:
        import soundfile

        libsndfile = str(soundfile.__libsndfile_version__)
    except (ImportError, OSError) as error:
        libsndfile = f"cannot be loaded ({error})"
    gpus: list[str] = []
    if program := shutil.which("nvidia-smi"):  # it is there if the driver is
        query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=20)
            gpus = done.stdout.strip().splitlines()
        except (OSError, subprocess.TimeoutExpired) as error:
            gpus = [f"nvidia-smi failed ({error})"]
    memory = memory_bytes()
    return {
        "keras_mmdense": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": cpu_name(),
        "cores": free_cores(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
        "backend": os.environ.get("KERAS_BACKEND") or chosen or "tensorflow",
        "gpus": gpus,
        "packages": {
            name: next((found.version for found in metadata.distributions(name=name)), None)
            for name in PACKAGES
        },
        "libsndfile": libsndfile,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
