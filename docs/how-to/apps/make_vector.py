"""Write the reference vector beside this file: what an app's own implementation is checked with.

Run: python docs/how-to/apps/make_vector.py

Needs `pip install .`, no TensorFlow. docs/how-to/apps.md explains the files.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from mmdense_edge import Separator
from mmdense_edge.model.interpreter import SIGNATURE, Memory, interpreter_class
from mmdense_edge.signal.stft import stft

HERE = Path(__file__).parent
MODELS = HERE.parents[2] / "tests" / "edge" / "data"
MODEL, STEP = MODELS / "apps.tflite", MODELS / "causal.tflite"
NUM_SAMPLES = 5000
PART = slice(2000, 3000)  # for the model with states: the right channel begins within


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


def network(model: Path) -> Any:
    """Return the network of a file, contract and all: what an app would load."""
    return interpreter_class()[1](model_path=str(model)).get_signature_runner(SIGNATURE)


def steps(folder: Path, audio: np.ndarray) -> dict[str, np.ndarray]:
    """Write the files of the model with states but for the arrays, which are returned."""
    separator = Separator(STEP)
    contract, run = separator.contract, network(STEP)
    memory, rows = Memory(contract.states), []
    for frame in np.abs(stft(audio, contract.transform))[:, : contract.bins]:
        past = memory.past().copy()
        answers = run(mixture=frame[None, None], past=past)
        memory.keep(answers["present"])
        rows.append((past[0], answers["present"][0], answers["vocals"][0, 0]))
    shutil.copyfile(STEP, folder / "step.tflite")
    stem = separator.separate(audio, contract.sample_rate)["vocals"]
    sf.write(folder / "step_vocals.wav", stem, contract.sample_rate, subtype="PCM_16")
    names = ("step_past", "step_present", "step_mask_vocals")
    return dict(zip(names, map(np.stack, zip(*rows, strict=True)), strict=True))


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
    answers = network(MODEL)(mixture=window[None])
    source = contract.sources[0]
    arrays = {"magnitude": magnitude, "input": window, f"mask_{source}": answers[source][0]}
    arrays |= steps(folder, audio[PART])
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
        "steps_of_samples": [PART.start, PART.stop],
        "largest_difference": {"magnitude": 1e-3, "mask": 1e-4, "stems": 1e-4},
    }
    (folder / "vector.json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
