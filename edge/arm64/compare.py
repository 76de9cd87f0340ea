"""Compare what two processors made of the same models and song: see `separate.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
from mmdense_edge.signal.sdr import SDR

MAX_DIFFERENCE = 1e-4

# The scale that TFLite gives to an int8 sigmoid or softmax: for masks that are not coded in 8 bits.
STEP = 1 / 256


def difference(
    name: str, found: np.ndarray, expected: np.ndarray, limit: float
) -> tuple[str, bool]:
    """Compare two arrays.

    Args:
        name: For people.
        found: What is examined.
        expected: The reference, of the same shape.
        limit: The largest absolute difference allowed; infinity if it is only reported.

    Returns:
        A line of a table, and whether the difference is allowed.

    Raises:
        ValueError: The shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"{name}: shape {found.shape}, the reference has {expected.shape}")
    largest = float(np.abs(found.astype(np.float64) - expected).max())
    passed = largest <= limit  # NaN is not
    sdr = SDR()
    sdr.add(np.asarray(expected), found)
    quality = "equal" if largest == 0 else f"{sdr.value() or 0:.1f} dB"
    allowed = "reported" if limit == np.inf else f"at most {limit:.2g}"
    verdict = "ok" if passed else "TOO FAR"
    return f"{name:32} {largest:9.2e}  {allowed:15} {quality:>9}  {verdict}", passed


def output_step(answer: np.ndarray) -> float:
    """Return the scale of an output: the least difference of its values if they are 256 or fewer.

    Args:
        answer: what a quantized model's network answered, any shape.

    Example:
        >>> round(output_step(np.array([0.0, 0.5, 0.75])), 3)
        0.25
    """
    values = np.unique(answer.astype(np.float64))
    if not 2 <= len(values) <= 256:
        return STEP
    # Values are float32 multiples of the scale: a little more room than their rounding.
    return float(np.diff(values).min() * (1 + 1e-4))


def compare(found: Path, expected: Path, models: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Compare two folders written by `separate.py`.

    Stems of float32 models must agree to 1e-4. Of quantized models the network's answers must
    agree within one step of the output's scale; their stems are reported.

    Args:
        found: the folder that is examined.
        expected: the reference.
        models: names of the models to compare.

    Raises:
        ValueError: one has files that the other lacks, or arrays differ in shape.
    """
    for model in models:
        answers = [folder / f"{model}.npz" for folder in (found, expected)]
        quantized = answers[1].exists()
        if quantized:
            arrays, reference = (np.load(path) for path in answers)
            for source in reference.files:
                label = f"{model}: {source}, answer"
                step = output_step(reference[source])
                yield difference(label, arrays[source], reference[source], step)
        stems, references = (
            {
                str(path.relative_to(folder / model)): path
                for path in (folder / model).rglob("*.wav")
            }
            for folder in (found, expected)
        )
        if sorted(stems) != sorted(references) or not stems:
            raise ValueError(f"{model}: stems {sorted(stems)}, the reference {sorted(references)}")
        for name, path in sorted(stems.items()):
            (stem, _), (other, _) = sf.read(path), sf.read(references[name])
            limit = np.inf if quantized else MAX_DIFFERENCE
            yield difference(f"{model}: {path.stem}, stem", stem, other, limit)
