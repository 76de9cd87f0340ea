"""Compare what two processors made of the same models and song: see `separate.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

MAX_DIFFERENCE = 1e-4

# The scale that TFLite gives to an int8 sigmoid or softmax: for masks that are not coded in 8 bits.
STEP = 1 / 256


@dataclass(frozen=True)
class Difference:
    """How far one array is from its reference.

    Args:
        name: of the array, for people.
        largest: largest absolute difference.
        limit: what it may be at most; infinity where the difference is only reported.
        snr_db: signal-to-noise ratio, infinity if equal.
    """

    name: str
    largest: float
    limit: float
    snr_db: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within its limit; NaN is not."""
        return self.largest <= self.limit

    def __str__(self) -> str:
        """Return one line of a table."""
        limit = "reported" if self.limit == np.inf else f"at most {self.limit:.2g}"
        quality = "equal" if self.snr_db == np.inf else f"{self.snr_db:.1f} dB"
        verdict = "ok" if self.passed else "TOO FAR"
        return f"{self.name:32} {self.largest:9.2e}  {limit:15} {quality:>9}  {verdict}"


def difference(name: str, found: np.ndarray, expected: np.ndarray, limit: float) -> Difference:
    """Compare two arrays.

    Args:
        name: for people.
        found: what is examined.
        expected: the reference, of the same shape.
        limit: the largest absolute difference allowed.

    Raises:
        ValueError: the shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"{name}: shape {found.shape}, the reference has {expected.shape}")
    error = found.astype(np.float64) - expected
    noise, signal = float((error**2).sum()), float((expected.astype(np.float64) ** 2).sum())
    snr = np.inf if noise == 0 else float(10 * np.log10(max(signal, 1e-30) / noise))
    return Difference(name, float(np.abs(error).max()), limit, snr)


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


def compare(found: Path, expected: Path, models: Sequence[str]) -> Iterator[Difference]:
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
