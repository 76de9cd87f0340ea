"""Compare what two processors made of the same models and song: see `separate.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmdense_edge.signal.sdr import SDR

MAX_DIFFERENCE = 1e-4

# The scale that TFLite gives to an int8 sigmoid or softmax: for masks that are not coded in 8 bits.
STEP = 1 / 256


def output_step(answer: np.ndarray) -> float:
    """Return the scale of an output: the least difference of its values if they are 256 or fewer.

    Args:
        answer: What a quantized model's network answered, any shape.

    Example:
        >>> round(output_step(np.array([0.0, 0.5, 0.75])), 3)
        0.25
    """
    values = np.unique(answer.astype(np.float64))
    if not 2 <= len(values) <= 256:
        return STEP
    # Values are float32 multiples of the scale: a little more room than their rounding.
    return float(np.diff(values).min() * (1 + 1e-4))


def compare(found: Path, expected: Path) -> Iterator[tuple[str, bool]]:
    """Compare two files written by `separate.py`.

    Stems of float32 models must agree to 1e-4. Of quantized models the network's answers must
    agree within one step of the output's scale; their stems are reported.

    Args:
        found: The file that is examined.
        expected: The reference.

    Yields:
        A line of a table, and whether the difference is allowed.

    Raises:
        ValueError: The files do not hold the same arrays, or arrays differ in shape.
    """
    arrays, references = (dict(np.load(path)) for path in (found, expected))
    shapes, wanted = ({n: a.shape for n, a in one.items()} for one in (arrays, references))
    if shapes != wanted or not wanted:
        raise ValueError(f"{found.stem}: arrays {shapes}, the reference has {wanted}")
    quantized = any(name.endswith("answer") for name in references)
    for name, reference in sorted(references.items()):
        limit = np.inf if quantized else MAX_DIFFERENCE
        if name.endswith("answer"):
            limit = output_step(reference)
        largest = float(np.abs(arrays[name].astype(np.float64) - reference).max())
        passed = largest <= limit  # NaN is not
        sdr = SDR()
        sdr.add(reference, arrays[name])
        quality = "equal" if largest == 0 else f"{sdr.value() or 0:.1f} dB"
        allowed = "reported" if limit == np.inf else f"at most {limit:.2g}"
        verdict = "ok" if passed else "TOO FAR"
        label = f"{found.stem}: {name}"
        yield f"{label:40} {largest:9.2e}  {allowed:15} {quality:>9}  {verdict}", passed
