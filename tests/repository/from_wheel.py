"""Install the wheel alone in fresh environments, and use it away from the checkout.

Run: python tests/repository/from_wheel.py [WHEEL]   (or: make test-wheel, which builds the wheel)

Prints a row for each set of extras: seconds and size of the installation, and what was done in it.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

SONG = """
import numpy, soundfile
for number in range(3):
    for source in ("bass", "drums", "other", "vocals"):
        noise = numpy.random.default_rng(number).normal(0, 0.1, (88200, 2))
        folder = pathlib.Path("songs", ("train", "train", "valid")[number], f"song {number}")
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{source}.wav", noise, 44100)
"""
RUNNER = """
from mmdense_edge import Separator
from mmdense_edge.cli.main import main
assert main(["separate", "songs/train/song 0/bass.wav", "-o", "stems", "--quiet"]) == 0
assert len(list(pathlib.Path("stems").rglob("*.wav"))) == 4
"""
LIBRARY = """
import keras_mmdense
from keras_mmdense.data import open_dataset, training_set
model = keras_mmdense.build("mmdensenet-edge", weights="bundled")
stems = keras_mmdense.separate(model, "songs/valid/song 2/bass.wav", progress=False)
assert sorted(stems) == ["bass", "drums", "other", "vocals"]
from keras_mmdense.cli import main as library
assert library(["summary", "mmdensenet-edge"]) == 0
small = keras_mmdense.build(bins=64, growth_rate=2, num_layers=1, scales=1, frames=8)
small.compile("adam", "mse")
tracks = open_dataset("songs", subset="train")
small.fit(training_set(tracks, small, frames=8, batch_size=2, examples=4), verbose=0)
small.save("small.keras")
"""
EXPORT = """
keras_mmdense.export(model, "mine.tflite")
assert main(["info", "mine.tflite"]) == 0
"""
USES = {
    "": ("runner", RUNNER),
    "jax": ("runner, library, fit", RUNNER + LIBRARY),
    "torch": ("runner, library, fit", RUNNER + LIBRARY),
    "export": ("runner, library, fit, export", RUNNER + LIBRARY + EXPORT),
}


def main(wheel: str, *extras: str) -> int:
    """Install and use the wheel with each of the extras."""
    print("| Python | extras | installed in s | MB | used |\n|---|---|--:|--:|---|")
    for extra in extras or USES:
        with tempfile.TemporaryDirectory() as folder:
            venv.create(f"{folder}/env", with_pip=True)
            python, start = f"{folder}/env/bin/python", time.monotonic()
            package = f"{Path(wheel).resolve()}{f'[{extra}]' if extra else ''}"
            subprocess.run([python, "-m", "pip", "install", "-q", package], check=True)
            seconds = time.monotonic() - start
            code = f"import pathlib{SONG}{USES[extra][1]}"
            backend = extra if extra in ("jax", "torch") else "tensorflow"
            subprocess.run(
                [python, "-c", code], check=True, cwd=folder, stdout=subprocess.DEVNULL,
                env=os.environ | {"KERAS_BACKEND": backend},
            )  # fmt: skip
            size = sum(p.lstat().st_size for p in Path(folder, "env").rglob("*")) / 1e6
            version, used = platform.python_version(), USES[extra][0]
            print(f"| {version} | {extra or '-'} | {seconds:.0f} | {size:.0f} | {used} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
