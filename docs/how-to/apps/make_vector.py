"""Write the reference vector beside this file: what an app's own implementation is checked with.

Run: python docs/how-to/apps/make_vector.py

Needs `pip install .`, no TensorFlow. docs/how-to/apps.md explains the files.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import soundfile as sf
from mmdense_edge import Separator
from mmdense_edge.model.interpreter import SIGNATURE, interpreter_class
from mmdense_edge.signal.stft import stft

HERE = Path(__file__).parent
MODEL = HERE.parents[2] / "tests" / "edge" / "data" / "apps.tflite"
NUM_SAMPLES = 5000


def mixture(sample_rate: int) -> np.ndarray:
    """Return two decaying tones with noise; the right channel starts in silence.

    Shape (num_samples, 2), float32, multiples of 1 / 32768, so that 16 bits hold them exactly.
    """
    time = np.arange(NUM_SAMPLES) / sample_rate
    noise = np.random.default_rng(2017).uniform(-0.05, 0.05, (NUM_SAMPLES, 2))
    left = 0.5 * np.exp(-12 * time) * np.sin(2 * np.pi * 220 * time)
    right = 0.4 * np.exp(-5 * time) * np.sin(2 * np.pi * 3520 * time)
    audio = np.stack([left, right], axis=1) + noise
    audio[: NUM_SAMPLES // 2, 1] = 0
    return (np.round(audio * 32768) / 32768).astype(np.float32)


def main(folder: Path = HERE) -> None:
    """Write the files.

    Args:
        folder: Where to; it must exist.
    """
    separator = Separator(MODEL)
    contract = separator.contract
    audio = mixture(contract.sample_rate)
    magnitude = np.abs(stft(audio, contract.transform))
    silence = np.zeros((contract.context_frames, *magnitude.shape[1:]), np.float32)
    window = np.concatenate([silence, magnitude])[: contract.frames, : contract.bins]
    _, interpreter = interpreter_class()
    # The whole file, contract and all: what an app would load.
    network = interpreter(model_path=str(MODEL))
    answers = network.get_signature_runner(SIGNATURE)(mixture=window[None])
    source = contract.sources[0]
    arrays = {"magnitude": magnitude, "input": window, f"mask_{source}": answers[source][0]}
    shutil.copyfile(MODEL, folder / "model.tflite")
    sf.write(folder / "mixture.wav", audio, contract.sample_rate, subtype="PCM_16")
    for name, stem in separator.separate(audio, contract.sample_rate).items():
        sf.write(folder / f"{name}.wav", stem, contract.sample_rate, subtype="FLOAT")
    for name, array in arrays.items():
        array.astype("<f4").tofile(folder / f"{name}.f32")
    described = {
        "num_samples": NUM_SAMPLES,
        "num_frames": len(magnitude),
        "float32_little_endian": {f"{name}.f32": array.shape for name, array in arrays.items()},
        "windows": [
            {
                "first_frame": first - contract.context_frames,
                "decides_from": first,
                "decides_to": min(first + contract.step_frames, len(magnitude)),
            }
            for first in range(0, len(magnitude), contract.step_frames)
        ],
        "largest_difference": {"magnitude": 1e-3, "mask": 1e-4, "stems": 1e-4},
    }
    (folder / "vector.json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
