"""Signal-to-distortion ratio (SDR) of whole signals, block by block."""

import numpy as np

from mmdense_edge.signal.stft import Audio

MAX_SDR_DB = 200.0


class SDR:
    """Accumulate 10 * log10(sum(reference^2) / sum((reference - estimate)^2)) over blocks.

    Source: the signal-to-distortion ratio of the Music Demixing Challenge 2021, over all samples
    and channels of a signal.

    Example:
        >>> sdr = SDR()
        >>> sdr.add(np.ones((4, 1), np.float32), np.full((4, 1), 0.9, np.float32))
        >>> round(sdr.value(), 3)
        20.0
    """

    def __init__(self) -> None:
        self._signal = 0.0
        self._error = 0.0

    def add(self, reference: Audio, estimate: Audio) -> None:
        """Add a block; both have the same shape (samples, channels)."""
        reference = reference.astype(np.float64)
        self._signal += float(np.sum(reference**2))
        self._error += float(np.sum((reference - estimate) ** 2))

    def value(self) -> float | None:
        """Return the SDR in dB: at most 200, None if the reference is silent."""
        if self._signal == 0:
            return None
        smallest = self._signal * 10 ** (-MAX_SDR_DB / 10)
        return float(10 * np.log10(self._signal / max(self._error, smallest)))
