"""Resampling of a stream, to an exact length."""

import numpy as np
import soxr

from mmdense_edge.signal.stft import Audio


def resampled_length(num_samples: int, in_rate: int, out_rate: int) -> int:
    """Return the length of a resampled signal: rounded half up, at least 1.

    Args:
        num_samples: Length before, 1 or more.
        in_rate: Sample rate before, in Hz.
        out_rate: Sample rate after, in Hz.

    Example:
        >>> resampled_length(48000, 48000, 44100)
        44100
    """
    return max(1, (2 * num_samples * out_rate + in_rate) // (2 * in_rate))


class Resampler:
    """Resample blocks with soxr (quality HQ) to an exact total length.

    Args:
        in_rate: Sample rate of the blocks pushed, in Hz.
        out_rate: Sample rate of the blocks returned, in Hz; the same rate passes blocks through.
        channels: Channels of the signal.

    Example:
        >>> resampler = Resampler(48000, 44100, channels=1)
        >>> first = resampler.push(np.zeros((24000, 1), np.float32))
        >>> len(first) + len(resampler.push(np.zeros((24000, 1), np.float32), end=44100))
        44100
    """

    def __init__(self, in_rate: int, out_rate: int, channels: int) -> None:
        self._returned = 0
        self._stream = (
            soxr.ResampleStream(in_rate, out_rate, channels, dtype="float32")
            if in_rate != out_rate
            else None
        )

    def push(self, block: Audio, end: int | None = None) -> Audio:
        """Take the next samples and return what is ready.

        Args:
            block: Shape (any length, channels).
            end: With the last block, the length of the whole resampled signal: the output is cut
                or zero-padded to this length.
        """
        if self._stream is not None:
            block = self._stream.resample_chunk(np.ascontiguousarray(block), last=end is not None)
        if end is not None:
            left = end - self._returned
            block = np.pad(block[:left], ((0, left - len(block[:left])), (0, 0)))
        self._returned += len(block)
        return block
