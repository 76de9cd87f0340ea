"""The parameters of the short-time Fourier transform."""

from __future__ import annotations

from dataclasses import dataclass, fields

from keras_mmdense.checks import is_int, require


@dataclass(frozen=True)
class Transform:
    """The short-time Fourier transform between waveform and network.

    Args:
        sample_rate: Rate of the audio in Hz, 1000 to 384000.
        n_fft: Window length in samples, even; the window is a periodic Hann.
        hop_length: Step in samples from frame to frame, 1 to n_fft // 2.

    Example:
        >>> Transform().hop_length
        1024

    Source: arXiv 1706.09588 gives 1024 bins; window 2048 and hop 1024 at 44.1 kHz are the
    values of independent re-implementations.
    """

    sample_rate: int = 44100
    n_fft: int = 2048
    hop_length: int = 1024

    def __post_init__(self) -> None:
        """Check the ranges."""
        for item in fields(self):
            value = getattr(self, item.name)
            require(is_int(value), f"{item.name} must be an int", value, "Pass a whole number.")
        require(
            1000 <= self.sample_rate <= 384000,
            "sample_rate must be 1000 to 384000 Hz",
            self.sample_rate,
            "Pass the rate of the training audio, for example 44100.",
        )
        require(
            16 <= self.n_fft <= 65536 and self.n_fft % 2 == 0,
            "n_fft must be even and 16 to 65536 samples",
            self.n_fft,
            "Pass 2 * bins.",
        )
        require(
            1 <= self.hop_length <= self.n_fft // 2,
            f"hop_length must be 1 to n_fft // 2 = {self.n_fft // 2} samples",
            self.hop_length,
            "Pass n_fft // 2 or less, else samples are lost.",
        )
