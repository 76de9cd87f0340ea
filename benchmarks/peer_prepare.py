"""Makes the model files of bench_peers: `python -m benchmarks.peer_prepare FOLDER`.

It runs in an environment with TensorFlow (`make env`), in a process of its own. A file that is
there already is kept.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers_keras import WINDOW_FRAMES
from benchmarks.peers_litert import MMDENSENET_FILE, PARAMETERS_FILE, SPLEETER_FILE


def spleeter(path: Path) -> None:
    """Writes one Spleeter-shaped network in int8.

    Args:
        path: the file.
    """
    from benchmarks import spleeter_shape
    from benchmarks.conversion import convert

    path.write_bytes(convert(spleeter_shape.build(), int8=True))


def mmdensenet(path: Path) -> None:
    """Writes one network of the published form in float32.

    Args:
        path: the file.
    """
    import keras_mmdense

    model = keras_mmdense.build("mmdensenet")
    keras_mmdense.export(model, path, window_frames=WINDOW_FRAMES, overwrite=True)


def parameters(path: Path) -> None:
    """Writes the trainable weights of all four stems of the systems that run from files.

    Args:
        path: the file.
    """
    import keras_mmdense
    from benchmarks import spleeter_shape
    from benchmarks.peer_system import SOURCES

    def trainable(preset: str) -> int:
        weights = keras_mmdense.build(preset).trainable_weights
        return sum(weight.shape.num_elements() for weight in weights)

    found = {
        "edge": trainable("mmdensenet-edge"),
        "mmdensenet": len(SOURCES) * trainable("mmdensenet"),
        "spleeter": len(SOURCES) * spleeter_shape.build().count_params(),
    }
    path.write_text(json.dumps(found), "utf-8")


MAKERS: dict[str, Callable[[Path], None]] = {
    SPLEETER_FILE: spleeter,
    MMDENSENET_FILE: mmdensenet,
    PARAMETERS_FILE: parameters,
}


def main(folder: str) -> None:
    """Makes what is missing in the folder."""
    for name, make in MAKERS.items():
        target = Path(folder, name)
        if target.exists():
            continue
        print(f"preparing {name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            made = Path(aside, name)
            make(made)
            os.replace(made, target)


if __name__ == "__main__":
    main(sys.argv[1])
