"""Separate an excerpt with several models; run natively and emulated, to compare both.

Run: python separate.py OUT SONG MODEL...

Writes OUT/MODEL.npz with the stems of the command `mmdense separate`, "SOURCE, stem"; for a
quantized model also with the masks or magnitudes that its network answers to one window, "SOURCE,
answer".
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from mmdense_edge.cli.main import main as mmdense
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import TFLiteNetwork
from mmdense_edge.model.model_file import load_model


def probe(contract: Contract) -> np.ndarray:
    """Return a window's magnitude, all of it powers of two, falling off as music does."""
    generator = np.random.default_rng(0)
    slope = 300 / (1 + np.arange(contract.bins)) ** 0.9
    shape = (contract.frames, contract.bins, contract.channels)
    magnitude = generator.rayleigh(size=shape) * slope[:, None]
    return np.exp2(np.round(np.log2(magnitude))).astype(np.float32)


def answers(path: Path) -> dict[str, Any]:
    """Return for each source what a model's network answers to `probe`."""
    model = load_model(path)
    answers = TFLiteNetwork(model)(probe(model.contract))
    return {f"{source}, answer": answer for source, answer in answers.items()}


def main(out: str, song: str, *models: str) -> int:
    """Separate with each model; returns the first exit code that is not 0."""
    for model in map(Path, models):
        folder = Path(out) / model.stem
        command = ["separate", song, "-o", str(folder), "--model", str(model), "--quiet"]
        code = mmdense([*command, "--overwrite"])
        if code:
            return code
        arrays = {f"{path.stem}, stem": sf.read(path)[0] for path in folder.rglob("*.wav")}
        if load_model(model).contract.precision != "float32":
            arrays.update(answers(model))
        np.savez(folder.with_suffix(".npz"), **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
